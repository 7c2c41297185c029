"""The closed table of policy kinds."""

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What sort of decision a policy is about."""

    OUTBOUND_LISTENER = "outbound_listener"
    HTTP_ROUTE = "http_route"
    DESTINATION = "destination"
    ENDPOINTS = "endpoints"
    INBOUND = "inbound"
    PEER_AUTHENTICATION = "peer_authentication"
    REQUEST_AUTHENTICATION = "request_authentication"
    AUTHORIZATION = "authorization"
    HTTP_CONNECTION = "http_connection"
    FILTER_ORDER = "filter_order"
    EGRESS = "egress"
    TELEMETRY = "telemetry"
    EXTENSION = "extension"


@dataclass(frozen=True, slots=True)
class KindSpec:
    """How policies of one kind are named and published.

    Attributes:
        key_parts: Names of the parts of its keys, in order.
        says: What the content of the kind decides, in one sentence.
        shards: Over how many shards a snapshot spreads the keys of this kind, so that one changed
            policy does not make an agent publish the digests of all.
    """

    key_parts: tuple[str, ...]
    says: str
    shards: int = 1


KINDS: dict[Kind, KindSpec] = {
    Kind.OUTBOUND_LISTENER: KindSpec(
        ("address", "port"),
        "Where a connection that the application opens goes: detection of the protocol, "
        "filter chains, route table or destinations.",
        4,
    ),
    Kind.HTTP_ROUTE: KindSpec(
        ("route_table", "virtual_host"),
        "What happens to a request for a host: ordered rules with match and action.",
        16,
    ),
    Kind.DESTINATION: KindSpec(
        ("host", "port", "subset"),
        "How connections to a service are made: load balancing, limits, outlier detection, TLS.",
        16,
    ),
    Kind.ENDPOINTS: KindSpec(
        ("host", "port", "subset"),
        "Which addresses serve a destination, with weight, locality and priority.",
        16,
    ),
    Kind.INBOUND: KindSpec(
        ("port",),
        "How a connection to the workload is taken: protocol, routes, forwarding target, limits.",
    ),
    Kind.PEER_AUTHENTICATION: KindSpec(
        ("port",),
        "Which connections are accepted: mutual TLS, plaintext, and which trust domains.",
    ),
    Kind.REQUEST_AUTHENTICATION: KindSpec(
        ("port", "transport"),
        "Which JSON Web Tokens are validated and what becomes of their claims.",
    ),
    Kind.AUTHORIZATION: KindSpec(
        ("port", "transport", "protocol"),
        "Who may do what: CUSTOM, AUDIT, DENY and ALLOW rules, enforced or in dry run.",
    ),
    Kind.HTTP_CONNECTION: KindSpec(
        ("scope", "transport"),
        "How HTTP is parsed and passed on: path normalisation, forwarded headers, upgrades.",
    ),
    Kind.FILTER_ORDER: KindSpec(
        ("scope", "transport", "protocol"),
        "In which order the filters that decide run.",
    ),
    Kind.EGRESS: KindSpec(
        ("scope",),
        "What happens to traffic for hosts that the mesh does not know.",
    ),
    Kind.TELEMETRY: KindSpec(
        ("direction", "protocol"),
        "What is logged, traced and measured.",
    ),
    Kind.EXTENSION: KindSpec(
        ("location", "name"),
        "What the vocabulary does not model, as an opaque digest.",
    ),
}
