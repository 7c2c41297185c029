"""What a change of declarations changes for one proxy: two projections, compared by behaviour."""

from collections.abc import Callable, Iterator
from dataclasses import replace

from meshscope.comparison.comparator import compare
from meshscope.comparison.verdict import ProxyVerdict
from meshscope.policy.key import PolicyKey
from meshscope.policy.policy import Policy
from meshscope.policy.source import ResourceRef
from meshscope.projection.limits import Limit
from meshscope.projection.result import Projection, Unverifiable


def compare_projections(
    before: Projection, after: Projection, is_changed: Callable[[ResourceRef], bool]
) -> ProxyVerdict:
    """Compare what a proxy should hold before a change of declarations and after it.

    `in-sync`: it behaves alike; `drift`: it does not; `unverifiable`: nothing that can be compared
    changes, and there is something that cannot be. What cannot be verified of a single declaration
    is no obstacle where it is the same on both sides and stands on the same policies: an
    EnvoyFilter that nobody changed does to an unchanged policy what it did before.

    Args:
        before, after: Projections of the same proxy.
        is_changed: Whether a resource is another one after the change.
    """
    undated = tuple(_of_unknown_age(before, after))
    sure_before, sure_after = _without_alternatives(before), _without_alternatives(after)
    every = sure_before.keys() | sure_after.keys()
    moved = {key for key in every if _digest(sure_before.get(key)) != _digest(sure_after.get(key))}
    both = dict.fromkeys((*before.unverifiable, *after.unverifiable))
    kept: list[Unverifiable] = []
    asked = set(moved)
    for doubt in both:
        if _is_same(doubt, before, after, is_changed):
            if any(doubt.covers(key) for key in moved):
                kept.append(doubt)
        else:
            kept.append(doubt)
            asked |= {key for key in every if doubt.covers(key)}
    doubts = (*undated, *kept)
    if not asked and not doubts:
        return ProxyVerdict("in-sync", policies=len(every), notes=_notes(before, after))
    verdict = compare(
        replace(
            before,
            policies={key: sure_before[key] for key in asked if key in sure_before},
            alternatives={},
            unverifiable=doubts,
            notes=_notes(before, after),
        ),
        {key: sure_after[key] for key in asked if key in sure_after},
    )
    return replace(verdict, policies=len(every))


def _notes(before: Projection, after: Projection) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*before.notes, *after.notes)))


def _is_same(
    doubt: Unverifiable,
    before: Projection,
    after: Projection,
    is_changed: Callable[[ResourceRef], bool],
) -> bool:
    """Whether what cannot be verified is the same thing on both sides."""
    if doubt.source is not None and is_changed(doubt.source):
        return False
    return doubt in before.unverifiable and doubt in after.unverifiable


def _digest(policy: Policy | None) -> str | None:
    return None if policy is None else policy.digest


def _outcomes(side: Projection, key: PolicyKey) -> frozenset[str | None]:
    outcomes = side.alternatives.get(key, (side.policies.get(key),))
    return frozenset(map(_digest, outcomes))


def _of_unknown_age(before: Projection, after: Projection) -> Iterator[Unverifiable]:
    """Policies of which the age of resources decides, where the possible outcomes change."""
    for key in sorted(before.alternatives.keys() | after.alternatives.keys()):
        if _outcomes(before, key) != _outcomes(after, key):
            yield Unverifiable(
                "which of several resources counts depends on their age, which the input does not "
                "tell, and the candidates change",
                key=key,
                code=Limit.NOT_MODELLED,
            )


def _without_alternatives(side: Projection) -> dict[PolicyKey, Policy]:
    return {key: policy for key, policy in side.policies.items() if key not in side.alternatives}
