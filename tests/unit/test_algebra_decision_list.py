"""What lists of rules mean: shadowing, differences, examples, what cannot be decided."""

from __future__ import annotations

from dataclasses import replace

import pytest

from meshscope.algebra.conditions import condition, domains, header, route_match, rule
from meshscope.algebra.decision_list import (
    Decision,
    DecisionList,
    RuleReview,
    differences,
    review,
)
from meshscope.algebra.dimensions import Cube
from meshscope.algebra.limits import LIMITS, Undecided
from meshscope.algebra.request import Request
from meshscope.policy.authorization import Attribute, Condition, Rule
from meshscope.policy.http_route import RouteMatch
from meshscope.policy.matches import (
    Fraction,
    HeaderMatch,
    PathMatch,
    QueryMatch,
    StringMatch,
)


def exactly(value: str) -> StringMatch:
    return StringMatch("exact", value)


def routes(*matches: RouteMatch) -> DecisionList:
    return DecisionList(
        tuple(Decision(route_match(match), number) for number, match in enumerate(matches))
    )


def access(*conditions: Condition) -> DecisionList:
    found = rule(Rule("ns/p", 0, (conditions,)))
    return DecisionList((Decision(found, "allow"),), "deny")


def reviewed(rules: DecisionList, given: tuple[Cube, ...] = ((),)) -> tuple[RuleReview, ...]:
    found = review(rules, given)
    assert not isinstance(found, Undecided)
    return found


def standings(*matches: RouteMatch) -> list[str]:
    return [found.standing for found in reviewed(routes(*matches))]


def test_a_rule_is_shadowed_by_the_union_of_earlier_ones() -> None:
    get = HeaderMatch(":method", exactly("GET"))
    rules = routes(
        RouteMatch(PathMatch("prefix", "/a"), headers=(get,)),
        RouteMatch(PathMatch("prefix", "/a"), headers=(replace(get, invert=True),)),
        RouteMatch(PathMatch("exact", "/a/b")),
    )

    found = reviewed(rules)

    assert [r.standing for r in found] == ["decides", "decides", "shadowed"]
    assert found[2].earlier == (0, 1)
    assert found[2].example == Request(path="/a/b")
    assert found[1].example == Request("POST", path="/a")


@pytest.mark.parametrize(
    ("first", "second", "standing"),
    [
        (PathMatch("prefix", "/a"), PathMatch("path_separated_prefix", "/a"), "shadowed"),
        (PathMatch("path_separated_prefix", "/a"), PathMatch("prefix", "/a"), "decides"),
        (PathMatch("regex", "/a/.*"), PathMatch("template", "/a/*"), "shadowed"),
        (PathMatch("template", "/a/*"), PathMatch("regex", "/a/.*"), "decides"),
        (PathMatch("prefix", "/A", False), PathMatch("exact", "/a/b"), "shadowed"),
        (PathMatch("exact", "/a"), PathMatch("exact", "/A", False), "decides"),
        (PathMatch("prefix", "/"), PathMatch("regex", "/.*"), "shadowed"),
        (PathMatch("prefix", "/"), PathMatch("regex", ".*"), "decides"),
    ],
)
def test_forms_of_paths(first: PathMatch, second: PathMatch, standing: str) -> None:
    assert standings(RouteMatch(first), RouteMatch(second))[1] == standing


def test_a_condition_that_nothing_meets_is_told_from_one_that_is_taken() -> None:
    never = RouteMatch(PathMatch("exact", "no-slash"))
    assert standings(never) == ["impossible"]


def test_an_example_says_no_more_than_it_must() -> None:
    found = reviewed(
        routes(
            RouteMatch(
                PathMatch("regex", r"/users/\d+"),
                headers=(HeaderMatch("x-tenant", StringMatch("prefix", "acme-")),),
                query=(QueryMatch("debug", StringMatch("present")),),
            )
        )
    )
    assert str(found[0].example) == "GET /users/0?debug=, x-tenant: acme-, over plaintext"


def test_a_missing_header_meets_no_condition_not_even_an_inverted_one() -> None:
    not_a = HeaderMatch("x", exactly("a"), invert=True)
    everything = RouteMatch()
    assert standings(RouteMatch(headers=(not_a,)), everything) == ["decides", "decides"]
    a = replace(not_a, invert=False)
    either = routes(RouteMatch(headers=(not_a,)), RouteMatch(headers=(a,)), everything)
    assert reviewed(either)[2].example == Request()
    as_empty = replace(not_a, missing_as_empty=True)
    assert standings(RouteMatch(headers=(as_empty,)), RouteMatch(headers=(a,)), everything) == [
        "decides",
        "decides",
        "shadowed",
    ]


