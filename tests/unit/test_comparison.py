"""What a comparison says, in which words, and what it means."""

import json
from collections.abc import Iterable
from dataclasses import replace

import pytest

from meshscope.comparison import Difference, compare
from meshscope.comparison.codes import DRIFT_CODES
from meshscope.comparison.summary import summarise
from meshscope.comparison.verdict import ProxyVerdict
from meshscope.comparison.words import duration, render
from meshscope.policy import key as keys
from meshscope.policy.authorization import Authorization, Condition, Rule
from meshscope.policy.destination import ClientTls, Destination
from meshscope.policy.egress import Egress
from meshscope.policy.endpoints import Endpoint, Endpoints, LocalityEndpoints
from meshscope.policy.extension import Extension
from meshscope.policy.filter_order import FilterOrder
from meshscope.policy.http_connection import HttpConnection
from meshscope.policy.http_route import Forward, HttpRoute, HttpRule, Respond, Retry, RouteMatch
from meshscope.policy.inbound import Inbound, InboundRoutes, Upstream
from meshscope.policy.key import PolicyKey
from meshscope.policy.kinds import Kind
from meshscope.policy.matches import HeaderMatch, PathMatch, StringMatch
from meshscope.policy.outbound_listener import ChainMatch, OutboundChain, OutboundListener
from meshscope.policy.peer_authentication import AcceptedChain, PeerAuthentication, ServerTls
from meshscope.policy.policy import CONTENT_TYPES, Content, Policy
from meshscope.policy.request_authentication import JwtRule, RequestAuthentication
from meshscope.policy.source import ResourceRef
from meshscope.policy.target import Target, WeightedTarget
from meshscope.projection.result import Projection, Unverifiable

ROUTE = keys.http_route("8080", "cart.shop.svc.cluster.local:8080")
ACCESS = keys.authorization(8080, "mtls", "http")
PEERS = keys.peer_authentication(8080)
TOKENS = keys.request_authentication(8080, "mtls")
CLUSTER = keys.destination("cart.shop.svc.cluster.local", 8080)


def policies(*held: Policy) -> dict[PolicyKey, Policy]:
    return {policy.key: policy for policy in held}


def difference(key: PolicyKey, expected: Content, observed: Content) -> Difference:
    verdict = compare(Projection(policies(Policy(key, expected))), policies(Policy(key, observed)))
    (found,) = verdict.differences
    return found


def equals(*values: str) -> tuple[StringMatch, ...]:
    return tuple(StringMatch("exact", value) for value in values)


def rule(*paths: str, name: str = "shop/cart-callers", index: int = 0) -> Rule:
    return Rule(name, index, operations=((Condition("path", values=equals(*paths)),),))


def route(*weights: tuple[str, int], prefix: str = "/", timeout_ms: int = 0) -> HttpRoute:
    targets = (
        WeightedTarget(Target("outbound", "cart", 8080, subset), weight)
        for subset, weight in weights
    )
    forward = Forward(tuple(targets), timeout_ms=timeout_ms)
    match = RouteMatch(PathMatch("prefix", prefix))
    return HttpRoute(("cart",), (HttpRule(match, "r", forward),))


MUTUAL = AcceptedChain("tls", ("istio",), "http", ServerTls())
PLAIN = AcceptedChain("raw_buffer", (), "http")


# Verdicts


def test_nothing_on_both_sides_is_not_in_sync() -> None:
    assert compare(Projection({}), {}).verdict == "unknown"


def test_a_part_that_is_not_built_is_unverifiable_even_if_nothing_is_there() -> None:
    verdict = compare(Projection({}, unverifiable=(Unverifiable("not built", Kind.EGRESS),)), {})
    assert verdict.verdict == "unverifiable"
    assert str(verdict.unverifiable[0]) == "egress: not built"


def test_drift_outweighs_what_is_unverifiable() -> None:
    verdict = compare(
        Projection(
            policies(Policy(ROUTE, route(("", 1)))),
            unverifiable=(Unverifiable("not built", Kind.EGRESS),),
        ),
        {},
    )
    assert verdict.verdict == "drift"
    assert len(verdict.unverifiable) == 1


