"""Which requests a difference concerns, in words."""

from __future__ import annotations

import pytest

from meshscope.comparison.behaviour import behaviour
from meshscope.comparison.request_words import MOST_PRODUCTS
from meshscope.comparison.verdict import Affected
from meshscope.policy import key as keys
from meshscope.policy.authorization import Authorization, Condition, CustomRules, Rule
from meshscope.policy.authorization import ExternalAuthorizer as Authorizer
from meshscope.policy.http_route import Forward, HttpRoute, HttpRule, RouteMatch
from meshscope.policy.key import PolicyKey
from meshscope.policy.matches import (
    Fraction,
    HeaderMatch,
    MetadataMatch,
    PathMatch,
    QueryMatch,
    StringMatch,
)
from meshscope.policy.policy import Content, Policy
from meshscope.policy.target import Target, WeightedTarget

MTLS = keys.authorization(8080, "mtls", "http")
PLAINTEXT = keys.authorization(8080, "plaintext", "http")
ROUTE = keys.http_route("80", "cart:80")
A, B = (Forward((WeightedTarget(Target("named", name)),)) for name in ("a", "b"))
CLAIM = "envoy.filters.http.jwt_authn/payload/groups"
SHOP = StringMatch("regex", ".*/ns/shop/.*")
FRONTEND = StringMatch("exact", "spiffe://cluster.local/ns/shop/sa/frontend")


def affected(key: PolicyKey, declared: Content, observed: Content) -> tuple[Affected, ...]:
    answer = behaviour(Policy(key, declared), Policy(key, observed))
    assert answer is not None
    return answer.affected


def texts(key: PolicyKey, declared: Content, observed: Content) -> list[tuple[str, str]]:
    return [(some.effect, some.text) for some in affected(key, declared, observed)]


def exactly(*values: str) -> tuple[StringMatch, ...]:
    return tuple(StringMatch("exact", value) for value in values)


def below(*values: str) -> tuple[StringMatch, ...]:
    return tuple(StringMatch("prefix", value) for value in values)


def methods(*names: str, negated: bool = False) -> Condition:
    return Condition("header", ":method", exactly(*names), negated=negated)


def paths(*values: StringMatch, negated: bool = False) -> Condition:
    return Condition("path", values=values, negated=negated)


def rule(sources: tuple[Condition, ...], *operation: Condition) -> Rule:
    return Rule("shop/cart", 0, (sources,), (operation,))


def allows(*rules: Rule) -> Authorization:
    return Authorization(allow=rules)


FROM_SHOP = (Condition("principal", values=(SHOP,)),)
FROM_FRONTEND = (Condition("principal", values=(FRONTEND,)),)


def test_a_method_more() -> None:
    declared = allows(rule(FROM_SHOP, methods("GET"), paths(*below("/cart"))))
    observed = allows(rule(FROM_SHOP, methods("GET", "POST"), paths(*below("/cart"))))
    assert affected(MTLS, declared, observed) == (
        Affected("exposes", "denied", "allowed", ("POST /cart* from ns/shop/*",)),
    )


def test_who_gains_and_who_loses() -> None:
    declared = allows(rule(FROM_SHOP, paths(*exactly("/admin"))))
    observed = allows(rule(FROM_FRONTEND))
    assert texts(MTLS, declared, observed) == [
        ("exposes", "any path but /admin from cluster.local/ns/shop/sa/frontend"),
        ("blocks", "/admin from ns/shop/* but cluster.local/ns/shop/sa/frontend"),
    ]


def test_what_is_shorter_is_said() -> None:
    declared = allows(
        rule(FROM_SHOP, methods("GET"), paths(*exactly("/health"))),
        rule(FROM_FRONTEND, methods("POST"), paths(*below("/charge/"))),
    )
    ((effect, text),) = texts(MTLS, declared, Authorization())
    assert effect == "exposes"
    assert text == (
        "all but GET /health from ns/shop/*; POST /charge/* from cluster.local/ns/shop/sa/frontend"
    )
    assert affected(MTLS, declared, Authorization())[0].inverted
    assert texts(MTLS, Authorization(deny=(rule(()),)), Authorization()) == [
        ("exposes", "every request")
    ]


@pytest.mark.parametrize(
    ("condition", "text"),
    [
        (Condition("principal", values=(FRONTEND,), negated=True), "from anyone but {0}"),
        (Condition("direct_remote_ip", values=exactly("10.0.0.0/8")), "from peers at 10.0.0.0/8"),
        (Condition("remote_ip", values=exactly("10.0.0.0/8")), "on behalf of 10.0.0.0/8"),
        (Condition("destination_ip", values=exactly("10.0.0.1")), "to address 10.0.0.1"),
        (Condition("requested_server_name", values=exactly("a.b")), "with SNI a.b"),
        (
            Condition("requested_server_name", values=exactly("a.b"), negated=True),
            "unless SNI is a.b",
        ),
        (Condition("header", "x", exactly("a", "b")), "with header x a or b"),
        (Condition("header", "x", exactly("a"), negated=True), "unless header x is a"),
        (Condition("header", "x", (StringMatch("present"),), negated=True), "without header x"),
        (Condition("header", "host", exactly("a")), "to host a"),
        (Condition("metadata", CLAIM, exactly("dev"), "only"), None),
        (Condition("filter_state", "k", exactly("v")), "if filter state k exact v"),
        (
            Condition("filter_state", "k", exactly("v"), negated=True),
            "unless filter state k exact v",
        ),
    ],
)
def test_words_for_conditions(condition: Condition, text: str | None) -> None:
    found = texts(MTLS, allows(), allows(rule((condition,))))
    identity = FRONTEND.value.removeprefix("spiffe://")
    expected = text or "with dev in claim groups"
    assert found == [("exposes", f"every request {expected.format(identity)}")]


