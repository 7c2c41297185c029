"""Requests that prove findings, sent through whole sidecars as a projection declares them."""

from dataclasses import replace
from textwrap import dedent

import pytest
from reviewed import findings, istio, pod, policy, service, virtual_service

from meshscope.algebra.request import Request
from meshscope.declarations.finding import Finding
from meshscope.evaluation.call import Call
from meshscope.evaluation.evaluate import evaluate
from meshscope.evaluation.trace import Outcome
from meshscope.events.control_plane import ControlPlane
from meshscope.events.proxy import ProxyInputs
from meshscope.projection.project import project
from meshscope.watcher.manifests import read_manifests

WORKLOAD = pod("{app: cart}") + service(
    "[{name: http, port: 80, targetPort: 8080}, {name: tcp, port: 5432}]"
)
PERMISSIVE = istio("PeerAuthentication", "{mtls: {mode: PERMISSIVE}}", "default")


def outcome(manifests: str, call: Call) -> Outcome:
    """What the sidecar of the only Pod, or a client beside it, does with a request."""
    read = read_manifests([("m.yaml", dedent(manifests).encode())])
    proxy = ProxyInputs(
        "cart-1.shop",
        "Kubernetes",
        "shop",
        labels={"app": "cart"},
        addresses=("10.9.0.1",),
        dns_domain="shop.svc.cluster.local",
        istio_version="1.31.0",
    )
    found = project(ControlPlane(version="1.31.0"), read.resources, proxy)
    return evaluate(found.policies, call).outcome


def arriving(request: Request) -> Call:
    """A witness on its way into the sidecar."""
    port = request.port or 8080
    over_mtls = request.transport == "mtls"
    tcp = port == 5432
    alpn = ("istio" if tcp else "istio-http/1.1") if over_mtls else ""
    sent = replace(
        request,
        port=port,
        authority=request.authority or "cart",
        application_protocol=alpn,
        server_name="outbound_.80_._.cart.shop.svc.cluster.local" if over_mtls else "",
    )
    return Call("inbound", sent, protocol="tcp" if tcp else "http1")


def witness(found: Finding) -> Request:
    assert found.witness is not None
    return found.witness.request


PATH = "to: [{operation: {paths: ['/a*']}}]"


@pytest.mark.parametrize(
    ("code", "policies", "passes"),
    [
        ("MSC-2103", policy(f"[{{{PATH}}}]") + policy("[{}]", "d", "DENY"), False),
        (
            "MSC-2105",
            policy("[{to: [{operation: {methods: [GET]}}]}]"),
            False,
        ),
        ("MSC-2106", policy("[{to: [{operation: {methods: [TRACE]}}]}]", action="DENY"), False),
        ("MSC-2108", policy(f"[{{from: [{{source: {{notNamespaces: [x]}}}}], {PATH}}}]"), True),
        (
            "MSC-2109",
            policy(f"[{{from: [{{source: {{namespaces: [x]}}}}], {PATH}}}]", action="DENY"),
            True,
        ),
        ("MSC-2110", policy("[{to: [{operation: {hosts: [a.b]}}]}]", action="DENY"), True),
        ("MSC-2111", policy("[{to: [{operation: {paths: [/a]}}]}]", action="DENY"), True),
        ("MSC-2112", policy("[{to: [{operation: {ports: ['8080']}}]}]"), False),
        (
            "MSC-2114",
            istio("RequestAuthentication", "{jwtRules: [{issuer: a}]}") + policy("[{}]"),
            True,
        ),
    ],
)
def test_access(code: str, policies: str, passes: bool) -> None:
    manifests = WORKLOAD + PERMISSIVE + policies
    found, *_ = findings(manifests, code)
    reached = outcome(manifests, arriving(witness(found)))
    if passes:
        assert reached.result == "forwarded"
    else:
        assert reached.reason == "access_denied"


def test_the_form_that_was_meant_is_refused_by_the_same_sidecar() -> None:
    denied = policy("[{to: [{operation: {paths: [/a]}}]}]", action="DENY")
    manifests = WORKLOAD + PERMISSIVE + denied
    (found,) = findings(manifests, "MSC-2111")
    meant = replace(witness(found), path="/a")
    assert outcome(manifests, arriving(meant)).reason == "access_denied"


def test_what_is_spoken_and_refused_closes_the_connection() -> None:
    strict = istio("PeerAuthentication", "{mtls: {mode: STRICT}}", "default")
    rule = istio("DestinationRule", "{host: cart, trafficPolicy: {tls: {mode: DISABLE}}}")
    (found,) = findings(WORKLOAD + strict + rule, "MSC-2201")
    spoken = replace(witness(found), port=8080)
    assert outcome(WORKLOAD + strict, arriving(spoken)).result == "closed"


TO = "route: [{destination: {host: cart}}]"


@pytest.mark.parametrize(
    ("code", "routes"),
    [
        ("MSC-2303", "[{route: [{destination: {host: gone.shop.svc.cluster.local}}]}]"),
        ("MSC-2305", "[{route: [{destination: {host: cart, port: {number: 81}}}]}]"),
        (
            "MSC-2304",
            f"[{{match: [{{uri: {{prefix: /b}}}}], {TO}}}, "
            "{route: [{destination: {host: cart, subset: gone}}]}]",
        ),
    ],
)
def test_destinations_that_do_not_exist_answer_with_503(code: str, routes: str) -> None:
    service_of = virtual_service(f"{{hosts: [cart], http: {routes}}}")
    manifests = WORKLOAD + service_of
    (found,) = findings(manifests, code, complete=True)
    request = replace(witness(found), authority="cart", port=80)
    answered = outcome(manifests, Call("outbound", request))
    assert (answered.result, answered.status) == ("answered", 503)