def test_of_several_reasons_the_first_counts() -> None:
    one = Unverifiable(
        "an EnvoyFilter", Kind.HTTP_ROUTE, source=ResourceRef("EnvoyFilter", "a", "b")
    )
    verdict = compare(
        Projection(
            policies(Policy(ROUTE, route(("", 1)))), unverifiable=(one, Unverifiable("everything"))
        ),
        {},
    )
    assert [part.keys for part in verdict.unverifiable] == [(ROUTE,), ()]
    assert verdict.unverifiable[0].to_json()["source"] == {
        "kind": "EnvoyFilter",
        "namespace": "a",
        "name": "b",
    }


def test_kinds_that_a_dump_lacks() -> None:
    declared = policies(Policy(ROUTE, route(("", 1))), Policy(ACCESS, Authorization(allow=())))
    lacking = (Unverifiable("the dump lacks RoutesConfigDump", Kind.HTTP_ROUTE),)
    verdict = compare(Projection(declared), {}, incomplete=lacking)
    assert [found.key for found in verdict.drift] == [ACCESS]
    assert [part.keys for part in verdict.unverifiable] == [(ROUTE,)]
    assert compare(Projection(declared), declared, incomplete=lacking).verdict == "unverifiable"


def test_what_nothing_declares_and_nothing_refers_to_is_a_note() -> None:
    held = policies(Policy(CLUSTER, Destination("eds")), Policy(ACCESS, Authorization()))
    declared = policies(held[ACCESS])
    verdict = compare(Projection(declared), held, unreferenced={CLUSTER})
    assert verdict.verdict == "in-sync"
    (found,) = verdict.equivalent
    assert (found.change, found.key) == ("extra", CLUSTER)
    assert found.observed.endswith("(nothing refers to it)")
    assert compare(Projection(declared), held).verdict == "drift"


def test_what_is_declared_is_compared_whether_something_refers_to_it_or_not() -> None:
    declared = policies(Policy(CLUSTER, Destination("eds")))
    other = policies(Policy(CLUSTER, Destination("strict_dns")))
    for held, verdict in ((declared, "in-sync"), (other, "drift")):
        assert compare(Projection(declared), held, unreferenced={CLUSTER}).verdict == verdict


def test_an_extension_that_nothing_declares_makes_what_it_stands_in_unverifiable() -> None:
    declared = policies(Policy(ROUTE, route(("", 1))), Policy(ACCESS, Authorization(allow=())))
    patch = Policy(keys.extension(str(ACCESS), "lua"), Extension("d", "type.googleapis.com/Lua"))
    verdict = compare(Projection(declared), {**declared, patch.key: patch})
    (found,) = verdict.differences
    assert (found.key, found.change, found.code) == (patch.key, "extra", "MSC-1132")
    assert "Lua that is not modelled" in found.observed
    (part,) = verdict.unverifiable
    assert part.keys == (ACCESS,)
    assert "lua stands in it" in part.reason


def test_an_extension_that_is_explained_is_no_drift() -> None:
    declared = policies(Policy(ACCESS, Authorization(allow=())))
    patch = Policy(keys.extension(str(ACCESS), "lua"), Extension("d"))
    because = Unverifiable("patched", source=ResourceRef("EnvoyFilter", "shop", "x"))
    verdict = compare(Projection(declared, unverifiable=(because,)), {**declared, patch.key: patch})
    assert verdict.verdict == "unverifiable"
    assert [part.keys for part in verdict.unverifiable] == [(ACCESS, patch.key)]


def test_an_extension_that_is_declared_is_in_sync() -> None:
    patch = Policy(keys.extension("http_route/8080", "lua"), Extension("d"))
    held = policies(patch, Policy(ROUTE, route(("", 1))))
    assert compare(Projection(held, alternatives={ROUTE: (held[ROUTE],)}), held).verdict == (
        "in-sync"
    )


# Form and meaning


def test_other_names_are_a_note_and_no_drift() -> None:
    found = difference(
        ACCESS,
        Authorization(allow=(rule("/cart"),)),
        Authorization(allow=(rule("/cart", name="shop/renamed"),)),
    )
    assert found.effect == "equivalent"
    assert found.fields[0].expected == "shop/cart-callers"
    assert found.fields[0].observed == "shop/renamed"


