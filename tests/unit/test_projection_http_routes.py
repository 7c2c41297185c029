"""Virtual hosts, matches, actions, delegation."""

from collections.abc import Mapping
from typing import Any

import pytest
from declared import OLD, client, declare, projected, route, service, to, virtual_service

from meshscope.policy import key
from meshscope.policy.http_route import HttpRule, Redirect, Respond
from meshscope.policy.kinds import Kind
from meshscope.policy.matches import Fraction, HeaderMatch, MetadataMatch, PathMatch, StringMatch
from meshscope.policy.target import Target
from meshscope.projection.result import Projection
from meshscope.projection.routes.delegation import merged_routes
from meshscope.projection.routes.faults import cors, decoded, fault, percentage
from meshscope.projection.routes.headers import header_changes
from meshscope.projection.routes.match import claim_path, route_match, takes_everything
from meshscope.projection.routes.retries import retry

WEB = "web.shop.svc.cluster.local"
YOUNG = "2026-02-01T00:00:00Z"


def rules(*blocks: Mapping[str, Any], **more: Any) -> tuple[HttpRule, ...]:
    found = projected(service("web"), virtual_service("web", ["web"], *blocks), **more)
    return route(found, "80", f"{WEB}:80").rules


def test_short_names_depend_on_the_clients_namespace() -> None:
    own = route(projected(service("web")), "80", f"{WEB}:80")
    others = route(projected(service("web"), proxy=client("bank")), "80", f"{WEB}:80")
    common = {WEB, f"{WEB}.", "web.shop", "web.shop.svc", "10.0.0.1"}
    assert set(own.domains) == common | {"web"}
    assert set(others.domains) == common


def test_a_headless_service_has_every_domain_with_a_wildcard_too() -> None:
    domains = route(projected(service("web", ip="None")), "80", f"{WEB}:80").domains
    assert {"web", "*.web", f"*.{WEB}", f"*.{WEB}."} <= set(domains)


def test_a_service_without_virtual_service_has_one_rule() -> None:
    (rule,) = route(projected(service("web")), "80", f"{WEB}:80").rules
    assert rule.name == "default"
    assert rule.operation == f"{WEB}:80/*"
    assert rule.forward is not None
    assert rule.forward.timeout_ms == 0
    assert rule.forward.retry == retry(None, hashed=False)


def test_rules_behind_one_that_takes_everything_are_left_out() -> None:
    found = rules(
        to("web", name="a", match=[{"uri": {"prefix": "/a"}}]),
        to("web", name="all", match=[{"uri": {"prefix": "/"}}, {"uri": {"prefix": "/b"}}]),
        to("web", name="never"),
    )
    assert [rule.name for rule in found] == ["a", "all"]
    assert takes_everything(found[-1].match)
    assert not takes_everything(route_match({"headers": {"x": {}}}, gateway_api=False))
    assert takes_everything(route_match({"uri": {"regex": ".*"}}, gateway_api=False))


def test_conditions_about_the_proxy_itself_are_decided_at_once() -> None:
    found = rules(
        to("web", name="port", match=[{"port": 81}]),
        to("web", name="labels", match=[{"sourceLabels": {"app": "other"}}]),
        to("web", name="namespace", match=[{"sourceNamespace": "bank"}]),
        to("web", name="gateway", match=[{"gateways": ["ingress"]}]),
        # With gateways, labels are not looked at.
        to("web", name="mesh", match=[{"gateways": ["mesh"], "sourceLabels": {"app": "no"}}]),
    )
    assert [rule.name for rule in found] == ["mesh"]


def test_the_first_virtual_service_has_a_host_that_two_have() -> None:
    older = virtual_service("z-older", ["web"], to("web", name="older"), age=OLD)
    younger = virtual_service("a-younger", ["web"], to("web", name="younger"), age=YOUNG)
    found = route(projected(service("web"), younger, older), "80", f"{WEB}:80")
    assert [rule.name for rule in found.rules] == ["older"]


