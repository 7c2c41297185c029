"""Route tables become policies per virtual host."""

from typing import Any

import pytest
from fragments import content, extensions, host, infer_parts, route, route_table

from meshscope.inference.result import Inference
from meshscope.policy import key
from meshscope.policy.egress import Egress
from meshscope.policy.headers import HeaderMutation, HeaderValue
from meshscope.policy.http_route import (
    Cors,
    Fault,
    Forward,
    HttpRoute,
    HttpRule,
    Mirror,
    Redirect,
    Respond,
    Retry,
    Rewrite,
    RouteMatch,
)
from meshscope.policy.matches import (
    Fraction,
    HeaderMatch,
    MetadataMatch,
    PathMatch,
    QueryMatch,
    StringMatch,
)
from meshscope.policy.source import ResourceRef
from meshscope.policy.target import HashPolicy, Target, WeightedTarget

A = Target("outbound", "a.b", 80)
KEY = key.http_route("80", "a.b:80")
_API = "type.googleapis.com/envoy."


def table(*routes: dict[str, Any], **fields: Any) -> Inference:
    return infer_parts(rds=[route_table("80", host("a.b:80", *routes, **fields))])


def rule(**fields: Any) -> HttpRule:
    inference = table({"match": {"prefix": "/"}, **fields})
    assert extensions(inference) == {}
    (found,) = content(inference, KEY).rules
    assert isinstance(found, HttpRule)
    return found


def forward(**fields: Any) -> Forward:
    found = rule(route={"cluster": "outbound|80||a.b", "timeout": "0s", **fields}).forward
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("match", "expected"),
    [
        ({"prefix": "/a"}, RouteMatch(PathMatch("prefix", "/a"))),
        ({"path": "/A", "case_sensitive": False}, RouteMatch(PathMatch("exact", "/a", False))),
        ({"path_separated_prefix": "/a"}, RouteMatch(PathMatch("path_separated_prefix", "/a"))),
        ({"safe_regex": {"regex": "/.*", "google_re2": {}}}, RouteMatch(PathMatch("regex", "/.*"))),
        ({"connect_matcher": {}}, RouteMatch(PathMatch("connect"))),
        (
            {
                "prefix": "/",
                "headers": [
                    {"name": "X-A", "string_match": {"exact": "1"}},
                    {
                        "name": "x-b",
                        "string_match": {"prefix": "2"},
                        "invert_match": True,
                        "treat_missing_header_as_empty": True,
                    },
                    {"name": "x-c", "present_match": True},
                ],
            },
            RouteMatch(
                headers=(
                    HeaderMatch("x-a", StringMatch("exact", "1")),
                    HeaderMatch("x-b", StringMatch("prefix", "2"), True, True),
                    HeaderMatch("x-c", StringMatch("present")),
                )
            ),
        ),
        (
            {"prefix": "/", "query_parameters": [{"name": "q", "present_match": True}]},
            RouteMatch(query=(QueryMatch("q", StringMatch("present")),)),
        ),
        (
            {
                "prefix": "/",
                "dynamic_metadata": [
                    {
                        "filter": "f",
                        "path": [{"key": "k"}],
                        "value": {"string_match": {"exact": "v"}},
                        "invert": True,
                    }
                ],
            },
            RouteMatch(
                metadata=(MetadataMatch("f", ("k",), (StringMatch("exact", "v"),), invert=True),)
            ),
        ),
        (
            {
                "prefix": "/",
                "grpc": {},
                "runtime_fraction": {"default_value": {"numerator": 5, "denominator": "MILLION"}},
            },
            RouteMatch(grpc=True, fraction=Fraction(5)),
        ),
    ],
)
def test_matches(match: dict[str, Any], expected: RouteMatch) -> None:
    inference = table({**route(), "match": match})

    assert extensions(inference) == {}
    assert content(inference, KEY).rules[0].match == expected


def test_splits_are_sets_without_what_gets_nothing() -> None:
    to = [
        {"name": "outbound|80|v2|a.b", "weight": 10, "host_rewrite_literal": "x"},
        {"name": "outbound|80|v1|a.b", "weight": 90},
        {"name": "outbound|80|v3|a.b", "weight": 0},
    ]

    found = rule(route={"weighted_clusters": {"clusters": to}}).forward

    assert found == Forward(
        (
            WeightedTarget(Target("outbound", "a.b", 80, "v1"), 90),
            WeightedTarget(Target("outbound", "a.b", 80, "v2"), 10, host_rewrite="x"),
        )
    )


