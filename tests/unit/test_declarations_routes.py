"""Routes of VirtualServices that no request reaches."""

import pytest
from reviewed import fields, findings, one, requested, reviewed, virtual_service

TO = "route: [{destination: {host: cart}}]"


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
    (skipped,) = found.skipped
    assert skipped.codes == ("MSC-2301", "MSC-2302")
    assert skipped.lacks.startswith("undecided: ")
