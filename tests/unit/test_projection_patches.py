"""EnvoyFilters: what they change, and what they leave open."""

from collections.abc import Mapping
from typing import Any, TypeVar

import pytest
from declared import client, declare, projected, service, to, virtual_service

from meshscope.events.resource import Resource
from meshscope.policy import key
from meshscope.policy.authorization import Authorization
from meshscope.policy.destination import Destination
from meshscope.policy.extension import Extension, leaf_paths, opaque, opaque_part
from meshscope.policy.filter_order import FilterOrder
from meshscope.policy.headers import HeaderValue
from meshscope.policy.http_connection import HttpConnection
from meshscope.policy.http_route import Forward, HttpRoute, Respond
from meshscope.policy.inbound import Inbound
from meshscope.policy.key import PolicyKey
from meshscope.policy.kinds import Kind
from meshscope.policy.policy import Content
from meshscope.policy.source import ResourceRef
from meshscope.projection.result import Projection

Json = dict[str, Any]
C = TypeVar("C", bound=Content)

WEB = "web.shop.svc.cluster.local"
HOST = key.http_route("80", f"{WEB}:80")
INBOUND = {"context": "SIDECAR_INBOUND"}
OUTBOUND = {"context": "SIDECAR_OUTBOUND"}
OUTBOUND_HTTP = key.filter_order("outbound", "-", "http")
EVERY_PORT = key.filter_order("*", "plaintext", "http")
MANAGER = "envoy.filters.network.http_connection_manager"
MANAGER_TYPE = (
    "type.googleapis.com/"
    "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
)
LUA = "type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua"


def envoy_filter(
    *patches: Mapping[str, Any],
    name: str = "patch",
    namespace: str = "shop",
    age: str | None = "2026-01-01T00:00:00Z",
    **spec: Any,
) -> Resource:
    spec = {"configPatches": list(patches), **spec}
    return declare("EnvoyFilter", name, spec, namespace=namespace, age=age)


def patch(target: str, match: Mapping[str, Any], operation: str, value: Any = None) -> Json:
    change = {"operation": operation} | ({} if value is None else {"value": value})
    return {"applyTo": target, "match": match, "patch": change}


def patched(*patches: Mapping[str, Any], namespace: str = "shop", **spec: Any) -> Projection:
    return projected(
        service("web"),
        service("api", ip="10.0.0.2"),
        envoy_filter(*patches, namespace=namespace, **spec),
    )


def content(found: Projection, policy: PolicyKey, kind: type[C]) -> C:
    assert not any(part.covers(policy) for part in found.unverifiable)
    got = found.policies[policy].content
    assert isinstance(got, kind)
    return got


def forward(found: Projection, policy: PolicyKey = HOST, rule: int = 0) -> Forward:
    action = content(found, policy, HttpRoute).rules[rule].forward
    assert action is not None
    return action


def doubted(found: Projection) -> set[PolicyKey]:
    return {k for k in found.policies if any(part.covers(k) for part in found.unverifiable)}


def on_host(**route: Any) -> Json:
    """The match of a virtual host, or of one of its routes."""
    host = {"name": f"{WEB}:80"} | ({"route": route} if route else {})
    return {**OUTBOUND, "routeConfiguration": {"vhost": host}}


def beside(name: str, context: Mapping[str, Any] = OUTBOUND, **listener: Any) -> Json:
    chosen = {"name": MANAGER} | ({"subFilter": {"name": name}} if name else {})
    chain = {"filter": chosen} | listener.pop("filterChain", {})
    return {**context, "listener": {**listener, "filterChain": chain}}


