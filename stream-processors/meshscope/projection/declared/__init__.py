"""The declared resources, and which of several counts."""
