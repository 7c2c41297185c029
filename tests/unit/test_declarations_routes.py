"""Routes of VirtualServices that no request reaches."""

import pytest
from reviewed import (
    fields,
    findings,
    istio,
    one,
    requested,
    reviewed,
    service,
    virtual_service,
)

TO = "route: [{destination: {host: cart}}]"
CART = service("[{name: http, port: 80}]")


def http(*matches: str) -> str:
    routes = ", ".join(f"{{match: [{match}], {TO}}}" if match else f"{{{TO}}}" for match in matches)
    return virtual_service(f"{{hosts: [cart], http: [{routes}]}}")


@pytest.mark.parametrize(
    "routes",
    [
        ("", "{uri: {exact: /a}}"),
        ("{uri: {prefix: /a}}", "{uri: {regex: '/ab+'}}"),
        ("{method: {exact: GET}}", "{method: {regex: 'GE(T|T)'}, uri: {prefix: /x}}"),
        ("{uri: {prefix: /}, headers: {a: {exact: b}}}", "{headers: {a: {exact: b}}}"),
        ("{port: 80}", "{port: 80, sourceLabels: {app: a}}"),
        ("{uri: {prefix: /A}, ignoreUriCase: true}", "{uri: {exact: /aB}}"),
    ],
)
def test_a_route_behind_one_that_takes_its_requests(routes: tuple[str, ...]) -> None:
    assert fields(http(*routes), "MSC-2301") == ["spec.http[1]"]


@pytest.mark.parametrize(
    "routes",
    [
        ("{uri: {prefix: /ab}}", "{uri: {prefix: /a}}"),
        ("{uri: {prefix: /a}}", "{uri: {regex: '/[ab]c'}}"),
        ("{method: {exact: GET}}", "{method: {exact: get}}"),
        ("{headers: {a: {exact: b}}}", "{headers: {a: {prefix: b}}}"),
        ("{port: 80}", "{port: 81}"),
        ("{sourceNamespace: a}", "{sourceNamespace: b}"),
        ("{gateways: [mesh]}", "{gateways: [other]}"),
        ("{uri: {prefix: /A}}", "{uri: {exact: /aB}}"),
    ],
)
def test_a_route_that_still_gets_something(routes: tuple[str, ...]) -> None:
    if "gateways" not in routes[0]:
        assert not findings(http(*routes), "MSC-2301")
    else:
        both = http(*routes).replace("hosts: [cart]", "hosts: [cart], gateways: [mesh, other]")
        assert not findings(both, "MSC-2301")


def test_routes_together_leave_nothing() -> None:
    found = one(
        http(
            "{method: {exact: GET}, uri: {prefix: /a}}",
            "{method: {regex: '[^G].*|G[^E].*|G|GE[^T].*|GE|GET.+'}, uri: {prefix: /a}}",
            "{uri: {exact: /ab}}",
        ),
        "MSC-2301",
    )
    assert found.field == "spec.http[2]"
    assert "one of http[0].match[0], http[1].match[0]" in found.explanation
    assert requested(found) == "GET /ab, over plaintext"


def test_a_match_beside_one_that_counts() -> None:
    manifests = http("{uri: {prefix: /a}}", "{uri: {exact: /ab}}, {uri: {exact: /b}}")
    assert fields(manifests, "MSC-2302") == ["spec.http[1].match[0]"]
    assert not findings(manifests, "MSC-2301")


def test_a_match_behind_another_of_its_own_route() -> None:
    manifests = http("{uri: {prefix: /}}, {uri: {exact: /}, method: {exact: GET}}")
    assert fields(manifests, "MSC-2302") == ["spec.http[0].match[1]"]


def test_routes_of_tls_and_tcp() -> None:
    spec = (
        "{hosts: [a.example], tls: ["
        "{match: [{port: 443, sniHosts: ['*.example']}], route: [{destination: {host: a}}]}, "
        "{match: [{port: 443, sniHosts: [a.example]}], route: [{destination: {host: b}}]}, "
        "{match: [{port: 443, sniHosts: [a.other]}], route: [{destination: {host: b}}]}], "
        "tcp: [{match: [{destinationSubnets: [10.0.0.0/8]}], route: [{destination: {host: a}}]}, "
        "{match: [{destinationSubnets: [10.1.0.0/16]}], route: [{destination: {host: a}}]}]}"
    )
    assert fields(virtual_service(spec), "MSC-2301") == ["spec.tls[1]", "spec.tcp[1]"]


