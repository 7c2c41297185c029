"""The vocabulary of policies: what a sidecar does, said in one canonical form."""
