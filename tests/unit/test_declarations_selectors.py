"""Selectors, scopes, Sidecars."""

import pytest
from reviewed import fields, findings, istio, kubernetes, one, pod, policy, reviewed, service

AMBIENT = kubernetes(
    "Namespace", "{}", "shop", "''", ", labels: {istio.io/dataplane-mode: ambient}"
)
EVERYTHING = "{egress: [{hosts: ['./*']}]}"


def deployment(labels: str) -> str:
    return kubernetes("Deployment", f"{{template: {{metadata: {{labels: {labels}}}, spec: {{}}}}}}")


@pytest.mark.parametrize("workload", [pod("{app: a}"), deployment("{app: a}")])
def test_a_selector_that_selects_nothing(workload: str) -> None:
    assert one(workload + policy("[{}]", selector="{app: b}"), "MSC-2501").field == "spec.selector"
    assert not findings(workload + policy("[{}]", selector="{app: a}"), "MSC-2501")


def test_workloads_of_other_namespaces_do_not_count_but_for_the_root_namespace() -> None:
    known = pod("{app: a}") + pod("{app: b}", "b", "other")
    chosen = policy("[{}]", selector="{app: b}")
    assert findings(known + chosen, "MSC-2501")
    everywhere = chosen.replace("namespace: shop", "namespace: istio-system")
    assert not findings(known + everywhere, "MSC-2501")


def test_without_workloads_nothing_is_said_of_selectors_but_that() -> None:
    found = reviewed(policy("[{}]", selector="{app: b}") + pod("{app: b}", "b", "other"))
    assert not found.findings
    lacks = {one.lacks: one.codes for one in found.skipped}
    assert "MSC-2501" in lacks["workloads of namespace shop are not among the resources"]
    assert findings(policy("[{}]", selector="{app: b}"), "MSC-2501", complete=True)


def test_pods_that_are_over_are_no_workloads() -> None:
    done = pod("{app: a}") + "status: {phase: Succeeded}\n" + pod("{app: c}", "c")
    assert findings(done + policy("[{}]", selector="{app: a}"), "MSC-2501")


def test_gateways_of_istio_itself_need_not_be_there() -> None:
    own = istio("Gateway", "{selector: {istio: ingressgateway}}")
    other = istio("Gateway", "{selector: {istio: other}}")
    assert not findings(own, "MSC-2501", complete=True)
    assert findings(other, "MSC-2501", complete=True)


def test_resources_of_which_one_counts() -> None:
    both = istio("Sidecar", EVERYTHING, "a") + istio("Sidecar", EVERYTHING, "b")
    assert [found.resource.name for found in findings(both, "MSC-2502")] == ["a", "b"]
    apart = istio("Sidecar", EVERYTHING, "a") + istio("Sidecar", EVERYTHING, "b", "other")
    assert not findings(apart, "MSC-2502")


def test_selectors_that_a_workload_meets_both_of() -> None:
    chosen = "{workloadSelector: {labels: {%s}}, egress: [{hosts: ['./*']}]}"
    both = istio("Sidecar", chosen % "app: a", "a") + istio("Sidecar", chosen % "tier: x", "b")
    assert len(findings(both + pod("{app: a, tier: x}"), "MSC-2502")) == 2
    assert not findings(both + pod("{app: a}") + pod("{tier: x}", "x"), "MSC-2502")


def test_sidecars_where_there_are_none() -> None:
    assert findings(istio("Sidecar", EVERYTHING) + AMBIENT, "MSC-2503")
    injected = AMBIENT.replace("ambient}", "ambient, istio-injection: enabled}")
    assert not findings(istio("Sidecar", EVERYTHING) + injected, "MSC-2503")


def test_a_peer_authentication_with_a_selector_in_the_root_namespace() -> None:
    chosen = "{selector: {matchLabels: {app: a}}, mtls: {mode: STRICT}}"
    assert findings(istio("PeerAuthentication", chosen, namespace="istio-system"), "MSC-2503")
    assert not findings(istio("PeerAuthentication", chosen), "MSC-2503")


def test_selectors_of_gateways_of_the_gateway_api() -> None:
    named = "{gateway.networking.k8s.io/gateway-name: w, app: w}"
    chosen = policy("[{}]", selector="{app: w}")
    assert findings(chosen + pod(named), "MSC-2503")
    assert not findings(chosen + pod(named) + pod("{app: w}", "other"), "MSC-2503")
    targeted = chosen.replace("rules:", "targetRefs: [{kind: Gateway, name: w}], rules:")
    assert not findings(targeted + pod(named), "MSC-2503")


def test_namespaces_to_export_to() -> None:
    exported = istio("DestinationRule", "{host: a.example, exportTo: [shop, '.', '*', x]}")
    known = kubernetes("Namespace", "{}", "shop", "''")
    assert fields(exported + known, "MSC-2506") == ["spec.exportTo[3]"]
    assert not findings(exported, "MSC-2506")


# Sidecars

CALLED = service("[{name: http, port: 80}]", "books", "catalog")


def sidecar(*hosts: str) -> str:
    return istio("Sidecar", f"{{egress: [{{hosts: {list(hosts)}}}]}}")


def test_hosts_that_import_nothing() -> None:
    hosts = ("catalog/books.catalog.svc.cluster.local", "catalog/book.catalog.svc.cluster.local")
    assert fields(sidecar(*hosts) + CALLED, "MSC-2504") == ["spec.egress[0].hosts[1]"]
    assert not findings(sidecar(*hosts), "MSC-2504")


def test_a_service_that_is_used_and_not_imported() -> None:
    allowed = policy("[{from: [{source: {namespaces: [shop]}}]}]", selector="{app: books}")
    allowed = allowed.replace("namespace: shop}", "namespace: catalog}")
    found = one(sidecar("./*") + CALLED + allowed, "MSC-2505")
    assert "books.catalog.svc.cluster.local" in found.explanation
    assert "without mutual TLS" in found.explanation
    strict = {"outboundTrafficPolicy": {"mode": "REGISTRY_ONLY"}}
    assert "fail" in one(sidecar("./*") + CALLED + allowed, "MSC-2505", **strict).explanation
    assert not findings(sidecar("./*", "catalog/*") + CALLED + allowed, "MSC-2505")
