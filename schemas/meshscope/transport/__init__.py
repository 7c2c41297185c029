"""What several processes do with Kafka: the only place in `schemas` that talks to a broker."""
