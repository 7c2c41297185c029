"""What a sidecar does with a request: each stage, and what cannot be said."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

import pytest

from meshscope.algebra.request import Request
from meshscope.evaluation import Call, Token, Trace, evaluate, split_target
from meshscope.evaluation.normalization import normalized, without_port
from meshscope.policy import key
from meshscope.policy.authorization import (
    Attribute,
    Authorization,
    Condition,
    CustomRules,
    ExternalAuthorizer,
    Rule,
)
from meshscope.policy.destination import Destination
from meshscope.policy.egress import Egress
from meshscope.policy.endpoints import Endpoint, Endpoints, LocalityEndpoints
from meshscope.policy.filter_order import FilterOrder
from meshscope.policy.http_connection import HttpConnection
from meshscope.policy.http_route import (
    Cors,
    Fault,
    Forward,
    HttpRoute,
    HttpRule,
    Mirror,
    Redirect,
    Respond,
    Retry,
    Rewrite,
    RouteMatch,
)
from meshscope.policy.inbound import Inbound, InboundRoutes
from meshscope.policy.key import PolicyKey
from meshscope.policy.matches import Fraction, HeaderMatch, PathMatch, StringMatch
from meshscope.policy.outbound_listener import ChainMatch, OutboundChain, OutboundListener
from meshscope.policy.peer_authentication import AcceptedChain, PeerAuthentication, ServerTls
from meshscope.policy.policy import Content, Policy
from meshscope.policy.request_authentication import JwtHeader, JwtRule, RequestAuthentication
from meshscope.policy.target import Target, WeightedTarget

Policies = Mapping[PolicyKey, Policy]

FRONTEND = "spiffe://cluster.local/ns/shop/sa/frontend"
OWN = WeightedTarget(Target("inbound", "", 8080))
MESH = ServerTls(peers=(StringMatch("prefix", "spiffe://cluster.local/"),), certificate="default")
MTLS_HTTP = AcceptedChain("tls", ("istio-http/1.1", "istio-h2"), "http", MESH)
MTLS_TCP = AcceptedChain("tls", ("istio",), "tcp", MESH)
PLAIN_HTTP = AcceptedChain("raw_buffer", ("http/1.1", "h2c"), "http")
PLAIN_TCP = AcceptedChain("raw_buffer", (), "tcp")
TLS_THROUGH = AcceptedChain("tls", (), "tcp")


def exactly(value: str) -> StringMatch:
    return StringMatch("exact", value)


def policies(contents: Mapping[PolicyKey, Content]) -> Policies:
    return {place: Policy(place, content) for place, content in contents.items()}


def with_content(found: Policies, place: PolicyKey, content: Content) -> Policies:
    return {**found, place: Policy(place, content)}


def inbound_sidecar(*chains: AcceptedChain) -> Policies:
    routes = HttpRule(RouteMatch(), forward=Forward((OWN,)))
    return policies(
        {
            key.inbound(8080): Inbound(
                "auto",
                routes=(InboundRoutes("mtls", (routes,)), InboundRoutes("plaintext", (routes,))),
                forwards_to="inbound|8080||",
                detects=("http", "tls"),
            ),
            key.peer_authentication(8080): PeerAuthentication(chains),
        }
    )


PERMISSIVE = inbound_sidecar(MTLS_HTTP, MTLS_TCP, PLAIN_HTTP, PLAIN_TCP, TLS_THROUGH)
STRICT = inbound_sidecar(MTLS_HTTP, MTLS_TCP)


def incoming(path: str = "/", **fields: object) -> Call:
    request = Request(
        authority="cart",
        path=path,
        transport="mtls",
        principal=FRONTEND,
        peer_address="10.0.0.9",
        port=8080,
        application_protocol="istio-http/1.1",
    )
    return Call("inbound", replace(request, **fields))  # type: ignore[arg-type]


def plaintext(path: str = "/", **fields: object) -> Call:
    return incoming(
        path, **{"transport": "plaintext", "principal": "", "application_protocol": "", **fields}
    )


def result(trace: Trace) -> tuple[str, str, int]:
    return trace.outcome.result, trace.outcome.reason, trace.outcome.status


def stages(trace: Trace) -> list[str]:
    return [step.stage for step in trace.steps]


FORWARDED = ("forwarded", "", 0)
DENIED = ("answered", "access_denied", 403)


# Connections


def test_a_request_through_mutual_tls_reaches_the_workload() -> None:
    trace = evaluate(STRICT, incoming())
    assert result(trace) == FORWARDED
    assert stages(trace) == ["listener", "filter_chain", "tls", "route", "destination"]
    assert [share.target for share in trace.outcome.destinations] == [OWN.target]


@pytest.mark.parametrize(
    ("call", "strict", "permissive"),
    [
        (plaintext(), ("closed", "no_filter_chain", 0), FORWARDED),
        (
            incoming(transport="tls", application_protocol="h2"),
            ("closed", "no_filter_chain", 0),
            FORWARDED,
        ),
        (incoming(transport="tls"), ("closed", "mtls_error", 0), ("closed", "mtls_error", 0)),
        (
            incoming(principal="spiffe://other/ns/a/sa/b"),
            ("closed", "mtls_error", 0),
            ("closed", "mtls_error", 0),
        ),
        (
            replace(incoming(), server_certificate="other"),
            ("closed", "mtls_error", 0),
            ("closed", "mtls_error", 0),
        ),
        (
            replace(incoming(), protocol="tcp"),
            ("closed", "protocol_error", 0),
            ("closed", "protocol_error", 0),
        ),
        (
            replace(incoming(application_protocol="istio"), protocol="tcp"),
            FORWARDED,
            FORWARDED,
        ),
    ],
)
def test_connections(
    call: Call, strict: tuple[str, str, int], permissive: tuple[str, str, int]
) -> None:
    assert result(evaluate(STRICT, call)) == strict
    assert result(evaluate(PERMISSIVE, call)) == permissive


def test_plaintext_where_tls_is_expected() -> None:
    no_inspector = Inbound("http", detects=())
    found = inbound_sidecar(AcceptedChain("", (), "http", MESH))
    found = with_content(found, key.inbound(8080), no_inspector)
    assert result(evaluate(found, plaintext())) == ("closed", "tls_error", 0)


@pytest.mark.parametrize(
    ("offered", "protocol", "reason"),
    [
        ("h2", "http1", "protocol_error"),
        ("h2", "http2", ""),
        ("http/1.1", "http2", "protocol_error"),
        ("http/1.1", "http1", ""),
        # What the server does not know is not agreed on: the first bytes tell.
        ("istio-h2", "http1", ""),
    ],
)
def test_the_bytes_must_be_of_the_protocol_that_was_agreed_on(
    offered: str, protocol: Literal["http1", "http2"], reason: str
) -> None:
    offering = replace(MESH, alpn=("h2", "http/1.1"))
    found = inbound_sidecar(AcceptedChain("tls", (), "http", offering))
    call = replace(incoming(application_protocol=offered), protocol=protocol)
    assert evaluate(found, call).outcome.reason == reason


def test_tls_where_http_is_expected() -> None:
    found = inbound_sidecar(AcceptedChain("", (), "http"))
    assert result(evaluate(found, incoming())) == ("closed", "protocol_error", 0)


def test_a_server_that_asks_for_no_certificate_proves_no_identity() -> None:
    simple = AcceptedChain("tls", (), "http", ServerTls(client_certificate=False))
    found = inbound_sidecar(simple)
    assert result(evaluate(found, incoming())) == ("closed", "mtls_error", 0)
    only_frontend = Condition("principal", values=(exactly(FRONTEND),))
    found = with_access(found, Authorization(allow=(Rule("a/b", 0, ((only_frontend,),)),)))
    assert result(evaluate(found, incoming(transport="tls"))) == DENIED


def test_a_port_without_chains_of_its_own_has_those_of_all_ports() -> None:
    found = policies(
        {
            key.inbound("*"): Inbound("tcp", forwards_to="InboundPassthroughCluster"),
            key.peer_authentication("*"): PeerAuthentication((PLAIN_TCP,)),
        }
    )
    trace = evaluate(found, plaintext())
    assert [share.target.host for share in trace.outcome.destinations] == [
        "InboundPassthroughCluster"
    ]
    assert result(evaluate({}, plaintext())) == ("closed", "no_listener", 0)
    assert result(evaluate(policies({key.inbound("*"): Inbound("tcp")}), plaintext())) == (
        "closed",
        "no_filter_chain",
        0,
    )


# Access


def with_access(
    found: Policies, content: Authorization, transport: str = "mtls", protocol: str = "http"
) -> Policies:
    return with_content(found, key.authorization(8080, transport, protocol), content)


def rule(*conditions: Condition, name: str = "shop/cart") -> Rule:
    return Rule(name, 0, (conditions,))


def test_deny_comes_before_allow_and_allow_denies_the_rest() -> None:
    admin = Condition("path", values=(StringMatch("prefix", "/admin"),))
    anybody_known = Condition("principal", values=(StringMatch("present"),))
    rules = Authorization(deny=(rule(admin, name="shop/no-admin"),), allow=(rule(anybody_known),))
    found = with_access(with_access(PERMISSIVE, rules), rules, "plaintext")

    assert result(evaluate(found, incoming())) == FORWARDED
    denied = evaluate(found, incoming("/admin/x"))
    assert result(denied) == DENIED
    assert (denied.steps[-1].stage, denied.steps[-1].rule) == ("authorization", "shop/no-admin[0]")
    assert result(evaluate(found, plaintext())) == DENIED


def test_no_allow_rules_allow_and_an_empty_set_denies() -> None:
    assert result(evaluate(with_access(STRICT, Authorization()), incoming())) == FORWARDED
    assert result(evaluate(with_access(STRICT, Authorization(allow=())), incoming())) == DENIED


def test_tcp_is_closed_not_answered() -> None:
    found = with_access(STRICT, Authorization(allow=()), protocol="tcp")
    call = replace(incoming(application_protocol="istio"), protocol="tcp")
    assert result(evaluate(found, call)) == ("closed", "access_denied", 0)


@pytest.mark.parametrize(
    ("attribute", "value", "call", "holds"),
    [
        ("direct_remote_ip", "10.0.0.0/8", incoming(), True),
        ("source_ip", "11.0.0.0/8", incoming(), False),
        ("remote_ip", "192.168.0.0/16", incoming(client_address="192.168.1.1"), True),
        ("remote_ip", "10.0.0.0/8", incoming(), True),
        ("destination_ip", "fd00::/8", incoming(destination_address="fd00::1"), True),
        ("destination_port", "8080", incoming(), True),
        ("requested_server_name", "cart", incoming(server_name="cart"), True),
        ("requested_server_name", "cart", incoming(), False),
        ("path_template", "/a/*", incoming("/a/b"), True),
        ("never", "", incoming(), False),
    ],
)
def test_attributes(attribute: Attribute, value: str, call: Call, holds: bool) -> None:
    condition = Condition(attribute, values=(exactly(value),))
    found = with_access(STRICT, Authorization(allow=(rule(condition),)))
    assert result(evaluate(found, call)) == (FORWARDED if holds else DENIED)
    found = with_access(STRICT, Authorization(allow=(rule(replace(condition, negated=True)),)))
    assert result(evaluate(found, call)) == (DENIED if holds else FORWARDED)


def test_rules_see_the_normalised_path() -> None:
    secret = Condition("path", values=(StringMatch("prefix", "/secret"),))
    found = with_access(STRICT, Authorization(deny=(rule(secret),)))
    assert result(evaluate(found, incoming("/x/../secret"))) == FORWARDED
    connection = HttpConnection(normalize_path=True, escaped_slashes="reject")
    found = with_content(found, key.http_connection(8080, "mtls"), connection)
    assert result(evaluate(found, incoming("/x/../secret"))) == DENIED
    assert result(evaluate(found, incoming("/x%2fy"))) == ("answered", "path_rejected", 400)


@pytest.mark.parametrize(
    ("forwarded", "settings", "address"),
    [
        (None, HttpConnection(), "10.0.0.9"),
        ("192.0.2.1", HttpConnection(), "192.0.2.1"),
        ("192.0.2.1, 192.0.2.2", HttpConnection(), "192.0.2.2"),
        ("192.0.2.1, 192.0.2.2", HttpConnection(trusted_hops=1), "192.0.2.1"),
        ("192.0.2.1", HttpConnection(trusted_hops=1), "10.0.0.9"),
        ("192.0.2.1", HttpConnection(use_remote_address=True), "10.0.0.9"),
        ("192.0.2.1", HttpConnection(use_remote_address=True, trusted_hops=1), "192.0.2.1"),
        ("nobody", HttpConnection(), "10.0.0.9"),
        ("192.0.2.1", None, "192.0.2.1"),
    ],
)
def test_the_address_of_the_client_is_the_one_that_is_forwarded(
    forwarded: str | None, settings: HttpConnection | None, address: str
) -> None:
    condition = Condition("remote_ip", values=(exactly(f"{address}/32"),))
    found = with_access(STRICT, Authorization(allow=(rule(condition),)))
    if settings is not None:
        found = with_content(found, key.http_connection(8080, "mtls"), settings)
    headers = () if forwarded is None else (("x-forwarded-for", forwarded),)
    assert result(evaluate(found, incoming(headers=headers))) == FORWARDED


def test_what_is_not_modelled_or_asked_elsewhere_is_undecided() -> None:
    boundary = Condition("path", values=(StringMatch("regex", r"/\bx"),))
    unknown = with_access(STRICT, Authorization(deny=(rule(boundary),)))
    trace = evaluate(unknown, incoming())
    assert trace.outcome.result == "undecided"
    assert "\\b" in trace.outcome.detail
    # Where another condition of the rule fails, the one that is not modelled does not matter.
    never = Condition("destination_port", values=(exactly("1"),))
    known = with_access(STRICT, Authorization(deny=(rule(boundary, never),)))
    assert result(evaluate(known, incoming())) == FORWARDED
    # Nor does it where another rule matches anyway.
    both = with_access(STRICT, Authorization(allow=(rule(boundary), rule())))
    assert result(evaluate(both, incoming())) == FORWARDED


def test_an_external_authorizer_is_asked_for_what_its_rules_match() -> None:
    asked = CustomRules(
        "authz",
        (rule(Condition("path", values=(exactly("/a"),))),),
        ExternalAuthorizer("grpc", "x"),
    )
    found = with_access(STRICT, Authorization(custom=(asked,)))
    assert evaluate(found, incoming("/a")).outcome.result == "undecided"
    assert result(evaluate(found, incoming("/b"))) == FORWARDED
    unknown = with_access(STRICT, Authorization(custom=(replace(asked, authorizer=None),)))
    assert result(evaluate(unknown, incoming("/a"))) == DENIED


def test_a_filter_that_is_not_in_the_chain_does_not_decide() -> None:
    found = with_access(STRICT, Authorization(allow=()))
    order = FilterOrder(("jwt", "router"))
    found = with_content(found, key.filter_order(8080, "mtls", "http"), order)
    assert result(evaluate(found, incoming())) == FORWARDED


# Tokens

ISSUER = JwtRule("https://issuer", audiences=("cart",), metadata_key="payload")
TOKEN = Token({"iss": "https://issuer", "aud": ["cart"], "groups": ["dev"], "scope": "a b"})


def with_tokens(content: RequestAuthentication) -> Policies:
    return with_content(STRICT, key.request_authentication(8080, "mtls"), content)


@pytest.mark.parametrize(
    ("token", "status"),
    [
        (None, 0),
        (TOKEN, 0),
        (replace(TOKEN, valid=False), 401),
        (replace(TOKEN, claims={**TOKEN.claims, "iss": "foreign"}), 401),
        (replace(TOKEN, claims={**TOKEN.claims, "aud": "other"}), 403),
        (replace(TOKEN, claims={**TOKEN.claims, "aud": "other"}, valid=False), 403),
        (replace(TOKEN, claims={"iss": TOKEN.claims["iss"]}, valid=False, timely=False), 401),
        (replace(TOKEN, header="x-token", prefix="", valid=False), 0),
    ],
)
def test_tokens(token: Token | None, status: int) -> None:
    found = with_tokens(RequestAuthentication((ISSUER,)))
    assert evaluate(found, replace(incoming(), token=token)).outcome.status == status


def test_a_token_may_be_demanded_and_stand_elsewhere() -> None:
    rules = RequestAuthentication(
        (replace(ISSUER, from_headers=(JwtHeader("X-Token"),)),), "required", True
    )
    found = with_tokens(rules)
    assert evaluate(found, replace(incoming(), token=TOKEN)).outcome.status == 401
    elsewhere = replace(TOKEN, header="x-token", prefix="")
    assert result(evaluate(found, replace(incoming(), token=elsewhere))) == FORWARDED
    preflight = incoming(
        method="OPTIONS", headers=(("origin", "a"), ("access-control-request-method", "GET"))
    )
    assert result(evaluate(found, preflight)) == FORWARDED
    read_only = with_tokens(replace(rules, requirement="none"))
    invalid = replace(elsewhere, valid=False)
    assert result(evaluate(read_only, replace(incoming(), token=invalid))) == FORWARDED


def test_claims_reach_the_access_rules() -> None:
    place = "envoy.filters.http.jwt_authn/payload"
    conditions = (
        Condition("metadata", f"{place}/groups", (exactly("dev"),), "also"),
        Condition("metadata", f"{place}/scope", (exactly("b"),), "also"),
        Condition("metadata", f"{place}/iss", (exactly("https://issuer"),)),
    )
    rules = replace(ISSUER, space_delimited_claims=("scope",))
    found = with_tokens(RequestAuthentication((rules,)))
    found = with_access(found, Authorization(allow=(rule(*conditions),)))
    assert result(evaluate(found, replace(incoming(), token=TOKEN))) == FORWARDED
    assert result(evaluate(found, incoming())) == DENIED


# Outbound

CART = Target("outbound", "cart.shop.svc.cluster.local", 80)
CANARY = Target("outbound", "cart.shop.svc.cluster.local", 80, "canary")
VIRTUAL_HOST = key.http_route("80", "cart.shop.svc.cluster.local:80")


def outbound_sidecar(*rules: HttpRule, **fields: object) -> Policies:
    route = HttpRoute(("cart", "cart.shop.svc.cluster.local"), rules, **fields)  # type: ignore[arg-type]
    place = LocalityEndpoints((Endpoint("10.0.0.1", 8080),))
    return policies(
        {
            key.outbound_listener("0.0.0.0", 80): OutboundListener(  # noqa: S104
                detects=("http", "tls"),
                chains=(
                    OutboundChain(
                        ChainMatch(
                            transport_protocol="raw_buffer",
                            application_protocols=("http/1.1", "h2c"),
                        ),
                        route_table="80",
                    ),
                ),
                default=OutboundChain(to=(WeightedTarget(Target("named", "PassthroughCluster")),)),
            ),
            VIRTUAL_HOST: route,
            key.egress("80"): Egress(
                "REGISTRY_ONLY", rules=(HttpRule(RouteMatch(), respond=Respond(502)),)
            ),
            key.destination(CART.host, 80): Destination("eds"),
            key.endpoints(CART.host, 80): Endpoints((place,)),
        }
    )


def sent(path: str = "/", **fields: object) -> Call:
    target, query = split_target(path)
    request = Request(
        authority="cart", path=target, query=query, destination_address="10.1.0.1", port=80
    )
    return Call("outbound", replace(request, **fields))  # type: ignore[arg-type]


def forward(*targets: Target, **fields: object) -> Forward:
    return Forward(tuple(WeightedTarget(target) for target in targets), **fields)  # type: ignore[arg-type]


def test_a_request_goes_from_listener_to_endpoints() -> None:
    found = outbound_sidecar(HttpRule(RouteMatch(), name="default", forward=forward(CART)))
    trace = evaluate(found, sent("/a?b=c"))
    assert stages(trace) == [
        "listener",
        "filter_chain",
        "virtual_host",
        "route",
        "destination",
        "endpoints",
    ]
    assert trace.steps[2].policy == VIRTUAL_HOST
    assert trace.steps[3].rule == "0"
    assert trace.outcome.target == "/a?b=c"
    assert trace.outcome.timeout_ms == 15_000


def test_unknown_hosts_are_for_the_egress_policy() -> None:
    found = outbound_sidecar(HttpRule(RouteMatch(), forward=forward(CART)))
    trace = evaluate(found, sent(authority="elsewhere"))
    assert result(trace) == ("answered", "", 502)
    assert trace.steps[-1].policy == key.egress("80")
    del found[key.egress("80")]  # type: ignore[attr-defined]
    assert result(evaluate(found, sent(authority="elsewhere"))) == (
        "answered",
        "no_virtual_host",
        404,
    )
    del found[VIRTUAL_HOST]  # type: ignore[attr-defined]
    assert result(evaluate(found, sent())) == ("answered", "no_virtual_host", 404)


def test_bytes_go_to_the_default_chain() -> None:
    found = outbound_sidecar()
    for call in (replace(sent(), protocol="tcp"), sent(transport="tls", server_name="x")):
        trace = evaluate(found, call)
        assert [share.target.host for share in trace.outcome.destinations] == ["PassthroughCluster"]


def test_no_rule_no_listener_only_https() -> None:
    get = RouteMatch(headers=(HeaderMatch(":method", exactly("GET")),))
    found = outbound_sidecar(HttpRule(get, forward=forward(CART)))
    assert result(evaluate(found, sent(method="PUT"))) == ("answered", "no_route", 404)
    assert result(evaluate(found, sent(port=81))) == ("closed", "no_listener", 0)
    found = outbound_sidecar(HttpRule(get, forward=forward(CART)), require_tls="all")
    assert evaluate(found, sent("/a")).outcome.location == "https://cart/a"


def test_destinations_share_the_requests_and_one_may_be_missing() -> None:
    half = HttpRule(RouteMatch(), forward=forward(CART, CANARY))
    trace = evaluate(outbound_sidecar(half), sent())
    assert {share.target: share.share for share in trace.outcome.destinations} == {
        CART: 0.5,
        CANARY: 0.5,
    }
    assert any("does not exist" in step.says for step in trace.steps)
    none = HttpRule(RouteMatch(), forward=forward(CANARY))
    assert result(evaluate(outbound_sidecar(none), sent())) == ("answered", "no_cluster", 503)


def test_faults_retries_and_mirrors_are_said() -> None:
    doing = HttpRule(
        RouteMatch(),
        forward=forward(CART, retry=Retry(("5xx",), 3), mirrors=(Mirror(CANARY),)),
        fault=Fault(100, Fraction(1_000_000), 503, None, Fraction(100_000)),
    )
    trace = evaluate(outbound_sidecar(doing), sent())
    said = {step.stage: step.says for step in trace.steps}
    assert said["fault"] == "0.1 of the requests are answered with 503"
    assert said["retry"] == "repeated up to 3 times on 5xx"
    assert said["mirror"].startswith("1 of the requests are copied")
    always = replace(doing, fault=Fault(abort_grpc_status=14, abort_fraction=Fraction(1_000_000)))
    outcome = evaluate(outbound_sidecar(always), sent()).outcome
    assert (outcome.reason, outcome.grpc_status) == ("fault", 14)


PREFLIGHT = (("origin", "https://a"), ("access-control-request-method", "PUT"))
ALLOWS = Cors((exactly("https://a"),))


@pytest.mark.parametrize(
    ("cors", "headers", "method", "answered"),
    [
        (ALLOWS, PREFLIGHT, "OPTIONS", True),
        (ALLOWS, PREFLIGHT, "GET", False),
        (ALLOWS, PREFLIGHT[:1], "OPTIONS", False),
        (ALLOWS, PREFLIGHT[1:], "OPTIONS", False),
        (Cors((exactly("https://b"),)), PREFLIGHT, "OPTIONS", False),
        (Cors((exactly("*"),)), PREFLIGHT, "OPTIONS", True),
        (
            Cors((exactly("https://b"),), forward_unmatched_preflights=False),
            PREFLIGHT,
            "OPTIONS",
            True,
        ),
        (replace(ALLOWS, enabled=Fraction(0)), PREFLIGHT, "OPTIONS", False),
        (None, PREFLIGHT, "OPTIONS", False),
    ],
)
def test_preflight_requests_are_answered(
    cors: Cors | None, headers: tuple[tuple[str, str], ...], method: str, answered: bool
) -> None:
    allowing = HttpRule(RouteMatch(), forward=forward(CART), cors=cors)
    outcome = evaluate(outbound_sidecar(allowing), sent(method=method, headers=headers)).outcome
    assert (outcome.reason == "preflight") == answered
    assert outcome.status == (200 if answered else 0)


def test_an_origin_whose_pattern_is_not_modelled_is_undecided() -> None:
    cors = Cors((StringMatch("regex", r"\bx"),))
    allowing = HttpRule(RouteMatch(), forward=forward(CART), cors=cors)
    trace = evaluate(outbound_sidecar(allowing), sent(method="OPTIONS", headers=PREFLIGHT))
    assert (trace.outcome.result, stages(trace)[-1]) == ("undecided", "cors")


@pytest.mark.parametrize(
    ("match", "rewrite", "authority", "target"),
    [
        (PathMatch("prefix", "/a"), Rewrite(prefix="/x"), "cart", "/x/b?q=1"),
        (PathMatch("exact", "/a/b"), Rewrite(prefix="/x"), "cart", "/x?q=1"),
        (
            PathMatch("regex", "/.*"),
            Rewrite(regex="/(.)/b", substitution=r"/b/\1"),
            "cart",
            "/b/a?q=1",
        ),
        (PathMatch("prefix", "/"), Rewrite(host="other"), "other", "/a/b?q=1"),
        (PathMatch("prefix", "/"), Rewrite(auto_host=True), "", "/a/b?q=1"),
    ],
)
def test_rewrites(match: PathMatch, rewrite: Rewrite, authority: str, target: str) -> None:
    found = outbound_sidecar(HttpRule(RouteMatch(match), forward=forward(CART, rewrite=rewrite)))
    outcome = evaluate(found, sent("/a/b?q=1")).outcome
    assert (outcome.destinations[0].authority, outcome.target) == (authority, target)


@pytest.mark.parametrize(
    ("redirect", "location"),
    [
        (Redirect(), "http://cart/a/b?q=1"),
        (Redirect(https=True), "https://cart/a/b?q=1"),
        (Redirect(scheme="ftp", host="h", port=21, path="/p"), "ftp://h:21/p?q=1"),
        (Redirect(prefix="/x", strip_query=True), "http://cart/x/b"),
        (Redirect(path="/p?z=1"), "http://cart/p?z=1"),
        (Redirect(regex="/a", substitution="/c"), "http://cart/c/b?q=1"),
    ],
)
def test_redirects(redirect: Redirect, location: str) -> None:
    match = RouteMatch(PathMatch("prefix", "/a"))
    found = outbound_sidecar(HttpRule(match, redirect=redirect))
    outcome = evaluate(found, sent("/a/b?q=1")).outcome
    assert (outcome.status, outcome.location) == (301, location)


@pytest.mark.parametrize(
    "doubtful",
    [
        HttpRule(RouteMatch(fraction=Fraction(500_000)), forward=forward(CART)),
        HttpRule(RouteMatch(PathMatch("regex", r"/\b.*")), forward=forward(CART)),
        HttpRule(RouteMatch()),
        HttpRule(RouteMatch(), forward=forward(CART, rewrite=Rewrite(regex=r"\b"))),
    ],
)
def test_routes_that_cannot_be_decided(doubtful: HttpRule) -> None:
    trace = evaluate(outbound_sidecar(doubtful), sent())
    assert trace.outcome.result == "undecided"
    assert trace.outcome.detail


def test_the_most_specific_chain_takes_a_connection() -> None:
    def chain(name: str, **fields: object) -> OutboundChain:
        return OutboundChain(ChainMatch(**fields), to=(WeightedTarget(Target("named", name)),))  # type: ignore[arg-type]

    listener = OutboundListener(
        detects=("tls",),
        chains=(
            chain("any"),
            chain("wide", prefix_ranges=("10.0.0.0/8",)),
            chain("narrow", prefix_ranges=("10.1.0.0/16",)),
            chain("sni", prefix_ranges=("10.1.0.0/16",), server_names=("*.b",)),
            chain("port", destination_port=81),
        ),
    )
    found = policies(
        {
            key.outbound_listener("10.9.9.9", 80): OutboundListener(),
            key.outbound_listener("0.0.0.0", 15001): listener,  # noqa: S104
        }
    )

    def taken(address: str, **fields: object) -> str:
        outcome = evaluate(found, sent(destination_address=address, **fields)).outcome
        return outcome.destinations[0].target.host if outcome.destinations else outcome.reason

    assert taken("11.0.0.1") == "any"
    assert taken("10.2.0.1") == "wide"
    assert taken("10.1.0.1") == "narrow"
    assert taken("10.1.0.1", transport="tls", server_name="a.b") == "sni"
    assert taken("10.1.0.1", port=81) == "port"
    assert taken("10.9.9.9") == "no_filter_chain"


# Parts


def test_hosts_with_ports() -> None:
    assert without_port("a:80") == "a"
    assert without_port("[::1]:80") == "[::1]"
    assert without_port("a") == "a"
    assert split_target("/a?b=c&d#e") == ("/a", (("b", "c"), ("d", "")))


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/a/../b", "/b"),
        ("/a/%2e%2E/b", "/b"),
        ("/a/.", "/a/"),
        ("/..", "/"),
        ("/a\\b", "/a/b"),
        ("/%41%7E%2d%25%zz^", "/A~-%25%zz%5E"),
        ("//..", "/"),
        ("/a/..;x/b/.;", "/b/"),
        ("/a/%2e;", "/a/.;"),
        ("/.;\\a", "/"),
        ("/b\\..;x/c", "/b/..;x/c"),
        ("/a%41", "/aA"),
        ("/%4%41", "/%254A"),
        ("/%%34x", "/%4x"),
        ("/%%341", "/%2541"),
        ("/a;..", "/a;.."),
        ("/a//b", "/a//b"),
        ("*", "*"),
    ],
)
def test_dot_segments(path: str, expected: str) -> None:
    found = normalized(Request(path=path), HttpConnection(normalize_path=True))
    assert found is not None
    assert found.path == expected


def test_slashes() -> None:
    assert normalized(Request(path="/%00"), HttpConnection(normalize_path=True)) is None
    assert normalized(Request(path="//"), HttpConnection(merge_slashes=True)) == Request(path="//")
    merging = HttpConnection(normalize_path=True, merge_slashes=True, escaped_slashes="forward")
    found = normalized(Request(authority="a:80", path="/a%2F%2fb%5cc//"), merging)
    assert found == Request(authority="a:80", path="/a/b/c/")
    stripped = normalized(Request(authority="a:80"), HttpConnection(strip_host_port="any"))
    assert stripped == Request(authority="a")
