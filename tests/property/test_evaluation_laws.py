"""Evaluation and algebra say the same of conditions, and both what RE2 says."""

from __future__ import annotations

import matching
from hypothesis import given, settings
from rule_lists import access_rules, requests, route_matches

from meshscope.algebra.conditions import route_match, rule
from meshscope.algebra.decision_list import Decision, DecisionList, differences
from meshscope.algebra.dimensions import Cube
from meshscope.algebra.limits import Undecided
from meshscope.evaluation.matching import route_meets, rule_meets
from meshscope.policy.authorization import Rule
from meshscope.policy.http_route import RouteMatch


@settings(max_examples=100, deadline=None)
@given(route_matches())
def test_routes_mean_the_same_to_evaluation_and_oracle(match: RouteMatch) -> None:
    for request in requests([lambda request: matching.route_meets(match, request)]):
        assert route_meets(match, request) == matching.route_meets(match, request)


@settings(max_examples=100, deadline=None)
@given(access_rules())
def test_access_rules_mean_the_same_to_evaluation_and_oracle(found: Rule) -> None:
    for request in requests([lambda request: matching.rule_meets(found, request)]):
        assert rule_meets(found, request) == matching.rule_meets(found, request)


def only(cubes: tuple[Cube, ...]) -> DecisionList:
    return DecisionList((Decision(cubes, True),), False)


@settings(max_examples=100, deadline=None)
@given(route_matches(), route_matches())
def test_evaluation_confirms_differences_of_routes(one: RouteMatch, other: RouteMatch) -> None:
    found = differences(only(route_match(one)), only(route_match(other)))
    assert not isinstance(found, Undecided)
    for change in found:
        assert route_meets(one, change.example) == change.before
        assert route_meets(other, change.example) == change.after


@settings(max_examples=100, deadline=None)
@given(access_rules(), access_rules())
def test_evaluation_confirms_differences_of_access(one: Rule, other: Rule) -> None:
    found = differences(only(rule(one)), only(rule(other)))
    assert not isinstance(found, Undecided)
    for change in found:
        assert rule_meets(one, change.example) == change.before
        assert rule_meets(other, change.example) == change.after
