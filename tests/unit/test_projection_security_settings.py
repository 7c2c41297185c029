"""Durations, ages, open outcomes, istiod's switches and limits of the workload's own ports."""

from dataclasses import replace
from typing import Any

import pytest

from meshscope.events.resource import Resource
from meshscope.policy import key as keys
from meshscope.policy.extension import Extension
from meshscope.policy.policy import Policy
from meshscope.projection.declared.age import oldest_first, possibly_oldest
from meshscope.projection.destinations.destination_rule import RuleIndex
from meshscope.projection.durations import milliseconds
from meshscope.projection.inbound.http_connection import http_settings
from meshscope.projection.inbound.ports import ServiceTarget, service_ports
from meshscope.projection.security.settings import inbound_policies_of, switches
from meshscope.projection.security.workload import Switches
from meshscope.projection.worlds import merge


@pytest.mark.parametrize(
    ("text", "expected"),
    [("0", 0), ("0s", 0), ("1.5s", 1_500), ("1m30s", 90_000), ("2h", 7_200_000), ("0.002s", 2)],
)
def test_durations(text: str, expected: int) -> None:
    assert milliseconds(text) == expected


@pytest.mark.parametrize("text", ["", "5", "s", "1x", "1s ", "-1s"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="is no duration"):
        milliseconds(text)


def resource(name: str, created: str | None) -> Resource:
    return Resource("g", "v1", "K", "n", name, created_at=created)


class TestAge:
    def test_known_ages_leave_one_order(self) -> None:
        old, new = resource("z", "2026-01-01T00:00:00Z"), resource("a", "2026-01-02T00:00:00Z")
        assert possibly_oldest([new, old]) == (old,)
        assert oldest_first([new, old]) == ((old, new),)

    def test_an_unknown_age_may_be_anywhere(self) -> None:
        old, new = resource("z", "2026-01-01T00:00:00Z"), resource("a", "2026-01-02T00:00:00Z")
        unknown = resource("u", None)
        assert possibly_oldest([new, unknown, old]) == (old, unknown)
        orders = oldest_first([new, unknown, old])
        assert {order.index(unknown) for order in orders} == {0, 1, 2}
        assert all(order.index(old) < order.index(new) for order in orders)

    def test_orders_of_many_are_limited(self) -> None:
        many = [resource(str(number), None) for number in range(9)]
        assert 1 < len(oldest_first(many)) <= 24


def test_outcomes_of_worlds() -> None:
    both, one = keys.extension("a", "b"), keys.extension("c", "d")
    first, second = Policy(both, Extension("1")), Policy(both, Extension("2"))
    only = Policy(one, Extension("3"))
    found = merge([{both: first, one: only}, {both: second}, {both: first}])
    assert found == {both: (first, second), one: (only, None)}


class TestSwitches:
    def read(self, environment: dict[str, str], version: tuple[int, int] = (1, 31)) -> Switches:
        def switch(name: str, default: bool) -> bool:
            return environment.get(name, str(default)).lower() == "true"

        return switches(switch, environment, version)

    def test_defaults_are_those_of_istio(self) -> None:
        assert self.read({}) == Switches()

    def test_before_1_30_ids_do_not_name_the_provider(self) -> None:
        assert self.read({}, (1, 29)) == replace(Switches(), provider_in_ids=False)

    def test_settings_that_are_no_switches(self) -> None:
        found = self.read(
            {
                "PILOT_JWT_ENABLE_REMOTE_JWKS": "hybrid",
                "PILOT_TRACE_SAMPLING": "5",
                "PILOT_DISABLE_MX_ALPN": "true",
            }
        )
        assert (found.fetch_keys, found.sampling_percent, found.exchange_alpn) == (
            "hybrid",
            5.0,
            False,
        )


class TestOwnLimits:
    TARGET = ServiceTarget("web.shop.svc.cluster.local", "shop", "web", 80, 8080, "http")

    def limits(
        self, *rules: Resource, version: tuple[int, int] = (1, 31), imported: bool = True
    ) -> list[Any]:
        mesh_config = {"defaultTrafficPolicy": {"connectionPool": {"tcp": {"maxConnections": 9}}}}
        find = inbound_policies_of(
            RuleIndex(rules, "istio-system"),
            "shop",
            {self.TARGET.host: "shop"}.get if imported else {}.get,
            mesh_config,
            version,
        )
        (plan,) = service_ports([self.TARGET])
        return [
            (policy or {}).get("connectionPool", {}).get("tcp", {}).get("maxConnections")
            for policy in find(plan)
        ]

    def rule(self, name: str, policy: dict[str, Any], **spec: Any) -> Resource:
        body = {"host": self.TARGET.host, "trafficPolicy": policy, **spec}
        return Resource(
            "networking.istio.io",
            "v1",
            "DestinationRule",
            "shop",
            name,
            created_at="2026-01-01T00:00:00Z",
            body={"spec": body},
        )

    def test_of_the_rule_for_the_own_service(self) -> None:
        rule = self.rule("r", {"connectionPool": {"tcp": {"maxConnections": 1}}})
        assert self.limits(rule) == [1]

    def test_not_of_a_service_that_its_sidecar_does_not_import(self) -> None:
        rule = self.rule("r", {"connectionPool": {"tcp": {"maxConnections": 1}}})
        assert self.limits(rule, imported=False) == [9]

    def test_port_levels_know_the_port_of_the_service(self) -> None:
        level = {"port": {"number": 80}, "connectionPool": {"tcp": {"maxConnections": 2}}}
        policy = {
            "connectionPool": {"tcp": {"maxConnections": 1}},
            "portLevelSettings": [level],
        }
        assert self.limits(self.rule("r", policy)) == [2]

    def test_rules_for_some_clients_do_not_count(self) -> None:
        rule = self.rule(
            "r",
            {"connectionPool": {"tcp": {"maxConnections": 1}}},
            workloadSelector={"matchLabels": {"app": "web"}},
        )
        assert self.limits(rule, version=(1, 30)) == [None]

    def test_the_mesh_has_defaults_since_1_31(self) -> None:
        assert self.limits() == [9]
        assert self.limits(version=(1, 30)) == [None]


class TestHttpSettings:
    def read(self, mesh: dict[str, Any], headers: dict[str, Any], **metadata: Any) -> Any:
        return http_settings(
            mesh,
            {"proxyHeaders": headers},
            metadata,
            http10=False,
            use_remote_address=False,
            proxy_100_continue=True,
            exchange=True,
        )

    @pytest.mark.parametrize(
        ("word", "expected"),
        [
            ("NONE", (False, False, "keep")),
            ("DEFAULT", (True, False, "keep")),
            ("BASE", (True, False, "keep")),
            ("MERGE_SLASHES", (True, True, "keep")),
            ("DECODE_AND_MERGE_SLASHES", (True, True, "forward")),
        ],
    )
    def test_paths(self, word: str, expected: tuple[bool, bool, str]) -> None:
        found = self.read({"pathNormalization": {"normalization": word}}, {}).outbound()
        assert (found.normalize_path, found.merge_slashes, found.escaped_slashes) == expected

    def test_headers_of_the_proxy(self) -> None:
        found = self.read(
            {},
            {
                "server": {"value": "shop"},
                "forwardedClientCert": "SANITIZE_SET",
                "setCurrentClientCertDetails": {"subject": False, "cert": True},
            },
        )
        inbound, outbound = found.inbound(http2=True), found.outbound()
        assert (inbound.server_name, outbound.server_name) == ("shop", "shop")
        assert inbound.forward_client_cert == "sanitize_set"
        assert set(inbound.client_cert_details) == {"uri", "dns", "cert"}
        assert (inbound.http2, outbound.http2) == (True, False)

    def test_a_server_that_does_not_say_who_it_is(self) -> None:
        found = self.read({}, {"server": {"disabled": True, "value": "ignored"}})
        assert found.inbound(http2=False).server_header == "pass_through"
        assert found.inbound(http2=False).server_name == found.outbound().server_name == ""

    def test_what_the_node_says(self) -> None:
        found = self.read({}, {}, IDLE_TIMEOUT="90s", HTTP10="1").outbound()
        assert (found.idle_timeout_ms, found.http10) == (90_000, True)
        assert not self.read({}, {}, HTTP10="1").sniffs_http10
