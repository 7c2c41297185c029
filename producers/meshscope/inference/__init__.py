"""PIE, the policy inference engine: from what Envoy holds to the policies it implements."""
