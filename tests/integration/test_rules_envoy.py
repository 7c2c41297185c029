"""Rules, paths and hosts that nobody recorded: a real Envoy takes those that evaluation takes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from real_envoy.lone import LoneEnvoy, lone_envoy, virtual_host
from rule_lists import header_matches, path_matches, route_matches, string_matches

from meshscope.algebra.request import Request
from meshscope.evaluation.call import split_target
from meshscope.evaluation.hosts import virtual_host as chosen_host
from meshscope.evaluation.normalization import normalized
from meshscope.evaluation.routing import route
from meshscope.policy import key
from meshscope.policy.http_connection import HttpConnection
from meshscope.policy.http_route import HttpRule, Respond, RouteMatch
from meshscope.policy.matches import PathMatch, QueryMatch

pytestmark = pytest.mark.integration

SETTINGS: dict[str, tuple[dict[str, Any], HttpConnection]] = {
    "plain": (
        {"normalize_path": False, "path_with_escaped_slashes_action": "KEEP_UNCHANGED"},
        HttpConnection(),
    ),
    "base": (
        {"normalize_path": True, "path_with_escaped_slashes_action": "KEEP_UNCHANGED"},
        HttpConnection(normalize_path=True),
    ),
    "merged": (
        {"normalize_path": True, "merge_slashes": True},
        HttpConnection(normalize_path=True, merge_slashes=True),
    ),
    "decoded": (
        {
            "normalize_path": True,
            "merge_slashes": True,
            "path_with_escaped_slashes_action": "UNESCAPE_AND_FORWARD",
        },
        HttpConnection(normalize_path=True, merge_slashes=True, escaped_slashes="forward"),
    ),
    "rejecting": (
        {"normalize_path": True, "path_with_escaped_slashes_action": "REJECT_REQUEST"},
        HttpConnection(normalize_path=True, escaped_slashes="reject"),
    ),
}
"""The same settings for Envoy and for evaluation."""

FEW = settings(
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.generate, Phase.shrink),
)
PIECES = (
    *("a", "B", "/", "//", ".", "..", "/../", "/./", "%2F", "%2e", "%5C", "%41", "%7e", "%25"),
    *("%4", "^", "|", "\\", "~", ";"),
)
HOSTS = ("a.b", "A.B", "c.a.b", "a.b:80", "a.c", "b", ".b", "a.", "x.a.b", "a.b.")
DOMAINS = ("*", "*.b", "*a.b", "*.a.b", "a.b", "a.*", "a.b*", "a.b:80", "c.a.b", "*b", "x.a.*")


@pytest.fixture(scope="module")
def envoy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoneEnvoy]:
    fields = {name: found[0] for name, found in SETTINGS.items()}
    with lone_envoy(tmp_path_factory.mktemp("envoy"), fields) as lone:
        yield lone


def paths() -> st.SearchStrategy[str]:
    return st.lists(st.sampled_from(PIECES), max_size=6).map(lambda found: "/" + "".join(found))


def requests() -> st.SearchStrategy[Request]:
    some = st.none() | st.text("ab", max_size=2)
    return st.builds(
        lambda method, path, header, query: Request(
            method,
            "rules",
            path,
            () if query is None else (("q", query), ("q", "other")),
            () if header is None else (("x", header),),
        ),
        st.sampled_from(["GET", "POST", "PUT"]),
        paths() | st.text("aB/", max_size=3).map(lambda rest: f"/{rest}"),
        some,
        some,
    )


def rules() -> st.SearchStrategy[list[RouteMatch]]:
    templates = st.sampled_from(["/*", "/a/*", "/**", "/{x}/B", "/a/{x=**}"])
    by_template = st.builds(RouteMatch, templates.map(lambda text: PathMatch("template", text)))
    by_query = st.builds(
        RouteMatch,
        path_matches(),
        query=st.tuples(st.builds(QueryMatch, st.just("q"), string_matches())),
    )
    plain = route_matches().map(lambda match: replace(match, metadata=()))
    by_header = st.builds(RouteMatch, headers=st.tuples(header_matches()))
    return st.lists(plain | by_template | by_query | by_header, min_size=1, max_size=8)


def evaluated(listener: str, matches: list[RouteMatch], request: Request) -> tuple[int, str]:
    """Status and body as they must be."""
    found = normalized(request, SETTINGS[listener][1])
    if found is None:
        return 400, ""
    answers = [
        HttpRule(match, respond=Respond(200, f"rules/{number}"))
        for number, match in enumerate(matches)
    ]
    routed = route(answers, found, key.http_route("routes", "rules"), {})
    position = routed.steps[-1].rule
    return routed.outcome.status, f"rules/{position}" if position else ""


@settings(FEW, max_examples=12)
@given(rules(), st.lists(requests(), min_size=5, max_size=12))
def test_envoy_takes_the_same_rule(
    envoy: LoneEnvoy, matches: list[RouteMatch], asked: list[Request]
) -> None:
    envoy.serve([virtual_host("rules", ["rules"], matches)])
    for listener in SETTINGS:
        for request in asked:
            status, _, body = envoy.ask(listener, request)
            expected = evaluated(listener, matches, request)
            assert (status, body if status == 200 else "") == expected, (listener, str(request))


@settings(FEW, max_examples=8)
@given(st.lists(paths(), min_size=20, max_size=40))
def test_envoy_sees_the_same_path(envoy: LoneEnvoy, found: list[str]) -> None:
    if envoy.ask("base", Request(authority="paths"))[2] != "paths/0":
        envoy.serve([virtual_host("paths", ["paths"], [RouteMatch()])])
    for listener, (_, connection) in SETTINGS.items():
        for path in found:
            expected = normalized(Request(path=path), connection)
            status, headers, _ = envoy.ask(listener, Request(authority="paths", path=path))
            if expected is None:
                assert status == 400, (listener, path)
            else:
                assert split_target(headers["x-path"])[0] == expected.path, (listener, path)


@settings(FEW, max_examples=15)
@given(st.lists(st.sampled_from(DOMAINS), min_size=1, max_size=6, unique=True))
def test_envoy_chooses_the_same_virtual_host(envoy: LoneEnvoy, domains: list[str]) -> None:
    hosts = {f"h{number}": [domain] for number, domain in enumerate(domains)}
    envoy.serve([virtual_host(name, found, [RouteMatch()]) for name, found in hosts.items()])
    for authority in HOSTS:
        expected = chosen_host(authority, hosts, ignore_port=False)
        status, _, body = envoy.ask("plain", Request(authority=authority))
        assert (body.partition("/")[0] if status == 200 else None) == expected, authority
