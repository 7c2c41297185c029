"""Routes of the Gateway API that are attached to services."""

from collections.abc import Mapping
from typing import Any

import pytest
from declared import OLD, client, declare, projected, route, service, virtual_service

from meshscope.events.resource import Resource
from meshscope.policy.http_route import HttpRule, Redirect, Respond
from meshscope.policy.matches import PathMatch
from meshscope.policy.target import Target
from meshscope.projection.routes.gateway_routes import gateway_routes
from meshscope.projection.routes.gateway_rules import Backends, InvalidRouteError, route_blocks
from meshscope.projection.services.registry import Registry, registry

WEB = "web.shop.svc.cluster.local"
YOUNG = "2026-02-01T00:00:00Z"
BACKEND = {"name": "web", "port": 80}


def http_route(
    name: str,
    *rules: Mapping[str, Any],
    kind: str = "HTTPRoute",
    namespace: str = "shop",
    age: str = OLD,
    **parent: Any,
) -> Resource:
    attached = {"group": "", "kind": "Service", "name": "web", "namespace": "shop", **parent}
    spec = {"parentRefs": [attached], "rules": rules}
    return declare(kind, name, spec, namespace=namespace, age=age)


def services() -> Registry:
    return registry(
        (service("web"),),
        trust_domain="cluster.local",
        domain="cluster.local",
        default_exports=frozenset("*"),
    )


def rules_of(*routes: Resource, namespace: str = "shop") -> tuple[HttpRule, ...]:
    found = projected(service("web"), *routes, proxy=client(namespace))
    return route(found, "80", f"{WEB}:80").rules


def at(path: str, kind: str = "PathPrefix", **more: Any) -> Mapping[str, Any]:
    return {"path": {"type": kind, "value": path}, **more}


def test_the_most_specific_match_comes_first_over_all_routes_of_a_namespace() -> None:
    one = http_route(
        "one",
        {"matches": [at("/"), at("/a", "RegularExpression")], "backendRefs": [BACKEND]},
        {"matches": [at("/a/b"), at("/a", method="GET")], "backendRefs": [BACKEND]},
    )
    two = http_route(
        "two",
        {
            "matches": [
                at("/x", "Exact"),
                at("/a", headers=[{"name": "x", "value": "1"}]),
                at("/a"),
            ],
            "backendRefs": [BACKEND],
        },
        age=YOUNG,
    )
    found = rules_of(two, one)
    assert [(rule.match.path.value, rule.name) for rule in found] == [
        ("/x", "shop.two.0"),
        ("/a/b", "shop.one.1"),
        ("/a", "shop.one.1"),
        ("/a", "shop.two.0"),
        ("/a", "shop.two.0"),
        ("/", "shop.one.0"),
    ]
    assert found[1].match.path == PathMatch("path_separated_prefix", "/a/b")


def test_a_route_of_the_services_namespace_is_for_all_another_for_its_own_clients() -> None:
    producer = http_route("producer", {"name": "producer", "backendRefs": [BACKEND]})
    consumer = http_route(
        "consumer",
        {"name": "consumer", "backendRefs": [{**BACKEND, "namespace": "shop"}]},
        namespace="bank",
        age=YOUNG,
    )

    def name(namespace: str) -> str:
        return rules_of(producer, consumer, namespace=namespace)[0].name

    assert name("shop") == "producer"
    assert name("third") == "producer"
    assert name("bank") == "consumer"


def test_a_port_of_the_parent_counts() -> None:
    found = rules_of(http_route("other", {"backendRefs": [BACKEND]}, port=81))
    assert [rule.name for rule in found] == ["default"]


def test_names_of_the_virtual_service_that_routes_stand_for() -> None:
    found = gateway_routes(
        (
            http_route("a", {"backendRefs": [BACKEND]}),
            http_route("b", {"backendRefs": [BACKEND]}, port=80),
        ),
        services(),
        "cluster.local",
    )
    assert {vs.name for vs in found} == {f"shop~{WEB}", f"shop~80~{WEB}"}
    assert found[0].sources[0].kind == "HTTPRoute"


def test_without_weight_there_is_no_backend() -> None:
    (rule,) = rules_of(http_route("r", {"backendRefs": [{**BACKEND, "weight": 0}]}))
    assert rule.respond == Respond(500)
    (rule,) = rules_of(
        http_route("r", {"backendRefs": [BACKEND, {**BACKEND, "port": 1, "weight": 0}]})
    )
    assert rule.forward is not None
    assert rule.forward.to[0].target == Target("outbound", WEB, 80)
    assert rule.forward.unknown_destination_status == 500


def test_a_backend_of_another_kind_is_an_unknown_service() -> None:
    (rule,) = rules_of(http_route("r", {"backendRefs": [{**BACKEND, "kind": "Bucket"}]}))
    assert rule.forward is not None
    assert rule.forward.to[0].target == Target("named", "UnknownService")
    assert rule.operation == f"shop~{WEB}:80/*"