def test_a_timeout_that_is_not_written_is_envoys() -> None:
    assert rule(route={"cluster": "x"}).forward == Forward(
        (WeightedTarget(Target("named", "x")),), timeout_ms=15_000
    )


def test_retries() -> None:
    policy = {
        "retry_on": "b,a",
        "num_retries": 3,
        "per_try_timeout": "2s",
        "retriable_status_codes": [503, 409],
        "host_selection_retry_max_attempts": "5",
        "retry_host_predicate": [
            {
                "name": "envoy.retry_host_predicates.previous_hosts",
                "typed_config": {
                    "@type": f"{_API}extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"
                },
            }
        ],
        "retry_priority": {
            "name": "envoy.retry_priorities.previous_priorities",
            "typed_config": {
                "@type": (
                    f"{_API}extensions.retry.priority.previous_priorities.v3"
                    ".PreviousPrioritiesConfig"
                ),
                "update_frequency": 2,
            },
        },
        "retry_back_off": {"base_interval": "0.100s", "max_interval": "1s"},
    }

    assert forward(retry_policy=policy).retry == Retry(
        ("a", "b"), 3, 2000, (409, 503), True, 5, 2, 100, 1000
    )


def test_what_is_changed_and_copied_on_the_way() -> None:
    found = forward(
        prefix_rewrite="/x",
        host_rewrite_literal="h",
        request_mirror_policies=[
            {
                "cluster": "outbound|80||a.b",
                "runtime_fraction": {"default_value": {"numerator": 1}},
                "disable_shadow_host_suffix_append": True,
                "trace_sampled": False,
            }
        ],
        hash_policy=[
            {"header": {"header_name": "X-User"}, "terminal": True},
            {"cookie": {"name": "c", "ttl": "60s", "path": "/"}},
            {"connection_properties": {"source_ip": True}},
            {"query_parameter": {"name": "q"}},
        ],
        cluster_not_found_response_code="INTERNAL_SERVER_ERROR",
        upgrade_configs=[{"upgrade_type": "WebSocket", "enabled": False}],
    )

    assert found.rewrite == Rewrite(prefix="/x", host="h")
    assert found.mirrors == (Mirror(A, Fraction(10_000), False, False),)
    assert found.hash == (
        HashPolicy("header", "x-user", terminal=True),
        HashPolicy("cookie", "c", 60_000, "/"),
        HashPolicy("source_ip"),
        HashPolicy("query_parameter", "q"),
    )
    assert found.unknown_destination_status == 500
    assert found.upgrades == ("websocket=false",)


def test_redirects_and_answers() -> None:
    moved = {"host_redirect": "h", "response_code": "FOUND", "port_redirect": 8443}
    assert rule(redirect=moved).redirect == Redirect(302, host="h", port=8443)
    answer = {"status": 503, "body": {"inline_string": "no"}}
    assert rule(direct_response=answer).respond == Respond(503, "no")
    encoded = {"status": 200, "body": {"inline_bytes": "/w=="}}
    assert rule(direct_response=encoded).respond == Respond(200, "base64:/w==")


def test_faults_and_cors() -> None:
    share = {"numerator": 50, "denominator": "HUNDRED"}
    found = rule(
        route={"cluster": "x"},
        typed_per_filter_config={
            "envoy.filters.http.fault": {
                "@type": f"{_API}extensions.filters.http.fault.v3.HTTPFault",
                "delay": {"fixed_delay": "2s", "percentage": share},
                "abort": {"http_status": 503, "percentage": {}},
            },
            "envoy.filters.http.cors": {
                "@type": f"{_API}extensions.filters.http.cors.v3.CorsPolicy",
                "allow_origin_string_match": [{"exact": "https://a"}],
                "allow_methods": "GET, POST",
                "filter_enabled": {"default_value": {"numerator": 100}},
                "forward_not_matching_preflights": False,
            },
        },
    )

    assert found.fault == Fault(2000, Fraction(500_000), 503)
    assert found.cors == Cors(
        (StringMatch("exact", "https://a"),),
        ("GET", "POST"),
        forward_unmatched_preflights=False,
    )