def test_weights_in_other_numbers_are_a_note_and_no_drift() -> None:
    assert difference(ROUTE, route(("a", 50), ("b", 50)), route(("a", 1), ("b", 1))).effect == (
        "equivalent"
    )


@pytest.mark.parametrize(
    ("path", "effect"),
    [
        (PathMatch("prefix", "/a"), "equivalent"),
        (PathMatch("exact", "/a"), "equivalent"),
        (PathMatch("path_separated_prefix", "/a"), "equivalent"),
        (PathMatch("connect"), "reroutes"),
        (PathMatch("exact", "*"), "reroutes"),
        (PathMatch("regex", ".*"), "reroutes"),
    ],
)
def test_routes_that_no_request_reaches_are_a_note(path: PathMatch, effect: str) -> None:
    declared = route(("a", 1))
    behind = HttpRule(RouteMatch(path), "r", Forward((WeightedTarget(Target("named", "x"), 1),)))

    held = replace(declared, rules=(*declared.rules, behind))

    assert difference(ROUTE, declared, held).effect == effect


def test_routes_behind_one_that_takes_only_some_requests_count() -> None:
    declared = route(("a", 1))
    (rule,) = declared.rules
    only = HeaderMatch("x", StringMatch("present"))
    some = replace(rule, match=replace(rule.match, headers=(only,)))

    assert difference(
        ROUTE, replace(declared, rules=(some,)), replace(declared, rules=(some, rule))
    )


def test_keys_that_istiod_fetches_may_be_any() -> None:
    observed = RequestAuthentication((JwtRule("https://a", local_keys="k1"),))
    key = Policy(TOKENS, observed)
    open_rule = RequestAuthentication((JwtRule("https://a"),))
    assert compare(Projection(policies(Policy(TOKENS, open_rule))), policies(key)).verdict == (
        "in-sync"
    )
    said = RequestAuthentication((JwtRule("https://a", local_keys="k2"),))
    assert difference(TOKENS, said, observed).effect == "exposes"
    other = difference(
        TOKENS, RequestAuthentication((JwtRule("https://a", audiences=("x",)),)), observed
    )
    assert [place.path for place in other.fields] == ["jwtRules[issuer https://a].audiences"]


def test_sources_alone_are_no_difference() -> None:
    content = route(("", 1))
    named = Policy(ROUTE, content, (ResourceRef("VirtualService", "shop", "cart"),))
    assert compare(Projection(policies(named)), policies(Policy(ROUTE, content))).verdict == (
        "in-sync"
    )


def test_sources_of_both_sides_are_named() -> None:
    old = ResourceRef("VirtualService", "shop", "old")
    new = ResourceRef("VirtualService", "shop", "new")
    verdict = compare(
        Projection(policies(Policy(ROUTE, route(("a", 1)), (new,)))),
        policies(Policy(ROUTE, route(("b", 1)), (old,))),
    )
    assert verdict.differences[0].sources == (new, old)


def test_where_one_outcome_is_that_there_is_no_policy() -> None:
    declared = Policy(ROUTE, route(("a", 1)))
    projection = Projection({}, alternatives={ROUTE: (None, declared)})
    assert compare(projection, {}).verdict == "in-sync"
    assert compare(projection, policies(declared)).verdict == "in-sync"
    (found,) = compare(projection, policies(Policy(ROUTE, route(("b", 1))))).differences
    assert found.change == "different"


# Words


def test_weights_in_words() -> None:
    found = difference(ROUTE, route(("v1", 90), ("v2", 10)), route(("v1", 50), ("v2", 50)))
    assert found.effect == "reroutes"
    assert found.fields[0].path == "http[path prefix /].route"
    assert found.expected == (
        "http[path prefix /].route: cart:8080 subset v1 weight 90, cart:8080 subset v2 weight 10"
    )
    assert found.observed.endswith("cart:8080 subset v1 weight 50, cart:8080 subset v2 weight 50")


def test_a_changed_match_and_timeout_in_words() -> None:
    found = difference(
        ROUTE, route(("", 1), prefix="/cart", timeout_ms=5000), route(("", 1), prefix="/crt")
    )
    assert [(place.path, place.expected, place.observed) for place in found.fields] == [
        ("http[path prefix /cart].match", "path prefix /cart", "path prefix /crt"),
        ("http[path prefix /cart].timeout", "5s", "0s"),
    ]


