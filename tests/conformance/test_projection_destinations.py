"""Destinations and endpoints of every recorded proxy are those that its resources declare.

Which services a proxy sees is not decided here: it is taken from the dump, and everything else is
derived from the resources.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any

import pytest
import yaml
from dumps import capture_dump, demo_dump
from shared_data import shared

from meshscope.events.resource import Resource
from meshscope.inference.infer import infer
from meshscope.policy.destination import Destination
from meshscope.policy.key import PolicyKey
from meshscope.policy.kinds import Kind
from meshscope.policy.policy import Policy
from meshscope.projection.destinations.client_settings import client_settings, describes_workloads
from meshscope.projection.destinations.destination_rule import RuleIndex
from meshscope.projection.destinations.endpoints import Viewpoint
from meshscope.projection.destinations.policies import (
    Known,
    Servers,
    VisiblePort,
    VisibleService,
    destination_policies,
)
from meshscope.projection.services.instances import InstanceIndex, place_of, with_place
from meshscope.projection.services.registry import Resolution
from meshscope.watcher.manifests import read_manifests

pytestmark = pytest.mark.conformance

MESHES = ("demo-mesh", "bookshop", "bookshop-1.29", "random-public", "bookinfo")
FLOOR = {
    "demo-mesh": 2122,
    "bookshop": 30_516,
    "bookshop-1.29": 30_516,
    "random-public": 15_201,
    "bookinfo": 5_388,
}
"""Equal policies per mesh; only ever raised."""

PATCHED = {"random-public": 4}
"""Policies that an EnvoyFilter patches."""

KINDS = (Kind.DESTINATION, Kind.ENDPOINTS)
NAMED = ("BlackHoleCluster", "PassthroughCluster")
IDLE = ("InboundPassthroughCluster",)
"""Clusters that Istio sends although nothing leads to them where no connection is redirected."""

PROTOCOLS = ("grpc-web", "grpc", "http2", "https", "http", "tls", "tcp")
RESOLUTIONS: Mapping[str, Resolution] = {
    "NONE": "none",
    "STATIC": "static",
    "DNS": "dns",
    "DNS_ROUND_ROBIN": "dns_round_robin",
}


@pytest.mark.parametrize("mesh", MESHES)
def test_recorded_proxies(mesh: str, capsys: pytest.CaptureFixture[str]) -> None:
    table: Counter[str] = Counter()
    wrong: list[str] = []
    for state, proxy, dump in recorded(mesh):
        observed = infer(dump)
        expected = projected(mesh, state, proxy, observed.policies)
        held = {k for k in observed.policies if k.kind in KINDS and k["host"] not in IDLE}
        for key in expected.keys() | held:
            verdict = judged(expected.get(key), observed.policies.get(key))
            table[verdict] += 1
            if verdict != "equal":
                wrong.append(f"{state} {proxy} {key}: {verdict}")
    with capsys.disabled():
        print(f"\n{mesh:14} {dict(table)}")
    assert len(wrong) == PATCHED.get(mesh, 0), "\n".join(wrong[:20])
    assert table["equal"] >= FLOOR[mesh]


def judged(expected: tuple[Policy | None, ...] | None, observed: Policy | None) -> str:
    if expected is None:
        return "extra"
    if observed is None:
        return "equal" if None in expected else "missing"
    return "equal" if observed.digest in {p.digest for p in expected if p} else "different"


def recorded(mesh: str) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    if mesh == "demo-mesh":
        for state in sorted(shared(mesh, "states").iterdir()):
            for path in sorted((state / "xds").iterdir()):
                yield state.name, path.stem, demo_dump(state.name, path.stem)
        return
    for state in sorted(shared("captures", mesh, "states").iterdir()):
        for path in sorted(state.glob("dumps/*")):
            proxy = path.name.removesuffix(".gz").removesuffix(".json")
            yield state.name, proxy, capture_dump(mesh, state.name, proxy)


@lru_cache(maxsize=2)
def resources(mesh: str, state: str) -> tuple[Resource, ...]:
    if mesh == "demo-mesh":
        files = sorted(shared(mesh, "states", state, "resources").iterdir())
    else:
        files = [shared("captures", mesh, "states", state, "resources.yaml")]
    return tuple(read_manifests((str(path), path.read_bytes()) for path in files).resources)


@lru_cache(maxsize=2)
def settings(mesh: str, state: str) -> tuple[Mapping[str, Any], Mapping[str, str], tuple[int, int]]:
    """Mesh configuration, istiod's switches and version."""
    config = next(r for r in resources(mesh, state) if (r.kind, r.name) == ("ConfigMap", "istio"))
    if mesh == "demo-mesh":
        environment = json.loads(shared(mesh, "index.json").read_text())["istiod_environment"]
        version = "1.29"
    else:
        environment = {}
        version = json.loads(shared("captures", mesh, "mesh.json").read_text())["istio_version"]
    major, minor = version.split(".")[:2]
    return yaml.safe_load(config.body["data"]["mesh"]), environment, (int(major), int(minor))