class TestClusters:
    def test_a_setting_is_merged_into_the_clusters_that_are_meant(self) -> None:
        match = {**OUTBOUND, "cluster": {"service": WEB}}
        value = {"connectTimeout": "1.5s", "outlier_detection": {"interval": "3s"}}
        found = patched(patch("CLUSTER", match, "MERGE", value))
        web = content(found, key.destination(WEB, 80), Destination)
        assert web.connection_pool.connect_timeout_ms == 1_500
        assert web.outlier_detection is not None
        assert web.outlier_detection.interval_ms == 3_000
        other = content(found, key.destination("api.shop.svc.cluster.local", 80), Destination)
        assert other.connection_pool.connect_timeout_ms == 10_000
        assert found.unverifiable == ()
        assert ResourceRef("EnvoyFilter", "shop", "patch") in (
            found.policies[key.destination(WEB, 80)].sources
        )

    @pytest.mark.parametrize(
        "match",
        [
            {"name": f"outbound|80||{WEB}"},
            {"service": WEB, "portNumber": 80},
            {"portNumber": 80},
            {},
        ],
    )
    def test_clusters_are_meant_by_name_service_or_port(self, match: Json) -> None:
        change = patch(
            "CLUSTER", {**OUTBOUND, "cluster": match}, "MERGE", {"connect_timeout": "1s"}
        )
        web = content(patched(change), key.destination(WEB, 80), Destination)
        assert web.connection_pool.connect_timeout_ms == 1_000

    @pytest.mark.parametrize(
        "match", [{"name": WEB}, {"service": "web"}, {"portNumber": 81}, {"subset": "v1"}]
    )
    def test_other_clusters_are_left_alone(self, match: Json) -> None:
        change = patch(
            "CLUSTER", {**OUTBOUND, "cluster": match}, "MERGE", {"connect_timeout": "1s"}
        )
        web = content(patched(change), key.destination(WEB, 80), Destination)
        assert web.connection_pool.connect_timeout_ms == 10_000

    def test_inbound_clusters_too(self) -> None:
        found = patched(patch("CLUSTER", INBOUND, "MERGE", {"connect_timeout": "1s"}))
        upstream = content(found, key.inbound("*"), Inbound).upstream
        assert upstream is not None
        assert upstream.connection_pool.connect_timeout_ms == 1_000
        assert doubted(found) == set()

    def test_a_cluster_is_removed_with_its_endpoints(self) -> None:
        match = {**OUTBOUND, "cluster": {"service": WEB}}
        found = patched(patch("CLUSTER", match, "REMOVE"))
        assert key.destination(WEB, 80) not in found.policies
        assert key.endpoints(WEB, 80) not in found.policies
        assert found.unverifiable == ()

    def test_what_is_not_modelled_leaves_open_that_destination_alone(self) -> None:
        match = {**OUTBOUND, "cluster": {"service": WEB}}
        found = patched(patch("CLUSTER", match, "MERGE", {"alt_stat_name": "x"}))
        assert doubted(found) == {key.destination(WEB, 80)}
        found = patched(patch("CLUSTER", match, "MERGE", {"loadAssignment": {}}))
        assert doubted(found) == {key.destination(WEB, 80), key.endpoints(WEB, 80)}

    def test_a_further_limit_changes_nothing_but_stands_there(self) -> None:
        match = {**OUTBOUND, "cluster": {"service": WEB}}
        value = {"circuit_breakers": {"thresholds": [{"max_connections": 1}]}}
        found = patched(patch("CLUSTER", match, "MERGE", value))
        assert doubted(found) == set()
        left = key.extension(str(key.destination(WEB, 80)), "circuit_breakers.thresholds")
        assert any(part.covers(left) for part in found.unverifiable)


