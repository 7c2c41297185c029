"""PC: expected against observed policies of one proxy."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Final

from meshscope.comparison.behaviour import behaviour
from meshscope.comparison.breadth import breadth
from meshscope.comparison.codes import DRIFT_CODES
from meshscope.comparison.describe import Differing, differing
from meshscope.comparison.effects import effect_of_change, effect_of_fields
from meshscope.comparison.meaning import accepts, equivalent, fill_open_fields
from meshscope.comparison.names import named, renamed
from meshscope.comparison.summary import lines_text, summarise
from meshscope.comparison.verdict import (
    Affected,
    Difference,
    Effect,
    Outcome,
    ProxyVerdict,
    UnverifiablePart,
)
from meshscope.events.facts import FieldDifference
from meshscope.policy.endpoints import Endpoints
from meshscope.policy.key import PolicyKey
from meshscope.policy.kinds import Kind
from meshscope.policy.policy import Policy
from meshscope.policy.source import ResourceRef
from meshscope.projection.limits import Limit
from meshscope.projection.result import Projection, Unverifiable

_ORDER: Final = attrgetter("kind", "parts")
"""The order of `PolicyKey`, in terms that are compared faster."""

NOT_LOADED: Final = "not loaded"
NOT_DECLARED: Final = "not declared"
_NAMES: Final = frozenset({"policy", "index", "provider"})
"""Fields of rules that say where they come from, not what they do."""


def compare(
    expected: Projection,
    observed: Mapping[PolicyKey, Policy],
    *,
    incomplete: Iterable[Unverifiable] = (),
    unreferenced: Collection[PolicyKey] = frozenset(),
) -> ProxyVerdict:
    """Compare what a proxy should hold with what it holds.

    Args:
        expected: What the control plane declares for it.
        observed: What it holds, by key.
        incomplete: What cannot be said because its configuration dump lacks a section, besides
            `expected.unverifiable`.
        unreferenced: Keys of `observed` that nothing refers to: one that is not declared is not in
            force, and only a note.
    """
    unverifiable = (*incomplete, *expected.unverifiable)
    keys = expected.policies.keys() | observed.keys() | expected.alternatives.keys()
    if not keys and not unverifiable:
        return ProxyVerdict.unknown("there are no policies to compare on either side")
    if not unverifiable and _identical(expected, observed):
        return ProxyVerdict("in-sync", policies=len(keys), notes=expected.notes)

    doubts = _Doubts(unverifiable)
    doubts.cover(keys)
    doubts.add_extensions(expected, observed)
    # Most policies are as expected, and need not even be put in order.
    differing = (
        key for key in keys if not _is_same(key, expected, observed) and not doubts.about(key)
    )
    differences = tuple(
        difference
        for key in sorted(differing)
        if (difference := _difference(key, expected, observed.get(key), key in unreferenced))
        is not None
    )
    return ProxyVerdict(
        _outcome(differences, doubts.parts),
        differences,
        doubts.parts,
        len(keys),
        expected.notes,
    )


def _identical(expected: Projection, observed: Mapping[PolicyKey, Policy]) -> bool:
    """Whether all digests are equal: the usual case, at the cost of a look-up for each policy."""
    return (
        not expected.alternatives
        and len(expected.policies) == len(observed)
        and all(
            (other := observed.get(key)) is not None
            and other.digest == policy.digest
            and not renamed(policy, other)
            for key, policy in expected.policies.items()
        )
    )


def _is_same(key: PolicyKey, expected: Projection, observed: Mapping[PolicyKey, Policy]) -> bool:
    """Whether one policy is what is expected, names included; False: a closer look may tell."""
    policy, held = expected.policies.get(key), observed.get(key)
    return (
        policy is not None
        and held is not None
        and policy.digest == held.digest
        and key not in expected.alternatives
        and not renamed(policy, held)
    )


def _outcome(
    differences: Sequence[Difference], unverifiable: Sequence[UnverifiablePart]
) -> Outcome:
    if any(difference.is_drift for difference in differences):
        return "drift"
    return "unverifiable" if unverifiable else "in-sync"


@dataclass(slots=True)
class _Doubt:
    """A reason why nothing can be said, and the keys that it concerns."""

    because: Unverifiable
    keys: list[PolicyKey]


class _Doubts:
    """Of which keys nothing can be said; of several reasons the first counts."""

    def __init__(self, unverifiable: Iterable[Unverifiable]) -> None:
        self._doubts = [_Doubt(because, []) for because in unverifiable]
        self._covered: set[PolicyKey] = set()

    def about(self, key: PolicyKey) -> bool:
        """Whether nothing can be said of this policy."""
        return key in self._covered

    def cover(self, keys: Iterable[PolicyKey]) -> None:
        """Find the keys of both sides that the reasons concern."""
        by_kind: dict[Kind, list[_Doubt]] = {
            kind: [d for d in self._doubts if _kind_of(d.because) in (None, kind)] for kind in Kind
        }
        for key in keys:
            for doubt in by_kind[key.kind]:
                if doubt.because.covers(key):
                    self._add(doubt, key)
                    break

    def add_extensions(self, expected: Projection, observed: Mapping[PolicyKey, Policy]) -> None:
        """Doubt the policies that an unmodelled part of the configuration stands in."""
        for key, policy in observed.items():
            if key.kind is not Kind.EXTENSION or _declared(expected, policy):
                continue
            touched = [
                other
                for other in expected.policies
                if other not in self._covered and _touches(key["location"], other)
            ]
            if touched:
                reason = f"{key['name']} stands in it, and what that does is not modelled"
                doubt = _Doubt(Unverifiable(reason, code=Limit.UNEXPLAINED), [])
                self._doubts.append(doubt)
                for other in touched:
                    self._add(doubt, other)

    def _add(self, doubt: _Doubt, key: PolicyKey) -> None:
        doubt.keys.append(key)
        self._covered.add(key)

    @property
    def parts(self) -> tuple[UnverifiablePart, ...]:
        """The reasons, also those that concern no policy of either side."""
        return tuple(
            UnverifiablePart(
                doubt.because.reason,
                _kind_of(doubt.because) or _common_kind(doubt.keys),
                tuple(sorted(doubt.keys, key=_ORDER)),
                doubt.because.source,
                doubt.because.code,
            )
            for doubt in self._doubts
        )


def _kind_of(because: Unverifiable) -> Kind | None:
    return because.key.kind if because.key is not None else because.kind


def _common_kind(keys: Sequence[PolicyKey]) -> Kind | None:
    kinds = {key.kind for key in keys}
    return kinds.pop() if len(kinds) == 1 else None


def _declared(expected: Projection, policy: Policy) -> bool:
    declared = expected.policies.get(policy.key)
    return declared is not None and declared.digest == policy.digest


def _touches(location: str, key: PolicyKey) -> bool:
    """Whether a place in the configuration lies in a policy, or the policy in that place."""
    own = str(key)
    return own == location or location.startswith(f"{own}/") or own.startswith(f"{location}/")


def _difference(
    key: PolicyKey, expected: Projection, observed: Policy | None, idle: bool
) -> Difference | None:
    """How one policy differs from what is expected; None: not at all."""
    declared = expected.policies.get(key)
    outcomes = expected.alternatives.get(key, (declared,))
    found = [outcome for outcome in outcomes if _is_outcome(outcome, observed)]
    if found:
        for outcome in found:
            if outcome is None or observed is None or not renamed(outcome, observed):
                return None
        return _only_renamed(found[0], observed)
    for outcome in outcomes:
        if outcome is not None and observed is not None and equivalent(outcome, observed):
            return _different(outcome, observed, is_equivalent=True)
    if observed is None:
        # Not one of the outcomes is that there is no such policy.
        wanted = declared or next(outcome for outcome in outcomes if outcome is not None)
        return _missing(wanted)
    if declared is None:
        declared = next((outcome for outcome in outcomes if outcome is not None), None)
    if declared is None:
        return _extra(observed, idle=idle)
    return _different(declared, observed, is_equivalent=False)


def _is_outcome(outcome: Policy | None, observed: Policy | None) -> bool:
    if outcome is None or observed is None:
        return outcome is observed
    return accepts(outcome, observed)


def _only_renamed(declared: Policy | None, observed: Policy | None) -> Difference | None:
    """A note that a policy is held for the sake of another resource than the one declared."""
    if declared is None or observed is None:
        return None
    return Difference(
        code=DRIFT_CODES[declared.key.kind, "different"].code,
        key=declared.key,
        change="different",
        effect="equivalent",
        expected=_names(declared),
        observed=_names(observed),
        sources=_sources(declared, observed),
    )


def _names(policy: Policy) -> str:
    names = ", ".join(map(str, named(policy)))
    return f"named after {names or 'no resource'}"


def _missing(policy: Policy) -> Difference:
    return Difference(
        code=DRIFT_CODES[policy.key.kind, "missing"].code,
        key=policy.key,
        change="missing",
        effect=effect_of_change(policy.key, "missing", policy.content),
        expected=summarise(policy.content),
        observed=NOT_LOADED,
        sources=policy.sources,
    )


def _extra(policy: Policy, *, idle: bool) -> Difference:
    effect = effect_of_change(policy.key, "extra", policy.content)
    return Difference(
        code=DRIFT_CODES[policy.key.kind, "extra"].code,
        key=policy.key,
        change="extra",
        effect="equivalent" if idle else effect,
        expected=NOT_DECLARED,
        observed=summarise(policy.content) + ("\n(nothing refers to it)" if idle else ""),
        sources=policy.sources,
    )


def _effect(declared: Policy, observed: Policy, places: tuple[Differing, ...]) -> Effect:
    if isinstance(observed.content, Endpoints) and not observed.content.localities:
        return effect_of_change(declared.key, "missing", declared.content)
    return effect_of_fields(declared.key.kind, places)


def _different(declared: Policy, observed: Policy, *, is_equivalent: bool) -> Difference:
    filled = fill_open_fields(declared.content, observed.content)
    places = tuple(differing(filled, observed.content))
    if not is_equivalent:
        places = _without_names(places, declared, observed)
    kind = declared.key.kind
    effect: Effect = "equivalent" if is_equivalent else _effect(declared, observed, places)
    witness: str | None = None
    some: tuple[Affected, ...] = ()
    if not is_equivalent and (found := behaviour(declared, observed)) is not None:
        effect, witness, some = found.effect, found.witness, found.affected
    places = _without_echoes(places)
    return Difference(
        code=DRIFT_CODES[kind, "different"].code,
        key=declared.key,
        change="different",
        effect=effect,
        expected=lines_text(f"{place.title}: {place.texts[0]}" for place in places),
        observed=lines_text(f"{place.title}: {_observed_text(place)}" for place in places),
        fields=tuple(
            FieldDifference(place.title, place.texts[0], _observed_text(place)) for place in places
        ),
        sources=_sources(declared, observed),
        witness=witness,
        affected=some,
    )


def _without_names(
    places: tuple[Differing, ...], declared: Policy, observed: Policy
) -> tuple[Differing, ...]:
    """The places that matter for traffic: names differ besides, but are not the point."""
    if declared.key.kind is Kind.AUTHORIZATION:
        return tuple(place for place in places if place.fields[-1] not in _NAMES)
    filled = fill_open_fields(declared.content, observed.content)
    return tuple(differing(filled.without_names(), observed.content.without_names()))


def _without_echoes(places: tuple[Differing, ...]) -> tuple[Differing, ...]:
    """The places without Envoy's second timeout where it only follows the timeout of the route."""
    timeouts = {place.path: place.texts for place in places if place.path[-1] == "timeout_ms"}
    return tuple(
        place
        for place in places
        if place.path[-1] != "max_grpc_timeout_ms"
        or timeouts.get((*place.path[:-1], "timeout_ms")) != place.texts
    )


def _observed_text(place: Differing) -> str:
    width = breadth(place)
    return place.texts[1] + (f" ({width})" if width else "")


def _sources(declared: Policy, observed: Policy) -> tuple[ResourceRef, ...]:
    return tuple(dict.fromkeys((*declared.sources, *observed.sources)))
