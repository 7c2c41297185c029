"""What is declared and not modelled: nothing is said of what it touches, by name."""

from collections.abc import Mapping
from typing import Any

import pytest
from declared import client, declare, projected, service, to, virtual_service, without_lacks

from meshscope.events.control_plane import ControlPlane
from meshscope.events.resource import Resource
from meshscope.policy import key
from meshscope.policy.destination import Destination
from meshscope.policy.endpoints import Endpoints
from meshscope.policy.kinds import Kind
from meshscope.projection.project import project
from meshscope.projection.result import Projection
from meshscope.projection.unmodelled_settings import MESH, METADATA, PROXY, SWITCHES, VALUES

WEB = "web.shop.svc.cluster.local"


def with_environment(version: str, *resources: Resource, **environment: str) -> Projection:
    control_plane = ControlPlane(version=version, environment=environment)
    return without_lacks(project(control_plane, resources, client()))


def kinds(found: Projection) -> set[Kind | None]:
    return {part.kind for part in found.unverifiable}


def nested(path: tuple[str, ...], value: Any) -> Mapping[str, Any]:
    for name in reversed(path):
        value = {name: value}
    assert isinstance(value, dict)
    return value


@pytest.mark.parametrize("name", SWITCHES)
def test_switches_of_istiod(name: str) -> None:
    default, touched = SWITCHES[name]

    usual, other = (
        with_environment("1.31.0", service("web"), **{name: str(value).lower()})
        for value in (default, not default)
    )

    assert usual.unverifiable == ()
    assert kinds(other) == set(touched)
    assert all(name in part.reason for part in other.unverifiable)


@pytest.mark.parametrize("name", VALUES)
def test_other_settings_of_istiod(name: str) -> None:
    default, touched = VALUES[name]

    assert with_environment("1.31.0", service("web"), **{name: default}).unverifiable == ()
    assert kinds(with_environment("1.31.0", service("web"), **{name: "7"})) == set(touched)


@pytest.mark.parametrize("path", MESH)
def test_fields_of_the_mesh_configuration(path: tuple[str, ...]) -> None:
    assert kinds(projected(service("web"), **nested(path, True))) == set(MESH[path])
    assert projected(service("web"), **nested(path, False)).unverifiable == ()


@pytest.mark.parametrize("path", PROXY)
def test_fields_of_the_proxy_configuration(path: tuple[str, ...]) -> None:
    def configured(value: Any) -> Projection:
        metadata = {"PROXY_CONFIG": nested(path, value)}
        return projected(service("web"), proxy=client(metadata=metadata))

    assert kinds(configured(True)) == set(PROXY[path])
    assert all(configured(off).unverifiable == () for off in (False, None, 0, "", "UNDEFINED"))


def test_tunnels() -> None:
    (path,) = METADATA
    found = projected(service("web"), proxy=client(metadata=nested(path, "true")))

    assert kinds(found) == set(METADATA[path])


def test_policies_of_the_gateway_api_concern_the_service_that_they_are_attached_to() -> None:
    policy = declare("BackendTLSPolicy", "p", {"targetRefs": [{"kind": "Service", "name": "web"}]})

    found = projected(service("web"), service("other", ip="10.0.0.2"), policy)

    assert {(part.kind, part.key_prefix, part.source) for part in found.unverifiable} == {
        (kind, (WEB,), policy.ref) for kind in (Kind.DESTINATION, Kind.ENDPOINTS)
    }


def test_persistent_sessions_leave_open_which_endpoints_are_sent() -> None:
    web = service("web")
    sticky = declare(
        "Service", "web", web.spec, labels={"istio.io/persistent-session": "cookie:/path"}
    )

    (part,) = projected(sticky).unverifiable

    assert (part.kind, part.key_prefix) == (Kind.ENDPOINTS, (WEB,))


def test_a_connect_strategy_leaves_open_how_its_hosts_are_reached() -> None:
    entry = declare(
        "ServiceEntry",
        "e",
        {"hosts": ["a.example.com"], "ports": [{"number": 443, "protocol": "TLS", "name": "tls"}]},
        annotations={"istio.io/connect-strategy": "RACE_FIRST_TCP_CONNECT"},
    )

    found = projected(entry)

    assert {(part.kind, part.key_prefix) for part in found.unverifiable} == {
        (Kind.DESTINATION, ("a.example.com",)),
        (Kind.EXTENSION, (str(key.destination("a.example.com", 443)),)),
    }


