"""Whether a rule of an AuthorizationPolicy matches more or less than another."""

from typing import Literal

from meshscope.comparison.describe import Differing
from meshscope.policy.authorization import Alternative, Condition

Breadth = Literal["wider", "narrower", ""]


def breadth(place: Differing) -> Breadth:
    """Whether the observed alternatives of a rule match more than the expected ones, or less.

    Only what single values decide is decided; empty: neither of both can be said.
    """
    if place.fields[-1:] not in (("sources",), ("operations",)):
        return ""
    wider = _covers(place.observed, place.expected)
    narrower = _covers(place.expected, place.observed)
    if wider == narrower:
        return ""
    return "wider" if wider else "narrower"


def _covers(outer: tuple[Alternative, ...], inner: tuple[Alternative, ...]) -> bool:
    return all(any(_implies(one, other) for other in outer) for one in inner)


def _implies(one: Alternative, other: Alternative) -> bool:
    """Whether everything that meets all conditions of `one` meets all of `other`."""
    return all(any(_stricter(a, b) for a in one) for b in other)


def _stricter(one: Condition, other: Condition) -> bool:
    subject = (one.attribute, one.name, one.in_list, one.negated, one.missing_as_empty)
    if subject != (
        other.attribute,
        other.name,
        other.in_list,
        other.negated,
        other.missing_as_empty,
    ):
        return False
    if one.negated:
        return set(one.values) >= set(other.values)
    return set(one.values) <= set(other.values)
