"""Kind `outbound_listener`: where a connection that the application opens goes."""

from dataclasses import dataclass
from typing import Literal

from meshscope.policy.canonical import as_set, replace_fields
from meshscope.policy.target import HashPolicy, WeightedTarget, weighted


@dataclass(frozen=True, slots=True)
class ChainMatch:
    """Which connections a filter chain takes (Envoy `FilterChainMatch`).

    Envoy takes the most specific chain, so neither the order of chains nor that of the values has
    a meaning. Empty tuples, 0 and "" match everything.

    Attributes:
        destination_port: Original destination port.
        prefix_ranges: Destination networks, `10.0.0.0/24`.
        server_names: SNI, exact or with a leading `*.`.
        transport_protocol: `tls` or `raw_buffer`.
        application_protocols: ALPN values.
        source_ranges, source_ports, source_type: Of the peer; Istio sets none of them.
    """

    destination_port: int = 0
    prefix_ranges: tuple[str, ...] = ()
    server_names: tuple[str, ...] = ()
    transport_protocol: str = ""
    application_protocols: tuple[str, ...] = ()
    source_ranges: tuple[str, ...] = ()
    source_ports: tuple[int, ...] = ()
    source_type: str = ""

    def __post_init__(self) -> None:
        replace_fields(
            self,
            prefix_ranges=as_set(self.prefix_ranges),
            server_names=as_set(name.lower() for name in self.server_names),
            application_protocols=as_set(self.application_protocols),
            source_ranges=as_set(self.source_ranges),
            source_ports=tuple(sorted(set(self.source_ports))),
        )


@dataclass(frozen=True, slots=True)
class OutboundChain:
    """One filter chain: an HTTP route table, or TCP destinations.

    Attributes:
        match: Which connections.
        route_table: RDS name for HTTP; empty: TCP.
        to: TCP destinations with weights; empty for HTTP.
        idle_timeout_ms: Of TCP connections; None: Envoy's default of one hour.
        max_duration_ms: Of TCP connections, however busy they are (DestinationRule
            `maxConnectionDuration`); None: no limit.
        max_connect_attempts: Tries to connect to a TCP destination.
        hash: What consistent hashing of TCP connections hashes.
        tunnel: Host and port of a CONNECT tunnel (`host:port`, `POST host:port`); empty: none.
        connect_timeout_ms: Limit for the handshake of the connection that was accepted; 0: none.
        statistics_of: Protocol that is decoded on the way to count its operations (`mongo`,
            `mysql`); empty: none.
        grpc_web: Requests in gRPC-Web are translated to gRPC on the way.
    """

    match: ChainMatch = ChainMatch()
    route_table: str = ""
    to: tuple[WeightedTarget, ...] = ()
    idle_timeout_ms: int | None = None
    max_duration_ms: int | None = None
    max_connect_attempts: int = 1
    hash: tuple[HashPolicy, ...] = ()
    tunnel: str = ""
    connect_timeout_ms: int = 0
    statistics_of: str = ""
    grpc_web: bool = False

    def __post_init__(self) -> None:
        replace_fields(self, to=weighted(self.to))


@dataclass(frozen=True, slots=True)
class OutboundListener:
    """An outbound listener.

    Attributes:
        binds: True: it opens its port itself; False: it gets connections that were redirected.
        detects: What is sniffed before a chain is chosen: `http`, `tls`, `original_dst`,
            `original_src`, `proxy_protocol`.
        detection_timeout_ms: How long sniffing waits; 0: for ever.
        continue_on_timeout: Whether the connection goes on after that.
        use_original_dst: Connections are handed to the listener of their original destination.
        transparent: It takes connections to addresses that are not the proxy's (interception
            `TPROXY`).
        chains: A set; see `ChainMatch`.
        default: Chain for connections that no other takes; None: they are closed.
    """

    binds: bool = False
    detects: tuple[
        Literal["http", "tls", "original_dst", "original_src", "proxy_protocol"], ...
    ] = ()
    detection_timeout_ms: int = 15_000
    continue_on_timeout: bool = False
    use_original_dst: bool = False
    transparent: bool = False
    chains: tuple[OutboundChain, ...] = ()
    default: OutboundChain | None = None

    def __post_init__(self) -> None:
        replace_fields(self, detects=as_set(self.detects), chains=as_set(self.chains))

    def without_names(self) -> "OutboundListener":
        """Itself: nothing in it is only a name."""
        return self
