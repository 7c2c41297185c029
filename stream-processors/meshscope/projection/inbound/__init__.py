"""Kinds `inbound`, `http_connection`, `filter_order`: the connections that reach the workload."""
