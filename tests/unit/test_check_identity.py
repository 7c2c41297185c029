"""Whose a dump is, and what is not verified for want of it."""

import json
from collections.abc import Mapping
from typing import Any

import pytest
from check_reports import CLEAN_MANIFEST, DUMP, Mesh, dump, run, text

from meshscope.cli.identity import Pods, has_node, with_node
from meshscope.events.resource import Resource
from meshscope.inference.result import Inference


def resource(kind: str, name: str, namespace: str = "", **rest: Any) -> Resource:
    given = {"labels": {}, "annotations": {}, "body": {}, **rest}
    return Resource("", "v1", kind, namespace, name, created_at=None, **given)


def pod(container: Mapping[str, Any], **labels: str) -> Resource:
    body = {
        "spec": {
            "nodeName": "n1",
            "serviceAccountName": "cart",
            "containers": [{"name": "app"}, {"name": "istio-proxy", **container}],
        },
        "status": {"podIPs": [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}]},
    }
    return resource("Pod", "cart-1", "shop", labels=labels, body=body)


def test_the_node_of_a_pod_is_what_its_sidecar_would_say() -> None:
    zone = resource("Node", "n1", labels={"topology.kubernetes.io/zone": "z"})
    container = {
        "image": "gcr.io/istio-release/proxyv2:1.30.2-distroless",
        "env": [
            {"name": "ISTIO_META_CLUSTER_ID", "value": "east"},
            {"name": "ISTIO_META_NODE_NAME", "valueFrom": {}},
            {"name": "OTHER", "value": "x"},
        ],
    }
    node = Pods((pod(container, app="cart"), zone)).node("cart-1.shop", {"trustDomain": "td"})
    assert node is not None
    assert node["id"] == "sidecar~10.0.0.1~cart-1.shop~shop.svc.cluster.local"
    assert node["locality"] == {"zone": "z"}
    assert node["metadata"] == {
        "CLUSTER_ID": "east",
        "NAMESPACE": "shop",
        "LABELS": {"app": "cart"},
        "ANNOTATIONS": {},
        "SERVICE_ACCOUNT": "cart",
        "NODE_NAME": "n1",
        "INSTANCE_IPS": "10.0.0.1,fd00::1",
        "INTERCEPTION_MODE": "REDIRECT",
        "ISTIO_VERSION": "1.30.2",
        "MESH_ID": "td",
    }


def test_a_gateway_is_told_by_its_arguments() -> None:
    node = Pods((pod({"args": ["proxy", "router"]}),)).node("cart-1.shop", {})
    assert node is not None
    assert node["id"].startswith("router~")


def test_a_pod_without_anything_has_a_node() -> None:
    pods = Pods((resource("Pod", "a", "b"),))
    assert pods.node("c.b", {}) is None
    node = pods.node("a.b", {})
    assert node is not None
    assert node["id"] == "sidecar~~a.b~b.svc.cluster.local"


def test_a_dump_gets_the_node_of_the_pod_that_its_file_is_named_after() -> None:
    seen: list[Mapping[str, Any]] = []

    class Seeing(Mesh):
        def infer(self, dump: Mapping[str, Any]) -> Inference:
            seen.append(dump)
            return super().infer(dump)

    report = run(Seeing(), CLEAN_MANIFEST, ("d/cart-1.shop.json", dump("")))
    assert report.exit_code == 0
    assert has_node(seen[0])
    assert len(seen[0]["configs"]) == len(json.loads(DUMP)["configs"])
    assert not has_node(with_node(seen[0], {}))


@pytest.mark.parametrize(
    ("name", "data", "code", "reason"),
    [
        ("cart-2.shop.json", dump(""), "MSC-5017", "no Pod is called as the file is: cart-2.shop"),
        ("a.json", dump("router~1~a.b~c"), "MSC-5013", "this is a gateway"),
        ("a.json", dump("waypoint~1~a.b~c"), "MSC-5013", "this is a waypoint"),
        ("a.json", dump("agent~1~a.b~c"), "MSC-5013", "a proxy of type 'agent'"),
        ("a.json", b'{"services": [], "workloads": []}', "MSC-5013", "is of ztunnel"),
    ],
)
def test_what_is_no_sidecar_is_unknown_and_not_clean(
    name: str, data: bytes, code: str, reason: str
) -> None:
    report = run(Mesh(), CLEAN_MANIFEST, (name, data))
    (proxy,) = report.proxies
    assert (report.exit_code, proxy.verdict.verdict, proxy.code) == (3, "unknown", code)
    assert reason in " ".join(text(report).split())


def test_a_proxy_that_was_read_before_is_said() -> None:
    twice = (("a/cart-1.json", DUMP), ("b/cart-1.json", DUMP))
    report = run(Mesh(), CLEAN_MANIFEST, *twice)
    (found,) = report.findings
    assert (found.code, found.severity, found.proxy) == ("MSC-5014", "warning", "cart-1.shop")
    assert "from a/cart-1.json" in found.explanation
    assert len(report.proxies) == 2