def test_an_exact_host_comes_before_a_wildcard_whatever_its_age() -> None:
    wildcard = virtual_service("any", ["*.shop.svc.cluster.local"], to("web", name="any"))
    exact = virtual_service("web", ["web"], to("web", name="exact"), age=YOUNG)
    services = service("web"), service("api", ip="10.0.0.2")
    found = projected(*services, wildcard, exact)
    assert route(found, "80", f"{WEB}:80").rules[0].name == "exact"
    assert route(found, "80", "api.shop.svc.cluster.local:80").rules[0].name == "any"


def tables(found: Projection) -> set[tuple[str, ...]]:
    return {k.parts for k in found.policies if k.kind is Kind.HTTP_ROUTE}


def test_a_host_that_no_service_has_counts_on_port_80_alone() -> None:
    services = (
        service("web", {"name": "http", "port": 80}, {"name": "http-b", "port": 81}),
        service("db", {"name": "tcp", "port": 90}, ip="10.0.0.2"),
    )
    found = projected(
        *services,
        virtual_service("unknown", ["Unknown.example"], to("web")),
        virtual_service("db", ["db"], to("db")),
    )
    assert tables(found) == {
        ("80", f"{WEB}:80"),
        ("81", f"{WEB}:81"),
        ("80", "unknown.example:80"),
        ("80", "db.shop.svc.cluster.local:80"),
    }
    assert route(found, "80", "db.shop.svc.cluster.local:80").domains == (
        "db.shop.svc.cluster.local",
    )


def test_all_hosts_count_on_a_port_where_one_of_them_is_a_service() -> None:
    web = service("web", {"name": "http", "port": 81})
    found = projected(web, virtual_service("web", ["web", "web.example"], to("web")))
    assert ("81", "web.example:81") in tables(found)


def test_a_detected_port_has_a_table_for_its_service_alone() -> None:
    table = f"{WEB}:7000"
    found = projected(
        service("web", {"port": 7000}), virtual_service("web", ["web"], to("web", name="mine"))
    )
    sniffed = route(found, table, table)
    assert sniffed.domains == ("*",)
    assert sniffed.rules[0].name == "mine"
    assert key.egress(table) not in found.policies


@pytest.mark.parametrize(
    ("match", "path"),
    [
        ({}, PathMatch("prefix", "/")),
        ({"uri": {"exact": "/A"}}, PathMatch("exact", "/A")),
        ({"uri": {"prefix": "/A"}, "ignoreUriCase": True}, PathMatch("prefix", "/a", False)),
        ({"uri": {"regex": "/a.*"}, "ignoreUriCase": True}, PathMatch("regex", "/a.*")),
    ],
)
def test_paths(match: Mapping[str, Any], path: PathMatch) -> None:
    assert route_match(match, gateway_api=False).path == path


def test_the_gateway_api_matches_whole_segments() -> None:
    match = route_match({"uri": {"prefix": "/a/"}}, gateway_api=True)
    assert match.path == PathMatch("path_separated_prefix", "/a")
    assert route_match({"uri": {"prefix": "/"}}, gateway_api=True).path == PathMatch("prefix", "/")


def test_header_conditions() -> None:
    match = route_match(
        {
            "headers": {"x-a": {"exact": "1"}, "x-any": {"regex": "*"}, "x-there": {}},
            "withoutHeaders": {"x-b": {"prefix": "p"}, "x-c": {}},
            "method": {"exact": "GET"},
        },
        gateway_api=False,
    )
    assert set(match.headers) == {
        HeaderMatch("x-a", StringMatch("exact", "1")),
        HeaderMatch("x-any", StringMatch("present")),
        HeaderMatch("x-there", StringMatch("present")),
        HeaderMatch("x-b", StringMatch("prefix", "p"), invert=True, missing_as_empty=True),
        HeaderMatch("x-c", StringMatch("present"), invert=True),
        HeaderMatch(":method", StringMatch("exact", "GET")),
    }


def test_claims_are_no_headers() -> None:
    assert claim_path("@request.auth.claims.a.b") == ("a", "b")
    assert claim_path("@request.auth.claims[a.b][c]") == ("a.b", "c")
    assert claim_path("x-claims") is None
    match = route_match(
        {"headers": {"@request.auth.claims[group]": {"exact": "x"}}}, gateway_api=False
    )
    assert match.metadata == (
        MetadataMatch(
            "envoy.filters.http.jwt_authn",
            ("payload", "group"),
            (StringMatch("exact", "x"),),
            in_list="also",
        ),
    )