def test_a_changed_order_of_rules() -> None:
    first, second = route(("a", 1), prefix="/a").rules[0], route(("b", 1), prefix="/a/b").rules[0]
    found = difference(
        ROUTE, HttpRoute(("cart",), (first, second)), HttpRoute(("cart",), (second, first))
    )
    (place,) = found.fields
    assert place.path == "http[order]"
    assert place.expected == "path prefix /a, path prefix /a/b"
    assert found.effect == "reroutes"
    assert found.witness is not None
    witness = json.loads(found.witness)
    assert witness["request"]["path"] == "/a/b"
    assert witness["expected"] == "sent to cart:8080 subset a"
    assert witness["observed"] == "sent to cart:8080 subset b"


def test_the_order_of_rules_for_different_requests_means_nothing() -> None:
    first, second = route(("a", 1), prefix="/a").rules[0], route(("b", 1), prefix="/b").rules[0]
    found = difference(
        ROUTE, HttpRoute(("cart",), (first, second)), HttpRoute(("cart",), (second, first))
    )
    assert (found.effect, found.witness) == ("equivalent", None)
    assert not found.is_drift


def test_a_missing_rule_of_a_route() -> None:
    first, second = route(("a", 1), prefix="/a").rules[0], route(("b", 1), prefix="/b").rules[0]
    found = difference(
        ROUTE, HttpRoute(("cart",), (first, second)), HttpRoute(("cart",), (second,))
    )
    (place,) = found.fields
    assert (place.path, place.observed) == ("http[path prefix /a]", "not there")
    assert place.expected == "cart:8080 subset a"
    assert found.expected == "http[path prefix /a]: cart:8080 subset a"


def test_long_values_show_where_they_differ() -> None:
    left, right = "x" * 5000 + "a", "x" * 5000 + "b"

    def answers(body: str) -> HttpRoute:
        return HttpRoute(("a",), (HttpRule(RouteMatch(), respond=Respond(200, body)),))

    (place,) = difference(ROUTE, answers(left), answers(right)).fields
    assert place.expected.startswith("…")
    assert place.expected.rstrip('"').endswith("xa")
    assert place.observed.rstrip('"').endswith("xb")


def test_many_differences_are_cut_and_counted() -> None:
    def chains(port: int) -> OutboundListener:
        return OutboundListener(
            chains=tuple(
                OutboundChain(
                    ChainMatch(server_names=(f"s{number}",)),
                    to=(WeightedTarget(Target("outbound", "a", port)),),
                )
                for number in range(9)
            )
        )

    found = difference(keys.outbound_listener("10.0.0.1", 443), chains(1), chains(2))
    assert len(found.fields) == 9
    assert found.expected.splitlines()[-1] == "… and 5 more"


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [(0, "0s"), (5000, "5s"), (250, "250ms"), (1500, "1.5s"), (90_000, "90s"), (120_000, "2m"),
     (3_600_000, "1h"), (5_400_000, "1h30m")],
)  # fmt: skip
def test_durations(milliseconds: int, text: str) -> None:
    assert duration(milliseconds) == text


def test_matches_in_words() -> None:
    match = RouteMatch(
        PathMatch("exact", "/a", case_sensitive=False),
        headers=(
            HeaderMatch(":method", StringMatch("exact", "GET")),
            HeaderMatch("x-user", StringMatch("regex", "a.*"), invert=True),
        ),
    )
    assert render(match) == "path exact /a (any case), method GET, header x-user not regex a.*"
    principal = "spiffe://cluster.local/ns/shop/sa/frontend"
    access = Rule(
        "shop/a",
        1,
        sources=((Condition("principal", values=equals(principal)),),),
        operations=((Condition("header", ":method", equals("GET")),),),
    )
    name = principal.removeprefix("spiffe://")
    assert render(access) == f"shop/a rules[1]: from principals {name} to methods GET"
    elsewhere = Condition("principal", values=(StringMatch("regex", ".*/ns/a/.*"),), negated=True)
    claim = Condition("metadata", "envoy.filters.http.jwt_authn/payload/iss", equals("me"))
    assert render(elsewhere) == "namespaces not a"
    assert render(claim) == "claim iss me"
    assert render(Rule("shop/a", 0)) == "shop/a rules[0]: everything"
    retry = Retry(("connect-failure",), attempts=2, per_try_timeout_ms=300)
    assert render(retry) == "retryOn connect-failure, attempts 2, perTryTimeout 300ms"


