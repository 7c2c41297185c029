"""Outcomes that stay open because something that decides is unknown.

Where the age of resources decides and is not known, every possible order is a world of its own. A
projection says what holds in all of them, and for the rest every outcome.
"""

from collections.abc import Iterable, Mapping, Sequence

from meshscope.policy.key import PolicyKey
from meshscope.policy.policy import Policy

Outcomes = Mapping[PolicyKey, tuple[Policy | None, ...]]
"""Every possible outcome per key; None: there is no such policy."""


def merge(worlds: Sequence[Mapping[PolicyKey, Policy]]) -> Outcomes:
    """The outcomes of all keys that exist in any world; each digest once, the first world first."""
    if len(worlds) == 1:
        return {key: (policy,) for key, policy in worlds[0].items()}
    keys = dict.fromkeys(key for world in worlds for key in world)
    return {key: distinct(world.get(key) for world in worlds) for key in keys}


def distinct(policies: Iterable[Policy | None]) -> tuple[Policy | None, ...]:
    """Each outcome once, in the order given."""
    by_digest: dict[str, Policy | None] = {}
    for policy in policies:
        by_digest.setdefault("" if policy is None else policy.digest, policy)
    return tuple(by_digest.values())