def test_filters() -> None:
    def filtered(kind: str, field: str, value: Mapping[str, Any]) -> HttpRule:
        (rule,) = rules_of(
            http_route(
                "r",
                {
                    "matches": [at("/a")],
                    "filters": [{"type": kind, field: value}],
                    "backendRefs": [BACKEND],
                },
            )
        )
        return rule

    moved = filtered("RequestRedirect", "requestRedirect", {"scheme": "https", "statusCode": 302})
    assert moved.redirect == Redirect(302, scheme="https")
    by_default = filtered("RequestRedirect", "requestRedirect", {"scheme": "https"})
    assert by_default.redirect == Redirect(302, scheme="https")
    cut = filtered(
        "URLRewrite",
        "urlRewrite",
        {"path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/"}},
    )
    assert cut.forward is not None
    assert cut.forward.rewrite.regex == "^/a(/?)(.*)"
    assert cut.forward.rewrite.substitution == r"/\2"
    written = filtered(
        "RequestHeaderModifier",
        "requestHeaderModifier",
        {"set": [{"name": "X-A", "value": "1"}, {"name": "x-a", "value": "2"}]},
    )
    assert [(h.name, h.value) for h in written.request_headers.add] == [("x-a", "1")]
    copied = filtered(
        "RequestMirror",
        "requestMirror",
        {"backendRef": BACKEND, "fraction": {"numerator": 1, "denominator": 8}},
    )
    assert copied.forward is not None
    assert copied.forward.mirrors[0].fraction.parts_per_million == 125_000
    shared = filtered("CORS", "cors", {"allowOrigins": ["*", "https://*.a.example", "http://b*"]})
    assert shared.cors is not None
    assert {match.type for match in shared.cors.allow_origins} == {"regex", "prefix"}
    assert not shared.cors.forward_unmatched_preflights
    assert shared.cors.max_age == "5"


def test_timeouts_and_retries() -> None:
    timeouts = {"request": "4s", "backendRequest": "1s"}
    (alone,) = rules_of(http_route("r", {"timeouts": timeouts, "backendRefs": [BACKEND]}))
    assert alone.forward is not None
    assert alone.forward.timeout_ms == 1_000
    rule = {"timeouts": timeouts, "retry": {"codes": [503]}, "backendRefs": [BACKEND]}
    (several,) = rules_of(http_route("r", rule))
    assert several.forward is not None
    assert several.forward.timeout_ms == 4_000
    assert several.forward.retry is not None
    assert several.forward.retry.per_try_timeout_ms == 1_000
    assert several.forward.retry.status_codes == (503,)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ({"service": "a.B", "method": "C"}, PathMatch("exact", "/a.B/C")),
        ({"service": "a.B"}, PathMatch("path_separated_prefix", "/a.B")),
        ({"method": "C"}, PathMatch("regex", "/[^/]+/C")),
        (
            {"type": "RegularExpression", "service": "a.*"},
            PathMatch("regex", "/a.*/.+"),
        ),
    ],
)
def test_grpc_methods(method: Mapping[str, Any], path: PathMatch) -> None:
    rule = {"matches": [{"method": method}], "backendRefs": [BACKEND]}
    found = rules_of(http_route("g", rule, kind="GRPCRoute"))
    assert found[0].match.path == path


@pytest.mark.parametrize(
    "rule",
    [
        {"backendRefs": [{"name": "web"}]},
        {"backendRefs": [{"name": "web.shop", "port": 80}]},
        {"filters": [{"type": "ExtensionRef"}]},
        {"matches": [at("/", "Glob")]},
    ],
)
def test_a_route_that_istio_does_not_accept_has_no_effect(rule: Mapping[str, Any]) -> None:
    broken = http_route("broken", rule, {"backendRefs": [BACKEND]})
    with pytest.raises(InvalidRouteError):
        list(route_blocks(broken, Backends(services(), "cluster.local")))
    assert [each.name for each in rules_of(broken)] == ["default"]


def test_a_mirror_that_is_not_there_is_left_out_of_an_http_route_and_breaks_a_grpc_route() -> None:
    absent = {"backendRef": {"name": "nobody", "port": 80}}
    rule = {
        "backendRefs": [BACKEND],
        "filters": [{"type": "RequestMirror", "requestMirror": absent}],
        "name": "mirrored",
    }
    (kept,) = rules_of(http_route("r", rule))
    assert kept.name == "mirrored"
    assert kept.forward is not None
    assert kept.forward.mirrors == ()
    assert [each.name for each in rules_of(http_route("r", rule, kind="GRPCRoute"))] == ["default"]


def test_a_virtual_service_and_a_route_of_the_own_namespace() -> None:
    vs = virtual_service(
        "web", ["web"], {"name": "vs", "route": [{"destination": {"host": "web"}}]}
    )
    own = http_route("own", {"name": "route", "backendRefs": [BACKEND]}, age=YOUNG)
    # Routes of the client's namespace come first, whatever their age.
    assert rules_of(vs, own)[0].name == "route"
    assert rules_of(vs, own, namespace="bank")[0].name == "vs"