@pytest.mark.parametrize("kind", list(Kind))
def test_every_kind_has_a_summary(kind: Kind) -> None:
    samples: dict[Kind, Content] = {
        Kind.DESTINATION: Destination("eds"),
        Kind.EGRESS: Egress("ALLOW_ANY"),
        Kind.EXTENSION: Extension("d"),
        Kind.FILTER_ORDER: FilterOrder(("router",)),
        Kind.HTTP_ROUTE: route(("", 1)),
        Kind.INBOUND: Inbound("http"),
        Kind.PEER_AUTHENTICATION: PeerAuthentication((MUTUAL,)),
    }
    assert summarise(samples.get(kind) or CONTENT_TYPES[kind]())


# Effects


def allow(*rules: Rule) -> Authorization:
    return Authorization(allow=rules)


def deny(*rules: Rule) -> Authorization:
    return Authorization(deny=rules)


@pytest.mark.parametrize(
    ("expected", "observed", "effect", "word"),
    [
        (allow(rule("/a")), Authorization(), "exposes", "ALLOW: no policy"),
        (Authorization(), allow(rule("/a")), "blocks", ""),
        (Authorization(), allow(), "blocks", "nothing is allowed"),
        (allow(rule("/a"), rule("/b", index=1)), allow(rule("/a")), "blocks", "not there"),
        (allow(rule("/a")), allow(rule("/a"), rule("/b", index=1)), "exposes", "rules[1]"),
        (deny(rule("/a"), rule("/b", index=1)), deny(rule("/a")), "exposes", "not there"),
        (deny(rule("/a")), deny(rule("/a"), rule("/b", index=1)), "blocks", "rules[1]"),
        (allow(rule("/a")), allow(rule("/a", "/b")), "exposes", "(wider)"),
        (allow(rule("/a", "/b")), allow(rule("/a")), "blocks", "(narrower)"),
        (deny(rule("/a")), deny(rule("/a", "/b")), "blocks", "(wider)"),
        (deny(rule("/a", "/b")), deny(rule("/a")), "exposes", "(narrower)"),
        (allow(rule("/a")), allow(rule("/b")), "exposes", "paths /b"),
        (Authorization(audit=()), Authorization(), "alters", ""),
        (Authorization(dry_run_deny=(rule("/a"),)), Authorization(), "alters", ""),
    ],
)
def test_effects_of_access_rules(
    expected: Authorization, observed: Authorization, effect: str, word: str
) -> None:
    found = difference(ACCESS, expected, observed)
    assert found.effect == effect
    assert word in found.observed


def test_negated_conditions_widen_the_other_way() -> None:
    def guarded(*names: str) -> Authorization:
        condition = Condition("principal", values=equals(*names), negated=True)
        return allow(Rule("shop/a", 0, sources=((condition,),)))

    assert difference(ACCESS, guarded("a", "b"), guarded("a")).effect == "exposes"
    assert difference(ACCESS, guarded("a"), guarded("a", "b")).effect == "blocks"


