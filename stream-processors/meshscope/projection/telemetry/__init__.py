"""Kind `telemetry`: what is logged, traced and measured."""
