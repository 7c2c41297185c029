"""Inbound ports, chains and settings of one workload, put together."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from meshscope.events.resource import Resource
from meshscope.policy import key as keys
from meshscope.policy.destination import Service
from meshscope.policy.filter_order import FilterOrder
from meshscope.policy.http_connection import HttpConnection
from meshscope.policy.inbound import Inbound
from meshscope.policy.key import PolicyKey
from meshscope.policy.kinds import Kind
from meshscope.policy.outbound_listener import ChainMatch, OutboundChain, OutboundListener
from meshscope.policy.peer_authentication import PeerAuthentication
from meshscope.policy.policy import Policy
from meshscope.policy.source import ResourceRef
from meshscope.policy.target import Target, WeightedTarget
from meshscope.policy.telemetry import Telemetry
from meshscope.projection.destinations.connection_settings import MeshDefaults
from meshscope.projection.inbound.ports import (
    PortPlan,
    ServiceTarget,
    ingress_ports,
    service_ports,
    with_pools,
)
from meshscope.projection.security.workload import (
    Declarations,
    Security,
    Situation,
    Switches,
    in_force,
    inbound_security,
    outbound_security,
)

SIDECAR = ResourceRef("Sidecar", "shop", "web")
NOTHING = Declarations()
WEB = ServiceTarget("web.shop.svc.cluster.local", "shop", "web", 80, 8080, "http")
SITUATION = Situation(
    mesh_config={},
    proxy_config={},
    node_metadata={},
    interception="REDIRECT",
    mesh=MeshDefaults(),
    switches=Switches(),
    hosts=frozenset(),
    find_service=lambda name: None,
    find_policy=lambda plan: (None,),
)


def worked_out(
    plans: Sequence[PortPlan] = service_ports([WEB]),
    declared: Declarations = NOTHING,
    listeners: Mapping[str, OutboundListener] | None = None,
    **changes: Any,
) -> Security:
    situation = replace(SITUATION, **changes)
    found = in_force(declared, namespace="shop", labels={"app": "web"}, root="istio-system")
    inward = inbound_security(found, situation, [plans])
    outward = outbound_security(found.telemetries, situation, listeners or {})
    refused = dict.fromkeys((*inward.unverifiable, *outward.unverifiable))
    return Security({**inward.outcomes, **outward.outcomes}, tuple(refused))


def content(found: Security, key: PolicyKey) -> Any:
    (policy,) = found.outcomes[key]
    assert isinstance(policy, Policy)
    return policy.content


def resource(kind: str, name: str, spec: dict[str, Any], **options: Any) -> Resource:
    return Resource("g", "v1", kind, "shop", name, body={"spec": spec}, **options)


class TestServicePorts:
    def test_the_oldest_service_decides_about_a_shared_port(self) -> None:
        other = replace(WEB, host="other", name="other", protocol="tcp")
        (plan,) = service_ports([WEB, other])
        assert plan.port.protocol == "http"
        assert plan.port.services == (
            Service(WEB.host, "shop", "web"),
            Service("other", "shop", "other"),
        )

    def test_services_of_another_port_number_are_not_named(self) -> None:
        (plan,) = service_ports([WEB, replace(WEB, name="other", port=81)])
        assert [service.name for service in plan.port.services] == ["web"]

    def test_ports_of_the_proxy_itself_are_left_out(self) -> None:
        assert service_ports([WEB], reserved=(8080,)) == ()

    def test_local_traffic_policy(self) -> None:
        found = worked_out(service_ports([WEB], forward_to_loopback=True))
        upstream = content(found, keys.inbound(8080)).upstream
        assert (upstream.addresses, upstream.source_address) == (("127.0.0.1:8080",), "")


class TestIngressPorts:
    def plans(self, *ingress: dict[str, Any], **options: Any) -> tuple[PortPlan, ...]:
        settings: dict[str, Any] = {"interception": "REDIRECT", "addresses": ("10.0.0.1",)}
        return ingress_ports(SIDECAR, {"ingress": ingress}, [WEB], **{**settings, **options})

    @pytest.mark.parametrize(
        ("endpoint", "address"),
        [
            ("127.0.0.1:9", "127.0.0.1:9"),
            ("0.0.0.0:9", "$self.address:9"),
            ("unix:///run/x", "unix:///run/x"),
        ],
    )
    def test_where_it_forwards_to(self, endpoint: str, address: str) -> None:
        port = {"number": 8080, "protocol": "HTTP"}
        (plan,) = self.plans({"port": port, "defaultEndpoint": endpoint})
        assert plan.address == address
        upstream = content(worked_out((plan,)), keys.inbound(8080)).upstream
        assert (upstream.kind, upstream.addresses) == ("static", (address,))

    @pytest.mark.parametrize(
        ("endpoint", "addresses", "expected"),
        [
            ("[::1]:9", ("10.0.0.1",), "127.0.0.1:9"),
            ("[::1]:9", ("10.0.0.1", "2001:db8::1"), "::1:9"),
            ("[::]:9", ("10.0.0.1",), "::1:9"),
            ("[::]:9", ("2001:db8::1",), "$self.address:9"),
            ("127.0.0.1:9", ("2001:db8::1",), "::1:9"),
            ("0.0.0.0:9", ("2001:db8::1",), "127.0.0.1:9"),
            ("127.0.0.1:9", (), "127.0.0.1:9"),
        ],
    )
    def test_an_address_of_another_family_becomes_one_that_it_has(
        self, endpoint: str, addresses: tuple[str, ...], expected: str
    ) -> None:
        listener = {"port": {"number": 8080, "protocol": "HTTP"}, "defaultEndpoint": endpoint}
        (plan,) = self.plans(listener, addresses=addresses)
        assert plan.address == expected

    def test_ports_that_it_cannot_open_are_left_out(self) -> None:
        def numbers(number: int, protocol: str, bind: str = "", **options: Any) -> list[int]:
            listener = {"port": {"number": number, "protocol": protocol}, "bind": bind}
            plans = self.plans(listener, reserved=(15090,), **options)
            return [int(plan.port.port or 0) for plan in plans]

        assert numbers(15090, "HTTP") == []
        assert numbers(15090, "TCP") == [15090]
        assert numbers(15090, "TCP", bind="0.0.0.0") == []  # noqa: S104, the wildcard address
        assert numbers(15090, "HTTP", bind="127.0.0.1") == [15090]
        assert numbers(80, "HTTP", unprivileged=True) == [80]
        assert numbers(80, "HTTP", unprivileged=True, interception="NONE") == []

    def test_without_an_endpoint_the_original_destination_counts(self) -> None:
        (plan,) = self.plans({"port": {"number": 8080, "protocol": "HTTP"}})
        assert content(worked_out((plan,)), keys.inbound(8080)).upstream.kind == "original_dst"

    @pytest.mark.parametrize(
        ("interception", "mode", "bind", "expected"),
        [
            ("REDIRECT", None, "10.0.0.1", ""),
            ("REDIRECT", "NONE", "10.0.0.1", "$self.address"),
            ("REDIRECT", "NONE", "127.0.0.1", "127.0.0.1"),
            ("NONE", None, None, "$self.address"),
            ("NONE", "IPTABLES", None, ""),
        ],
    )
    def test_whether_it_has_a_listener_of_its_own(
        self, interception: str, mode: str | None, bind: str | None, expected: str
    ) -> None:
        listener = {"port": {"number": 1, "protocol": "TCP"}, "captureMode": mode, "bind": bind}
        (plan,) = self.plans(listener, interception=interception)
        assert plan.port.bind == expected

    def test_the_service_of_the_port_gives_limits_and_names(self) -> None:
        mine, other = self.plans(
            {"port": {"number": 8080, "protocol": "HTTP"}},
            {"port": {"number": 9090, "protocol": "gopher"}},
        )
        assert (mine.owner, mine.policy_port, len(mine.port.services)) == (WEB, 8080, 1)
        assert (other.owner, other.port.services, other.port.protocol) == (None, (), "auto")

    def test_limits_of_the_sidecar(self) -> None:
        own = {"tcp": {"maxConnections": 1}}
        general = {"tcp": {"maxConnections": 2}}
        plans = with_pools(
            self.plans(
                {"port": {"number": 1, "protocol": "TCP"}, "connectionPool": own},
                {"port": {"number": 2, "protocol": "TCP"}},
            ),
            {"inboundConnectionPool": general},
        )
        found = worked_out(
            plans, find_policy=lambda _: ({"connectionPool": {"tcp": {"maxConnections": 3}}},)
        )
        limits = [
            content(found, keys.inbound(port)).upstream.connection_pool.max_connections
            for port in (1, 2)
        ]
        assert limits == [1, 2]


class TestInbound:
    def test_every_other_port_is_passed_through(self) -> None:
        found = worked_out()
        passed = content(found, keys.inbound(keys.ANY_PORT))
        assert isinstance(passed, Inbound)
        assert (passed.protocol, passed.forwards_to) == ("auto", "InboundPassthroughCluster")

    def test_without_redirection_nothing_is_passed_through(self) -> None:
        found = worked_out((), interception="NONE")
        assert {key.kind for key in found.outcomes} <= {Kind.TELEMETRY, Kind.FILTER_ORDER}

    def test_a_port_level_mode_of_no_service_port_has_chains_of_its_own(self) -> None:
        policy = resource(
            "PeerAuthentication",
            "p",
            {
                "selector": {"matchLabels": {"app": "web"}},
                "mtls": {"mode": "STRICT"},
                "portLevelMtls": {"9000": {"mode": "DISABLE"}, "8080": {"mode": "PERMISSIVE"}},
            },
        )
        found = worked_out(declared=Declarations(peer_authentications=[policy]))
        modes = {
            key["port"]: content(found, key).mode
            for key in found.outcomes
            if key.kind is Kind.PEER_AUTHENTICATION
        }
        assert modes == {"*": "STRICT", "9000": "DISABLE", "8080": "PERMISSIVE"}
        assert content(found, keys.inbound(9000)).forwards_to == "InboundPassthroughCluster"

    def test_grpc_is_never_retried(self) -> None:
        for protocol, retried in (("http", True), ("grpc", False), ("grpc-web", False)):
            found = worked_out(service_ports([replace(WEB, protocol=protocol)]))
            (route, *_) = content(found, keys.inbound(8080)).routes
            assert (route.rules[0].forward.retry is not None) is retried

    def test_http_is_sniffed_on_other_ports_once_any_port_needs_it(self) -> None:
        strict = resource("PeerAuthentication", "p", {"mtls": {"mode": "STRICT"}})
        ports = {"9000": {"mode": "DISABLE"}}
        mixed = resource(
            "PeerAuthentication",
            "q",
            {
                "selector": {"matchLabels": {"app": "web"}},
                "mtls": {"mode": "STRICT"},
                "portLevelMtls": ports,
            },
        )
        for policy, detects in ((strict, ("tls",)), (mixed, ("http", "tls"))):
            found = worked_out(declared=Declarations(peer_authentications=[policy]))
            assert content(found, keys.inbound(keys.ANY_PORT)).detects == detects
            assert content(found, keys.inbound(8080)).detects == ("tls",)

    def test_unknown_ages_leave_every_outcome_open(self) -> None:
        policies = [
            resource("PeerAuthentication", name, {"mtls": {"mode": mode}})
            for name, mode in (("a", "STRICT"), ("b", "DISABLE"))
        ]
        found = worked_out(declared=Declarations(peer_authentications=policies))
        outcomes = found.outcomes[keys.peer_authentication(8080)]
        assert {policy.content.mode for policy in outcomes if policy is not None} == {
            "STRICT",
            "DISABLE",
        }
        assert None in found.outcomes[keys.authorization(8080, "plaintext", "http")]

    def test_unknown_ages_of_rules_leave_the_limits_open(self) -> None:
        versions = ({"connectionPool": {"tcp": {"maxConnections": 1}}}, None)
        found = worked_out(find_policy=lambda _: versions)
        assert len(found.outcomes[keys.inbound(8080)]) == 2
        assert len(found.outcomes[keys.inbound(keys.ANY_PORT)]) == 1

    def test_switches_of_istiod(self) -> None:
        switches = Switches(exchange=False, check_trust_domain=False, http10=True)
        found = worked_out(switches=switches)
        chains = content(found, keys.peer_authentication(keys.ANY_PORT)).chains
        assert {chain.tls.peers for chain in chains if chain.tls} == {()}
        assert {chain.tls.alpn for chain in chains if chain.tls} == {("h2", "http/1.1")}
        sniffed = [
            c for c in chains if c.transport_protocol == "raw_buffer" and c.protocol == "http"
        ]
        assert "http/1.0" in sniffed[0].application_protocols
        order = content(found, keys.filter_order(8080, "mtls", "http"))
        assert "metadata_exchange" not in order.filters
        assert content(found, keys.http_connection(8080, "mtls")).http10

    def test_trust_domains_of_other_authorities_are_accepted(self) -> None:
        mesh_config = {
            "trustDomain": "own",
            "caCertificates": [{"trustDomains": ["own", "partner"]}],
            "meshMTLS": {"minProtocolVersion": "TLSV1_3", "cipherSuites": ["X"]},
        }
        found = content(worked_out(mesh_config=mesh_config), keys.peer_authentication(8080))
        assert isinstance(found, PeerAuthentication)
        (tls,) = {chain.tls for chain in found.chains if chain.tls}
        assert [peer.value for peer in tls.peers] == ["spiffe://own/", "spiffe://partner/"]
        assert (tls.minimum, tls.ciphers) == ("TLSv1_3", ("X",))

    def test_own_tls_of_a_sidecar_is_not_told(self) -> None:
        plans = ingress_ports(
            SIDECAR,
            {"ingress": [{"port": {"number": 1, "protocol": "HTTPS"}, "tls": {"mode": "SIMPLE"}}]},
            [],
            interception="REDIRECT",
            addresses=(),
        )
        assert worked_out(plans).unverifiable == ()
        found = worked_out(plans, switches=Switches(ingress_tls=True))
        assert all(item.source == SIDECAR for item in found.unverifiable)
        assert any(item.covers(keys.peer_authentication(1)) for item in found.unverifiable)
        assert not any(item.covers(keys.peer_authentication(2)) for item in found.unverifiable)

    def test_a_rule_that_explodes_makes_access_unverifiable(self) -> None:
        many = [f"issuer{number}/subject" for number in range(11)]
        rules = [{"from": [{"source": {"notRequestPrincipals": many}}]}]
        policy = resource("AuthorizationPolicy", "p", {"rules": rules})
        found = worked_out(declared=Declarations(authorization_policies=[policy]))
        assert {item.kind for item in found.unverifiable} == {
            Kind.AUTHORIZATION,
            Kind.FILTER_ORDER,
        }


TCP = OutboundListener(
    chains=(OutboundChain(to=(WeightedTarget(Target("outbound", "db", 5432)),)),)
)
HTTP = OutboundListener(chains=(OutboundChain(ChainMatch(), route_table="80"),))


class TestOutbound:
    def test_http_listeners_have_settings_and_tcp_ones_do_not(self) -> None:
        found = worked_out(listeners={"0.0.0.0_80": HTTP, "10.0.0.2_5432": TCP})
        scopes = {key["scope"] for key in found.outcomes if key.kind is Kind.HTTP_CONNECTION}
        assert scopes == {"0.0.0.0_80", "8080", "*"}
        settings = content(found, keys.http_connection("0.0.0.0_80"))
        assert isinstance(settings, HttpConnection)
        assert (settings.server_name, settings.forward_client_cert) == ("", "sanitize")

    def test_without_listeners_and_redirection_there_is_nothing(self) -> None:
        found = worked_out((), interception="NONE")
        assert found.outcomes == {}

    def test_the_alpn_filter_can_be_switched_off(self) -> None:
        for alpn in (True, False):
            found = worked_out(listeners={"x_80": HTTP}, switches=Switches(alpn_filter=alpn))
            order = content(found, keys.filter_order("outbound", "-", "http"))
            assert isinstance(order, FilterOrder)
            assert ("alpn" in order.filters) is alpn

    def test_the_catch_all_listener_logs_for_itself(self) -> None:
        found = worked_out(listeners={"x_5432": TCP}, mesh_config={"accessLogFile": "/dev/stdout"})
        outbound = content(found, keys.telemetry("outbound", "tcp"))
        assert isinstance(outbound, Telemetry)
        assert sorted(map(len, outbound.access_logs)) == [1, 2]
        inbound = content(found, keys.telemetry("inbound", "tcp"))
        assert [len(logs) for logs in inbound.access_logs] == [2]

    def test_a_provider_that_is_not_modelled_makes_telemetry_unverifiable(self) -> None:
        mesh_config = {
            "extensionProviders": [{"name": "als", "envoyTcpAls": {"service": "x", "port": 1}}],
            "defaultProviders": {"accessLogging": ["als"], "metrics": ["prometheus"]},
        }
        found = worked_out(mesh_config=mesh_config)
        said = {(item.kind, item.key_prefix) for item in found.unverifiable}
        assert {prefix for kind, prefix in said if kind is Kind.TELEMETRY} == {
            ("inbound",),
            ("outbound",),
        }
        # What the vocabulary does not model of it stands beside it.
        assert (Kind.EXTENSION, ("telemetry/inbound/http",)) in said
        assert "stats" in content(found, keys.filter_order(8080, "mtls", "http")).filters