@pytest.mark.parametrize(
    ("key", "expected", "observed", "effect"),
    [
        (PEERS, PeerAuthentication((MUTUAL,)), PeerAuthentication((MUTUAL, PLAIN)), "exposes"),
        (PEERS, PeerAuthentication((MUTUAL, PLAIN)), PeerAuthentication((MUTUAL,)), "blocks"),
        (
            TOKENS,
            RequestAuthentication((JwtRule("a"),)),
            RequestAuthentication(()),
            "exposes",
        ),
        (
            TOKENS,
            RequestAuthentication((JwtRule("a"),), "required"),
            RequestAuthentication((JwtRule("a"),)),
            "exposes",
        ),
        (
            keys.http_connection(8080, "mtls"),
            HttpConnection(normalize_path=True),
            HttpConnection(),
            "exposes",
        ),
        (
            keys.http_connection(8080, "mtls"),
            HttpConnection(server_name="a"),
            HttpConnection(),
            "alters",
        ),
        (
            keys.filter_order(8080, "mtls", "http"),
            FilterOrder(("deny", "allow", "router")),
            FilterOrder(("allow", "router")),
            "exposes",
        ),
        (
            keys.filter_order(8080, "mtls", "http"),
            FilterOrder(("allow", "router")),
            FilterOrder(("deny", "allow", "router")),
            "blocks",
        ),
        (
            keys.filter_order(8080, "mtls", "http"),
            FilterOrder(("deny", "allow", "router")),
            FilterOrder(("allow", "deny", "router")),
            "exposes",
        ),
        (
            keys.http_connection(8080, "mtls"),
            HttpConnection(),
            HttpConnection(merge_slashes=True),
            "alters",
        ),
        (
            keys.inbound(8080),
            Inbound("http", routes=(InboundRoutes("mtls", ()), InboundRoutes("plaintext", ()))),
            Inbound("http", routes=(InboundRoutes("mtls", ()),)),
            "alters",
        ),
        (
            keys.endpoints("a", 1),
            Endpoints((LocalityEndpoints((Endpoint("10.0.0.1", 8080),)),)),
            Endpoints(),
            "blocks",
        ),
        (keys.inbound(8080), Inbound("http"), Inbound("tcp"), "exposes"),
        (keys.inbound(8080), Inbound("http"), Inbound("http", bind="10.0.0.1"), "reroutes"),
        (
            keys.filter_order(8080, "mtls", "http"),
            FilterOrder(("allow", "cors", "router")),
            FilterOrder(("allow", "router")),
            "alters",
        ),
        (
            TOKENS,
            RequestAuthentication((JwtRule("a"),)),
            RequestAuthentication((JwtRule("a"),), requirement="none"),
            "exposes",
        ),
        (
            TOKENS,
            RequestAuthentication((JwtRule("a"),)),
            RequestAuthentication((JwtRule("a"),), requirement="required"),
            "blocks",
        ),
        (
            keys.inbound(8080),
            Inbound("http", upstream=Upstream("static")),
            Inbound("http"),
            "blocks",
        ),
        (keys.egress("8080"), Egress("REGISTRY_ONLY"), Egress("ALLOW_ANY"), "exposes"),
        (keys.egress("8080"), Egress("ALLOW_ANY"), Egress("REGISTRY_ONLY"), "blocks"),
        (
            CLUSTER,
            Destination("eds", tls_mode="auto", tls=ClientTls()),
            Destination("eds"),
            "exposes",
        ),
        (
            CLUSTER,
            Destination("eds", tls_mode="auto", tls=ClientTls(sni="a")),
            Destination("eds", tls_mode="always", tls=ClientTls(sni="a")),
            "blocks",
        ),
        (CLUSTER, Destination("eds"), Destination("strict_dns"), "reroutes"),
        (CLUSTER, Destination("eds"), Destination("eds", dns_jitter_ms=1), "alters"),
        (ROUTE, route(("", 1), timeout_ms=5), route(("", 1), timeout_ms=6), "alters"),
    ],
)
def test_effects_of_fields(
    key: PolicyKey, expected: Content, observed: Content, effect: str
) -> None:
    assert difference(key, expected, observed).effect == effect


def test_strict_to_permissive_in_words() -> None:
    found = difference(PEERS, PeerAuthentication((MUTUAL,)), PeerAuthentication((MUTUAL, PLAIN)))
    assert found.expected == "mtls.mode: STRICT\naccepts[plaintext, HTTP]: refused"
    assert found.observed == "mtls.mode: PERMISSIVE\naccepts[plaintext, HTTP]: accepted"


