"""The vocabulary of policies: what one sidecar does, said in one canonical form.

A `Policy` is a `PolicyKey` (which decision), a content (what is decided; one frozen dataclass per
kind) and its sources (the resources that it came from, where known). `infer` derives policies from
what Envoy holds, `project` derives them from what the control plane declares, and both speak only
this vocabulary. `kinds.py` is the table of kinds; one module per kind holds its content.
"""
