"""Services of the mesh, their protocols, and who sees them."""

import pytest
from declared import declare, service

from meshscope.projection.declared.visibility import by_visibility, sees
from meshscope.projection.hosts import Patterns, covers, overlaps, qualified
from meshscope.projection.services.protocols import is_http, of_kubernetes_port, parse
from meshscope.projection.services.registry import Registry, registry


def build(*resources: object) -> Registry:
    return registry(
        resources,  # type: ignore[arg-type]
        trust_domain="cluster.local",
        domain="cluster.local",
        default_exports=frozenset("*"),
    )


@pytest.mark.parametrize(
    ("number", "name", "transport", "app", "protocol"),
    [
        (80, "http", "TCP", None, "http"),
        (80, "HTTP-web", "TCP", None, "http"),
        (80, "grpc-web-x", "TCP", None, "grpc-web"),
        (80, "web", "TCP", None, "auto"),
        (80, "", "TCP", None, "auto"),
        (3306, "db", "TCP", None, "tcp"),
        (3306, "http", "TCP", None, "http"),
        (80, "tcp", "TCP", "grpc", "grpc"),
        (80, "http", "TCP", "mine.example/x", "auto"),
        (80, "x", "TCP", "kubernetes.io/h2c", "http2"),
        (80, "x", "TCP", "kubernetes.io/wss", "https"),
        (53, "dns", "UDP", None, "udp"),
    ],
)
def test_protocol_of_a_kubernetes_port(
    number: int, name: str, transport: str, app: str | None, protocol: str
) -> None:
    assert of_kubernetes_port(number, name, transport, app) == protocol


def test_protocols_of_istio() -> None:
    assert parse("HTTPS") == "https"
    assert parse("") == "auto"
    assert is_http("auto")
    assert not is_http("tls")


def test_host_patterns() -> None:
    assert covers("*.example.com", "a.example.com")
    assert not covers("*.example.com", "example.com")
    assert covers("*", "*.com")
    assert not covers("*.a.com", "*.com")
    assert not covers("a.com", "*.com")
    assert overlaps("a.com", "*.com")
    assert Patterns({"*.com", "*.b.com"}).most_specific("a.b.com") == "*.b.com"
    assert Patterns({"*", "a.b.com"}).most_specific("a.b.com") == "a.b.com"
    assert Patterns({"*.com"}).most_specific("a.org") is None
    assert qualified("web", "shop", "cluster.local") == "web.shop.svc.cluster.local"
    assert qualified("web.shop", "x", "cluster.local") == "web.shop"


def test_kubernetes_services() -> None:
    headless = service("queue", {"port": 5672, "targetPort": "amqp"}, ip="None")
    found = {s.name: s for s in build(service("web"), headless).services}
    assert found["web"].host == "web.shop.svc.cluster.local"
    assert found["web"].address == "10.0.0.1"
    assert found["queue"].resolution == "none"
    assert found["queue"].addresses == ()
    assert found["queue"].ports[0].target == "amqp"


def test_an_external_name_stands_for_another_service_even_over_hops() -> None:
    def alias(name: str, target: str) -> object:
        return service(name, ip="", type="ExternalName", externalName=target)

    found = build(
        service("web"),
        alias("one", "two.shop.svc.cluster.local"),
        alias("two", "web.shop.svc.cluster.local"),
        alias("loop", "loop.shop.svc.cluster.local"),
    )
    hosts = {s.name: s for s in found.services}
    assert hosts["web"].aliases == ("one.shop.svc.cluster.local", "two.shop.svc.cluster.local")
    assert hosts["loop"].aliases == ()


def test_service_entries_have_a_service_per_host_and_address() -> None:
    entry = declare(
        "ServiceEntry",
        "ext",
        {
            "hosts": ["a.example", "b.example"],
            "addresses": ["10.1.0.0/16", "10.2.0.1/32", "not an address"],
            "ports": [{"number": 443, "name": "tls", "protocol": "TLS", "targetPort": 8443}],
        },
    )
    found = build(entry).services
    assert [(s.host, s.address) for s in found] == [
        ("a.example", "10.1.0.0/16"),
        ("a.example", "10.2.0.1"),
        ("b.example", "10.1.0.0/16"),
        ("b.example", "10.2.0.1"),
    ]
    assert {s.resolution for s in found} == {"none"}
    assert all(s.external and s.ports[0].override == 8443 for s in found)


def test_the_oldest_service_of_a_host_counts_but_kubernetes_first() -> None:
    host = "web.shop.svc.cluster.local"
    squatter = declare(
        "ServiceEntry", "squat", {"hosts": [host], "ports": []}, age="2020-01-01T00:00:00Z"
    )
    found = build(squatter, service("web"))
    assert found.by_host[host]["shop"].from_kubernetes
    assert found.find(host) == host
    assert found.find(f"other/{host}") is None
    assert found.find(f"shop/{host}") == host


def test_who_sees_what() -> None:
    entries = [
        declare("ServiceEntry", name, {"hosts": [f"{name}.example"], "exportTo": list(to)})
        for name, to in (("all", "*"), ("own", "."), ("named", ["other"]), ("none", "~"))
    ]
    found = build(*entries)
    assert [s.host for s in found.seen_from("shop")] == ["own.example", "all.example"]
    assert [s.host for s in found.seen_from("other")] == ["named.example", "all.example"]
    assert [s.host for s in found.seen_from("third")] == ["all.example"]
    own = next(s for s in found.services if s.host == "own.example")
    assert sees("shop", own, frozenset("*"))
    assert not sees("other", own, frozenset("*"))
    assert by_visibility((own,), frozenset("*")).private == {"shop": (own,)}
