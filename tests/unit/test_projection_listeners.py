"""Which outbound listeners there are, and what they do with connections."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from declared import OLD, client, declare, listener, projected, service, virtual_service

from meshscope.events.control_plane import ControlPlane
from meshscope.events.resource import Resource
from meshscope.policy import key
from meshscope.policy.egress import Egress
from meshscope.policy.inbound import Inbound
from meshscope.policy.kinds import Kind
from meshscope.policy.outbound_listener import ChainMatch, OutboundChain
from meshscope.policy.target import HashPolicy, Target
from meshscope.projection.project import project
from meshscope.projection.result import Projection

LOOP = "127.0.0.1"
ANY = "0.0.0.0"  # noqa: S104, the wildcard address of listeners
TCP = {"name": "tcp", "port": 90}
TLS = {"name": "tls", "port": 443}
YOUNG = "2026-02-01T00:00:00Z"


def addresses(found: Projection) -> set[tuple[str, ...]]:
    return {k.parts for k in found.policies if k.kind is Kind.OUTBOUND_LISTENER} - {(ANY, "15001")}


def hosts(chain: OutboundChain | None) -> list[str]:
    assert chain is not None
    return sorted(each.target.host for each in chain.to)


def entry(name: str, **spec: Any) -> Resource:
    ports = spec.pop("ports", [{"number": 443, "name": "tls", "protocol": "TLS"}])
    return declare("ServiceEntry", name, {"hosts": [f"{name}.example"], "ports": ports, **spec})


def test_http_services_share_a_listener_that_looks_for_http() -> None:
    found = projected(service("web"), service("api", ip="10.0.0.2"))
    shared = listener(found, ANY, 80)
    assert shared.detects == ("http",)
    (chain,) = shared.chains
    assert chain.route_table == "80"
    assert set(chain.match.application_protocols) == {"http/1.1", "h2c"}
    assert chain.match.transport_protocol == "raw_buffer"
    assert hosts(shared.default) == ["PassthroughCluster"]


def test_a_tcp_service_has_a_listener_at_its_address() -> None:
    found = listener(projected(service("db", TCP)), "10.0.0.1", 90)
    (chain,) = found.chains
    assert chain.match == ChainMatch()
    assert hosts(chain) == ["db.shop.svc.cluster.local"]
    assert found.default is None
    assert found.detects == ()
    assert found.detection_timeout_ms == 0


def test_operations_of_mongo_are_counted_on_the_way() -> None:
    mongo, mysql = {"name": "mongo", "port": 27017}, {"name": "mysql", "port": 3306}
    found = projected(service("db", mongo, mysql))
    (chain,) = listener(found, "10.0.0.1", 27017).chains
    assert chain.statistics_of == "mongo"
    # Istio has a filter for MySQL, but does not use it by default.
    (chain,) = listener(found, "10.0.0.1", 3306).chains
    assert chain.statistics_of == ""


def test_a_detected_port_has_both_kinds_of_chain() -> None:
    found = listener(
        projected(service("web", {"port": 7000}), protocolDetectionTimeout="5s"), "10.0.0.1", 7000
    )
    (chain,) = found.chains
    assert chain.route_table == "web.shop.svc.cluster.local:7000"
    assert hosts(found.default) == ["web.shop.svc.cluster.local"]
    assert found.detection_timeout_ms == 5_000


def test_udp_has_no_listener() -> None:
    udp = {"name": "dns", "port": 53, "protocol": "UDP"}
    assert addresses(projected(service("dns", udp))) == set()


def test_every_workload_of_a_headless_service_has_a_listener_but_the_client_itself() -> None:
    def pod(number: int) -> Resource:
        return declare("Pod", f"db-{number}", {"nodeName": ""})

    endpoints = [
        {
            "addresses": [f"10.9.0.{number}"],
            "conditions": {"ready": True},
            "targetRef": {"kind": "Pod", "namespace": "shop", "name": f"db-{number}"},
        }
        for number in (1, 2)
    ]
    piece = Resource(
        "discovery.k8s.io",
        "v1",
        "EndpointSlice",
        "shop",
        "db",
        {"kubernetes.io/service-name": "db"},
        created_at=OLD,
        body={
            "addressType": "IPv4",
            "endpoints": endpoints,
            "ports": [{"name": "tcp", "port": 90}],
        },
    )
    resources = service("db", TCP, ip="None"), piece, pod(1), pod(2)
    assert addresses(projected(*resources)) == {("10.9.0.2", "90")}
    other = client(addresses=("10.9.0.7",))
    assert addresses(projected(*resources, proxy=other)) == {("10.9.0.1", "90"), ("10.9.0.2", "90")}


def test_tables_to_which_only_a_listener_for_the_client_itself_leads_are_not_held() -> None:
    named = {"kubernetes.io/service-name": "db"}
    ends = [{"addresses": ["10.9.0.1"], "conditions": {"ready": True}}]
    body = {"addressType": "IPv4", "endpoints": ends, "ports": [{"name": "any", "port": 90}]}
    piece = replace(declare("EndpointSlice", "db", {}, labels=named), body=body)
    resources = service("db", {"name": "any", "port": 90}, ip="None"), piece
    table = key.http_route("db.shop.svc.cluster.local:90", "db.shop.svc.cluster.local:90")

    assert table in projected(*resources, proxy=client(addresses=("10.9.0.7",))).policies
    assert table not in projected(*resources).policies


def test_a_table_is_held_to_which_only_the_default_of_a_listener_leads() -> None:
    sidecar = declare("Sidecar", "default", {"egress": [{"hosts": ["./*"], "bind": "127.0.0.1"}]})
    tls = {"name": "tls", "port": 80}
    routed = virtual_service("db", ["db"], tls=[sent("db", sniHosts=["x.example"])])
    found = projected(service("web"), service("db", tls, ip="10.0.0.2", age=YOUNG), routed, sidecar)
    assert listener(found, "127.0.0.1", 80).default == OutboundChain(
        route_table="80", connect_timeout_ms=15_000
    )
    assert key.egress("80") in found.policies


def test_http_and_tcp_at_one_address_are_told_apart() -> None:
    plain = entry("plain", ports=[{"number": 80, "name": "tcp", "protocol": "TCP"}])
    shared = listener(projected(service("web"), plain), ANY, 80)
    assert [chain.route_table for chain in shared.chains] == ["80"]
    assert hosts(shared.default) == ["plain.example"]
    assert shared.detects == ("http",)


def test_of_two_tcp_services_at_one_address_the_older_one_stays() -> None:
    ports = [{"number": 90, "name": "tcp", "protocol": "TCP"}]

    def at(first: str, second: str) -> list[str]:
        one = declare("ServiceEntry", "one", {"hosts": ["one.example"], "ports": ports}, age=first)
        two = declare("ServiceEntry", "two", {"hosts": ["two.example"], "ports": ports}, age=second)
        return hosts(listener(projected(one, two), ANY, 90).chains[0])

    assert at(OLD, YOUNG) == ["one.example"]
    assert at(YOUNG, OLD) == ["two.example"]


def test_tls_services_without_address_are_told_apart_by_name() -> None:
    found = listener(projected(entry("a"), entry("b")), ANY, 443)
    assert {chain.match.server_names for chain in found.chains} == {("a.example",), ("b.example",)}
    assert found.detects == ("tls",)
    assert hosts(found.default) == ["PassthroughCluster"]


def test_services_with_networks_are_told_apart_by_name_at_an_address_of_the_proxy() -> None:
    near = entry("near", addresses=["10.1.0.0/16"])
    found = listener(projected(near, entry("far"), proxy=client(interception="NONE")), LOOP, 443)
    assert [chain.match.server_names for chain in found.chains] == [("near.example",)]
    assert hosts(found.default) == ["far.example"]


def test_a_network_as_address_becomes_a_match() -> None:
    ports = [{"number": 90, "name": "tcp", "protocol": "TCP"}]
    found = listener(projected(entry("net", addresses=["10.1.0.0/16"], ports=ports)), ANY, 90)
    assert [chain.match.prefix_ranges for chain in found.chains] == [("10.1.0.0/16",)]


def routed(**blocks: Any) -> Mapping[tuple[str, ...], list[str]]:
    kind, port = ("tls", TLS) if "tls" in blocks else ("tcp", TCP)
    vs = virtual_service("db", ["db"], **blocks)
    found = listener(projected(service("db", port), vs), "10.0.0.1", int(port["port"]))
    chains = (*found.chains, *((found.default,) if found.default else ()))
    name = "server_names" if kind == "tls" else "prefix_ranges"
    return {getattr(chain.match, name): hosts(chain) for chain in chains}


def sent(host: str, **match: Any) -> Mapping[str, Any]:
    block = {"route": [{"destination": {"host": host, "port": {"number": 1}}}]}
    return {**block, "match": [match]} if match else block


def test_tcp_routes_end_at_the_first_that_takes_every_address() -> None:
    assert routed(tcp=[sent("a"), sent("b")]) == {(): ["a.shop.svc.cluster.local"]}
    assert routed(tcp=[sent("a", sourceLabels={"x": "y"}), sent("b")]) == {
        (): ["b.shop.svc.cluster.local"]
    }
    assert routed(tcp=[sent("a", destinationSubnets=["10.2.0.0/16"])]) == {
        ("10.2.0.0/16",): ["a.shop.svc.cluster.local"],
        (): ["db.shop.svc.cluster.local"],
    }


def test_tls_routes_are_chosen_by_name_and_the_first_of_a_name_counts() -> None:
    assert routed(
        tls=[sent("a", sniHosts=["x.example"], port=443), sent("b", sniHosts=["x.example"])]
    ) == {("x.example",): ["a.shop.svc.cluster.local"], (): ["PassthroughCluster"]}
    assert routed(tls=[sent("a", sniHosts=["x.example"], gateways=["ingress"])]) == {
        (): ["db.shop.svc.cluster.local"]
    }


def test_a_destination_rule_adds_to_a_tcp_chain() -> None:
    policy = {
        "connectionPool": {"tcp": {"idleTimeout": "7s", "maxConnectionDuration": "9s"}},
        "loadBalancer": {"consistentHash": {"useSourceIp": True}},
        "tunnel": {"protocol": "POST", "targetHost": "proxy.example", "targetPort": 443},
    }
    rule = declare("DestinationRule", "db", {"host": "db", "trafficPolicy": policy})
    (chain,) = listener(projected(service("db", TCP), rule), "10.0.0.1", 90).chains
    assert (chain.idle_timeout_ms, chain.max_duration_ms) == (7_000, 9_000)
    assert chain.hash == (HashPolicy("source_ip"),)
    assert chain.tunnel == "POST proxy.example:443"


def test_a_changed_rule_counts_on_a_sidecars_port_whatever_its_services_declare() -> None:
    sidecar = declare(
        "Sidecar",
        "default",
        {"egress": [{"port": {"number": 80, "protocol": "TCP", "name": "x"}, "hosts": ["./*"]}]},
    )
    control_plane, web = ControlPlane(version="1.31.0"), service("web")

    def idle(timeout: str) -> int | None:
        policy = {"connectionPool": {"tcp": {"idleTimeout": timeout}}}
        rule = declare("DestinationRule", "web", {"host": "web", "trafficPolicy": policy})
        found = project(control_plane, (web, sidecar, rule), client())
        (chain,) = listener(found, "10.0.0.1", 80).chains
        return chain.idle_timeout_ms

    # What is remembered of the first declaration must not stand for the second.
    assert (idle("7s"), idle("9s")) == (7_000, 9_000)


def test_a_detected_service_adds_nothing_where_http_is_looked_for_already() -> None:
    spec = {"hosts": ["any.example"], "ports": [{"number": 80, "name": "any"}]}
    detected = declare("ServiceEntry", "any", spec, age=YOUNG)
    found = listener(projected(service("web"), detected), ANY, 80)
    assert [chain.route_table for chain in found.chains] == ["80"]
    assert hosts(found.default) == ["PassthroughCluster"]


def test_a_port_of_an_explicit_proxy_takes_what_stands_there() -> None:
    plain = entry("plain", ports=[{"number": 80, "name": "tcp", "protocol": "TCP"}])
    proxy = entry("proxy", ports=[{"number": 80, "name": "proxy", "protocol": "HTTP_PROXY"}])
    found = listener(projected(plain, proxy), ANY, 80)
    assert [(chain.match, chain.route_table) for chain in found.chains] == [(ChainMatch(), "80")]


def test_the_service_that_makes_a_listener_decides_whether_grpc_web_is_translated() -> None:
    def translated(first: str, second: str) -> list[bool]:
        ports = {"name": "grpc-web", "port": 80}
        web, api = service("web", ports, age=first), service("api", ip="10.0.0.2", age=second)
        return [chain.grpc_web for chain in listener(projected(web, api), ANY, 80).chains]

    assert translated(OLD, YOUNG) == [True]
    assert translated(YOUNG, OLD) == [False]


def test_connections_that_are_captured_unchanged_are_taken_at_any_address() -> None:
    def transparent(interception: str) -> tuple[bool, bool, tuple[str, ...]]:
        found = projected(service("web"), proxy=client(interception=interception))
        inbound = found.policies[key.inbound("*")].content
        assert isinstance(inbound, Inbound)
        return listener(found, ANY, 15001).transparent, inbound.transparent, inbound.detects

    assert transparent("TPROXY") == (True, True, ("http", "original_src", "tls"))
    assert transparent("REDIRECT") == (False, False, ("http", "tls"))


def test_the_catch_all_listener_and_tables_say_what_happens_to_unknown_hosts() -> None:
    def modes(**settings: Any) -> set[tuple[str, str, tuple[str, ...]]]:
        found = projected(service("web"), **settings)
        egress = [p.content for k, p in found.policies.items() if k.kind is Kind.EGRESS]
        assert all(isinstance(content, Egress) for content in egress)
        scopes = [k.parts[0] for k in found.policies if k.kind is Kind.EGRESS]
        return {
            (scope, content.mode, tuple(each.target.host for each in content.to))
            for scope, content in zip(scopes, egress, strict=True)
            if isinstance(content, Egress)
        }

    assert modes() == {
        ("virtualOutbound", "ALLOW_ANY", ("PassthroughCluster",)),
        ("80", "ALLOW_ANY", ("PassthroughCluster",)),
    }
    assert modes(outboundTrafficPolicy={"mode": "REGISTRY_ONLY"}) == {
        ("virtualOutbound", "REGISTRY_ONLY", ("BlackHoleCluster",)),
        ("80", "REGISTRY_ONLY", ()),
    }


def test_a_sidecars_outbound_policy_wins() -> None:
    proxy = {"host": "egress.shop.svc.cluster.local", "port": {"number": 443}}
    sidecar = declare(
        "Sidecar",
        "default",
        {"outboundTrafficPolicy": {"mode": "ALLOW_ANY", "egressProxy": proxy}},
    )
    found = projected(service("web"), sidecar, outboundTrafficPolicy={"mode": "REGISTRY_ONLY"})
    content = found.policies[key.egress("virtualOutbound")].content
    assert isinstance(content, Egress)
    assert content.mode == "PROXY"
    assert content.to[0].target == Target("outbound", "egress.shop.svc.cluster.local", 443)
    assert found.policies[key.egress("80")].sources == (sidecar.ref,)


def test_without_redirection_listeners_open_their_ports_on_loopback() -> None:
    found = projected(
        service("web"), service("db", TCP, ip="10.0.0.2"), proxy=client(interception="NONE")
    )
    assert addresses(found) == {("127.0.0.1", "80"), ("127.0.0.1", "90")}
    assert listener(found, "127.0.0.1", 80).binds
    assert key.egress("virtualOutbound") not in found.policies


@pytest.mark.parametrize("port", [15001, 15006, 15021])
def test_ports_of_the_proxy_itself_are_not_taken(port: int) -> None:
    proxy = client(metadata={"ENVOY_STATUS_PORT": 15021})
    found = projected(service("web", {"name": "http", "port": port}), proxy=proxy)
    assert addresses(found) == set()


def test_allocated_addresses_are_for_proxies_that_resolve_names() -> None:
    given = entry("ext", resolution="DNS")
    body = {
        **given.body,
        "status": {"addresses": [{"host": "ext.example", "value": "240.240.0.1"}]},
    }
    resource = Resource(
        given.group, given.version, given.kind, given.namespace, given.name, {}, {}, OLD, body
    )
    assert addresses(projected(resource)) == {(ANY, "443")}
    captures = client(metadata={"DNS_CAPTURE": "true"})
    assert addresses(projected(resource, proxy=captures)) == {("240.240.0.1", "443")}
