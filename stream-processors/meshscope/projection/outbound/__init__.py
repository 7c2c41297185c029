"""Kinds `outbound_listener` and `egress`: the connections that the application opens."""
