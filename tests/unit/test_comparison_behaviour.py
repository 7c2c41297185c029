"""Differences by what they do to requests: effect, witness, and when there is no answer."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from meshscope.algebra.request import Request
from meshscope.comparison.behaviour import Behaviour, behaviour
from meshscope.evaluation.access import allow, deny
from meshscope.evaluation.routing import route
from meshscope.policy import key as keys
from meshscope.policy.authorization import Authorization, Condition, CustomRules, Rule
from meshscope.policy.http_route import (
    Fault,
    Forward,
    HttpRoute,
    HttpRule,
    Redirect,
    Respond,
    Rewrite,
    RouteMatch,
)
from meshscope.policy.key import PolicyKey
from meshscope.policy.matches import Fraction, HeaderMatch, PathMatch, StringMatch
from meshscope.policy.policy import Content, Policy
from meshscope.policy.target import Target, WeightedTarget

MTLS = keys.authorization(8080, "mtls", "http")
PLAINTEXT = keys.authorization(8080, "plaintext", "http")
ROUTE = keys.http_route("80", "cart:80")
A, B = (Forward((WeightedTarget(Target("named", name)),)) for name in ("a", "b"))


def found(key: PolicyKey, declared: Content, observed: Content) -> Behaviour:
    answer = behaviour(Policy(key, declared), Policy(key, observed))
    assert answer is not None
    return answer


def request(answer: Behaviour) -> Request:
    """The witness, as what can be evaluated."""
    assert answer.witness is not None
    fields = json.loads(answer.witness)["request"]
    for name in ("query", "headers", "claims"):
        fields[name] = tuple(fields.get(name, {}).items())
    return Request(**fields)


def said(answer: Behaviour) -> tuple[str, str]:
    assert answer.witness is not None
    witness = json.loads(answer.witness)
    return witness["expected"], witness["observed"]


def rule(*conditions: Condition) -> Rule:
    return Rule("shop/cart", 0, (conditions,))


def paths(*values: str, negated: bool = False) -> Condition:
    return Condition(
        "path", values=tuple(StringMatch("prefix", value) for value in values), negated=negated
    )


def callers(*names: str, negated: bool = False) -> Condition:
    values = tuple(StringMatch("suffix", f"/sa/{name}") for name in names)
    return Condition("principal", values=values, negated=negated)


def routes(*rules: HttpRule) -> HttpRoute:
    return HttpRoute(("cart", "cart.shop"), rules)


def to(forward: Forward, path: str = "/", **fields: object) -> HttpRule:
    return HttpRule(RouteMatch(PathMatch("prefix", path)), forward=forward, **fields)  # type: ignore[arg-type]


def admits(access: Authorization, asked: Request) -> bool:
    return {deny(access, asked).verdict, allow(access, asked).verdict} == {"passes"}


@pytest.mark.parametrize(
    ("declared", "observed", "effect"),
    [
        (Authorization(allow=(rule(paths("/a")),)), Authorization(), "exposes"),
        (Authorization(), Authorization(allow=(rule(paths("/a")),)), "blocks"),
        (
            Authorization(allow=(rule(paths("/a")),)),
            Authorization(allow=(rule(paths("/b")),)),
            "exposes",
        ),
        (
            Authorization(deny=(rule(paths("/a")),)),
            Authorization(deny=(rule(paths("/a/b")),)),
            "exposes",
        ),
        (
            Authorization(allow=(rule(callers("a")),)),
            Authorization(allow=(rule(callers("a", "b")),)),
            "exposes",
        ),
        (Authorization(deny=(rule(callers("a", negated=True)),)), Authorization(), "exposes"),
    ],
)
def test_access_that_differs(declared: Authorization, observed: Authorization, effect: str) -> None:
    answer = found(MTLS, declared, observed)
    assert answer.effect == effect
    asked = request(answer)
    assert admits(declared, asked) != admits(observed, asked)
    assert admits(observed, asked) == (effect == "exposes")
    assert (asked.transport, asked.port) == ("mtls", 8080)
    assert asked.principal


@pytest.mark.parametrize(
    ("declared", "observed"),
    [
        # What a rule allows is denied before, an allowed path is named twice, a complement.
        (
            Authorization(
                deny=(rule(paths("/a")),), allow=(rule(paths("/a/b")), rule(paths("/c")))
            ),
            Authorization(deny=(rule(paths("/a")),), allow=(rule(paths("/c")),)),
        ),
        (
            Authorization(allow=(rule(paths("/a")), rule(paths("/a/b"), callers("x")))),
            Authorization(allow=(rule(paths("/a", "/a/c")),)),
        ),
        (
            Authorization(deny=(rule(paths("/a", negated=True)),)),
            Authorization(allow=(rule(paths("/a")),)),
        ),
    ],
)
def test_access_in_another_form(declared: Authorization, observed: Authorization) -> None:
    assert found(MTLS, declared, observed) == Behaviour("equivalent")


def test_plaintext_has_no_identity() -> None:
    stranger = Authorization(deny=(rule(callers("evil")),))
    assert found(PLAINTEXT, stranger, Authorization()) == Behaviour("equivalent")
    assert found(MTLS, stranger, Authorization()).effect == "exposes"


def test_who_is_asked() -> None:
    unknown = CustomRules("gone", (rule(paths("/a")),))
    answer = found(MTLS, Authorization(custom=(unknown,)), Authorization())
    assert (answer.effect, request(answer).path) == ("exposes", "/a")


def test_no_answer_where_more_than_the_rules_differs_or_too_much_is_asked() -> None:
    audited = Authorization(audit=(rule(paths("/a")),))
    assert behaviour(Policy(MTLS, audited), Policy(MTLS, Authorization())) is None
    other_hosts = replace(routes(to(A)), domains=("elsewhere",))
    assert behaviour(Policy(ROUTE, routes(to(A))), Policy(ROUTE, other_hosts)) is None
    wide = Authorization(
        allow=(
            rule(*(Condition("header", f"x-{n}", (StringMatch("present"),)) for n in range(300))),
        )
    )
    assert behaviour(Policy(MTLS, wide), Policy(MTLS, Authorization())) is None
    words = (StringMatch("regex", f".*word{n}.*") for n in range(200))
    slow = Authorization(allow=tuple(rule(Condition("path", values=(word,))) for word in words))
    assert behaviour(Policy(MTLS, slow), Policy(MTLS, Authorization())) is None


@pytest.mark.parametrize(
    ("declared", "observed", "effect", "words"),
    [
        (to(A), to(B), "reroutes", ("sent to a", "sent to b")),
        (
            to(A),
            HttpRule(RouteMatch(), respond=Respond(503)),
            "blocks",
            ("sent to a", "answered with 503"),
        ),
        (
            HttpRule(RouteMatch(), respond=Respond(503)),
            to(A),
            "reroutes",
            ("answered with 503", "sent to a"),
        ),
        (to(A), to(A, "/a"), "blocks", ("sent to a", "answered with 404, since no rule matches")),
        (to(A, "/a"), to(A), "reroutes", ("answered with 404, since no rule matches", "sent to a")),
        (to(A), to(replace(A, timeout_ms=1)), "alters", ("sent to a", "sent to a")),
        (
            to(A),
            to(A, fault=Fault(abort_status=500, abort_fraction=Fraction(1_000_000))),
            "blocks",
            ("sent to a",) * 2,
        ),
        (
            to(A),
            HttpRule(RouteMatch(), redirect=Redirect(302)),
            "reroutes",
            ("sent to a", "redirected with 302"),
        ),
        (to(A), HttpRule(RouteMatch()), "reroutes", ("sent to a", "what is not modelled")),
        (
            to(A),
            to(Forward((WeightedTarget(A.to[0].target, 1), WeightedTarget(B.to[0].target, 3)))),
            "reroutes",
            ("sent to a", "sent to a (25%), b (75%)"),
        ),
    ],
)
def test_routes_that_differ(
    declared: HttpRule, observed: HttpRule, effect: str, words: tuple[str, str]
) -> None:
    answer = found(ROUTE, routes(declared), routes(observed))
    assert answer.effect == effect
    assert said(answer) == words
    assert request(answer).authority in ("cart", "cart.shop")
    before, after = (route([r], request(answer), ROUTE, {}) for r in (declared, observed))
    if effect != "alters" and observed.fault is None:
        assert before.outcome != after.outcome


def test_routes_in_another_form() -> None:
    get = HeaderMatch(":method", StringMatch("exact", "GET"))
    one = routes(to(A))
    split = routes(
        HttpRule(RouteMatch(headers=(get,)), forward=A, name="get"),
        HttpRule(RouteMatch(headers=(replace(get, invert=True),)), forward=A),
        to(B, "/never"),
    )
    assert found(ROUTE, one, split) == Behaviour("equivalent")


def test_a_witness_is_preferred_that_assumes_nothing() -> None:
    word = HeaderMatch("x", StringMatch("regex", r"\bx"))
    boundary = HttpRule(RouteMatch(headers=(word,)), forward=B)
    answer = found(ROUTE, routes(boundary, to(A)), routes(to(A)))
    assert "assuming" in json.loads(answer.witness or "")["text"]
    answer = found(ROUTE, routes(boundary, to(B, "/b"), to(A)), routes(to(A)))
    assert request(answer) == Request(authority="cart", path="/b")


def test_no_answer_where_a_rewrite_hangs_on_the_form_of_the_condition() -> None:
    rewriting = replace(A, rewrite=Rewrite(prefix="/x"))
    one = routes(to(rewriting, "/a"))
    other = routes(
        HttpRule(RouteMatch(PathMatch("path_separated_prefix", "/a")), forward=rewriting),
        to(rewriting, "/a"),
    )
    assert behaviour(Policy(ROUTE, one), Policy(ROUTE, other)) is None
    assert found(ROUTE, one, one) == Behaviour("equivalent")