@lru_cache(maxsize=2)
def known(mesh: str, state: str) -> Known:
    config, environment, _ = settings(mesh, state)
    found = resources(mesh, state)
    domain = config.get("trustDomain", "cluster.local")
    root = config.get("rootNamespace", "istio-system")

    def of_kind(kind: str) -> tuple[Resource, ...]:
        return tuple(r for r in found if r.kind == kind)

    defaults = config.get("defaultDestinationRuleExportTo") or ()
    return Known(
        RuleIndex(of_kind("DestinationRule"), root, "." in defaults),
        InstanceIndex(found, environment.get("CLUSTER_ID", "Kubernetes"), domain),
        Servers(of_kind("PeerAuthentication"), root),
        tuple(config.get("trustDomainAliases") or ()),
    )


def projected(
    mesh: str, state: str, proxy: str, observed: Mapping[PolicyKey, Policy]
) -> Mapping[PolicyKey, tuple[Policy | None, ...]]:
    config, environment, version = settings(mesh, state)

    def switch(name: str, default: bool) -> bool:
        return environment.get(name, str(default)).lower() == "true"

    found = resources(mesh, state)
    name, _, namespace = proxy.rpartition(".")
    pod = next(
        (r for r in found if (r.kind, r.name, r.namespace) == ("Pod", name, namespace)), None
    )
    labels = {} if pod is None else pod.labels
    node = "" if pod is None else pod.spec.get("nodeName", "")
    place = place_of(
        labels, next((r.labels for r in found if (r.kind, r.name) == ("Node", node)), {})
    )
    return destination_policies(
        visible(found, observed),
        known(mesh, state),
        client_settings(config, switch, version, ()),
        Viewpoint(
            place,
            with_place(labels, place, node=node),
            node,
            named_workloads=version >= (1, 31),
            describes_workloads=describes_workloads(switch),
        ),
        namespace=namespace,
        workload_labels=labels,
    )


def visible(
    found: tuple[Resource, ...], observed: Mapping[PolicyKey, Policy]
) -> Iterator[VisibleService]:
    """The services whose ports the dump has clusters for."""
    seen: dict[str, set[int]] = {}
    namespaces: dict[str, set[str]] = {}
    for key, policy in observed.items():
        if key.kind is Kind.DESTINATION and key["host"] not in NAMED:
            assert isinstance(policy.content, Destination)
            seen.setdefault(key["host"], set()).add(int(key["port"]))
            named = namespaces.setdefault(key["host"], set())
            named |= {service.namespace for service in policy.content.services}
    for service in services(found):
        numbers = seen.get(service.host, set())
        if service.namespace in (namespaces.get(service.host) or {service.namespace}):
            ports = tuple(port for port in service.ports if port.number in numbers)
            numbers -= {port.number for port in ports}
            if ports:
                yield replace(service, ports=ports)


def services(found: tuple[Resource, ...]) -> Iterator[VisibleService]:
    for resource in sorted(found, key=lambda r: (r.kind, r.created_at or "", r.name)):
        if resource.kind == "Service":
            yield kubernetes_service(resource)
        elif resource.kind == "ServiceEntry":
            yield from declared_services(resource)


def kubernetes_service(resource: Resource) -> VisibleService:
    spec = resource.spec
    return VisibleService(
        f"{resource.name}.{resource.namespace}.svc.cluster.local",
        resource.namespace,
        resource.name,
        tuple(
            VisiblePort(
                port["port"],
                port.get("name") or "",
                protocol(port.get("appProtocol") or port.get("name") or ""),
            )
            for port in spec.get("ports") or ()
        ),
        "none" if spec.get("clusterIP") == "None" else "static",
        near="zone" if spec.get("trafficDistribution") else "",
        node_local=spec.get("internalTrafficPolicy") == "Local",
    )


def declared_services(resource: Resource) -> Iterator[VisibleService]:
    spec = resource.spec
    resolution: Resolution = RESOLUTIONS[spec.get("resolution", "NONE")]
    for host in spec["hosts"]:
        yield VisibleService(
            host,
            resource.namespace,
            host,
            tuple(
                VisiblePort(
                    port["number"],
                    port.get("name") or "",
                    protocol(port.get("protocol") or ""),
                    port.get("targetPort", 0) if resolution == "none" else 0,
                )
                for port in spec.get("ports") or ()
            ),
            resolution,
            external=spec.get("location", "MESH_EXTERNAL") == "MESH_EXTERNAL",
            declared=True,
            names=tuple(spec.get("subjectAltNames") or ()),
        )


def protocol(word: str) -> str:
    word = word.lower()
    return next((p for p in PROTOCOLS if word == p or word.startswith(f"{p}-")), "auto")
