"""PC, the policy comparator: what differs between expected and observed, and what it means.

`compare` in `comparator.py` is the function; `verdict.py` holds what it returns, `codes.py` the
table of codes.
"""

from meshscope.comparison.comparator import compare
from meshscope.comparison.verdict import Difference, ProxyVerdict, UnverifiablePart

__all__ = ["Difference", "ProxyVerdict", "UnverifiablePart", "compare"]