def test_retry_budgets_are_modelled_since_they_are_kept() -> None:
    rule = declare(
        "DestinationRule", "r", {"host": "web", "trafficPolicy": {"retryBudget": {"percent": 5}}}
    )

    older = with_environment("1.29.6", service("web"), rule)
    newer = with_environment("1.30.0", service("web"), rule)

    (part,) = older.unverifiable
    assert (part.kind, part.key_prefix, part.source) == (Kind.DESTINATION, (WEB,), rule.ref)
    assert newer.unverifiable == ()
    content = newer.policies[key.destination(WEB, 80)].content
    assert isinstance(content, Destination)
    assert content.connection_pool.retry_budget_percent == "5"


def serving(labels: Mapping[str, str]) -> tuple[Resource, ...]:
    """A Pod with these labels, behind a service."""
    pod = Resource(
        "", "v1", "Pod", "shop", "web-1", {"app": "web", **labels}, {}, None,
        {"spec": {"nodeName": "n"}, "status": {"podIP": "10.1.0.1", "phase": "Running"}},
    )  # fmt: skip
    endpoints = Resource(
        "discovery.k8s.io", "v1", "EndpointSlice", "shop", "web-x",
        {"kubernetes.io/service-name": "web"}, {}, None,
        {
            "addressType": "IPv4",
            "endpoints": [
                {
                    "addresses": ["10.1.0.1"],
                    "conditions": {"ready": True},
                    "targetRef": {"kind": "Pod", "name": "web-1", "namespace": "shop"},
                }
            ],
            "ports": [{"name": "http", "port": 8080}],
        },
    )  # fmt: skip
    return service("web", selector={"app": "web"}), pod, endpoints


def served(labels: Mapping[str, str]) -> Endpoints:
    content = projected(*serving(labels)).policies[key.endpoints(WEB, 80)].content
    assert isinstance(content, Endpoints)
    return content


def test_workloads_that_drain_get_no_new_connections() -> None:
    assert len(served({}).localities) == 1
    assert served({"istio.io/draining": ""}) == served({})
    assert served({"istio.io/draining": "true"}).localities == ()


def test_the_newer_label_of_a_locality_comes_first() -> None:
    labels = {"topology.istio.io/locality": "eu.a", "istio-locality": "us.b"}

    (found,) = served(labels).localities

    assert (found.region, found.zone) == ("eu", "a")


@pytest.mark.parametrize(("version", "namespace"), [("1.29.6", "a"), ("1.30.0", "b")])
def test_which_of_several_services_elsewhere_a_destination_means(
    version: str, namespace: str
) -> None:
    def entry(namespace: str, age: str) -> Resource:
        spec = {
            "hosts": ["x.example.com"],
            "ports": [{"number": 80, "protocol": "HTTP", "name": namespace}],
        }
        return declare("ServiceEntry", namespace, spec, namespace=namespace, age=age)

    sidecar = declare("Sidecar", "s", {"egress": [{"hosts": ["./*"]}]})
    found = with_environment(
        version,
        service("web"),
        sidecar,
        virtual_service("v", ["web"], to("x.example.com")),
        entry("a", "2026-02-01T00:00:00Z"),
        entry("b", "2026-01-01T00:00:00Z"),
    )

    content = found.policies[key.destination("x.example.com", 80)].content
    assert isinstance(content, Destination)
    assert {item.namespace for item in content.services} == {namespace}


@pytest.mark.parametrize(("version", "inherits"), [("1.29.6", False), ("1.30.0", True)])
def test_services_inherit_how_near_endpoints_should_be(version: str, inherits: bool) -> None:
    namespace = Resource(
        "", "v1", "Namespace", "", "shop", {},
        {"networking.istio.io/traffic-distribution": "PreferClose"}, None, {},
    )  # fmt: skip

    content = (
        with_environment(version, service("web"), namespace)
        .policies[key.destination(WEB, 80)]
        .content
    )

    assert isinstance(content, Destination)
    assert content.load_balancing.locality_weighted is inherits