def test_explicit_retries_take_nothing_from_the_mesh() -> None:
    mesh = {"defaultHttpRetryPolicy": {"attempts": 7, "perTryTimeout": "3s"}}
    (rule,) = rules(to("web", retries={"attempts": 1, "retryOn": "503, 5xx,reset"}), **mesh)
    assert rule.forward is not None
    assert rule.forward.retry is not None
    assert rule.forward.retry.attempts == 1
    assert rule.forward.retry.per_try_timeout_ms is None
    assert rule.forward.retry.status_codes == (503,)
    assert set(rule.forward.retry.on) == {"5xx", "reset", "retriable-status-codes"}
    (rule,) = rules(to("web"), **mesh)
    assert rule.forward is not None
    assert rule.forward.retry is not None
    assert rule.forward.retry.attempts == 7
    assert retry({"attempts": 0}, hashed=False) is None
    hashed = retry(None, hashed=True)
    assert hashed is not None
    assert not hashed.avoid_previous_hosts


def test_weights_of_zero_are_left_out_but_a_lone_destination_is_not() -> None:
    def split(*weights: int) -> int:
        destinations = [
            {"destination": {"host": f"h{n}.example"}, "weight": weight}
            for n, weight in enumerate(weights)
        ]
        (rule,) = rules({"route": destinations})
        assert rule.forward is not None
        return len(rule.forward.to)

    assert split(90, 10, 0) == 2
    assert split(0) == 1


def test_headers_of_a_lone_destination_are_those_of_the_rule() -> None:
    def changed(*destinations: Mapping[str, Any]) -> HttpRule:
        (rule,) = rules({"route": destinations, "headers": {"request": {"set": {"x-a": "rule"}}}})
        return rule

    own = {"headers": {"request": {"add": {"x-b": "own", "Host": "h"}, "remove": ["x-c", ":path"]}}}
    lone = changed({"destination": {"host": "web"}, **own})
    assert [(h.name, h.action) for h in lone.request_headers.add] == [
        ("x-a", "set"),
        ("x-b", "append"),
    ]
    assert lone.request_headers.remove == ("x-c",)
    assert lone.forward is not None
    assert lone.forward.rewrite.host == "h"
    several = changed(
        {"destination": {"host": "web"}, "weight": 1, **own},
        {"destination": {"host": "web", "subset": "b"}, "weight": 1},
    )
    assert len(several.request_headers.add) == 1
    assert several.forward is not None
    assert {t.host_rewrite for t in several.forward.to} == {"", "h"}


def test_set_is_preferred_to_add_for_the_host_header() -> None:
    headers = {"request": {"add": {"host": "added"}, "set": {":authority": "set"}}}
    assert header_changes(headers).authority == "set"
    assert header_changes(None).authority == ""


@pytest.mark.parametrize(
    ("block", "redirect"),
    [
        ({"uri": "/x"}, Redirect(path="/x")),
        ({"derivePort": "FROM_REQUEST_PORT"}, Redirect()),
        ({"port": 80}, Redirect()),
        ({"port": 80, "scheme": "https"}, Redirect(port=80, scheme="https")),
        ({"port": 443, "scheme": "https"}, Redirect(scheme="https")),
        ({"redirectCode": 308, "authority": "h"}, Redirect(308, host="h")),
        ({"redirectCode": 418}, None),
    ],
)
def test_redirects(block: Mapping[str, Any], redirect: Redirect | None) -> None:
    (rule,) = rules({"redirect": block})
    assert rule.redirect == redirect
    assert rule.forward is None


def test_direct_responses() -> None:
    (rule,) = rules({"directResponse": {"status": 503, "body": {"bytes": "aGVsbG8="}}})
    assert rule.respond == Respond(503, "hello")
    assert decoded("////") == "base64:////"


def test_shares_of_requests() -> None:
    assert percentage({"value": 0.1}) == 1_000
    assert percentage({"value": 29.7}) == 297_000
    (rule,) = rules(
        to(
            "web",
            mirror={"host": "web"},
            mirrorPercent=5,
            mirrors=[
                {"destination": {"host": "web"}, "percentage": {"value": 0}},
                {"destination": {"host": "web", "port": {"number": 9}}},
            ],
        )
    )
    assert rule.forward is not None
    assert {(m.target.port, m.fraction.parts_per_million) for m in rule.forward.mirrors} == {
        (80, 50_000),
        (9, 1_000_000),
    }


