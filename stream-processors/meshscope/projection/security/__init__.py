"""Kinds `peer_authentication`, `request_authentication`, `authorization`."""
