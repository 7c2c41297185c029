"""Laws that every comparison obeys, over arbitrary policies of every kind."""

import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from meshscope.comparison import ProxyVerdict, compare
from meshscope.comparison.describe import differing
from meshscope.policy.key import PolicyKey
from meshscope.policy.kinds import KINDS, Kind
from meshscope.policy.policy import CONTENT_TYPES, Content, Policy
from meshscope.projection.result import Projection, Unverifiable

WORDS = st.text("ab/*$.", max_size=3)
COMMON = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@cache
def values(type_: Any) -> st.SearchStrategy[Any]:
    """Values of a type as it stands in an annotation of the vocabulary."""
    if type_ is NoneType:
        return st.none()
    if type_ is bool:
        return st.booleans()
    if type_ is int:
        return st.one_of(st.integers(0, 4), st.sampled_from([1000, 90_000, 1_000_000]))
    if type_ is str:
        return WORDS
    origin, arguments = get_origin(type_), get_args(type_)
    if origin is Literal:
        return st.sampled_from(arguments)
    if origin in (Union, UnionType):
        return st.one_of([values(argument) for argument in arguments])
    if origin is tuple:
        return st.lists(values(arguments[0]), max_size=3).map(tuple)
    assert is_dataclass(type_), type_
    hints = get_type_hints(type_)
    return st.builds(type_, **{f.name: values(hints[f.name]) for f in fields(type_) if f.init})


def keys(kind: Kind) -> st.SearchStrategy[PolicyKey]:
    parts = [st.sampled_from(["8080", "9090", "a"]) for _ in KINDS[kind].key_parts]
    return st.tuples(*parts).map(lambda drawn: PolicyKey(kind, drawn))


def policies(kind: Kind) -> st.SearchStrategy[Policy]:
    return st.builds(Policy, keys(kind), values(CONTENT_TYPES[kind]))


KIND_LIST = st.sampled_from(list(Kind))
ANY_POLICY = KIND_LIST.flatmap(policies)
POLICY_MAPS = st.lists(ANY_POLICY, min_size=1, max_size=4).map(
    lambda drawn: {policy.key: policy for policy in drawn}
)
CONTENT_PAIRS = KIND_LIST.flatmap(
    lambda kind: st.tuples(keys(kind), values(CONTENT_TYPES[kind]), values(CONTENT_TYPES[kind]))
)


def one(policy: Policy) -> Mapping[PolicyKey, Policy]:
    return {policy.key: policy}


def says(expected: Content, observed: Content, key: PolicyKey) -> ProxyVerdict:
    return compare(Projection(one(Policy(key, expected))), one(Policy(key, observed)))


@COMMON
@given(POLICY_MAPS)
def test_what_is_as_declared_is_in_sync(held: dict[PolicyKey, Policy]) -> None:
    for expected in (
        Projection(held),
        # No short cut.
        Projection(held, alternatives={key: (policy,) for key, policy in held.items()}),
    ):
        verdict = compare(expected, held)
        assert (verdict.verdict, verdict.differences) == ("in-sync", ())


@COMMON
@given(CONTENT_PAIRS)
def test_every_structural_difference_is_found(pair: tuple[PolicyKey, Content, Content]) -> None:
    key, expected, observed = pair
    if key.kind is Kind.REQUEST_AUTHENTICATION:
        expected = _closed(expected)
    assume(Policy(key, expected).digest != Policy(key, observed).digest)
    verdict = says(expected, observed, key)
    (difference,) = verdict.differences
    assert difference.change == "different"
    assert difference.fields
    assert difference.expected != difference.observed or difference.effect == "equivalent"
    assert verdict.verdict == ("drift" if difference.is_drift else "in-sync")


@COMMON
@given(st.data())
def test_a_changed_field_is_named(data: st.DataObject) -> None:
    kind = data.draw(KIND_LIST)
    content_type = CONTENT_TYPES[kind]
    content = data.draw(values(content_type))
    field = data.draw(st.sampled_from([f.name for f in fields(content_type)]))  # type: ignore[arg-type]
    changed = replace(content, **{field: data.draw(values(get_type_hints(content_type)[field]))})
    key = data.draw(keys(kind))
    if kind is Kind.REQUEST_AUTHENTICATION:
        content, changed = _closed(content), _closed(changed)
    assume(Policy(key, content).digest != Policy(key, changed).digest)
    named = {place.path[0] for place in differing(content, changed)}
    # The mode of PeerAuthentication follows from its chains.
    assert field in named or (field == "mode" and "chains" in named)
    assert named <= {field, "mode"}


@COMMON
@given(ANY_POLICY)
def test_missing_and_extra_mirror_each_other(policy: Policy) -> None:
    (missing,) = compare(Projection(one(policy)), {}).differences
    (extra,) = compare(Projection({}), one(policy)).differences
    assert (missing.change, extra.change) == ("missing", "extra")
    assert missing.key == extra.key == policy.key
    assert missing.expected == extra.observed
    assert missing.is_drift
    assert extra.is_drift
    assert missing.code != extra.code


@COMMON
@given(CONTENT_PAIRS)
def test_what_is_unverifiable_is_never_in_sync_and_never_drift(
    pair: tuple[PolicyKey, Content, Content],
) -> None:
    key, expected, observed = pair
    reason = Unverifiable("not modelled", key.kind)
    for held in (one(Policy(key, observed)), one(Policy(key, expected)), {}):
        verdict = compare(Projection(one(Policy(key, expected)), unverifiable=(reason,)), held)
        assert verdict.verdict == "unverifiable"
        assert not verdict.differences
        (part,) = verdict.unverifiable
        assert part.keys == (key,)


@COMMON
@given(CONTENT_PAIRS, st.booleans())
def test_every_possible_outcome_is_in_sync(
    pair: tuple[PolicyKey, Content, Content], may_be_missing: bool
) -> None:
    key, first, second = pair
    outcomes: tuple[Policy | None, ...] = (Policy(key, first), Policy(key, second))
    if may_be_missing:
        outcomes = (*outcomes, None)
    projection = Projection(one(Policy(key, first)), alternatives={key: outcomes})
    for outcome in outcomes:
        verdict = compare(projection, one(outcome) if outcome else {})
        assert verdict.verdict == "in-sync"
    if not may_be_missing:
        assert compare(projection, {}).verdict == "drift"


@COMMON
@given(POLICY_MAPS, POLICY_MAPS)
def test_verdicts_are_deterministic_and_are_json(
    declared: dict[PolicyKey, Policy], held: dict[PolicyKey, Policy]
) -> None:
    verdict = compare(Projection(declared), held)
    backwards = compare(Projection(dict(reversed(declared.items()))), dict(reversed(held.items())))
    assert verdict == backwards
    assert json.loads(json.dumps(verdict.to_json())) == verdict.to_json()
    for difference in verdict.differences:
        assert difference.expected.count("\n") < 5
        assert difference.observed.count("\n") < 5


def _closed(content: Any) -> Any:
    """Rules whose keys are said, so that nothing is left open."""
    return replace(
        content,
        rules=tuple(replace(rule, local_keys=rule.local_keys or "k") for rule in content.rules),
    )
