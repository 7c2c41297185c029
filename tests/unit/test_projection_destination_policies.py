"""Which clusters a client holds, and what stays open where ages are unknown."""

from collections.abc import Mapping
from typing import Any

import pytest

from meshscope.events.resource import Resource
from meshscope.policy import key
from meshscope.policy.destination import Destination
from meshscope.policy.endpoints import Endpoints
from meshscope.projection.destinations.client_settings import client_settings, describes_workloads
from meshscope.projection.destinations.destination import Client
from meshscope.projection.destinations.destination_rule import RuleIndex
from meshscope.projection.destinations.endpoints import Viewpoint
from meshscope.projection.destinations.policies import (
    Known,
    Servers,
    VisiblePort,
    VisibleService,
    destination_policies,
    relevant,
)
from meshscope.projection.services.instances import InstanceIndex
from meshscope.projection.services.locality import Place
from meshscope.projection.worlds import Outcomes

HOST = "x.org"
PORTS = (VisiblePort(80, "http", "http"),)
HERE = Viewpoint(Place("eu", "a"), {"app": "web"}, "node-a")


def resource(kind: str, name: str, *, age: int | None = 0, **spec: Any) -> Resource:
    created = None if age is None else f"2026-01-01T00:00:{age:02}Z"
    return Resource("", "v1", kind, "shop", name, created_at=created, body={"spec": spec})


def entry(*endpoints: Mapping[str, Any], **spec: Any) -> Resource:
    ports = [{"number": 80, "name": "http"}]
    return resource("ServiceEntry", "x", hosts=[HOST], ports=ports, endpoints=endpoints, **spec)


def projected(*resources: Resource, service: VisibleService | None = None) -> Outcomes:
    rules = tuple(r for r in resources if r.kind == "DestinationRule")
    policies = tuple(r for r in resources if r.kind == "PeerAuthentication")
    known = Known(
        RuleIndex(rules, "istio-system"),
        InstanceIndex(resources),
        Servers(policies, "istio-system"),
        ("old.example",),
    )
    seen = service or VisibleService(HOST, "shop", HOST, PORTS, declared=True)
    return destination_policies(
        [seen], known, Client(), HERE, namespace="web", workload_labels={"app": "web"}
    )


SERVER = {"address": "10.0.0.1", "serviceAccount": "x", "labels": {"version": "v1"}}


def rule(name: str = "x", **fields: Any) -> Resource:
    return resource("DestinationRule", name, host=HOST, **fields)


def destination_of(found: Outcomes, subset: str = "") -> tuple[Destination | None, ...]:
    policies = found[key.destination(HOST, 80, subset)]
    contents = (None if policy is None else policy.content for policy in policies)
    return tuple(content for content in contents if isinstance(content, Destination | None))


def test_a_subset_without_endpoints_has_a_cluster_and_an_empty_list() -> None:
    found = projected(entry(SERVER), rule(subsets=[{"name": "v9", "labels": {"version": "v9"}}]))
    assert len(destination_of(found, "v9")) == 1
    (policy,) = found[key.endpoints(HOST, 80, "v9")]
    assert policy is not None
    assert policy.content == Endpoints()


def test_a_service_by_name_without_endpoints_has_no_cluster() -> None:
    service = VisibleService(HOST, "shop", HOST, PORTS, "dns", declared=True)
    found = projected(entry(resolution="STATIC"), service=service)
    assert {policy_key["host"] for policy_key in found} == {
        "BlackHoleCluster",
        "PassthroughCluster",
    }


def test_no_endpoints_are_declared_where_the_application_chooses() -> None:
    service = VisibleService(HOST, "shop", HOST, PORTS, "none", declared=True)
    found = projected(entry(SERVER), service=service)
    assert key.destination(HOST, 80) in found
    assert key.endpoints(HOST, 80) not in found


def test_servers_may_bear_names_of_every_trust_domain() -> None:
    (found,) = destination_of(projected(entry(SERVER)))
    assert found is not None
    assert found.tls is not None
    assert {match.value for match in found.tls.server_names} == {
        "spiffe://cluster.local/ns/shop/sa/x",
        "spiffe://old.example/ns/shop/sa/x",
    }


def test_rules_of_unknown_age_leave_both_outcomes() -> None:
    rules = (
        rule("a", age=None, trafficPolicy={"tls": {"mode": "DISABLE"}}),
        rule("b", age=None, trafficPolicy={"tls": {"mode": "ISTIO_MUTUAL"}}),
    )
    found = projected(entry(SERVER), *rules)
    assert {content.tls_mode for content in destination_of(found) if content} == {
        "never",
        "always",
    }


def test_a_subset_that_only_one_outcome_has_may_be_missing() -> None:
    rules = (
        rule("a", age=None, exportTo=["*"]),
        rule("b", age=None, subsets=[{"name": "v1", "labels": {}}]),
    )
    found = projected(entry(SERVER), *rules)
    assert None in found[key.destination(HOST, 80, "v1")]


@pytest.mark.parametrize(("age", "modes"), [(1, {"never"}), (None, {"never", "auto"})])
def test_peer_authentications_of_unknown_age_leave_both_outcomes(
    age: int | None, modes: set[str]
) -> None:
    policies = (
        resource("PeerAuthentication", "a", age=age, mtls={"mode": "DISABLE"}),
        resource("PeerAuthentication", "b", age=age, mtls={"mode": "STRICT"}),
    )
    found = projected(entry(SERVER), *policies)
    assert {content.tls_mode for content in destination_of(found) if content} == modes


def test_clients_share_endpoints_where_their_place_does_not_matter() -> None:
    service = VisibleService(HOST, "shop", HOST, PORTS)
    assert relevant(HERE, service, None, Client()) == Viewpoint()
    node_local = VisibleService(HOST, "shop", HOST, PORTS, node_local=True)
    assert relevant(HERE, node_local, None, Client()) == Viewpoint(node="node-a")
    near = VisibleService(HOST, "shop", HOST, PORTS, near="zone")
    kept = relevant(HERE, near, None, Client())
    assert kept.place == HERE.place
    assert set(kept.labels) == {
        f"topology.{name}"
        for name in ("istio.io/network", "kubernetes.io/region", "kubernetes.io/zone")
    }


def test_tls_defaults_of_the_mesh_hold_for_tls_that_is_not_its_own() -> None:
    defaults = {"tlsDefaults": {"cipherSuites": ["c"], "ecdhCurves": ["X25519"]}}

    found = client_settings(defaults, lambda _, default: default, (1, 31), ("10.0.0.1",))

    assert (found.tls.ciphers, found.tls.curves) == (("c",), ("X25519",))


def test_settings_follow_switches_and_version() -> None:
    def switched(name: str, default: bool) -> bool:
        return {"PILOT_ENABLE_METADATA_EXCHANGE": False}.get(name, default)

    older = client_settings({"connectTimeout": "1s"}, switched, (1, 29), ("10.0.0.1",))
    assert not older.unready_sent
    assert not older.metadata_exchange
    assert not older.tls.peer_exchange
    assert older.mesh.connect_timeout_ms == 1_000
    newer = client_settings({}, lambda _, default: default, (1, 31), ("fd00::1",))
    assert newer.unready_sent
    assert newer.tls.peer_exchange
    assert newer.dns_family == "v6_only"
    assert describes_workloads(lambda _, default: default)