def test_headers_names_and_sources() -> None:
    config = "/apis/networking.istio.io/v1/namespaces/ns/virtual-service/v"
    inference = table(
        route(
            name="r",
            request_headers_to_add=[
                {
                    "header": {"key": "X-A", "value": "1"},
                    "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
                }
            ],
            response_headers_to_remove=["Server"],
            decorator={"operation": "op"},
            metadata={"filter_metadata": {"istio": {"config": config}}},
        )
    )

    (found,) = content(inference, KEY).rules
    assert found.request_headers == HeaderMutation((HeaderValue("x-a", "1", "set"),))
    assert found.response_headers == HeaderMutation(remove=("server",))
    assert (found.name, found.operation) == ("r", "op")
    assert inference.policies[KEY].sources == (ResourceRef("VirtualService", "ns", "v"),)
    assert extensions(inference) == {}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (
            {"name": "allow_any", "routes": [route("PassthroughCluster")]},
            ("ALLOW_ANY", "PassthroughCluster"),
        ),
        (
            {
                "name": "block_all",
                "routes": [{"match": {"prefix": "/"}, "direct_response": {"status": 502}}],
            },
            ("REGISTRY_ONLY", ""),
        ),
        ({"name": "allow_any", "routes": [route("outbound|80||proxy.x")]}, ("PROXY", "proxy.x")),
    ],
)
def test_the_catch_all_host_is_egress(fields: dict[str, Any], expected: tuple[str, str]) -> None:
    inference = infer_parts(rds=[route_table("80", {"domains": ["*"], **fields})])

    found = content(inference, key.egress("80"))
    assert isinstance(found, Egress)
    assert (found.mode, "".join(item.target.host for item in found.to)) == expected
    assert len(found.rules) == 1


def test_a_catch_all_host_may_say_that_it_does_not_require_tls() -> None:
    catch_all = host("allow_any", route("PassthroughCluster"), require_tls="NONE")

    assert extensions(infer_parts(rds=[route_table("80", catch_all)])) == {}


def test_a_table_without_hosts_is_visible() -> None:
    inference = infer_parts(rds=[route_table("80")])

    assert content(inference, key.http_route("80", "")) == HttpRoute((), ignore_port_in_host=True)


def test_what_is_not_modelled_is_reported_where_it_is() -> None:
    inference = table(
        {"match": {"prefix": "/"}, "non_forwarding_action": {}},
        {**route(), "match": {"prefix": "/", "tls_context": {"presented": True}}},
        {"match": {"prefix": "/"}, "route": {"cluster_header": "x", "timeout": "1s"}},
        route(typed_per_filter_config={"lua": {"@type": "x", "name": "y"}}),
        rate_limits=[{"actions": []}],
    )

    paths = extensions(inference)[str(KEY)]
    assert {path.rpartition("virtual_hosts.")[2] for path in paths} == {
        "rate_limits.actions",
        "routes.match.tls_context.presented",
        "routes.non_forwarding_action",
        "routes.route.cluster_header",
        "routes.route.timeout",
        "routes.typed_per_filter_config.lua.@type",
        "routes.typed_per_filter_config.lua.name",
    }
    assert inference.coverage.unexplained == 7


def test_two_hosts_of_one_name_are_not_lost() -> None:
    hosts = (host("a.b:80", route()), host("a.b:80", route("x")))

    inference = infer_parts(rds=[route_table("80", *hosts)])
    reordered = infer_parts(rds=[route_table("80", *reversed(hosts))])

    assert key.extension(str(KEY), "different resources") in inference.policies
    assert inference.policies == reordered.policies


@pytest.mark.parametrize(
    "condition",
    [
        {"dynamic_metadata": [{"value": {}}]},
        {"dynamic_metadata": [{"filter": "f", "value": {"null_match": {}}}]},
        {"query_parameters": [{"name": "q", "string_match": {}}]},
        {"headers": [{"name": "h", "string_match": {}}]},
    ],
    ids=lambda condition: str(condition),
)
def test_a_condition_that_is_not_understood_is_reported(condition: dict[str, Any]) -> None:
    inference = table({**route(), "match": {"prefix": "/", **condition}})

    assert str(KEY) in extensions(inference)
