"""Keys of policies."""

from dataclasses import dataclass

from meshscope.policy.kinds import KINDS, Kind

ANY_PORT = "*"
"""Inbound port of the chains that take every port without chains of its own."""

TRANSPORT_MTLS = "mtls"
TRANSPORT_TLS = "tls"
TRANSPORT_PLAINTEXT = "plaintext"
"""Transports of an inbound filter chain.

`mtls`: the proxy terminates TLS (and, in Istio, demands a client certificate); `tls`: TLS passes
through unopened; `plaintext`: no TLS. Outbound chains have the transport `-`.
"""
TRANSPORT_NONE = "-"

PROTOCOL_HTTP = "http"
PROTOCOL_TCP = "tcp"


@dataclass(frozen=True, slots=True, order=True)
class PolicyKey:
    """Names one decision of one proxy; the digest of a policy does not cover it.

    Attributes:
        kind: The kind of decision.
        parts: One string per `KINDS[kind].key_parts`, in that order.
    """

    kind: Kind
    parts: tuple[str, ...]

    def __post_init__(self) -> None:
        expected = KINDS[self.kind].key_parts
        if len(self.parts) != len(expected):
            raise ValueError(f"a key of {self.kind} has the parts {expected}, got {self.parts}")

    def __getitem__(self, name: str) -> str:
        """The part called `name`, such as `key["port"]`."""
        return self.parts[KINDS[self.kind].key_parts.index(name)]

    def __str__(self) -> str:
        return f"{self.kind}/{'/'.join(escape(part) for part in self.parts)}"

    @classmethod
    def parse(cls, text: str) -> "PolicyKey":
        """Read what `str(key)` wrote.

        Raises:
            ValueError: The text names no kind, or has another number of parts.
        """
        kind, _, rest = text.partition("/")
        return cls(Kind(kind), tuple(unescape(part) for part in rest.split("/")))


def escape(part: str) -> str:
    """Make a part safe to stand between slashes."""
    return part.replace("%", "%25").replace("/", "%2F")


def unescape(part: str) -> str:
    """Undo `escape`."""
    return part.replace("%2F", "/").replace("%25", "%")


def outbound_listener(address: str, port: int) -> PolicyKey:
    """Key of an outbound listener; `address` is the bind address (IP, or path of a socket)."""
    return PolicyKey(Kind.OUTBOUND_LISTENER, (address, str(port)))


def http_route(route_table: str, virtual_host: str) -> PolicyKey:
    """Key of a virtual host (`host:port`) of an outbound route table (RDS name)."""
    return PolicyKey(Kind.HTTP_ROUTE, (route_table, virtual_host))


def destination(host: str, port: int, subset: str = "") -> PolicyKey:
    """Key of the traffic policy toward a service's port and subset."""
    return PolicyKey(Kind.DESTINATION, (host, str(port), subset))


def endpoints(host: str, port: int, subset: str = "") -> PolicyKey:
    """Key of the addresses behind a service's port and subset."""
    return PolicyKey(Kind.ENDPOINTS, (host, str(port), subset))


def inbound(port: int | str) -> PolicyKey:
    """Key of an inbound port (a target port) or `ANY_PORT`."""
    return PolicyKey(Kind.INBOUND, (str(port),))


def peer_authentication(port: int | str) -> PolicyKey:
    """Key of the accepted transports of an inbound port or `ANY_PORT`."""
    return PolicyKey(Kind.PEER_AUTHENTICATION, (str(port),))


def request_authentication(port: int | str, transport: str) -> PolicyKey:
    """Key of the JWT rules on the chains of an inbound port with this transport."""
    return PolicyKey(Kind.REQUEST_AUTHENTICATION, (str(port), transport))


def authorization(port: int | str, transport: str, protocol: str) -> PolicyKey:
    """Key of the access rules on the chains of an inbound port, a transport and `http` or `tcp`."""
    return PolicyKey(Kind.AUTHORIZATION, (str(port), transport, protocol))


def http_connection(scope: int | str, transport: str = TRANSPORT_NONE) -> PolicyKey:
    """Key of the HTTP settings of an inbound port, or of an outbound listener (`ip_port`)."""
    return PolicyKey(Kind.HTTP_CONNECTION, (str(scope), transport))


def filter_order(scope: int | str, transport: str, protocol: str) -> PolicyKey:
    """Key of the filter order of an inbound port, or of `outbound`."""
    return PolicyKey(Kind.FILTER_ORDER, (str(scope), transport, protocol))


def egress(scope: str) -> PolicyKey:
    """Key of the treatment of unknown hosts, by route table, or `virtualOutbound`."""
    return PolicyKey(Kind.EGRESS, (scope,))


def telemetry(direction: str, protocol: str) -> PolicyKey:
    """Key of the telemetry of `inbound` or `outbound` chains that carry `http` or `tcp`."""
    return PolicyKey(Kind.TELEMETRY, (direction, protocol))


def extension(location: str, name: str) -> PolicyKey:
    """Key of an unmodelled part: where it stands (`http_route/8080/…`) and how it is called."""
    return PolicyKey(Kind.EXTENSION, (location, name))
