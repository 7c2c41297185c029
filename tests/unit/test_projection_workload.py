"""The proxy as a workload, and domains of virtual hosts."""

from dataclasses import replace
from typing import Any

import pytest
from declared import client, declare, projected, route, service

from meshscope.events.proxy import ProxyInputs
from meshscope.events.resource import Resource
from meshscope.policy import key
from meshscope.projection.declared.declarations import declarations
from meshscope.projection.routes.domains import DomainLedger, Domains, literal, service_domains
from meshscope.projection.services.locality import Place
from meshscope.projection.services.registry import Registry, registry
from meshscope.projection.workload import Workload, workload

ADDRESS = "10.9.0.1"


def services(*resources: Resource) -> Registry:
    return registry(
        resources,
        trust_domain="cluster.local",
        domain="cluster.local",
        default_exports=frozenset("*"),
    )


def seen(*resources: Resource, proxy: ProxyInputs | None = None) -> Workload:
    return workload(proxy or client(), declarations(resources), services(*resources))


def pod(labels: dict[str, str], **spec: Any) -> Resource:
    return declare("Pod", "client", spec, labels=labels)


def entry(name: str, spec: dict[str, Any], kind: str = "ServiceEntry") -> Resource:
    ports = [{"number": 80, "name": "http", "protocol": "HTTP", "targetPort": 8080}]
    return declare(kind, name, {"hosts": [f"{name}.example"], "ports": ports, **spec})


def test_labels_are_those_of_the_pod_then_of_the_node_metadata_then_of_an_endpoint() -> None:
    metadata = client(labels={"from": "metadata"})
    endpoint = entry("e", {"endpoints": [{"address": ADDRESS, "labels": {"from": "endpoint"}}]})
    assert seen(pod({"from": "pod"}), endpoint, proxy=metadata).labels == {"from": "pod"}
    assert seen(endpoint, proxy=metadata).labels == {"from": "metadata"}
    assert seen(endpoint).labels == {"from": "endpoint"}
    virtual = declare("WorkloadEntry", "vm", {"address": ADDRESS, "labels": {"from": "vm"}})
    assert seen(virtual, endpoint).labels == {"from": "vm"}
    assert seen().labels == {}


def test_its_place_is_that_of_its_node_else_of_the_proxy() -> None:
    node = declare(
        "Node", "n", {}, namespace="", labels={"topology.kubernetes.io/region": "of-node"}
    )
    proxy = client(region="of-proxy")
    assert seen(pod({}, nodeName="n"), node, proxy=proxy).place == Place("of-node")
    assert seen(pod({}), proxy=proxy).place == Place("of-proxy")


def test_services_that_select_it_are_served_the_oldest_first() -> None:
    ports = {"name": "http", "port": 80, "targetPort": "web"}
    found = seen(
        service("young", ports, selector={"app": "a"}, age="2026-02-01T00:00:00Z"),
        service("old", {"name": "tcp", "port": 81}, selector={"app": "a"}),
        service("other", selector={"app": "b"}),
        service("none"),
        service("elsewhere", selector={"app": "a"}, namespace="bank"),
        pod({"app": "a"}, containers=[{"ports": [{"name": "web", "containerPort": 8080}]}]),
    )
    assert [(t.name, t.port, t.target_port) for t in found.targets] == [
        ("old", 81, 81),
        ("young", 80, 8080),
    ]


def test_a_port_that_no_container_has_is_not_served() -> None:
    ports = {"name": "http", "port": 80, "targetPort": "web"}
    assert seen(service("web", ports, selector={"app": "a"}), pod({"app": "a"})).targets == ()


def test_of_services_of_one_age_the_first_by_host_decides() -> None:
    chosen = {"selector": {"app": "a"}}
    found = seen(service("web", **chosen), service("web-v1", **chosen), pod({"app": "a"}))
    assert [target.name for target in found.targets] == ["web-v1", "web"]


def test_a_pod_that_no_service_selects_serves_those_whose_endpoints_list_it() -> None:
    def listing(address: str) -> Resource:
        named = {"kubernetes.io/service-name": "web"}
        piece = declare("EndpointSlice", "web", {}, labels=named)
        ports = [{"name": "http", "port": 8080}, {"name": "other", "port": 8081}]
        return replace(piece, body={"endpoints": [{"addresses": [address]}], "ports": ports})

    def ports(*resources: Resource) -> list[tuple[str, int]]:
        found = seen(service("web"), pod({"app": "a"}), *resources)
        return [(target.name, target.target_port) for target in found.targets]

    assert ports(listing(ADDRESS)) == [("web", 8080)]
    assert ports(listing("10.9.0.2")) == []
    other = service("other", selector={"app": "a"})
    assert ports(listing(ADDRESS), other) == [("other", 80)]


def test_a_workload_entry_with_its_address_stands_for_it() -> None:
    spec = {"address": ADDRESS, "labels": {"app": "b"}, "ports": {"http": 7}}
    found = seen(
        service("a", selector={"app": "a"}),
        service("b", selector={"app": "b"}),
        service("named", {"name": "x", "port": 80, "targetPort": "y"}, selector={"app": "b"}),
        service("headless", ip="None", selector={"app": "b"}),
        declare("WorkloadEntry", "vm", spec),
        proxy=client(labels={"app": "a"}),
    )
    assert [(target.name, target.target_port) for target in found.targets] == [("b", 7)]