def test_what_is_too_large_is_said_to_be_undecided() -> None:
    matches = ", ".join(f"{{headers: {{h{n}: {{regex: 'a.*{n}.*b'}}}}}}" for n in range(220))
    found = reviewed(http(matches, "{uri: {exact: /a}}"))
    (skipped,) = (one for one in found.skipped if one.lacks.startswith("undecided: "))
    assert skipped.codes == ("MSC-2301", "MSC-2302")


def other(name: str, hosts: str, more: str = "", namespace: str = "shop") -> str:
    return virtual_service(f"{{hosts: {hosts}, http: [{{{TO}}}]{more}}}", name, namespace)


# Hosts and gateways


def test_two_virtual_services_for_a_host() -> None:
    both = other("a", "[cart]") + other("b", "[cart.shop.svc.cluster.local]")
    assert [found.resource.name for found in findings(both, "MSC-2306")] == ["a", "b"]
    apart = other("a", "[x.example]", ", exportTo: ['.']") + other(
        "b", "[x.example]", ", exportTo: ['.']", "web"
    )
    assert not findings(apart, "MSC-2306")
    gateways = other("a", "[cart]") + other("b", "[cart]", ", gateways: [g]")
    assert not findings(gateways, "MSC-2306")


def test_hosts_that_overlap() -> None:
    both = other("a", "['*.example']") + other("b", "[x.example]")
    assert [found.resource.name for found in findings(both, "MSC-2316")] == ["a", "b"]
    assert not findings(other("a", "['*.example']") + other("b", "[x.other]"), "MSC-2316")


GATEWAY = istio(
    "Gateway",
    "{selector: {istio: ingressgateway}, servers: "
    "[{port: {number: 80}, hosts: ['*.example', ./own.test]}]}",
    "public",
)


def test_gateways_that_do_not_exist() -> None:
    bound = other("a", "[a.example]", ", gateways: [public, shop/public, shop/other, mesh]")
    assert fields(bound + GATEWAY, "MSC-2309") == ["spec.gateways[2]"]
    assert not findings(bound, "MSC-2309")
    assert any("Gateways of namespace shop" in one.lacks for one in reviewed(bound).skipped)


@pytest.mark.parametrize(
    ("host", "namespace", "served"),
    [
        ("a.example", "shop", True),
        ("'*.b.example'", "web", True),
        ("a.other", "shop", False),
        ("own.test", "shop", True),
        ("own.test", "web", False),
    ],
)
def test_hosts_that_gateways_serve(host: str, namespace: str, served: bool) -> None:
    bound = other("a", f"[{host}]", ", gateways: [shop/public]", namespace)
    assert bool(findings(bound + GATEWAY, "MSC-2310")) is not served


def test_routes_for_the_mesh_that_are_bound_to_gateways() -> None:
    bound = other("a", "[cart]", ", gateways: [public]")
    assert findings(bound + GATEWAY + CART, "MSC-2308")
    assert not findings(bound + GATEWAY + CART + other("b", "[cart]"), "MSC-2308")
    assert not findings(other("a", "[cart]", ", gateways: [public, mesh]") + CART, "MSC-2308")


def test_a_virtual_service_without_routes() -> None:
    assert findings(virtual_service("{hosts: [cart]}"), "MSC-2317")
    assert not findings(other("a", "[cart]"), "MSC-2317")


# Values


@pytest.mark.parametrize(
    ("route", "says"),
    [
        ("{destination: {host: a}, weight: 30}", "counts for nothing"),
        ("{destination: {host: a}, weight: 33}, {destination: {host: b}, weight: 33}", "50 %"),
        ("{destination: {host: a}, weight: 0}, {destination: {host: b}}", "no destination has"),
        ("{destination: {host: a}, weight: 100}, {destination: {host: b}}", "gets no request"),
        ("{destination: {host: a}, weight: 50}, {destination: {host: a}, weight: 50}", "2 times"),
    ],
)
def test_weights_that_are_not_what_they_seem(route: str, says: str) -> None:
    found = findings(virtual_service(f"{{hosts: [c], http: [{{route: [{route}]}}]}}"), "MSC-2307")
    assert any(says in one.explanation for one in found)


