"""Boundary requests of lists of rules, and the mistakes that they tell."""

from __future__ import annotations

from dataclasses import replace

import pytest

from meshscope.algebra.boundary import Boundaries, Mutation, boundary_requests
from meshscope.algebra.limits import LIMITS, Undecided
from meshscope.algebra.neighbours import Match, neighbours
from meshscope.policy.authorization import Condition, Rule
from meshscope.policy.http_route import RouteMatch
from meshscope.policy.matches import (
    Fraction,
    HeaderMatch,
    MetadataMatch,
    PathMatch,
    QueryMatch,
    StringMatch,
)


def exactly(value: str) -> StringMatch:
    return StringMatch("exact", value)


def boundaries(*rules: tuple[Match, str]) -> Boundaries:
    found = boundary_requests(rules, "denied")
    assert not isinstance(found, Undecided)
    return found


def asked(found: Boundaries) -> dict[str, object]:
    return {str(each.request): each.outcome for each in found.requests}


CART = Rule(
    "shop/cart",
    0,
    ((Condition("principal", values=(exactly("spiffe://cluster.local/ns/shop/sa/web"),)),),),
    (
        (
            Condition("header", ":method", (exactly("GET"),)),
            Condition("path", values=(exactly("/cart"), StringMatch("prefix", "/cart/"))),
        ),
    ),
)


def test_each_condition_both_ways() -> None:
    found = boundaries((CART, "allowed"))
    outcomes = list(asked(found).values())
    assert "allowed" in outcomes
    assert outcomes.count("denied") > outcomes.count("allowed") >= 1
    told = {mutation.words for each in found.requests for mutation in each.tells}
    for words in (
        "left out",
        "principal left out",
        "principal turned round",
        "header :method left out",
        "path left out",
        "path without /cart",
        "path prefix for exact",
        "path case ignored",
        "path a character shorter",
    ):
        assert words in told
    assert len(found.requests) < 20
    # Most requests tell several mistakes.
    assert sum(len(each.tells) for each in found.requests) > 2 * len(found.requests)


def test_a_rule_that_never_decides_has_no_boundary() -> None:
    prefix, within = RouteMatch(PathMatch("prefix", "/a")), RouteMatch(PathMatch("exact", "/a/b"))
    found = boundaries((prefix, "x"), (within, "y"))
    silent = {mutation.words for mutation in found.without_effect if mutation.rule == 1}
    assert "left out" in silent
    assert Mutation(0, "left out", 0) not in found.without_effect
    assert {each.rule for each in found.requests} <= {0, 1, None}


def test_what_is_not_modelled_is_said_with_the_request() -> None:
    half = RouteMatch(PathMatch("prefix", "/a"), fraction=Fraction(500_000))
    plain = RouteMatch(PathMatch("exact", "/b"))
    found = boundaries((half, "x"), (plain, "y"))
    told = [(each, {mutation.rule for mutation in each.tells}) for each in found.requests]
    assert all(each.request.assumes for each, rules in told if 0 in rules)
    assert any(not each.request.assumes for each, rules in told if rules == {1})


def test_limits_give_undecided() -> None:
    found = boundary_requests([(CART, "allowed")], "denied", limits=replace(LIMITS, nodes=3))
    assert found == Undecided("the answer needs more than 3 decisions")


def changes(match: Match) -> set[str]:
    return {words for words, _ in neighbours(match)}


def condition(*values: StringMatch, attribute: str = "path", **fields: object) -> Rule:
    found = Condition(attribute, values=values, **fields)  # type: ignore[arg-type]
    return Rule("ns/p", 0, ((found,),))


@pytest.mark.parametrize(
    ("match", "some"),
    [
        (
            condition(exactly("8080"), attribute="destination_port"),
            {"8079 for 8080", "8081 for 8080"},
        ),
        (condition(exactly("65535"), attribute="destination_port"), {"65534 for 65535"}),
        (
            condition(exactly("10.1.0.0/16"), attribute="remote_ip"),
            {"10.1.0.0/15 for 10.1.0.0/16", "10.1.0.0/17 for 10.1.0.0/16"},
        ),
        (condition(exactly("none"), attribute="remote_ip"), {"left out", "never met"}),
        (condition(exactly("x"), attribute="destination_port"), {"left out", "never met"}),
        (condition(exactly("a"), attribute="header", name="x"), {"missing counts otherwise"}),
        (
            condition(exactly("a"), attribute="metadata", name="jwt/a"),
            {"elements of lists count: only", "elements of lists count: also"},
        ),
        (condition(exactly("/a/*"), attribute="path_template"), {"turned round"}),
        (condition(StringMatch("suffix", "ab")), {"a character shorter", "contains for suffix"}),
        (condition(StringMatch("regex", "a+")), {"anywhere in the text"}),
        (condition(StringMatch("present")), {"turned round"}),
        (RouteMatch(PathMatch("regex", "/a+")), {"left out", "anywhere in the path"}),
        (RouteMatch(PathMatch("connect")), {"left out"}),
        (RouteMatch(PathMatch("template", "/*")), {"left out"}),
        (RouteMatch(PathMatch("prefix", "/a")), {"path_separated_prefix for prefix"}),
        (RouteMatch(PathMatch("exact", "/a/")), {"prefix for exact", "case ignored"}),
        (RouteMatch(PathMatch("exact", "/a", case_sensitive=False)), {"case counts"}),
        (RouteMatch(headers=(HeaderMatch("x", exactly("a")),)), {"left out", "turned round"}),
        (RouteMatch(headers=(HeaderMatch(":method", exactly("GET")),)), {"left out"}),
        (RouteMatch(query=(QueryMatch("q", exactly("a")),)), {"left out", "prefix for exact"}),
        (
            RouteMatch(metadata=(MetadataMatch("jwt", ("a",), (exactly("a"), exactly("b"))),)),
            {"turned round", "without a", "elements of lists count: also"},
        ),
        (RouteMatch(grpc=True), {"gRPC left out"}),
        (RouteMatch(fraction=Fraction(1)), {"share of requests left out"}),
    ],
)
def test_neighbours(match: Match, some: set[str]) -> None:
    found = changes(match)
    assert all(any(words.endswith(each) for words in found) for each in some), found


def test_a_rule_for_everything_has_no_condition_to_change() -> None:
    assert changes(RouteMatch()) == set()
    assert changes(Rule("ns/p", 0)) == set()
    separated = changes(RouteMatch(PathMatch("exact", "/a/")))
    assert "path path_separated_prefix for exact" not in separated