def test_of_several_workload_entries_with_its_address_its_namesake_stands_for_it() -> None:
    def entries(*names: str) -> list[Resource]:
        return [
            declare("WorkloadEntry", name, {"address": ADDRESS, "labels": {"app": name}})
            for name in names
        ]

    ours = [service(name, selector={"app": name}) for name in ("a", "client")]
    assert [t.name for t in seen(*ours, *entries("a", "client")).targets] == ["client"]
    assert [t.name for t in seen(*ours, *entries("a", "b")).targets] == ["a"]


def test_labels_of_a_workload_entrys_metadata_count_before_those_of_its_spec() -> None:
    virtual = declare(
        "WorkloadEntry",
        "vm",
        {"address": ADDRESS, "labels": {"app": "spec", "of": "spec"}},
        labels={"app": "metadata"},
    )
    assert seen(virtual).labels == {"app": "metadata", "of": "spec"}


def test_its_cluster_and_network_are_among_the_labels_of_its_place() -> None:
    labels = seen(pod({}), proxy=client(network="n")).place_labels
    assert labels["topology.istio.io/cluster"] == "Kubernetes"
    assert labels["topology.istio.io/network"] == "n"
    own = pod({"topology.istio.io/network": "own"})
    labels = seen(own, proxy=client(network="n")).place_labels
    assert labels["topology.istio.io/network"] == "own"


@pytest.mark.parametrize(
    ("spec", "target"),
    [
        ({"endpoints": [{"address": ADDRESS}]}, 8080),
        ({"endpoints": [{"address": ADDRESS, "ports": {"http": 9090}}]}, 9090),
        ({"endpoints": [{"address": "10.9.0.2"}]}, None),
        ({"workloadSelector": {"labels": {"app": "a"}}}, 8080),
        ({"workloadSelector": {"labels": {"app": "b"}}}, None),
        ({"addresses": ["10.5.0.1", "10.5.0.2"], "endpoints": [{"address": ADDRESS}]}, 8080),
    ],
)
def test_a_service_entry_lists_it_or_selects_it(spec: dict[str, Any], target: int | None) -> None:
    found = seen(entry("e", spec), pod({"app": "a"}))
    assert [t.target_port for t in found.targets] == ([] if target is None else [target])


def test_a_service_entry_of_another_namespace_that_lists_its_address_is_not_served() -> None:
    spec = {"hosts": ["e.example"], "ports": [{"number": 80, "name": "http"}]}
    elsewhere = declare(
        "ServiceEntry", "e", {**spec, "endpoints": [{"address": ADDRESS}]}, namespace="bank"
    )
    assert seen(elsewhere).targets == ()


def test_a_workload_entry_says_its_own_ports() -> None:
    chosen = declare(
        "WorkloadEntry", "vm", {"address": ADDRESS, "labels": {"app": "a"}, "ports": {"http": 7}}
    )
    found = seen(entry("e", {"workloadSelector": {"labels": {"app": "a"}}}), chosen)
    assert [t.target_port for t in found.targets] == [7]


def test_names_are_shortened_by_what_both_domains_share() -> None:
    (named,) = services(entry("x", {"hosts": ["foo.local.campus.net"]})).services

    def names(dns_domain: str) -> set[str]:
        full = {"foo.local.campus.net", "foo.local.campus.net."}
        return set(service_domains(named, (), dns_domain).all) - full

    assert names("local.campus.net") == {"foo"}
    assert names("remote.campus.net") == {"foo.local", "foo.local.campus"}
    assert names("example.com") == set()
    assert names("shop.svc.cluster.local") == set()


def test_the_first_virtual_host_has_a_domain_and_short_names_never_take_a_full_one() -> None:
    ledger = DomainLedger(frozenset(("foo.com",)))
    assert ledger.claim("a", Domains(("A.example", "b"))) == ("A.example", "b")
    assert ledger.claim("a", Domains(("c",))) == ()
    assert ledger.claim("d", Domains(("a.EXAMPLE", "d"))) == ("d",)
    assert ledger.claim("e", Domains(("foo.com",), frozenset(("foo.com",)))) == ()
    assert ledger.claim("f", Domains(("foo.com",))) == ("foo.com",)


def test_ipv6_stands_in_brackets() -> None:
    assert literal("2001:db8::1") == "[2001:db8::1]"
    assert literal("web:80") == "web:80"
    assert literal("web") == "web"


def test_an_http_proxy_takes_every_port_and_only_port_80_goes_without_saying() -> None:
    proxy = {"number": 15080, "protocol": "HTTP_PROXY", "name": "proxy"}
    sidecar = declare(
        "Sidecar", "default", {"egress": [{"port": proxy, "bind": "127.0.0.1", "hosts": ["./*"]}]}
    )
    found = projected(
        service("web"), service("api", {"name": "http", "port": 81}, ip="10.0.0.2"), sidecar
    )
    assert key.outbound_listener("127.0.0.1", 15080) in found.policies
    web = route(found, "15080", "web.shop.svc.cluster.local:80").domains
    assert {"web", "web:80", "10.0.0.1", "10.0.0.1:80"} <= set(web)
    api = route(found, "15080", "api.shop.svc.cluster.local:81").domains
    assert "api:81" in api
    assert all(domain.endswith(":81") for domain in api)