class TestRoutes:
    def test_settings_are_merged_into_the_routes_of_a_host(self) -> None:
        value = {
            "route": {"timeout": "13s", "retry_policy": {"num_retries": 7}},
            "request_headers_to_add": [{"header": {"key": "X-A", "value": "1"}}],
        }
        found = patched(patch("HTTP_ROUTE", on_host(), "MERGE", value))
        assert forward(found).timeout_ms == 13_000
        retried = forward(found).retry
        assert retried is not None
        assert retried.attempts == 7
        assert "connect-failure" in retried.on
        rule = content(found, HOST, HttpRoute).rules[0]
        assert rule.request_headers.add == (HeaderValue("x-a", "1"),)
        other = key.http_route("80", "api.shop.svc.cluster.local:80")
        assert forward(found, other).timeout_ms == 0
        assert found.unverifiable == ()

    def test_routes_are_meant_by_name_and_action(self) -> None:
        rules = to("web", name="a"), {"name": "b", "directResponse": {"status": 503}}
        resources = service("web"), virtual_service("web", ["web"], *rules)
        value = {"response_headers_to_remove": ["X-B"]}
        for route in {"name": "a"}, {"action": "ROUTE"}:
            change = patch("HTTP_ROUTE", on_host(**route), "MERGE", value)
            found = projected(*resources, envoy_filter(change))
            removed = [
                rule.response_headers.remove for rule in content(found, HOST, HttpRoute).rules
            ]
            assert removed[0] == ("x-b",)
            assert set(removed[1:]) <= {()}

    def test_a_route_merged_into_another_action_leads_nowhere(self) -> None:
        rule = {"name": "b", "directResponse": {"status": 503}}
        change = patch("HTTP_ROUTE", on_host(), "MERGE", {"route": {"timeout": "1s"}})
        found = projected(
            service("web"), virtual_service("web", ["web"], rule), envoy_filter(change)
        )
        assert forward(found).to == ()
        assert content(found, HOST, HttpRoute).rules[0].respond is None

    @pytest.mark.parametrize(
        ("operation", "route", "order"),
        [
            ("ADD", {}, ["default", "new"]),
            ("INSERT_FIRST", {}, ["new", "default"]),
            ("INSERT_BEFORE", {"name": "default"}, ["new", "default"]),
            ("INSERT_AFTER", {"name": "default"}, ["default", "new"]),
            ("INSERT_AFTER", {"name": "other"}, ["default"]),
        ],
    )
    def test_a_route_is_added(self, operation: str, route: Json, order: list[str]) -> None:
        value = {
            "name": "new",
            "match": {"prefix": "/ping"},
            "direct_response": {"status": 200, "body": {"inline_string": "pong"}},
        }
        found = patched(patch("HTTP_ROUTE", on_host(**route), operation, value))
        rules = content(found, HOST, HttpRoute).rules
        assert [rule.name for rule in rules] == order
        assert all(r.respond == Respond(200, "pong") for r in rules if r.name == "new")
        assert found.unverifiable == ()

    def test_a_route_is_removed(self) -> None:
        found = patched(patch("HTTP_ROUTE", on_host(name="default"), "REMOVE"))
        assert content(found, HOST, HttpRoute).rules == ()

    def test_what_is_added_is_not_merged_into(self) -> None:
        new = {"name": "new", "match": {"prefix": "/"}, "route": {"cluster": "BlackHoleCluster"}}
        found = patched(
            patch("HTTP_ROUTE", on_host(), "ADD", new),
            patch("HTTP_ROUTE", on_host(), "MERGE", {"route": {"timeout": "3s"}}),
        )
        assert [forward(found, rule=i).timeout_ms for i in (0, 1)] == [3_000, 15_000]

    def test_a_table_is_meant_by_its_port(self) -> None:
        for port, timeout in ((80, 13_000), (81, 0)):
            match = {**OUTBOUND, "routeConfiguration": {"portNumber": port}}
            found = patched(patch("HTTP_ROUTE", match, "MERGE", {"route": {"timeout": "13s"}}))
            assert forward(found).timeout_ms == timeout

    def test_inbound_routes_too(self) -> None:
        found = patched(patch("HTTP_ROUTE", INBOUND, "MERGE", {"route": {"timeout": "13s"}}))
        routes = content(found, key.inbound("*"), Inbound).routes
        assert {r.forward.timeout_ms for one in routes for r in one.rules if r.forward} == {13_000}
        assert forward(found).timeout_ms == 0

    def test_without_inbound_routes_nothing_leads_to_the_workload(self) -> None:
        found = projected(
            service("web", selector={"app": "a"}),
            envoy_filter(patch("HTTP_ROUTE", INBOUND, "REMOVE")),
            proxy=client(labels={"app": "a"}),
        )
        web, others = (content(found, key.inbound(port), Inbound) for port in (80, "*"))
        assert (web.upstream, web.services) == (None, ())
        assert [one.rules for one in others.routes] == [(), ()]
        # Connections that are not HTTP go on.
        assert others.upstream is not None

    def test_what_is_not_modelled_leaves_open_that_host_alone(self) -> None:
        value = {"typed_per_filter_config": {"lua": {}}}
        found = patched(patch("HTTP_ROUTE", on_host(), "MERGE", value))
        assert doubted(found) == {HOST}
        assert {part.source.name for part in found.unverifiable if part.source} == {"patch"}