@pytest.mark.parametrize(
    ("policy", "missing", "extra"),
    [
        (Policy(ACCESS, allow(rule("/a"))), "exposes", "blocks"),
        (Policy(ACCESS, Authorization(audit=())), "alters", "alters"),
        (Policy(CLUSTER, Destination("eds")), "blocks", "alters"),
        (Policy(keys.egress("8080"), Egress("REGISTRY_ONLY")), "exposes", "blocks"),
        (Policy(TOKENS, RequestAuthentication((JwtRule("a"),))), "exposes", "blocks"),
        (
            Policy(
                keys.endpoints("a", 1),
                Endpoints((LocalityEndpoints((Endpoint("10.0.0.1", 8080),)),)),
            ),
            "blocks",
            "reroutes",
        ),
        (Policy(keys.endpoints("a", 1), Endpoints()), "alters", "alters"),
        (Policy(keys.extension(str(ROUTE), "x"), Extension("digest")), "alters", "alters"),
        (Policy(keys.extension(str(TOKENS), "x"), Extension("digest")), "exposes", "exposes"),
    ],
)
def test_effects_of_whole_policies(policy: Policy, missing: str, extra: str) -> None:
    held = policies(policy)
    assert [d.effect for d in compare(Projection(held), {}).differences] == [missing]
    assert [d.effect for d in compare(Projection({}), held).differences] == [extra]


# The table of codes


def test_every_kind_and_change_has_a_code_of_its_own() -> None:
    assert {kind for kind, _ in DRIFT_CODES} == set(Kind)
    codes = [entry.code for entry in DRIFT_CODES.values()]
    assert len(codes) == len(set(codes)) == 3 * len(Kind)
    assert all(code.startswith("MSC-1") and len(code) == 8 for code in codes)
    assert _unique(entry.title for entry in DRIFT_CODES.values())


def _unique(items: Iterable[str]) -> bool:
    listed = list(items)
    return len(listed) == len(set(listed))


def test_a_difference_as_json() -> None:
    source = ResourceRef("AuthorizationPolicy", "shop", "cart-callers")
    verdict = compare(
        Projection(policies(Policy(ACCESS, allow(rule("/a")), (source,)))),
        policies(Policy(ACCESS, allow(rule("/a", "/b")))),
    )
    report = verdict.to_json()
    (difference,) = report["differences"]
    witness = difference.pop("witness")
    assert witness["request"]["path"] == "/b"
    assert (witness["expected"], witness["observed"]) == ("denied", "allowed")
    (some,) = difference.pop("affected")
    assert some == {
        "effect": "exposes",
        "expected": "denied",
        "observed": "allowed",
        "requests": ["/b"],
        "more": 0,
        "complete": True,
        "inverted": False,
    }
    assert report == {
        "verdict": "drift",
        "policies": 1,
        "unverifiable": [],
        "notes": [],
        "differences": [
            {
                "code": "MSC-1083",
                "kind": "authorization",
                "key": "authorization/8080/mtls/http",
                "change": "different",
                "effect": "exposes",
                "expected": "ALLOW shop/cart-callers rules[0].to: paths /a",
                "observed": "ALLOW shop/cart-callers rules[0].to: paths /a or /b (wider)",
                "fields": [
                    {
                        "path": "ALLOW shop/cart-callers rules[0].to",
                        "expected": "paths /a",
                        "observed": "paths /a or /b (wider)",
                    }
                ],
                "sources": [
                    {"kind": "AuthorizationPolicy", "namespace": "shop", "name": "cart-callers"}
                ],
            }
        ],
    }


class TestNamesThatSurvive:
    key = keys.destination("reviews", 9080)

    def verdict(self, declared: tuple[str, ...], held: tuple[str, ...]) -> ProxyVerdict:
        expected, observed = (
            Policy(
                self.key,
                Destination("eds"),
                tuple(ResourceRef("DestinationRule", "shop", name) for name in names),
            )
            for names in (declared, held)
        )
        return compare(Projection({self.key: expected}), {self.key: observed})

    def test_another_name_is_a_note(self) -> None:
        verdict = self.verdict(("new",), ("old",))
        assert (verdict.verdict, verdict.drift) == ("in-sync", ())
        (note,) = verdict.equivalent
        assert note.expected == "named after DestinationRule shop/new"
        assert note.observed == "named after DestinationRule shop/old"

    def test_a_name_that_is_gone_is_a_note(self) -> None:
        (note,) = self.verdict(("new",), ()).equivalent
        assert note.observed == "named after no resource"

    def test_the_first_of_merged_rules_is_enough(self) -> None:
        assert self.verdict(("first", "second"), ("first",)).equivalent == ()
