"""A request end to end: what reaches the other side, and where two accounts part."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from meshscope.algebra.request import Request
from meshscope.evaluation import Call
from meshscope.evaluation.connection import Peer
from meshscope.evaluation.headers import SentHeaders, mutated
from meshscope.evaluation.journey import Arrival, Journey, journey
from meshscope.evaluation.parting import partings
from meshscope.evaluation.trace import Outcome
from meshscope.evaluation.words import REASONS, outcome_words
from meshscope.policy import key
from meshscope.policy.authorization import Authorization, Condition, Rule
from meshscope.policy.destination import ClientTls, Destination, LoadBalancing
from meshscope.policy.endpoints import Endpoint, Endpoints, LocalityEndpoints
from meshscope.policy.filter_order import FilterOrder
from meshscope.policy.headers import HeaderMutation, HeaderValue
from meshscope.policy.http_route import Forward, HttpRoute, HttpRule, Rewrite, RouteMatch
from meshscope.policy.inbound import Inbound, InboundRoutes
from meshscope.policy.key import PolicyKey
from meshscope.policy.matches import PathMatch, StringMatch
from meshscope.policy.outbound_listener import OutboundChain, OutboundListener
from meshscope.policy.peer_authentication import AcceptedChain, PeerAuthentication, ServerTls
from meshscope.policy.policy import Content, Policy
from meshscope.policy.target import Target, WeightedTarget

Policies = Mapping[PolicyKey, Policy]

CART = Target("outbound", "cart", 80)
EVERY_ADDRESS = "0.0.0.0"  # noqa: S104 (the name of a listener)
ALICE = "spiffe://cluster.local/ns/shop/sa/alice"
CART_IDENTITY = "spiffe://cluster.local/ns/shop/sa/cart"
TLS = ClientTls(
    alpn=("istio-peer-exchange", "istio"), trusted="ROOTCA", certificate="default", sni="cart"
)
MESH = Destination("eds", tls_mode="auto", tls=TLS)
IN_MESH = Endpoint("10.0.0.2", 8080, tls_mode="istio")
SERVER = ServerTls(certificate="default", trusted="ROOTCA")


def policies(contents: Mapping[PolicyKey, Content]) -> dict[PolicyKey, Policy]:
    return {place: Policy(place, content) for place, content in contents.items()}


def sending(
    rule: HttpRule | None = None,
    destination: Destination = MESH,
    endpoints: tuple[Endpoint, ...] = (IN_MESH,),
    filters: tuple[str, ...] = ("alpn", "router"),
) -> dict[PolicyKey, Policy]:
    rule = rule or HttpRule(RouteMatch(), forward=Forward((WeightedTarget(CART),)))
    localities = (LocalityEndpoints(endpoints),)
    return policies(
        {
            key.outbound_listener(EVERY_ADDRESS, 80): OutboundListener(
                chains=(OutboundChain(route_table="80"),)
            ),
            key.http_route("80", "cart:80"): HttpRoute(("cart",), (rule,)),
            key.destination("cart", 80): destination,
            key.endpoints("cart", 80): Endpoints(localities),
            key.filter_order("outbound", "-", "http"): FilterOrder(filters),
        }
    )


def serving(*allow: Rule) -> dict[PolicyKey, Policy]:
    own = HttpRule(RouteMatch(), forward=Forward((WeightedTarget(Target("inbound", "", 8080)),)))
    chains = (
        AcceptedChain("tls", ("istio-http/1.1",), "http", SERVER),
        AcceptedChain("raw_buffer", (), "http"),
    )
    return policies(
        {
            key.inbound(8080): Inbound(
                "http",
                routes=(InboundRoutes("mtls", (own,)), InboundRoutes("plaintext", (own,))),
                detects=("http", "tls"),
            ),
            key.peer_authentication(8080): PeerAuthentication(chains),
            key.authorization(8080, "mtls", "http"): Authorization(allow=allow or None),
        }
    )


def alice(held: Policies) -> Peer:
    return Peer("alice-1.shop", held, ALICE, "10.0.0.1")


def cart(held: Policies | None = None) -> Peer:
    return Peer("cart-1.shop", serving() if held is None else held, CART_IDENTITY, "10.0.0.2")


def call(**fields: object) -> Call:
    request = Request(authority="cart", destination_address="10.1.0.1", port=80)
    return Call("outbound", replace(request, **fields))  # type: ignore[arg-type]


def follow(held: Policies, at: Peer | None = None, **fields: object) -> Journey:
    return journey(alice(held), call(**fields), lambda _: at or cart())


def arrival(found: Journey) -> Arrival:
    (one,) = found.arrivals
    return one


def arriving(found: Journey) -> Request:
    one = arrival(found).call
    assert one is not None
    return one.request


# What reaches the other side


def test_mutual_tls_brings_the_identity_of_the_source() -> None:
    found = follow(sending())
    request = arriving(found)
    assert (request.transport, request.principal) == ("mtls", ALICE)
    assert (request.peer_address, request.destination_address, request.port) == (
        "10.0.0.1",
        "10.0.0.2",
        8080,
    )
    assert (request.server_name, request.application_protocol) == ("cart", "istio-http/1.1")
    assert arrival(found).outcome.result == "forwarded"
    assert [step.stage for step in arrival(found).way] == ["connection"]


@pytest.mark.parametrize(
    ("destination", "endpoint", "transport", "alpn"),
    [
        (MESH, IN_MESH, "mtls", "istio-http/1.1"),
        (MESH, replace(IN_MESH, tls_mode=""), "plaintext", ""),
        (replace(MESH, tls_mode="always"), replace(IN_MESH, tls_mode=""), "mtls", "istio-http/1.1"),
        (replace(MESH, tls_mode="never"), IN_MESH, "plaintext", ""),
        (replace(MESH, protocol="http2"), IN_MESH, "mtls", "istio-h2"),
        (replace(MESH, alpn_override=False), IN_MESH, "mtls", "istio-peer-exchange"),
        (replace(MESH, tls=replace(TLS, certificate="")), IN_MESH, "tls", "istio-http/1.1"),
    ],
)
def test_how_the_connection_is_made(
    destination: Destination, endpoint: Endpoint, transport: str, alpn: str
) -> None:
    request = arriving(follow(sending(destination=destination, endpoints=(endpoint,))))
    assert (request.transport, request.application_protocol) == (transport, alpn)


def test_without_the_filter_the_protocols_of_the_destination_are_offered() -> None:
    request = arriving(follow(sending(filters=("router",))))
    assert request.application_protocol == "istio-peer-exchange"


def test_a_rule_changes_what_arrives() -> None:
    changes = HeaderMutation((HeaderValue("x-added", "yes"),), ("x-gone",))
    rule = HttpRule(
        RouteMatch(PathMatch("prefix", "/old")),
        forward=Forward((WeightedTarget(CART),), rewrite=Rewrite(prefix="/new", host="other")),
        request_headers=changes,
    )
    found = follow(
        sending(rule), path="/old/x", query=(("a", "1"),), headers=(("x-gone", "1"), ("x-b", "2"))
    )
    request = arriving(found)
    assert (request.authority, request.target()) == ("other", "/new/x?a=1")
    assert dict(request.headers) == {"x-b": "2", "x-added": "yes"}


def test_a_header_that_only_the_proxy_knows_is_a_doubt() -> None:
    value = HeaderValue("x-peer", "%DOWNSTREAM_REMOTE_ADDRESS%")
    rule = HttpRule(
        RouteMatch(),
        forward=Forward((WeightedTarget(CART),)),
        request_headers=HeaderMutation((value,)),
    )
    found = arrival(follow(sending(rule), headers=(("x-peer", "mine"),)))
    assert found.call is not None
    assert found.call.request.headers == ()
    assert found.doubts == ("the value of the header x-peer as sent on",)


@pytest.mark.parametrize(
    ("headers", "mutation", "expected"),
    [
        ({"a": "1"}, HeaderMutation((HeaderValue("a", "2"),)), {"a": "1,2"}),
        ({"a": "1"}, HeaderMutation((HeaderValue("a", "2", "set"),)), {"a": "2"}),
        ({"a": "1"}, HeaderMutation((HeaderValue("a", "2", "add_if_absent"),)), {"a": "1"}),
        ({}, HeaderMutation((HeaderValue("a", "2", "overwrite_if_exists"),)), {}),
        ({}, HeaderMutation((HeaderValue("a", ""),)), {}),
        ({}, HeaderMutation((HeaderValue("a", "", keep_empty=True),)), {"a": ""}),
        ({}, HeaderMutation((HeaderValue("a", "5%%"),)), {"a": "5%"}),
        # Envoy removes before it adds.
        ({"a": "1"}, HeaderMutation((HeaderValue("a", "2"),), ("a",)), {"a": "2"}),
    ],
)
def test_changes_of_headers(
    headers: dict[str, str], mutation: HeaderMutation, expected: dict[str, str]
) -> None:
    assert mutated(tuple(headers.items()), (mutation,)) == SentHeaders(tuple(expected.items()))


# Where it ends


@pytest.mark.parametrize("endpoints", [(), (replace(IN_MESH, health="draining"),)])
def test_a_destination_without_healthy_endpoints(endpoints: tuple[Endpoint, ...]) -> None:
    found = arrival(follow(sending(endpoints=endpoints)))
    assert found.outcome == Outcome("answered", "no_endpoints", 503)


def test_only_endpoints_of_the_first_priority_are_used() -> None:
    held = sending()
    near = LocalityEndpoints((IN_MESH,), "near")
    far = LocalityEndpoints((replace(IN_MESH, address="10.9.0.9"),), "far", priority=1)
    place = key.endpoints("cart", 80)
    held[place] = Policy(place, Endpoints((near, far)))
    assert [one.endpoint for one in follow(held).arrivals] == ["10.0.0.2:8080"]


def test_endpoints_that_are_not_known_are_not_guessed() -> None:
    held = sending()
    del held[key.endpoints("cart", 80)]
    assert arrival(follow(held)).outcome.result == "undecided"


def test_a_share_that_does_not_exist_is_answered() -> None:
    lost = WeightedTarget(Target("outbound", "lost", 80), 1)
    rule = HttpRule(RouteMatch(), forward=Forward((WeightedTarget(CART, 3), lost)))
    found = {str(one.share.target): one for one in follow(sending(rule)).arrivals}
    assert found["cart:80"].share.share == 0.75
    assert found["lost:80"].outcome == Outcome("answered", "no_cluster", 503)


@pytest.mark.parametrize(
    ("peer", "destination", "result"),
    [
        (Peer("bare.shop", says="it has no sidecar", takes_all=True), MESH, "undecided"),
        (
            Peer("bare.shop", says="it has no sidecar", takes_all=True),
            replace(MESH, tls_mode="never"),
            "forwarded",
        ),
        (Peer(says="no Pod has this address"), MESH, "undecided"),
        (Peer(says="no Pod has this address"), replace(MESH, external=True), "forwarded"),
        (Peer("gateway.shop", says="it is a gateway"), MESH, "undecided"),
    ],
)
def test_places_without_a_known_sidecar(peer: Peer, destination: Destination, result: str) -> None:
    found = arrival(follow(sending(destination=destination), peer))
    assert found.outcome.result == result
    assert found.says


@pytest.mark.parametrize(
    ("identity", "reason", "doubts"),
    [
        (CART_IDENTITY, "", ()),
        (ALICE, "mtls_error", ()),
        ("", "", ("the identity of cart-1.shop",)),
    ],
)
def test_the_server_must_have_the_name_that_is_expected(
    identity: str, reason: str, doubts: tuple[str, ...]
) -> None:
    names = (StringMatch("exact", CART_IDENTITY),)
    held = sending(destination=replace(MESH, tls=replace(TLS, server_names=names)))
    found = arrival(follow(held, replace(cart(), identity=identity)))
    assert (found.outcome.reason, found.doubts) == (reason, doubts)


def test_certificates_of_others_leave_a_doubt() -> None:
    tls = replace(TLS, certificate="file:/c", trusted="file-root:/r")
    found = arrival(follow(sending(destination=replace(MESH, tls=tls))))
    assert len(found.doubts) == 2


def test_tls_of_the_application_passes_as_bytes() -> None:
    held = sending()
    place = key.outbound_listener(EVERY_ADDRESS, 80)
    chain = OutboundChain(to=(WeightedTarget(CART),))
    held[place] = Policy(place, OutboundListener(detects=("tls",), chains=(chain,)))
    wrapped = arrival(follow(held, transport="tls", server_name="cart"))
    assert wrapped.call is not None
    assert (wrapped.call.protocol, wrapped.call.request.application_protocol) == (
        "tcp",
        "istio-peer-exchange",
    )
    never = replace(MESH, tls_mode="never")
    held |= policies({key.destination("cart", 80): never})
    plain = arriving(follow(held, transport="tls", server_name="cart"))
    assert (plain.transport, plain.server_name, plain.principal) == ("tls", "cart", "")


@pytest.mark.parametrize(("dialled", "endpoint"), [("10.1.0.1", "10.1.0.1:8443"), ("", "")])
def test_some_destinations_are_whatever_was_dialled(dialled: str, endpoint: str) -> None:
    through = Destination("original_dst", load_balancing=LoadBalancing(override_port=8443))
    found = arrival(follow(sending(destination=through), destination_address=dialled))
    assert found.endpoint == endpoint
    assert (found.outcome.result == "undecided") == (dialled == "")


def test_behind_a_listener_that_is_dialled_itself_nothing_was_dialled() -> None:
    held = sending(destination=Destination("original_dst"))
    place = key.outbound_listener(EVERY_ADDRESS, 80)
    listener = OutboundListener(binds=True, chains=(OutboundChain(route_table="80"),))
    held[place] = Policy(place, listener)
    assert arrival(follow(held)).outcome == Outcome("answered", "no_endpoints", 503)


def test_without_policies_there_is_nothing_to_follow() -> None:
    with pytest.raises(ValueError, match=r"alice-1\.shop"):
        journey(replace(alice({}), policies=None), call(), lambda _: cart())


def test_policies_that_were_asked_for_are_told() -> None:
    found = follow(sending())
    assert key.http_connection("0.0.0.0_80") in found.consulted
    assert key.filter_order("outbound", "-", "http") in found.consulted
    assert key.authorization(8080, "mtls", "http") in arrival(found).consulted


# Where two accounts part


def of_method(method: str) -> Rule:
    condition = Condition("header", ":method", (StringMatch("exact", method),))
    return Rule("shop/cart", 0, operations=((condition,),))


def test_accounts_that_agree_part_nowhere() -> None:
    assert partings(follow(sending()), follow(sending())) == ()


def test_they_part_in_the_rules_of_the_destination() -> None:
    declared = follow(sending(), cart(serving(of_method("POST"))))
    held = follow(sending(), cart(serving(of_method("GET"))))
    (found,) = partings(declared, held)
    assert (found.proxy, found.side, found.endpoints) == (
        "cart-1.shop",
        "inbound",
        ("10.0.0.2:8080",),
    )
    assert found.declared is not None
    assert found.held is not None
    assert (found.declared.rule, found.held.rule) == ("", "shop/cart[0]")
    assert found.outcome == (
        "answered with 403: access is denied",
        "forwarded to own port 8080 within 15000 ms",
    )


def test_they_part_in_the_routes_of_the_source() -> None:
    gone = HttpRule(RouteMatch(PathMatch("prefix", "/x")))
    (found,) = partings(follow(sending()), follow(sending(gone)))
    assert (found.proxy, found.side) == ("alice-1.shop", "outbound")
    assert found.outcome[1] == "answered with 404: no rule takes the request"


def test_they_part_in_a_time_limit_alone() -> None:
    longer = HttpRule(RouteMatch(), forward=Forward((WeightedTarget(CART),), timeout_ms=1))
    (found,) = partings(follow(sending()), follow(sending(longer)))
    assert found.declared == found.held
    assert found.outcome[1] == "forwarded to cart:80 within 1 ms"


def test_they_part_in_the_connection() -> None:
    plain = sending(destination=replace(MESH, tls_mode="never"))
    (found,) = partings(follow(sending(), cart()), follow(plain, cart()))
    assert found.side == "outbound"
    # What the destination says of it is a consequence.
    changed = HttpRule(
        RouteMatch(),
        forward=Forward((WeightedTarget(CART),)),
        request_headers=HeaderMutation((HeaderValue("x", "1"),)),
    )
    (found,) = partings(follow(sending()), follow(sending(changed)))
    assert found.held is not None
    assert found.held.says == "sent on with headers x: 1"


def test_they_part_in_the_endpoints() -> None:
    other = replace(IN_MESH, address="10.0.0.3")
    declared, held = follow(sending()), follow(sending(endpoints=(other,)))
    gone, new = partings(declared, held)
    assert (gone.held, new.declared) == (None, None)
    assert new.outcome[0] == "it is no endpoint"


def test_several_endpoints_that_part_alike_stand_once() -> None:
    both = (IN_MESH, replace(IN_MESH, address="10.0.0.3"))
    declared = follow(sending(endpoints=both), cart(serving(of_method("POST"))))
    (found,) = partings(declared, follow(sending(endpoints=both)))
    assert found.endpoints == ("10.0.0.2:8080", "10.0.0.3:8080")


# Words


def test_every_reason_has_words() -> None:
    assert all(words or not reason for reason, words in REASONS.items())


@pytest.mark.parametrize(
    ("outcome", "words"),
    [
        (
            Outcome("answered", status=301, location="http://a/"),
            "answered with 301, sent to http://a/",
        ),
        (Outcome("answered", "fault", 200, 14), "answered with 200 (gRPC 14): a fault is injected"),
        (Outcome("closed", "no_listener"), "connection closed: nothing listens there"),
        (Outcome("undecided", detail="why"), "undecided: why"),
    ],
)
def test_outcomes_in_words(outcome: Outcome, words: str) -> None:
    assert outcome_words(outcome) == words