class TestVirtualHosts:
    def test_settings_are_merged(self) -> None:
        value = {"domains": ["shop.example"], "request_headers_to_remove": ["X-B"]}
        found = patched(patch("VIRTUAL_HOST", on_host(), "MERGE", value))
        host = content(found, HOST, HttpRoute)
        assert "shop.example" in host.domains
        assert host.request_headers.remove == ("x-b",)
        assert found.unverifiable == ()

    def test_one_is_added_to_the_table(self) -> None:
        value = {
            "name": "mine",
            "domains": ["mine.example"],
            "routes": [{"match": {"path": "/x"}, "route": {"cluster": f"outbound|80||{WEB}"}}],
        }
        match = {**OUTBOUND, "routeConfiguration": {"name": "80"}}
        found = patched(patch("VIRTUAL_HOST", match, "ADD", value))
        added = content(found, key.http_route("80", "mine"), HttpRoute)
        assert added.domains == ("mine.example",)
        assert added.ignore_port_in_host

    def test_one_is_removed(self) -> None:
        found = patched(patch("VIRTUAL_HOST", on_host(), "REMOVE"))
        assert HOST not in found.policies

    def test_one_that_is_added_and_not_modelled_is_in_doubt(self) -> None:
        match = {**OUTBOUND, "routeConfiguration": {"name": "80"}}
        value = {"name": "mine", "domains": ["mine.example"], "rate_limits": []}
        found = patched(patch("VIRTUAL_HOST", match, "ADD", value))
        added = key.http_route("80", "mine")
        assert any(part.covers(added) for part in found.unverifiable)


