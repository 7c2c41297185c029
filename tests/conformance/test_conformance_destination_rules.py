"""Istio's own expectations of clients: which DestinationRule applies, and mutual TLS."""

import json
from pathlib import Path
from typing import Any

import pytest
from shared_data import shared

from meshscope.events.resource import Resource
from meshscope.policy.destination import Destination
from meshscope.projection.destinations.destination import Client
from meshscope.projection.destinations.destination_rule import MergedRule, RuleIndex, chosen
from meshscope.projection.destinations.policies import (
    Known,
    Servers,
    VisiblePort,
    VisibleService,
    service_destinations,
)
from meshscope.projection.services.instances import InstanceIndex
from meshscope.watcher.manifests import read_file

pytestmark = pytest.mark.conformance

SUITE = shared("conformance", "sidecar-scope")
FOLDERS = [folder for folder in sorted(SUITE.iterdir()) if folder.name.startswith("destination-")]


def read(folder: Path, name: str) -> Any:
    return json.loads((folder / name).read_text())


def of_kind(kind: str) -> pytest.MarkDecorator:
    found = [f for f in FOLDERS if read(f, "case.json")["kind"] == kind]
    return pytest.mark.parametrize("folder", found, ids=lambda folder: folder.name)


def resources(folder: Path) -> tuple[Resource, ...]:
    found = read_file("resources.yaml", (folder / "resources.yaml").read_bytes())
    return tuple(found.resources)


def index(folder: Path) -> RuleIndex:
    case = read(folder, "case.json")
    defaults = (case["mesh_config"] or {}).get("defaultDestinationRuleExportTo") or ()
    rules = tuple(r for r in resources(folder) if r.kind == "DestinationRule")
    return RuleIndex(rules, case["root_namespace"], "." in defaults)


def owner(folder: Path, host: str) -> str:
    """Namespace of the service."""
    return next(
        r.namespace
        for r in resources(folder)
        if r.kind == "ServiceEntry" and host in r.spec["hosts"]
    )


def names(rule: MergedRule) -> list[str]:
    return [ref.name for ref in rule.refs]


@of_kind("destination-rule")
def test_the_rule_that_a_client_applies(folder: Path) -> None:
    proxy, expected = read(folder, "proxy.json"), read(folder, "expect.json")["destination_rule"]
    host = expected["host"]
    (rule,) = index(folder).choose(proxy["namespace"], proxy["labels"], owner(folder, host), host)
    assert (None if rule is None else list(rule.subsets)) == expected["subsets"]
    if "from" in expected:
        assert rule is not None
        assert names(rule) == expected["from"]


@of_kind("destination-rule-candidates")
def test_the_rules_among_which_labels_choose(folder: Path) -> None:
    proxy = read(folder, "proxy.json")
    expected = read(folder, "expect.json")["destination_rule_candidates"]
    host = expected["host"]
    (rules,) = index(folder).candidates(proxy["namespace"], owner(folder, host), host)
    assert {rule.ref.name for rule in rules} == set(expected["names"])
    if "subsets" in expected:
        assert {rule.ref.name: list(rule.subsets) for rule in rules} == expected["subsets"]


@of_kind("destination-rule-candidates")
def test_the_choice_by_labels(folder: Path) -> None:
    namespace = read(folder, "proxy.json")["namespace"]
    host = read(folder, "expect.json")["destination_rule_candidates"]["host"]
    (rules,) = index(folder).candidates(namespace, owner(folder, host), host)
    for observed in read(folder, "observed.json"):
        rule = chosen(rules, namespace, observed["proxy_labels"])
        assert rule is not None
        assert names(rule) == observed["destination_rule"]["from"]
        assert rule.policy == observed["destination_rule"]["spec"].get("trafficPolicy")


MODES = shared("conformance", "mtls-modes")
CLIENT_MODES = [f for f in sorted(MODES.iterdir()) if f.name.startswith("client-")]


@pytest.mark.parametrize("folder", CLIENT_MODES, ids=lambda folder: folder.name)
def test_what_a_client_assumes_of_a_headless_service(folder: Path) -> None:
    found, expected = resources(folder), read(folder, "expect.json")
    name, namespace = expected["host"].split(".")[:2]
    port = VisiblePort(expected["port"], "http", "http")
    service = VisibleService(expected["host"], namespace, name, (port,), "none")
    policies = tuple(r for r in found if r.kind == "PeerAuthentication")
    root = read(folder, "case.json")["root_namespace"]
    known = Known(RuleIndex((), root), InstanceIndex(found), Servers(policies, root))
    policy, *_ = service_destinations(service, None, 0, known, Client())
    assert isinstance(policy.content, Destination)
    assert (policy.content.tls_mode == "never") == (expected["client_mode"] == "DISABLE")
