"""What the algebra says of lists of rules, against counting out all requests of a small world."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from matching import (
    condition_meets,
    header_meets,
    meets,
    metadata_meets,
    path_meets,
    route_meets,
    rule_meets,
)
from rule_lists import WORLD, access_rules, requests, route_matches

from meshscope.algebra.conditions import route_match, rule
from meshscope.algebra.decision_list import Decision, DecisionList, differences, review
from meshscope.algebra.limits import Undecided
from meshscope.algebra.request import Request
from meshscope.policy.authorization import Rule
from meshscope.policy.http_route import RouteMatch

Holds = Callable[[Request], bool]
OTHERWISE = 9


@dataclass(frozen=True)
class Tried:
    """A rule for the algebra and for the oracle."""

    decision: Decision
    holds: Holds
    parts: tuple[Holds, ...]


def _route(match: RouteMatch, outcome: int) -> Tried:
    parts: list[Holds] = [lambda request: path_meets(match.path, request.path)]
    parts += [lambda request, h=h: header_meets(h, request) for h in match.headers]  # type: ignore[misc]
    parts += [lambda request, m=m: metadata_meets(m, request) for m in match.metadata]  # type: ignore[misc]
    parts += [
        lambda request, q=q: any(meets(q.match, value) for _, value in request.query)  # type: ignore[misc]
        for q in match.query
    ]
    return Tried(
        Decision(route_match(match), outcome),
        lambda request: route_meets(match, request),
        tuple(parts),
    )


def _access(found: Rule, outcome: int) -> Tried:
    return Tried(
        Decision(rule(found), outcome),
        lambda request: rule_meets(found, request),
        tuple(
            lambda request, c=c: condition_meets(c, request)  # type: ignore[misc]
            for alternative in (*found.sources, *found.operations)
            for c in alternative
        ),
    )


def rules(max_size: int = 6) -> st.SearchStrategy[list[Tried]]:
    outcome = st.integers(0, 2)
    one = st.builds(_route, route_matches(), outcome) | st.builds(_access, access_rules(), outcome)
    return st.lists(one, min_size=1, max_size=max_size)


def world(tried: Sequence[Tried]) -> list[Request]:
    return list(requests([part for rule in tried for part in rule.parts]))


def decide(tried: Sequence[Tried], request: Request) -> Any:
    return next((rule.decision.outcome for rule in tried if rule.holds(request)), OTHERWISE)


def standing(tried: Sequence[Tried], number: int, everything: Sequence[Request]) -> str:
    mine = [request for request in everything if tried[number].holds(request)]
    firsts = [r for r in mine if not any(rule.holds(r) for rule in tried[:number])]
    after = tried[number + 1 :]
    if any(decide(after, r) != tried[number].decision.outcome for r in firsts):
        return "decides"
    return "redundant" if firsts else "shadowed" if mine else "impossible"


def as_list(tried: Sequence[Tried]) -> DecisionList:
    return DecisionList(tuple(rule.decision for rule in tried), OTHERWISE)


@settings(max_examples=150, deadline=None)
@given(rules())
def test_what_each_rule_is_good_for(tried: list[Tried]) -> None:
    found = review(as_list(tried), WORLD)

    assert not isinstance(found, Undecided)
    everything = world(tried)
    for number, rule_review in enumerate(found):
        assert rule_review.standing == standing(tried, number, everything)
        example = rule_review.example
        if example is None:
            assert rule_review.standing == "impossible"
            continue
        assert tried[number].holds(example)
        earlier = [n for n in range(number) if tried[n].holds(example)]
        if rule_review.standing == "shadowed":
            assert earlier[0] in rule_review.earlier
        else:
            assert earlier == []


@settings(max_examples=150, deadline=None)
@given(rules(), rules(3), st.data())
def test_which_requests_two_lists_treat_differently(
    one: list[Tried], new: list[Tried], data: st.DataObject
) -> None:
    cut = data.draw(st.integers(0, len(one)))
    other = [*one[:cut], *new, *one[cut + data.draw(st.integers(0, 2)) :]]

    found = differences(as_list(one), as_list(other), WORLD)

    assert not isinstance(found, Undecided)
    pairs = {(decide(one, r), decide(other, r)) for r in world([*one, *new])}
    assert {(change.before, change.after) for change in found} == {
        (before, after) for before, after in pairs if before != after
    }
    for change in found:
        assert decide(one, change.example) == change.before
        assert decide(other, change.example) == change.after


@settings(max_examples=50, deadline=None)
@given(rules())
def test_leaving_out_what_never_decides_changes_nothing(tried: list[Tried]) -> None:
    found = review(as_list(tried), WORLD)
    assert not isinstance(found, Undecided)
    dead = {n for n, said in enumerate(found) if said.standing in ("shadowed", "impossible")}

    kept = [rule for number, rule in enumerate(tried) if number not in dead]

    assert differences(as_list(tried), as_list(kept), WORLD) == ()
