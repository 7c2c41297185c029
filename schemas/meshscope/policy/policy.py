"""A policy: key, content and sources."""

from dataclasses import dataclass, field
from typing import Protocol

import msgspec

from meshscope.policy.authorization import Authorization
from meshscope.policy.canonical import as_set, content_bytes, digest_bytes, replace_fields
from meshscope.policy.destination import Destination
from meshscope.policy.egress import Egress
from meshscope.policy.endpoints import Endpoints
from meshscope.policy.extension import Extension
from meshscope.policy.filter_order import FilterOrder
from meshscope.policy.http_connection import HttpConnection
from meshscope.policy.http_route import HttpRoute
from meshscope.policy.inbound import Inbound
from meshscope.policy.key import PolicyKey
from meshscope.policy.kinds import Kind
from meshscope.policy.outbound_listener import OutboundListener
from meshscope.policy.peer_authentication import PeerAuthentication
from meshscope.policy.request_authentication import RequestAuthentication
from meshscope.policy.source import ResourceRef
from meshscope.policy.telemetry import Telemetry


class Content(Protocol):
    """What a policy decides; see `CONTENT_TYPES`."""

    def without_names(self) -> "Content":
        """The same content with every name removed that does not change what happens to traffic."""
        ...


CONTENT_TYPES: dict[Kind, type[Content]] = {
    Kind.OUTBOUND_LISTENER: OutboundListener,
    Kind.HTTP_ROUTE: HttpRoute,
    Kind.DESTINATION: Destination,
    Kind.ENDPOINTS: Endpoints,
    Kind.INBOUND: Inbound,
    Kind.PEER_AUTHENTICATION: PeerAuthentication,
    Kind.REQUEST_AUTHENTICATION: RequestAuthentication,
    Kind.AUTHORIZATION: Authorization,
    Kind.HTTP_CONNECTION: HttpConnection,
    Kind.FILTER_ORDER: FilterOrder,
    Kind.EGRESS: Egress,
    Kind.TELEMETRY: Telemetry,
    Kind.EXTENSION: Extension,
}


@dataclass(frozen=True, slots=True)
class Policy:
    """One decision of one proxy.

    Attributes:
        key: Which decision.
        content: What is decided, an instance of `CONTENT_TYPES[key.kind]`.
        sources: Resources that it came from, as far as a proxy or a projection knows them. Not
            part of the digest.
        digest: Hash of IR version, kind and content; equal for policies that say the same.
    """

    key: PolicyKey
    content: Content
    sources: tuple[ResourceRef, ...] = ()
    digest: str = field(init=False)

    def __post_init__(self) -> None:
        if not isinstance(self.content, CONTENT_TYPES[self.key.kind]):
            raise TypeError(f"{type(self.content).__name__} is no content of {self.key.kind}")
        digest = digest_bytes(self.key.kind, content_bytes(self.content))
        replace_fields(self, sources=as_set(self.sources), digest=digest)


def content_from_bytes(kind: Kind, data: bytes) -> Content:
    """Read what `content_bytes` wrote.

    Raises:
        ValueError: The bytes hold no content of this kind (`msgspec.ValidationError` says where).
    """
    return msgspec.json.decode(data, type=CONTENT_TYPES[kind])
