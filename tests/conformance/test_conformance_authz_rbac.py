"""Istio's own expectations of AuthorizationPolicy: the filters that must result."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from dumps import dump_of
from shared_data import shared

from meshscope.inference.infer import infer
from meshscope.policy import key
from meshscope.policy.authorization import Authorization
from meshscope.policy.kinds import Kind
from meshscope.projection.declared.selection import selecting
from meshscope.projection.security.authorization import authorization
from meshscope.projection.security.ext_authz import Authorizers, authorizers
from meshscope.projection.security.trust_domain import TrustDomains
from meshscope.watcher.manifests import read_manifests

pytestmark = pytest.mark.conformance

SUITE = shared("conformance", "authz-rbac")
CASES = sorted(folder for folder in SUITE.iterdir() if folder.is_dir())
ENVOY = "type.googleapis.com/envoy"
PORT = 8080


@pytest.mark.parametrize("folder", CASES, ids=lambda folder: folder.name)
def test_the_rules_are_those_of_the_expected_filters(folder: Path) -> None:
    case = json.loads((folder / "case.json").read_text())
    filters = json.loads((folder / "out.json").read_text())
    expected = expected_access(filters, case["protocol"])
    found = projected_access(folder, case)
    if case["builds"] == "custom":
        assert found.custom == expected.custom
    else:
        assert replace(found, custom=()) == expected


def projected_access(folder: Path, case: Mapping[str, Any]) -> Authorization:
    manifests = read_manifests([("in.yaml", (folder / "in.yaml").read_bytes())])
    assert not manifests.problems
    providers = (case["mesh_config"] or {}).get("extensionProviders") or ()
    services = {item["hostname"]: item["namespace"] for item in case["registry_services"]}

    def find_service(name: str) -> str | None:
        namespace, _, host = name.rpartition("/")
        return host if namespace in ("", services.get(host)) and host in services else None

    def find_provider(name: str) -> Authorizers:
        return authorizers(name, providers, find_service)

    return authorization(
        selecting(
            manifests.resources,
            namespace=case["workload"]["namespace"],
            labels=case["workload"]["labels"],
            root=case["root_namespace"],
        ),
        tcp=case["protocol"] == "tcp",
        trust_domains=trust_domains(case["trust_domain_bundle"]),
        find_provider=find_provider,
        several_providers=False,
        provider_in_ids=True,
    )


def trust_domains(bundle: Mapping[str, Any] | None) -> TrustDomains:
    return ("",) if bundle is None else (bundle["trust_domain"], *bundle["aliases"])


def expected_access(filters: list[Mapping[str, Any]], protocol: str) -> Authorization:
    """What the filters mean, as inference reads them on a listener."""
    terminal = manager(filters) if protocol == "http" else [*filters, tcp_proxy()]
    listener = {
        "@type": f"{ENVOY}.config.listener.v3.Listener",
        "name": "virtualInbound",
        "traffic_direction": "INBOUND",
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": 15006}},
        "filter_chains": [
            {
                "filter_chain_match": {
                    "destination_port": PORT,
                    "transport_protocol": "raw_buffer",
                },
                "filters": terminal,
            }
        ],
    }
    node = {"id": "sidecar~10.0.0.1~pod.foo~foo.svc.cluster.local", "metadata": {}}
    inferred = infer(dump_of({"node": node}, {"lds": [listener]}))
    unexplained = [k for k in inferred.policies if k.kind is Kind.EXTENSION and "rbac" in str(k)]
    assert not unexplained
    policy = inferred.policies[key.authorization(PORT, key.TRANSPORT_PLAINTEXT, protocol)]
    assert isinstance(policy.content, Authorization)
    return policy.content


def manager(filters: list[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    router = {
        "name": "envoy.filters.http.router",
        "typed_config": {"@type": f"{ENVOY}.extensions.filters.http.router.v3.Router"},
    }
    kind = "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
    return [
        {
            "name": "envoy.filters.network.http_connection_manager",
            "typed_config": {"@type": f"{ENVOY}.{kind}", "http_filters": [*filters, router]},
        }
    ]


def tcp_proxy() -> Mapping[str, Any]:
    kind = "extensions.filters.network.tcp_proxy.v3.TcpProxy"
    return {
        "name": "envoy.filters.network.tcp_proxy",
        "typed_config": {"@type": f"{ENVOY}.{kind}", "cluster": f"inbound|{PORT}||"},
    }