class TestHttpFilters:
    VALUE: Json = {  # noqa: RUF012
        "name": "mine",
        "typed_config": {"@type": LUA, "defaultSourceCode": {"inline_string": "-- nothing"}},
    }
    PRINTED: Json = {  # noqa: RUF012
        "name": "mine",
        "typed_config": {"@type": LUA, "default_source_code": {"inline_string": "-- nothing"}},
    }

    def test_one_is_added_where_it_is_said_with_what_it_is_configured(self) -> None:
        match = beside("envoy.filters.http.router", INBOUND)
        found = patched(patch("HTTP_FILTER", match, "INSERT_BEFORE", self.VALUE))
        assert content(found, EVERY_PORT, FilterOrder).filters[-2:] == ("extension:mine", "router")
        path = (
            "dynamic_listeners.active_state.listener.filter_chains.filters.typed_config"
            ".http_filters"
        )
        part = opaque_part(path, self.PRINTED)
        expected = opaque([part], "HttpFilter", leaf_paths(self.PRINTED, path))
        assert content(found, key.extension(str(EVERY_PORT), "mine"), Extension) == expected
        assert "extension:mine" not in content(found, OUTBOUND_HTTP, FilterOrder).filters
        assert found.unverifiable == ()

    @pytest.mark.parametrize(
        ("operation", "name", "at"),
        [
            ("INSERT_FIRST", "", 0),
            ("INSERT_BEFORE", "", 0),
            ("INSERT_AFTER", "istio.alpn", 3),
            ("INSERT_BEFORE", "istio.alpn", 2),
            ("INSERT_BEFORE", "nothing", None),
        ],
    )
    def test_places(self, operation: str, name: str, at: int | None) -> None:
        found = patched(patch("HTTP_FILTER", beside(name), operation, self.VALUE))
        order = content(found, OUTBOUND_HTTP, FilterOrder).filters
        assert (order.index("extension:mine") if "extension:mine" in order else None) == at

    def test_one_that_is_printed_in_an_unknown_way_is_opaque_and_in_its_place(self) -> None:
        value = {"name": "mine", "typed_config": {"@type": "type.googleapis.com/x.Y", "a": 1}}
        found = patched(patch("HTTP_FILTER", beside("istio.alpn"), "INSERT_AFTER", value))
        assert "extension:mine" in content(found, OUTBOUND_HTTP, FilterOrder).filters
        left = key.extension(str(OUTBOUND_HTTP), "mine")
        assert any(part.covers(left) for part in found.unverifiable)
        assert doubted(found) == set()

    def test_one_for_a_port_alone(self) -> None:
        match = beside("envoy.filters.http.router", INBOUND, portNumber=8080)
        found = patched(patch("HTTP_FILTER", match, "INSERT_BEFORE", self.VALUE))
        assert "extension:mine" not in content(found, EVERY_PORT, FilterOrder).filters
        match = beside("envoy.filters.http.router", OUTBOUND, portNumber=8080)
        found = patched(patch("HTTP_FILTER", match, "INSERT_BEFORE", self.VALUE))
        assert OUTBOUND_HTTP in {part.key for part in found.unverifiable}

    def test_one_that_is_removed_decides_nothing_any_more(self) -> None:
        policy = declare("AuthorizationPolicy", "deny", {"action": "DENY", "rules": [{}]})
        match = beside("envoy.filters.http.rbac", INBOUND)
        found = projected(policy, envoy_filter(patch("HTTP_FILTER", match, "REMOVE")))
        access = key.authorization("*", "plaintext", "http")
        assert content(found, access, Authorization) == Authorization()
        assert "deny" not in content(found, EVERY_PORT, FilterOrder).filters
        tcp = content(found, key.authorization("*", "plaintext", "tcp"), Authorization)
        assert tcp.deny is not None
        assert found.unverifiable == ()

    def test_a_removal_that_is_not_modelled_leaves_open_what_the_filter_decides(self) -> None:
        match = beside("envoy.filters.http.router", INBOUND)
        found = patched(patch("HTTP_FILTER", match, "REMOVE"))
        assert {k.kind for k in doubted(found)} == {Kind.FILTER_ORDER, Kind.TELEMETRY}


class TestConnectionManagers:
    def test_settings_are_merged(self) -> None:
        config = {"@type": MANAGER_TYPE, "use_remote_address": True, "stream_idle_timeout": "5s"}
        value = {"name": MANAGER, "typed_config": config}
        found = patched(patch("NETWORK_FILTER", beside("", INBOUND), "MERGE", value))
        settings = content(found, key.http_connection("*", "plaintext"), HttpConnection)
        assert settings.use_remote_address
        assert settings.stream_idle_timeout_ms == 5_000
        assert doubted(found) == set()

    def test_what_is_not_modelled_is_left_open(self) -> None:
        value = {"typed_config": {"@type": MANAGER_TYPE, "stat_prefix": "x"}}
        found = patched(patch("NETWORK_FILTER", beside("", INBOUND), "MERGE", value))
        assert key.http_connection("*", "plaintext") in doubted(found)
        assert not any(k.kind is Kind.OUTBOUND_LISTENER for k in doubted(found))


