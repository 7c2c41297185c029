"""The facts on the topics: one dataclass and one Avro schema each."""
