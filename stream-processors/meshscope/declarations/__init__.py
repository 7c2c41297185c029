"""What declarations really say: findings `MSC-2xxx`, each with a proof where a request can be one.

`review.py` is the entry, `checks.py` the visible table of what is looked for, by kind of resource.
"""
