"""Istio's own expectations of PeerAuthentication: selection, precedence, modes, filter chains."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from dumps import dump_of
from shared_data import shared

from meshscope.events.resource import Resource
from meshscope.inference.infer import infer
from meshscope.policy.peer_authentication import PeerAuthentication
from meshscope.projection.declared.age import possibly_oldest
from meshscope.projection.declared.selection import selecting
from meshscope.projection.inbound.chains import ChainShape, PortProtocol, chain_shapes
from meshscope.projection.security.peer_authentication import MutualTls, mutual_tls, scopes

pytestmark = pytest.mark.conformance

SUITE = shared("conformance", "mtls-modes")
NOT_APPLICABLE = {
    "client-mode": "what clients assume of a service is for kinds destination and endpoints"
}
CASES = {kind: [] for kind in ("precedence", "port-mode", "selection", "filter-chains")}
for folder in sorted(SUITE.iterdir()):
    if folder.is_dir():
        kind = json.loads((folder / "case.json").read_text())["kind"]
        if kind not in NOT_APPLICABLE:
            CASES[kind].append(folder)


def cases(kind: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("folder", CASES[kind], ids=lambda folder: folder.name)


def read(folder: Path, name: str) -> Any:
    return json.loads((folder / name).read_text())


def resources(folder: Path, kind: str) -> list[Resource]:
    documents = yaml.load_all((folder / "resources.yaml").read_text(), yaml.BaseLoader)
    return [
        Resource(
            group="security.istio.io",
            version="v1",
            kind=kind,
            namespace=document["metadata"].get("namespace", ""),
            name=document["metadata"]["name"],
            created_at=document["metadata"].get("creationTimestamp"),
            body={"spec": document.get("spec") or {}},
        )
        for document in documents
        if document and document["kind"] == kind
    ]


def decided(folder: Path, labels: Mapping[str, str] | None = None) -> MutualTls:
    proxy = read(folder, "proxy.json")
    found = scopes(
        resources(folder, "PeerAuthentication"),
        namespace=proxy["namespace"],
        labels=proxy["labels"] if labels is None else labels,
        root=read(folder, "case.json")["root_namespace"],
    )
    (modes,) = mutual_tls(found)
    return modes


@cases("precedence")
def test_precedence(folder: Path) -> None:
    expected = read(folder, "expect.json")
    found = decided(folder)
    assert found.mode == expected["mode"]
    assert {str(port): mode for port, mode in found.ports if mode != found.mode} == {
        port: mode for port, mode in expected["ports"].items() if mode != expected["mode"]
    }


@cases("port-mode")
def test_mode_of_a_port(folder: Path) -> None:
    expected = read(folder, "expect.json")
    found = decided(folder)
    assert {port: found.of_port(int(port)) for port in expected["ports"]} == expected["ports"]


@cases("selection")
def test_selection(folder: Path) -> None:
    proxy, expected = read(folder, "proxy.json"), read(folder, "expect.json")
    root = read(folder, "case.json")["root_namespace"]
    workload = {"namespace": proxy["namespace"], "labels": proxy["labels"], "root": root}
    peers = scopes(resources(folder, "PeerAuthentication"), **workload)
    taking_part = (*possibly_oldest(peers.mesh), *possibly_oldest(peers.namespace), *peers.workload)
    assert names(taking_part) == expected_names(expected["peer_authentications"])
    if "request_authentications" in expected:
        tokens = selecting(resources(folder, "RequestAuthentication"), **workload)
        assert names(tokens) == expected_names(expected["request_authentications"])
    wide = decided(folder, labels={}).mode
    assert expected["namespace_mode"] in (wide, *(["UNKNOWN"] if wide == "PERMISSIVE" else []))


@cases("filter-chains")
def test_modes_and_chains_of_a_listener(folder: Path) -> None:
    expected = read(folder, "expect.json")["ports"]
    found = decided(folder)
    modes = {port: found.mode if port == "*" else found.of_port(int(port)) for port in expected}
    assert modes == expected
    chains: dict[str, set[ChainShape]] = {}
    for chain in read(folder, "chains.json"):
        match = chain["match"]
        shape = ChainShape(
            match.get("transport_protocol", ""),
            chain["protocol"],
            tuple(sorted(match.get("application_protocols", ()))),
            chain["tls"],
        )
        chains.setdefault(str(match.get("destination_port", "*")), set()).add(shape)
    for port, mode in modes.items():
        shapes = chain_shapes(mode, protocol_of(chains[port]), http10=False)
        assert {sorted_protocols(shape) for shape in shapes} == chains[port], port


@cases("filter-chains")
def test_a_listener_is_read_as_the_modes_that_were_declared(folder: Path) -> None:
    proxy = read(folder, "proxy.json")
    address, namespace = proxy["ips"][0], proxy["namespace"]
    node = {
        "id": f"sidecar~{address}~pod.{namespace}~{namespace}.svc.cluster.local",
        "metadata": {"NAMESPACE": namespace, "LABELS": proxy["labels"]},
    }
    dump = dump_of({"node": node}, {"lds": [read(folder, "virtual_inbound.json")]})
    observed = {
        key["port"]: policy.content.mode
        for key, policy in infer(dump).policies.items()
        if isinstance(policy.content, PeerAuthentication)
    }
    assert observed == read(folder, "expect.json")["ports"]


def protocol_of(chains: Iterable[ChainShape]) -> PortProtocol:
    (protocol, *more) = {chain.protocol for chain in chains}
    return "auto" if more else protocol


def sorted_protocols(shape: ChainShape) -> ChainShape:
    return ChainShape(
        shape.transport_protocol,
        shape.protocol,
        tuple(sorted(shape.application_protocols)),
        shape.terminates,
    )


def names(found: Iterable[Resource]) -> set[tuple[str, str]]:
    return {(resource.namespace, resource.name) for resource in found}


def expected_names(references: Iterable[Mapping[str, str]]) -> set[tuple[str, str]]:
    return {(reference["namespace"], reference["name"]) for reference in references}
