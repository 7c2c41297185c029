"""Kinds `destination` and `endpoints`: how connections are made to a service."""