def test_faults() -> None:
    assert fault(None) is None
    assert fault({"delay": {"exponentialDelay": "1s"}}) is None
    delayed = fault({"delay": {"fixedDelay": "2s", "percent": 3}})
    assert delayed is not None
    assert (delayed.delay_ms, delayed.delay_fraction) == (2_000, Fraction(30_000))
    aborted = fault({"abort": {"grpcStatus": "UNAVAILABLE", "percentage": {"value": 50}}})
    assert aborted is not None
    assert (aborted.abort_grpc_status, aborted.abort_fraction) == (14, Fraction(500_000))


def test_cross_origin_rules() -> None:
    assert cors(None) is None
    found = cors({"allowOrigin": ["a"], "maxAge": "24h", "unmatchedPreflights": "IGNORE"})
    assert found is not None
    assert found.allow_origins == (StringMatch("exact", "a"),)
    assert found.max_age == "86400"
    assert not found.forward_unmatched_preflights


def test_a_destination_without_port_has_that_of_the_table() -> None:
    (rule,) = rules(to("other.example"))
    assert rule.forward is not None
    assert rule.forward.to[0].target == Target("outbound", "other.example", 80)


def merged(root: Mapping[str, Any], *leaves: Mapping[str, Any]) -> list[Any]:
    return [block["match"] for block in merged_routes(root, leaves)]


def test_a_delegates_match_must_lie_within_one_of_the_roots() -> None:
    root = {"match": [{"uri": {"prefix": "/a"}, "headers": {"x": {"exact": "1"}}}]}
    assert merged(root, {"match": [{"uri": {"prefix": "/b"}}]}) == []
    assert merged(root, {"match": [{"uri": {"regex": "/a.*"}}]}) == []
    assert merged(root, {"match": [{"headers": {"x": {"exact": "2"}}}]}) == []
    assert merged(root, {"match": [{"ignoreUriCase": True}]}) == []
    ((match,),) = merged(root, {"match": [{"uri": {"exact": "/a/b"}}]})
    assert match["uri"] == {"exact": "/a/b"}
    assert match["headers"] == {"x": {"exact": "1"}}
    # An expression on one side alone does not contradict the other.
    ((match,),) = merged(root, {"match": [{"authority": {"regex": ".*"}}]})
    assert match["authority"] == {"regex": ".*"}


def test_what_a_delegate_leaves_open_is_the_roots() -> None:
    root = {"name": "r", "timeout": "1s", "retries": {"attempts": 1}, "match": [{"name": "m"}]}
    (block,) = merged_routes(root, [{"name": "d", "timeout": "2s", "match": [{"name": "n"}]}])
    assert (block["name"], block["timeout"]) == ("r-d", "2s")
    assert block["retries"] == {"attempts": 1}
    assert block["match"][0]["name"] == "m-n"


def test_a_delegate_that_is_not_there_is_left_out_alone() -> None:
    delegate = declare("VirtualService", "part", {"http": [to("web", name="part")]}, namespace="x")
    hidden = declare(
        "VirtualService",
        "hidden",
        {"http": [to("web", name="hidden")], "exportTo": ["."]},
        namespace="x",
    )
    root = virtual_service(
        "web",
        ["web"],
        {"match": [{"uri": {"prefix": "/a"}}], "delegate": {"name": "missing"}},
        {"match": [{"uri": {"prefix": "/b"}}], "delegate": {"name": "hidden", "namespace": "x"}},
        {"match": [{"uri": {"prefix": "/c"}}], "delegate": {"name": "part", "namespace": "x"}},
        to("web", name="rest"),
    )
    found = projected(service("web"), root, delegate, hidden)
    policy = found.policies[key.http_route("80", f"{WEB}:80")]
    assert [rule.name for rule in route(found, "80", f"{WEB}:80").rules] == ["part", "rest"]
    assert {s.name for s in policy.sources if s.kind == "VirtualService"} == {"web", "part"}
