"""The sidecar process: polls Envoy's admin interface and publishes what it holds."""
