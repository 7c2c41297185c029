"""The discovery server's state machine, rule by rule."""

from __future__ import annotations

from dataclasses import replace

import pytest
from envoy.config.endpoint.v3.endpoint_pb2 import ClusterLoadAssignment

from meshscope.sandbox.ads import (
    Request,
    Resource,
    Response,
    Snapshot,
    Stream,
    XdsType,
    on_request,
    on_snapshot,
)

CDS, EDS, LDS, RDS = XdsType.CDS, XdsType.EDS, XdsType.LDS, XdsType.RDS


def snapshot(version: str, *clusters: str, withheld: frozenset[str] = frozenset()) -> Snapshot:
    return Snapshot(
        version,
        {
            CDS: tuple(Resource(name, b"cluster") for name in clusters),
            EDS: tuple(Resource(name, b"endpoints") for name in clusters if name not in withheld),
            LDS: (Resource("listener", b"listener"),),
            RDS: (Resource("8080", b"routes"), Resource("9191", b"routes")),
        },
        withheld,
    )


def subscribe(kind: XdsType, *names: str, version: str = "") -> Request:
    return Request(kind.value, version=version, names=frozenset(names))


def acknowledge(response: Response, *names: str) -> Request:
    return Request(
        response.kind.value,
        version=response.version,
        nonce=response.nonce,
        names=frozenset(names),
    )


def refuse(response: Response, reason: str, *names: str) -> Request:
    return replace(acknowledge(response, *names), version="before", error=reason)


def subscribed(at: Snapshot) -> Stream:
    """A stream on which every type was asked for, sent and acknowledged."""
    stream = Stream()
    for kind, names in ((CDS, ()), (EDS, ("a", "b")), (LDS, ()), (RDS, ("8080",))):
        stream, (response,) = on_request(stream, subscribe(kind, *names), at)
        stream, nothing = on_request(stream, acknowledge(response, *names), at)
        assert nothing == ()
    return stream


def test_a_first_request_is_answered_whatever_version_it_names() -> None:
    stream, (response,) = on_request(Stream(), subscribe(CDS, version="v1"), snapshot("v1", "a"))
    assert response == Response(CDS, "v1", response.nonce, (Resource("a", b"cluster"),))
    assert stream.subscriptions[CDS].accepted == "v1"


def test_an_acknowledgement_is_not_answered() -> None:
    stream = subscribed(snapshot("v1", "a", "b"))
    for kind in XdsType:
        assert stream.subscriptions[kind].accepted == "v1"
        assert stream.subscriptions[kind].answered


def test_a_refusal_keeps_the_accepted_version_and_the_reason() -> None:
    stream = subscribed(snapshot("v1", "a", "b"))
    stream, responses = on_snapshot(stream, snapshot("v2", "a", "b"))
    (listeners,) = (response for response in responses if response.kind is LDS)
    stream, nothing = on_request(stream, refuse(listeners, "no"), snapshot("v2", "a", "b"))
    assert nothing == ()
    known = stream.subscriptions[LDS]
    assert (known.accepted, known.sent, known.error, known.answered) == ("before", "v2", "no", True)


def test_a_new_response_clears_the_reason() -> None:
    stream = subscribed(snapshot("v1", "a", "b"))
    stream, responses = on_snapshot(stream, snapshot("v2", "a", "b"))
    stream, _ = on_request(stream, refuse(responses[0], "no"), snapshot("v2", "a", "b"))
    stream, _ = on_snapshot(stream, snapshot("v3", "a", "b"))
    assert stream.subscriptions[CDS].error is None
    assert not stream.subscriptions[CDS].answered


def test_a_stale_nonce_is_ignored() -> None:
    stream = subscribed(snapshot("v1", "a", "b"))
    before, responses = on_snapshot(stream, snapshot("v2", "a", "b", "c"))
    old = replace(acknowledge(responses[1], "a", "b", "c"), nonce="1")
    assert on_request(before, old, snapshot("v2", "a", "b", "c")) == (before, ())


def test_other_names_with_the_latest_nonce_are_a_new_subscription() -> None:
    at = snapshot("v2", "a", "b", "c")
    stream, responses = on_snapshot(subscribed(snapshot("v1", "a", "b")), at)
    (endpoints,) = (response for response in responses if response.kind is EDS)
    stream, (again,) = on_request(stream, acknowledge(endpoints, "a", "b", "c"), at)
    assert {resource.name for resource in again.resources} == {"a", "b", "c"}
    assert stream.subscriptions[EDS].accepted == "v2"
    assert not stream.subscriptions[EDS].answered


def test_a_push_goes_out_in_order_and_sends_endpoints_after_clusters() -> None:
    at = snapshot("v1", "a", "b")
    _, responses = on_snapshot(subscribed(at), at)
    assert [response.kind for response in responses] == [CDS, EDS, LDS, RDS]


def test_clusters_sent_in_answer_to_a_request_are_followed_by_endpoints() -> None:
    at = snapshot("v1", "a", "b")
    stream = subscribed(at)
    resubscription = Request(
        CDS.value, version="v1", nonce=stream.subscriptions[CDS].nonce, names=frozenset({"*"})
    )
    _, responses = on_request(stream, resubscription, at)
    assert [response.kind for response in responses] == [CDS, EDS]


def test_only_what_was_asked_for_is_pushed() -> None:
    at = snapshot("v1", "a")
    stream, _ = on_request(Stream(), subscribe(CDS), at)
    _, responses = on_snapshot(stream, at)
    assert [response.kind for response in responses] == [CDS]


def test_routes_hold_the_names_asked_for() -> None:
    _, (response,) = on_request(Stream(), subscribe(RDS, "8080", "none"), snapshot("v1"))
    assert [resource.name for resource in response.resources] == ["8080"]


def test_endpoints_that_do_not_exist_are_sent_empty() -> None:
    _, (response,) = on_request(Stream(), subscribe(EDS, "a", "gone"), snapshot("v1", "a"))
    assert [resource.name for resource in response.resources] == ["a", "gone"]
    gone = ClusterLoadAssignment.FromString(response.resources[1].body)
    assert gone == ClusterLoadAssignment(cluster_name="gone")


def test_withheld_endpoints_are_not_sent_at_all() -> None:
    at = snapshot("v1", "a", "warming", withheld=frozenset({"warming"}))
    _, (response,) = on_request(Stream(), subscribe(EDS, "a", "warming"), at)
    assert [resource.name for resource in response.resources] == ["a"]


@pytest.mark.parametrize("kind", [EDS, RDS])
def test_a_subscription_to_nothing_gets_nothing(kind: XdsType) -> None:
    stream, responses = on_request(Stream(), subscribe(kind), snapshot("v1", "a"))
    assert responses == ()
    _, pushed = on_snapshot(stream, snapshot("v2", "a"))
    assert pushed == ()


def test_a_type_that_is_not_served_gets_no_answer() -> None:
    unknown = Request("type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig")
    assert on_request(Stream(), unknown, snapshot("v1")) == (Stream(), ())
