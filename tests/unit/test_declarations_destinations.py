"""Destinations of routes, DestinationRules, and what clients speak against what servers accept."""

import pytest
from reviewed import (
    fields,
    findings,
    istio,
    one,
    pod,
    requested,
    reviewed,
    service,
    virtual_service,
)

CART = service("[{name: http, port: 80, targetPort: 8080}]")
SEVERAL = service("[{name: http, port: 80}, {name: http-b, port: 81}]")
SUBSETS = istio("DestinationRule", "{host: cart, subsets: [{name: v1, labels: {version: v1}}]}")


def to(destination: str) -> str:
    return virtual_service(
        f"{{hosts: [cart], http: [{{route: [{{destination: {destination}}}]}}]}}"
    )


# Routes


@pytest.mark.parametrize(
    ("destination", "hint"),
    [
        ("{host: carts}", "carts.shop.svc.cluster.local"),
        ("{host: cart.shop}", "write cart.shop.svc.cluster.local"),
        ("{host: cart.web.svc.cluster.local}", "there is cart.shop.svc.cluster.local"),
    ],
)
def test_a_host_that_nothing_declares(destination: str, hint: str) -> None:
    found = one(to(destination) + CART, "MSC-2303", complete=True)
    assert found.field == "spec.http[0].route[0].destination.host"
    assert hint in found.explanation
    assert requested(found) == "GET /, over plaintext"


def test_hosts_that_something_declares() -> None:
    entry = istio(
        "ServiceEntry",
        "{hosts: ['*.example.com'], ports: [{number: 80, name: http, protocol: HTTP}]}",
    )
    for host in ("cart", "cart.shop.svc.cluster.local", "a.example.com"):
        assert not findings(to(f"{{host: {host}}}") + CART + entry, "MSC-2303", complete=True)


def test_hosts_of_unknown_services_are_not_looked_at() -> None:
    found = reviewed(to("{host: cart.web.svc.cluster.local}") + CART)
    assert not [one for one in found.findings if one.code == "MSC-2303"]
    assert any("services of namespace web" in one.lacks for one in found.skipped)


def test_a_service_that_is_not_exported_is_not_there() -> None:
    hidden = CART.replace(
        "namespace: shop", "namespace: web, annotations: {networking.istio.io/exportTo: '.'}"
    )
    found = one(to("{host: cart.web.svc.cluster.local}") + hidden, "MSC-2303")
    assert "to namespace shop" in found.explanation


def test_subsets_that_are_not_defined() -> None:
    found = one(to("{host: cart, subset: v2}") + CART + SUBSETS, "MSC-2304")
    assert "(only v1)" in found.explanation
    assert not findings(to("{host: cart, subset: v1}") + CART + SUBSETS, "MSC-2304")
    assert not findings(to("{host: cart, subset: v2}") + CART, "MSC-2304")
    assert findings(to("{host: cart, subset: v2}") + CART, "MSC-2304", complete=True)


def test_a_subset_that_another_rule_hides() -> None:
    hiding = istio("DestinationRule", "{host: cart}", "a").replace(
        "cart}", "cart.shop.svc.cluster.local}"
    )
    other = hiding.replace("namespace: shop", "namespace: web")
    # Clients of other namespaces than web still have it.
    assert not findings(to("{host: cart, subset: v1}") + CART + SUBSETS + other, "MSC-2304")


def test_ports_of_destinations() -> None:
    wrong = to("{host: cart, port: {number: 8080}}")
    assert fields(wrong + CART, "MSC-2305") == ["spec.http[0].route[0].destination.port"]
    assert not findings(to("{host: cart, port: {number: 80}}") + CART, "MSC-2305")
    assert findings(to("{host: cart}") + SEVERAL, "MSC-2315")
    assert not findings(to("{host: cart}") + CART, "MSC-2315")


# DestinationRules


def test_a_rule_for_a_host_that_nothing_declares() -> None:
    assert one(istio("DestinationRule", "{host: carts}") + CART, "MSC-2401").field == "spec.host"
    for host in ("cart", "'*.shop.svc.cluster.local'", "'*.local'"):
        assert not findings(istio("DestinationRule", f"{{host: {host}}}") + CART, "MSC-2401")
    assert not findings(istio("DestinationRule", "{host: '*.web.svc.cluster.local'}"), "MSC-2401")


def test_a_rule_that_others_hide_everywhere() -> None:
    wide = istio("DestinationRule", "{host: '*.local', trafficPolicy: {}}", "w", "istio-system")
    assert one(wide + CART + SUBSETS, "MSC-2402").resource.name == "w"
    other = service("[{name: http, port: 80}]", "other", "web")
    assert not findings(wide + CART + SUBSETS + other, "MSC-2402")


def test_what_merging_leaves_out() -> None:
    later = istio(
        "DestinationRule",
        "{host: cart.shop.svc.cluster.local, trafficPolicy: {loadBalancer: {simple: RANDOM}}, "
        "subsets: [{name: v1, labels: {version: other}}, {name: v2, labels: {version: v2}}]}",
        "later",
    )
    assert fields(SUBSETS + later + CART, "MSC-2402") == ["spec.subsets[0]"]
    first = SUBSETS.replace("host: cart,", "host: cart, trafficPolicy: {},")
    assert fields(first + later + CART, "MSC-2402") == ["spec.trafficPolicy", "spec.subsets[0]"]


