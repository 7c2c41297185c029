"""What the algebra may spend, and what it says when that is not enough."""

from dataclasses import dataclass


class TooLargeError(Exception):
    """A result would need more than the limits allow. The message names what and how much."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How large intermediate results may get before the answer is `Undecided`.

    Attributes:
        nodes: Nodes of decision diagrams in one space.
        steps: Transitions of automata that are followed to split the strings of one dimension into
            atoms.
        slots: Headers, parameters, claims and so on that the conditions look at, together.
        products: Products that one rule is made of when its alternatives are written out.
    """

    nodes: int = 100_000
    steps: int = 4_000_000
    slots: int = 200
    products: int = 1_000


LIMITS = Limits()

MAX_STATES = 4_000
"""States of one automaton, before and after it is minimal."""


@dataclass(frozen=True, slots=True)
class Undecided:
    """There is no answer, and this is why; it is neither yes nor no."""

    reason: str