def test_absence_can_be_asked_for() -> None:
    missing = HeaderMatch("x", StringMatch("present"), invert=True)
    there = HeaderMatch("x", StringMatch("present"))
    assert standings(
        RouteMatch(headers=(missing,)), RouteMatch(headers=(there,)), RouteMatch()
    ) == ["decides", "decides", "shadowed"]


def test_given_domains_narrow_what_can_arrive() -> None:
    internal = StringMatch("suffix", ".internal", ignore_case=True)
    rules = routes(RouteMatch(headers=(HeaderMatch(":authority", internal),)), RouteMatch())

    assert reviewed(rules, domains(["cart.internal"]))[1].standing == "shadowed"
    assert reviewed(rules, domains(["*.internal", "cart"]))[1].standing == "decides"
    assert reviewed(rules, domains(["cart"]))[0].standing == "impossible"


def test_domains_ignore_case_and_conditions_do_not() -> None:
    lower = StringMatch("exact", "cart")
    rules = routes(RouteMatch(headers=(HeaderMatch(":authority", lower),)), RouteMatch())

    bypass = reviewed(rules, domains(["cart"]))[1]

    assert bypass.standing == "decides"
    assert bypass.example is not None
    assert bypass.example.authority.lower() == "cart" != bypass.example.authority


def test_a_wildcard_stands_for_at_least_one_character() -> None:
    rules = routes(RouteMatch(headers=(HeaderMatch(":authority", exactly(".b")),)))
    assert reviewed(rules, domains(["*.b"]))[0].standing == "impossible"


def test_rewritten_rules_are_equivalent_and_a_swap_is_not() -> None:
    a, ab = RouteMatch(PathMatch("prefix", "/a")), RouteMatch(PathMatch("exact", "/a/b"))
    one = DecisionList((Decision(route_match(ab), "x"), Decision(route_match(a), "y")))
    split = DecisionList(
        (
            Decision(route_match(RouteMatch(PathMatch("regex", "/a/b"))), "x"),
            Decision(route_match(RouteMatch(PathMatch("path_separated_prefix", "/a"))), "y"),
            Decision(route_match(RouteMatch(PathMatch("regex", "/a[^/].*"))), "y"),
        )
    )
    assert differences(one, split) == ()

    swapped = differences(one, DecisionList(one.decisions[::-1]))
    assert not isinstance(swapped, Undecided)
    assert [(c.before, c.after, c.example.path) for c in swapped] == [("x", "y", "/a/b")]
    assert (swapped[0].rule_before, swapped[0].rule_after) == (0, 0)


def test_who_gains_and_who_loses() -> None:
    before = access(
        Condition("principal", values=(StringMatch("suffix", "/ns/shop/sa/frontend"),)),
        Condition("destination_port", values=(exactly("8080"),)),
    )
    after = access(Condition("principal", values=(StringMatch("regex", ".*/ns/shop/.*"),)))

    found = differences(before, after)

    assert not isinstance(found, Undecided)
    assert [(c.before, c.after) for c in found] == [("deny", "allow")]
    example = found[0].example
    assert example.principal.startswith("spiffe://")
    assert "/ns/shop/" in example.principal
    assert example.transport == "mtls"


def test_a_negated_identity_is_met_by_plaintext() -> None:
    stranger = Condition("principal", values=(StringMatch("regex", ".*/ns/evil/.*"),), negated=True)
    found = reviewed(access(stranger))
    assert found[0].example == Request()


@pytest.mark.parametrize(
    ("attribute", "value", "field", "example"),
    [
        ("direct_remote_ip", "192.168.0.0/16", "peer_address", "192.168.0.0"),
        ("source_ip", "192.168.0.0/16", "peer_address", "192.168.0.0"),
        ("remote_ip", "fd00::/8", "client_address", "fd00::"),
        ("destination_ip", "10.1.0.0/16", "destination_address", "10.1.0.0"),
        ("requested_server_name", "a.b", "server_name", "a.b"),
        ("destination_port", "8443", "port", 8443),
    ],
)
def test_properties_of_connections(
    attribute: Attribute, value: str, field: str, example: object
) -> None:
    found = reviewed(access(Condition(attribute, values=(exactly(value),))))
    assert getattr(found[0].example, field) == example


def test_lists_of_claims_are_sets_of_elements() -> None:
    def groups(*values: str, negated: bool = False) -> Condition:
        return Condition(
            "metadata", "jwt/groups", tuple(map(exactly, values)), "only", negated=negated
        )

    found = reviewed(access(groups("admin"), groups("dev"), groups("guest", negated=True)))

    assert found[0].standing == "decides"
    assert found[0].example is not None
    assert found[0].example.claims == (("jwt/groups", ("admin", "dev")),)
    assert reviewed(access(groups("a"), groups("a", "b", negated=True)))[0].standing == (
        "impossible"
    )