def test_subsets_that_nothing_is_in() -> None:
    other = pod("{app: cart, version: v2}")
    assert fields(SUBSETS + CART + other, "MSC-2403") == ["spec.subsets[0].labels"]
    assert not findings(SUBSETS + CART + pod("{app: cart, version: v1}"), "MSC-2403")
    assert not findings(SUBSETS + CART, "MSC-2403")
    assert findings(SUBSETS + CART, "MSC-2403", complete=True)
    # Of another service: the labels are not enough.
    stranger = pod("{app: other, version: v1}")
    assert findings(SUBSETS + CART + stranger, "MSC-2403")


def test_subsets_by_place_of_workloads_whose_place_is_unknown() -> None:
    placed = SUBSETS.replace("version: v1", "topology.kubernetes.io/zone: a")
    assert not findings(placed + CART + pod("{app: cart}"), "MSC-2403")
    assert findings(placed + CART + pod("{app: cart}", spec="{nodeName: n}"), "MSC-2403")


def test_a_subset_without_labels() -> None:
    assert findings(SUBSETS.replace(", labels: {version: v1}", ""), "MSC-2404")
    assert not findings(SUBSETS, "MSC-2404")


@pytest.mark.parametrize(
    ("tls", "more", "found"),
    [
        ("{mode: SIMPLE}", "", True),
        ("{mode: SIMPLE, credentialName: a}", "", True),
        ("{mode: SIMPLE, credentialName: a}", ", workloadSelector: {matchLabels: {a: b}}", False),
        ("{mode: SIMPLE, caCertificates: /ca.pem}", "", False),
        ("{mode: SIMPLE, insecureSkipVerify: true}", "", False),
        ("{mode: ISTIO_MUTUAL}", "", False),
    ],
)
def test_certificates_that_are_hardly_checked(tls: str, more: str, found: bool) -> None:
    rule = istio("DestinationRule", f"{{host: a.example, trafficPolicy: {{tls: {tls}}}{more}}}")
    assert bool(findings(rule, "MSC-2204")) is found


# Mutual TLS


def rule(mode: str) -> str:
    return istio("DestinationRule", f"{{host: cart, trafficPolicy: {{tls: {{mode: {mode}}}}}}}")


def peers(mode: str, more: str = "") -> str:
    return istio("PeerAuthentication", f"{{mtls: {{mode: {mode}}}{more}}}", "default")


@pytest.mark.parametrize(
    ("client", "server", "fails"),
    [
        ("DISABLE", "STRICT", True),
        ("SIMPLE", "STRICT", True),
        ("ISTIO_MUTUAL", "DISABLE", True),
        ("ISTIO_MUTUAL", "STRICT", False),
        ("ISTIO_MUTUAL", "PERMISSIVE", False),
        ("DISABLE", "PERMISSIVE", False),
        ("DISABLE", "DISABLE", False),
    ],
)
def test_what_clients_speak_and_servers_refuse(client: str, server: str, fails: bool) -> None:
    manifests = rule(client) + peers(server) + CART + pod("{app: cart}")
    found = findings(manifests, "MSC-2201")
    assert bool(found) is fails
    if fails:
        assert [str(ref) for ref in found[0].related] == ["PeerAuthentication shop/default"]
        assert found[0].witness is not None


def test_one_workload_that_accepts_is_enough() -> None:
    own = istio(
        "PeerAuthentication",
        "{selector: {matchLabels: {v: b}}, mtls: {mode: PERMISSIVE}}",
        "own",
    )
    workloads = pod("{app: cart, v: a}", "a") + pod("{app: cart, v: b}", "b")
    assert not findings(rule("DISABLE") + peers("STRICT") + own + CART + workloads, "MSC-2201")


def test_a_mode_of_the_port_counts() -> None:
    level = ", selector: {matchLabels: {app: cart}}, portLevelMtls: {8080: {mode: PERMISSIVE}}"
    manifests = rule("DISABLE") + peers("STRICT", level) + CART + pod("{app: cart}")
    assert not findings(manifests, "MSC-2201")
    of_service = manifests.replace("8080: {mode", "80: {mode")
    assert findings(of_service, "MSC-2201")
    assert fields(of_service, "MSC-2202") == ["spec.portLevelMtls.80"]
    assert not findings(manifests, "MSC-2202")


def test_workloads_without_sidecars_refuse_nothing() -> None:
    outside = pod("{app: cart, sidecar.istio.io/inject: 'false'}")
    assert not findings(rule("DISABLE") + peers("STRICT") + CART + outside, "MSC-2201")


def test_modes_of_ports_without_a_selector() -> None:
    assert findings(peers("STRICT", ", portLevelMtls: {80: {mode: DISABLE}}"), "MSC-2203")
    assert not findings(peers("STRICT"), "MSC-2203")
