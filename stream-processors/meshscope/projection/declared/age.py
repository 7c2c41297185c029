"""Which of several resources is the oldest, as far as their ages are known.

Istio lets the oldest of conflicting resources win, then the first by name, then by namespace.
Resources that were read from files have no age, so that any of them may be the one.
"""

from collections.abc import Iterable
from itertools import permutations

from meshscope.events.resource import Resource

_MOST_ORDERS = 24
"""Orders that are told apart where ages are unknown; more than four such resources are too many."""


def possibly_oldest(resources: Iterable[Resource]) -> tuple[Resource, ...]:
    """Every resource that may be the oldest; one where the ages are known, none of none."""
    found = tuple(resources)
    if len(found) < 2:
        return found
    unknown = tuple(r for r in found if r.created_at is None)
    known = sorted((r for r in found if r.created_at is not None), key=_age)
    return (*known[:1], *unknown)


def oldest_first(resources: Iterable[Resource]) -> tuple[tuple[Resource, ...], ...]:
    """Every order, oldest first, that the resources may have; one where the ages are known."""
    found = tuple(resources)
    if all(r.created_at is not None for r in found):
        return (tuple(sorted(found, key=_age)),)
    orders: list[tuple[Resource, ...]] = []
    for order in permutations(found):
        known = [_age(r) for r in order if r.created_at is not None]
        if known == sorted(known):
            orders.append(order)
        if len(orders) == _MOST_ORDERS:
            break
    return tuple(orders)


def _age(resource: Resource) -> tuple[str, str, str]:
    return resource.created_at or "", resource.name, resource.namespace