def test_many_conditions_on_one_claim_do_not_multiply() -> None:
    one = tuple(
        Condition("metadata", "jwt/groups", (exactly(str(number)),), "also", negated=True)
        for number in range(12)
    )
    cubes = rule(Rule("ns/p", 0, (one,), (one,)))
    # No such claim, a string or a list of none of them.
    assert len(cubes) == 3
    (found,) = reviewed(DecisionList((Decision(cubes, "allow"),), "deny"))
    assert found.example == Request()


@pytest.mark.parametrize(
    "match",
    [
        RouteMatch(PathMatch("regex", r"/\bx.*")),
        RouteMatch(PathMatch("regex", "/.*a.{20}")),
        RouteMatch(fraction=Fraction(500_000)),
        RouteMatch(headers=(HeaderMatch(":path", exactly("/?a=b")),)),
        RouteMatch(headers=(HeaderMatch("x", StringMatch("regex", r"\pL+")),)),
        RouteMatch(query=(QueryMatch("x", StringMatch("regex", r"\pL+")),)),
    ],
)
def test_what_is_not_modelled_is_said_with_the_answer(match: RouteMatch) -> None:
    same = differences(routes(match, RouteMatch()), routes(match, RouteMatch()))
    assert same == ()

    found = differences(routes(RouteMatch(), match), routes(match, RouteMatch()))
    assert not isinstance(found, Undecided)
    assert all(change.example.assumes for change in found)
    # A rule that everything before it takes is shadowed, whatever it means.
    star = RouteMatch(PathMatch("exact", "*"))
    connect = RouteMatch(PathMatch("connect"))
    assert standings(RouteMatch(), star, connect, match)[3] == "shadowed"


def test_an_example_without_assumptions_is_preferred() -> None:
    half = RouteMatch(PathMatch("prefix", "/a"), fraction=Fraction(500_000))
    plain = RouteMatch(PathMatch("prefix", "/b"))
    one = DecisionList((Decision((*route_match(half), *route_match(plain)), "x"),), "y")
    found = differences(one, DecisionList((), "y"))
    assert not isinstance(found, Undecided)
    assert found[0].example == Request(path="/b")


@pytest.mark.parametrize(
    "unmodelled",
    [
        Condition("filter_state", "some.key", (exactly("x"),)),
        Condition("principal", values=(StringMatch("regex", r"\bx"),)),
        Condition("remote_ip", values=(exactly("no address"),)),
        Condition("path_template", values=(exactly("/{a"),)),
        Condition("metadata", "jwt/x", (StringMatch("regex", r"\bx"),)),
        Condition("header", ":path", (exactly("/"),)),
    ],
)
def test_conditions_of_access_rules_that_are_not_modelled(unmodelled: Condition) -> None:
    for negated in (False, True):
        found = reviewed(access(replace(unmodelled, negated=negated)))
        assert found[0].example is not None
        assert len(found[0].example.assumes) == 1
        assert found[0].example.assumes[0].startswith("not ") == negated


def test_limits_give_undecided_with_the_reason() -> None:
    lists = DecisionList(
        tuple(Decision(header(HeaderMatch(f"x-{n}", exactly(str(n % 7)))), n) for n in range(40))
    )
    found = review(lists, limits=replace(LIMITS, nodes=20))
    assert found == Undecided("the answer needs more than 20 decisions")
    found = review(lists, limits=replace(LIMITS, slots=10))
    assert found == Undecided("the conditions look at more than 10 things")
    wide = Rule(
        "ns/p", 0, tuple((Condition("path", values=(exactly(f"/{n}"),)),) for n in range(40))
    )
    cubes = rule(wide)
    found = review(DecisionList((Decision(cubes, 0),)), limits=replace(LIMITS, products=10))
    assert found == Undecided("a rule has more than 10 alternatives")


def test_conditions_that_hold_never_or_always() -> None:
    assert condition(Condition("never")) == ()
    assert condition(Condition("never", negated=True)) == ((),)


def test_grpc_is_told_by_its_content_type() -> None:
    found = reviewed(routes(RouteMatch(grpc=True)))
    assert found[0].example is not None
    assert found[0].example.headers == (("content-type", "application/grpc"),)


def test_connect_has_no_path() -> None:
    found = reviewed(routes(RouteMatch(), RouteMatch(PathMatch("connect"))))
    assert found[1].example == Request("CONNECT", path="")