class TestOrder:
    MATCH = on_host()

    def timeout(self, seconds: int, name: str, **spec: Any) -> Resource:
        value = {"route": {"timeout": f"{seconds}s"}}
        return envoy_filter(patch("HTTP_ROUTE", self.MATCH, "MERGE", value), name=name, **spec)

    @pytest.mark.parametrize(
        ("one", "other"),
        [
            ({"age": "2026-01-01T00:00:00Z"}, {"age": "2026-01-02T00:00:00Z"}),
            ({"namespace": "istio-system", "age": "2026-02-01T00:00:00Z"}, {}),
            ({"priority": -1, "age": "2026-02-01T00:00:00Z"}, {}),
        ],
    )
    def test_the_last_one_wins(self, one: Json, other: Json) -> None:
        found = projected(
            service("web"), self.timeout(1, "b", **one), self.timeout(2, "a", **other)
        )
        assert forward(found).timeout_ms == 2_000

    def test_unknown_ages_leave_both_outcomes(self) -> None:
        one, other = self.timeout(1, "a", age=None), self.timeout(2, "b", age=None)
        found = projected(service("web"), one, other)
        assert len(found.alternatives[HOST]) == 2
        found = projected(service("web"), one, self.timeout(2, "b", age=None, priority=1))
        assert found.alternatives == {}


def test_merging_zero_changes_no_number() -> None:
    value = {"route": {"retry_policy": {"num_retries": 0}}}
    found = patched(patch("HTTP_ROUTE", on_host(), "MERGE", value))
    retried = forward(found).retry
    assert retried is not None
    assert retried.attempts == 2


def test_a_patch_of_the_bootstrap_touches_no_policy() -> None:
    assert patched(patch("BOOTSTRAP", {}, "MERGE", {"x": 1})).unverifiable == ()


def test_a_patch_of_a_listener_touches_its_port() -> None:
    match = {**OUTBOUND, "listener": {"portNumber": 80}}
    found = patched(patch("LISTENER", match, "REMOVE"))
    assert key.outbound_listener("0.0.0.0", 80) in doubted(found)  # noqa: S104
    assert key.outbound_listener("0.0.0.0", 15001) not in doubted(found)  # noqa: S104
    assert not any(k.kind is Kind.PEER_AUTHENTICATION for k in doubted(found))


@pytest.mark.parametrize(
    ("spec", "namespace", "match"),
    [
        ({"workloadSelector": {"labels": {"app": "other"}}}, "shop", OUTBOUND),
        ({"targetRefs": [{"kind": "Gateway", "name": "g"}]}, "shop", OUTBOUND),
        ({}, "bank", OUTBOUND),
        ({}, "shop", {"context": "GATEWAY"}),
        ({}, "shop", {**OUTBOUND, "proxy": {"proxyVersion": r"^1\.2.*"}}),
        ({}, "shop", {**OUTBOUND, "proxy": {"proxyVersion": "1" * 2000}}),
        ({}, "shop", {**OUTBOUND, "proxy": {"metadata": {"A": "b"}}}),
    ],
)
def test_a_patch_that_is_not_in_force_changes_nothing(
    spec: Mapping[str, Any], namespace: str, match: Mapping[str, Any]
) -> None:
    change = patch("HTTP_ROUTE", match, "MERGE", {"route": {"timeout": "1s"}})
    found = patched(change, namespace=namespace, **spec)
    assert found.unverifiable == ()
    assert forward(found).timeout_ms == 0


def test_a_patch_of_the_root_namespace_is_in_force_everywhere() -> None:
    change = patch("HTTP_ROUTE", OUTBOUND, "MERGE", {"route": {"timeout": "1s"}})
    assert forward(patched(change, namespace="istio-system")).timeout_ms == 1_000


def test_a_wasm_plugin_touches_the_order_of_filters() -> None:
    plugin = declare("WasmPlugin", "plugin", {"url": "oci://x.example/y"})
    found = projected(service("web"), plugin)
    assert {k.kind for k in doubted(found)} == {Kind.FILTER_ORDER}
    assert any(part.kind is Kind.EXTENSION for part in found.unverifiable)