def test_claims_and_many_products() -> None:
    string = Condition("metadata", CLAIM, exactly("dev"))
    ((_, text),) = texts(MTLS, allows(), allows(rule((string,))))
    assert text == "every request with claim groups dev"
    ((_, text),) = texts(MTLS, allows(rule((string,))), Authorization())
    assert (
        text == "every request with claim groups anything but dev; "
        "every request without claim groups as a string"
    )
    none = Condition("metadata", CLAIM, exactly("dev"), "only", negated=True)
    ((_, text),) = texts(MTLS, allows(), allows(rule((none,))))
    assert "without dev in claim groups" in text
    assert "without claim groups as a list" in text
    many = tuple(
        rule((), methods(f"M{number}"), paths(*exactly(f"/{number}"))) for number in range(9)
    )
    (some,) = affected(MTLS, allows(), allows(*many))
    assert (len(some.requests), some.more, some.complete) == (MOST_PRODUCTS, 3, True)
    assert some.text.endswith(" and 3 more")
    many = tuple(
        rule((), methods(f"M{number}"), paths(*exactly(f"/{number}"))) for number in range(60)
    )
    (some,) = affected(MTLS, allows(), allows(*many))
    assert some.text.endswith(" and at least 44 more")
    paths_ = paths(*exactly(*(f"/{number}" for number in range(12))))
    ((_, text),) = texts(MTLS, allows(), allows(rule((), paths_)))
    assert text.endswith("/5 or 4 more")


def test_who_is_asked_is_said() -> None:
    rules = (rule((), paths(*exactly("/beta"))),)
    asked = Authorization(custom=(CustomRules("p", rules, Authorizer("grpc", "authz:9000")),))
    assert affected(PLAINTEXT, Authorization(), asked) == (
        Affected("blocks", "allowed", "decided by authz:9000", ("/beta",)),
    )
    unknown = Authorization(custom=(CustomRules("p", rules),))
    assert affected(PLAINTEXT, unknown, Authorization())[0].expected == "denied"


def test_nothing_is_said_where_nothing_is_known() -> None:
    same = allows(rule(FROM_SHOP))
    assert affected(MTLS, same, allows(rule(FROM_SHOP), rule(FROM_SHOP))) == ()


def to(forward: Forward, match: RouteMatch | None = None, **fields: object) -> HttpRule:
    return HttpRule(match or RouteMatch(), forward=forward, **fields)  # type: ignore[arg-type]


def host(*rules: HttpRule) -> HttpRoute:
    return HttpRoute(("cart", "*.shop"), rules)


@pytest.mark.parametrize(
    ("match", "text"),
    [
        (RouteMatch(PathMatch("path_separated_prefix", "/a")), "/a[/*]"),
        (RouteMatch(PathMatch("prefix", "/A", case_sensitive=False)), "/a* (any case)"),
        (RouteMatch(PathMatch("regex", "/v[0-9]+")), "regex /v[0-9]+"),
        (RouteMatch(PathMatch("template", "/a/*")), "/a/*"),
        (RouteMatch(PathMatch("connect")), "CONNECT"),
        (RouteMatch(query=(QueryMatch("q", StringMatch("present")),)), "/* with query q *"),
        (
            RouteMatch(headers=(HeaderMatch("x", StringMatch("exact", "1"), invert=True),)),
            "/* with header x anything but 1",
        ),
        (
            RouteMatch(grpc=True),
            "/* with header content-type application/grpc or application/grpc+*",
        ),
        (RouteMatch(fraction=Fraction(500_000)), "/* if the request is among 50 %"),
        (
            RouteMatch(metadata=(MetadataMatch("jwt", ("sub",), exactly("a")),)),
            "/* with claim sub a",
        ),
    ],
)
def test_which_requests_go_elsewhere(match: RouteMatch, text: str) -> None:
    found = affected(ROUTE, host(to(A)), host(to(B, match), to(A)))
    assert [some.text for some in found] == [text]
    before = "answered with 404, since no rule matches" if text == "CONNECT" else "sent to a"
    assert (found[0].expected, found[0].observed) == (before, "sent to b")


def test_two_sets_of_one_name_stay_two() -> None:
    star = RouteMatch(PathMatch("exact", "/a*"))
    found = affected(
        ROUTE,
        host(to(A, star), to(B, RouteMatch(PathMatch("prefix", "/a")))),
        host(to(B, RouteMatch(PathMatch("prefix", "/a")))),
    )
    assert [some.text for some in found] == ["/a*"]
    found = affected(
        ROUTE,
        host(to(B, RouteMatch(PathMatch("prefix", "/a")))),
        host(to(A, star)),
    )
    assert {some.text for some in found} == {"/a*′", "/a* but /a*′"}
