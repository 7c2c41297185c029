"""The aggregated discovery service, state of the world, as a pure state machine.

One `Stream` is what the server knows about one gRPC stream. Two events move it: a request of the
client (`on_request`) and a new `Snapshot` to serve (`on_snapshot`). Each returns the next stream
and the responses to write, in order. No I/O, no clock.

Rules (Envoy's documentation, "xDS REST and gRPC protocol"):

- A push goes out as CDS, EDS, LDS, RDS. EDS follows every CDS response, also when unchanged: a
  changed cluster warms until it is told its endpoints again.
- The first request of a type on a stream is a subscription and is answered, whatever version it
  names. A request with the latest nonce acknowledges (or, with an error, refuses) that response; if
  it also names other resources than before, it is a new subscription too and is answered. A request
  with an older nonce is ignored: the client has not seen the latest response yet.
- CDS and LDS are subscribed to without names and mean everything.
- An endpoint assignment that is left out of a response is *kept* by Envoy. One that is subscribed
  to but does not exist is therefore sent without endpoints.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum

from envoy.config.endpoint.v3.endpoint_pb2 import ClusterLoadAssignment

from meshscope.sandbox.protocol import XdsName
from meshscope.sandbox.recording import Resources


class XdsType(Enum):
    """The resource types served, in the order of a push."""

    CDS = "type.googleapis.com/envoy.config.cluster.v3.Cluster"
    EDS = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"
    LDS = "type.googleapis.com/envoy.config.listener.v3.Listener"
    RDS = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration"

    @property
    def short(self) -> XdsName:
        """`cds`, `eds`, `lds` or `rds`."""
        return _SHORT[self]

    @property
    def wildcard(self) -> bool:
        """Whether a subscription without names means every resource."""
        return self in (XdsType.CDS, XdsType.LDS)


_SHORT: dict[XdsType, XdsName] = {
    XdsType.CDS: "cds",
    XdsType.EDS: "eds",
    XdsType.LDS: "lds",
    XdsType.RDS: "rds",
}


@dataclass(frozen=True, slots=True)
class Resource:
    """A serialised resource under its name."""

    name: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a proxy is to be served, under one version."""

    version: str
    resources: Mapping[XdsType, tuple[Resource, ...]]
    withheld: frozenset[str] = frozenset()

    @classmethod
    def of(cls, version: str, resources: Resources) -> Snapshot:
        def serialised(messages: tuple[object, ...], name: str) -> tuple[Resource, ...]:
            return tuple(
                Resource(
                    getattr(message, name),
                    message.SerializeToString(deterministic=True),  # type: ignore[attr-defined]
                )
                for message in messages
            )

        return cls(
            version,
            {
                XdsType.CDS: serialised(resources.clusters, "name"),
                XdsType.EDS: serialised(resources.endpoints, "cluster_name"),
                XdsType.LDS: serialised(resources.listeners, "name"),
                XdsType.RDS: serialised(resources.routes, "name"),
            },
            resources.withheld,
        )

    def selected(self, kind: XdsType, names: frozenset[str]) -> tuple[Resource, ...]:
        """What a response to a subscription to `names` holds."""
        if kind.wildcard:
            return self.resources[kind]
        present = tuple(item for item in self.resources[kind] if item.name in names)
        if kind is not XdsType.EDS:
            return present
        absent = names - {item.name for item in present} - self.withheld
        return present + tuple(_without_endpoints(name) for name in sorted(absent))


@dataclass(frozen=True, slots=True)
class Request:
    """A discovery request. `error` is the client's reason for refusing the response, if it did."""

    type_url: str
    version: str = ""
    nonce: str = ""
    names: frozenset[str] = frozenset()
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Response:
    """A discovery response."""

    kind: XdsType
    version: str
    nonce: str
    resources: tuple[Resource, ...]


@dataclass(frozen=True, slots=True)
class Subscription:
    """What one stream knows about one resource type."""

    names: frozenset[str]
    accepted: str = ""
    """Version of the last response that the client accepted (before this stream, even)."""
    sent: str = ""
    """Version of the last response."""
    nonce: str = ""
    """Nonce of the last response; empty if there was none."""
    answered: bool = True
    """Whether the client has acknowledged or refused the last response."""
    error: str | None = None
    """Why the client refused the last response."""


@dataclass(frozen=True, slots=True)
class Stream:
    """One stream of one client."""

    subscriptions: Mapping[XdsType, Subscription] = field(default_factory=dict)
    responses: int = 0


def on_request(
    stream: Stream, request: Request, snapshot: Snapshot
) -> tuple[Stream, tuple[Response, ...]]:
    """The client sent a request. Types that are not served are left without an answer."""
    try:
        kind = XdsType(request.type_url)
    except ValueError:
        return stream, ()
    known = stream.subscriptions.get(kind)
    if known is None:
        subscription = Subscription(request.names, accepted=request.version)
        return _send(_with(stream, kind, subscription), (kind,), snapshot)
    if request.nonce != known.nonce:
        return stream, ()
    subscription = replace(
        known,
        names=request.names,
        accepted=known.sent if request.error is None else request.version,
        answered=True,
        error=request.error,
    )
    stream = _with(stream, kind, subscription)
    if request.names == known.names:
        return stream, ()
    return _send(stream, (kind,), snapshot)


def on_snapshot(stream: Stream, snapshot: Snapshot) -> tuple[Stream, tuple[Response, ...]]:
    """Something new is to be served: push it to every subscription."""
    return _send(stream, tuple(XdsType), snapshot)


def _send(
    stream: Stream, kinds: tuple[XdsType, ...], snapshot: Snapshot
) -> tuple[Stream, tuple[Response, ...]]:
    responses = []
    for kind in _with_endpoints(kinds):
        subscription = stream.subscriptions.get(kind)
        if subscription is None or not (kind.wildcard or subscription.names):
            continue
        response = Response(
            kind,
            snapshot.version,
            nonce=f"{stream.responses + 1}",
            resources=snapshot.selected(kind, subscription.names),
        )
        sent = replace(
            subscription, sent=response.version, nonce=response.nonce, answered=False, error=None
        )
        stream = replace(_with(stream, kind, sent), responses=stream.responses + 1)
        responses.append(response)
    return stream, tuple(responses)


def _with_endpoints(kinds: tuple[XdsType, ...]) -> Iterator[XdsType]:
    for kind in kinds:
        yield kind
        if kind is XdsType.CDS and XdsType.EDS not in kinds:
            yield XdsType.EDS


def _with(stream: Stream, kind: XdsType, subscription: Subscription) -> Stream:
    return replace(stream, subscriptions={**stream.subscriptions, kind: subscription})


def _without_endpoints(name: str) -> Resource:
    return Resource(name, ClusterLoadAssignment(cluster_name=name).SerializeToString())
