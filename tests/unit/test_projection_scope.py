"""What proxies see: Sidecars, egress listeners, imports."""

from collections.abc import Mapping, Sequence
from typing import Any

from declared import client, declare, listener, projected, service, to, virtual_service

from meshscope.events.resource import Resource
from meshscope.policy import key
from meshscope.policy.kinds import Kind
from meshscope.projection.result import Projection
from meshscope.projection.sidecar_scope import applicable_sidecar


def sidecar(name: str, *egress: Mapping[str, Any], **more: Any) -> Resource:
    placed = {field: more.pop(field) for field in ("namespace", "age") if field in more}
    return declare("Sidecar", name, {"egress": egress, **more}, **placed)


def seen(found: Projection) -> Sequence[str]:
    hosts = {k["host"] for k in found.policies if k.kind is Kind.DESTINATION}
    return sorted(host.removesuffix(".svc.cluster.local") for host in hosts if "." in host)


def test_the_sidecar_that_selects_a_workload_comes_before_its_namespaces_and_the_roots() -> None:
    selector = {"workloadSelector": {"labels": {"app": "a"}}}
    own, general = sidecar("own", **selector), sidecar("general")
    root = sidecar("root", namespace="istio-system")
    everyone = (general, root, own)
    assert applicable_sidecar(everyone, "shop", {"app": "a"}, "istio-system") is own
    assert applicable_sidecar(everyone, "shop", {"app": "b"}, "istio-system") is general
    assert applicable_sidecar(everyone, "bank", {"app": "a"}, "istio-system") is root
    assert applicable_sidecar((own,), "bank", {"app": "a"}, "istio-system") is None


def test_without_a_sidecar_everything_public_is_seen() -> None:
    found = projected(service("web"), service("db", namespace="bank", ip="10.0.0.2"))
    assert seen(found) == ["db.bank", "web.shop"]


def test_an_egress_listener_imports_what_its_hosts_name() -> None:
    services = (
        service("web"),
        service("api", ip="10.0.0.2"),
        service("db", namespace="bank", ip="10.0.0.3"),
    )
    egress = sidecar("default", {"hosts": ["./web.shop.svc.cluster.local", "bank/*"]})
    assert seen(projected(*services, egress)) == ["db.bank", "web.shop"]
    assert seen(projected(*services, sidecar("default", {"hosts": ["~/*"]}))) == []
    without = sidecar("default", {"hosts": ["*/*", "~bank/*"]})
    assert seen(projected(*services, without)) == ["api.shop", "web.shop"]
    nothing = sidecar("default", {"hosts": ["./*", "bank/*", "~/*"]})
    assert seen(projected(*services, nothing)) == []


def test_destinations_of_a_virtual_service_are_imported_with_the_ports_that_it_names() -> None:
    db = service(
        "db",
        {"name": "http", "port": 80},
        {"name": "http-admin", "port": 81},
        namespace="bank",
        ip="10.0.0.2",
    )
    route = virtual_service(
        "web",
        ["web"],
        {"route": [{"destination": {"host": "db.bank.svc.cluster.local", "port": {"number": 81}}}]},
    )
    found = projected(service("web"), db, route, sidecar("default", {"hosts": ["./*"]}))
    assert key.destination("db.bank.svc.cluster.local", 81) in found.policies
    assert key.destination("db.bank.svc.cluster.local", 80) not in found.policies


def test_a_younger_service_entry_of_the_own_namespace_displaces_a_kubernetes_service() -> None:
    host = "web.shop.svc.cluster.local"
    entry = declare(
        "ServiceEntry",
        "mine",
        {
            "hosts": [host],
            "ports": [{"number": 80, "name": "http", "protocol": "HTTP"}],
            "resolution": "STATIC",
            "location": "MESH_INTERNAL",
            "endpoints": [{"address": "10.8.0.1"}],
        },
        namespace="bank",
        age="2026-02-01T00:00:00Z",
    )
    sources = {
        namespace: projected(service("web"), entry, proxy=client(namespace))
        .policies[key.destination(host, 80)]
        .sources[0]
        .kind
        for namespace in ("bank", "shop", "third")
    }
    assert sources == {"bank": "ServiceEntry", "shop": "Service", "third": "Service"}


def test_a_listener_with_a_port_keeps_that_port_from_the_catch_all_listener() -> None:
    narrow = {
        "port": {"number": 80, "protocol": "HTTP", "name": "http"},
        "hosts": ["./web.shop.svc.cluster.local"],
        "bind": "127.0.0.9",
        "captureMode": "NONE",
    }
    found = projected(
        service("web"),
        service("api", {"name": "http", "port": 81}, ip="10.0.0.2"),
        sidecar("default", narrow, {"hosts": ["./*"]}),
    )
    bound = listener(found, "127.0.0.9", 80)
    assert bound.binds
    assert [chain.route_table for chain in bound.chains] == ["80"]
    assert not listener(found, "0.0.0.0", 81).binds  # noqa: S104
    assert key.http_route("80", "web.shop.svc.cluster.local:80") in found.policies
    assert key.http_route("80", "api.shop.svc.cluster.local:81") not in found.policies


def test_the_own_address_stands_as_self() -> None:
    found = projected(
        service("web"),
        sidecar(
            "default",
            {
                "port": {"number": 80, "protocol": "HTTP", "name": "http"},
                "hosts": ["./*"],
                "bind": "10.9.0.1",
            },
        ),
    )
    assert key.outbound_listener("$self.address", 80) in found.policies


def test_virtual_services_are_seen_where_they_are_exported_and_where_mesh_is_a_gateway() -> None:
    def routed(**more: Any) -> bool:
        vs = virtual_service("web", ["web"], to("web", name="mine"), **more)
        found = projected(service("web"), vs, proxy=client("bank"))
        policy = found.policies[key.http_route("80", "web.shop.svc.cluster.local:80")]
        return any(source.kind == "VirtualService" for source in policy.sources)

    assert routed()
    assert routed(exportTo=["bank"])
    assert not routed(exportTo=["."])
    assert not routed(gateways=["ingress"])
    assert routed(gateways=["ingress", "mesh"])