@pytest.mark.parametrize(
    "route",
    [
        "{destination: {host: a}}",
        "{destination: {host: a}, weight: 100}",
        "{destination: {host: a}, weight: 100}, {destination: {host: b}, weight: 0}",
        "{destination: {host: a, subset: x}, weight: 1}, {destination: {host: a}, weight: 99}",
    ],
)
def test_weights_that_are(route: str) -> None:
    manifests = virtual_service(f"{{hosts: [c], http: [{{route: [{route}]}}]}}")
    assert not findings(manifests, "MSC-2307")


@pytest.mark.parametrize(
    ("timeout", "each", "attempts", "found"),
    [
        ("3s", "1s", 3, True),
        ("0.5s", "200ms", 2, False),
        ("4s", "1s", 3, False),
        ("0s", "1s", 9, False),
    ],
)
def test_timeouts_against_retries(timeout: str, each: str, attempts: int, found: bool) -> None:
    retries = f"{{attempts: {attempts}, perTryTimeout: {each}}}"
    spec = f"{{hosts: [c], http: [{{{TO}, timeout: {timeout}, retries: {retries}}}]}}"
    assert bool(findings(virtual_service(spec), "MSC-2312")) is found


@pytest.mark.parametrize(
    ("pattern", "found"), [("(?!a)b", True), ("a(", True), ("a\\\\b", False), ("/v[0-9]+", False)]
)
def test_patterns_that_are_not_valid(pattern: str, found: bool) -> None:
    spec = f'{{hosts: [c], http: [{{match: [{{uri: {{regex: "{pattern}"}}}}], {TO}}}]}}'
    assert bool(findings(virtual_service(spec), "MSC-2313")) is found


# Delegates


def delegating(match: str, delegate: str, more: str = "") -> str:
    root = f"{{hosts: [c], http: [{{{match}delegate: {{name: leaf}}}}]}}"
    return virtual_service(root) + virtual_service(delegate, "leaf", more=more)


@pytest.mark.parametrize(
    ("delegate", "says"),
    [
        (f"{{hosts: [x], http: [{{{TO}}}]}}", "has hosts"),
        (f"{{exportTo: [web], http: [{{{TO}}}]}}", "is not exported"),
        (f"{{http: [{{match: [{{uri: {{prefix: /b}}}}], {TO}}}]}}", "do not lie within"),
        ("{http: [{delegate: {name: x}}]}", "delegates again"),
    ],
)
def test_delegates_without_effect(delegate: str, says: str) -> None:
    found, *_ = findings(delegating("match: [{uri: {prefix: /a}}], ", delegate), "MSC-2311")
    assert found.resource.name == "cart"
    assert says in found.explanation


def test_a_delegate_that_counts_and_one_that_is_not_there() -> None:
    fitting = f"{{http: [{{match: [{{uri: {{prefix: /ab}}}}], {TO}}}]}}"
    assert not findings(delegating("match: [{uri: {prefix: /a}}], ", fitting), "MSC-2311")
    missing = virtual_service("{hosts: [c], http: [{delegate: {name: leaf}}]}")
    assert "there is no VirtualService shop/leaf" in one(missing, "MSC-2311").explanation


# Claims


def test_routes_by_claims_that_nobody_validates() -> None:
    match = "match: [{headers: {'@request.auth.claims.group': {exact: a}}}], "
    bound = virtual_service(f"{{hosts: [a.example], gateways: [public], http: [{{{match}{TO}}}]}}")
    tokens = "{selector: {matchLabels: {%s}}, jwtRules: [{issuer: a}]}"
    elsewhere = istio("RequestAuthentication", tokens % "istio: other")
    assert findings(bound + GATEWAY + elsewhere, "MSC-2314")
    there = istio("RequestAuthentication", tokens % "istio: ingressgateway")
    assert not findings(bound + GATEWAY + there, "MSC-2314")
    assert not findings(bound + GATEWAY, "MSC-2314")
