"""Kind `inbound`: how a connection to the workload is taken."""

from dataclasses import dataclass, replace
from typing import Literal

from meshscope.policy.canonical import as_set, replace_fields
from meshscope.policy.destination import ConnectionPool, Service
from meshscope.policy.http_route import HttpRule

SELF_ADDRESS = "$self.address"
"""The workload's own address, so that replicas share their policies."""


@dataclass(frozen=True, slots=True)
class InboundRoutes:
    """The HTTP rules of the chains of one transport.

    Attributes:
        transport: See `meshscope.policy.key`.
        rules: In order.
        domains: Hosts that are served; Istio writes `*`.
    """

    transport: str
    rules: tuple[HttpRule, ...]
    domains: tuple[str, ...] = ("*",)


@dataclass(frozen=True, slots=True)
class Upstream:
    """Where the workload itself is reached.

    Attributes:
        kind: `original_dst`: the address that the caller dialled; `static`: the addresses given.
        addresses: `ip:port`, `unix://path`, with `$self.address` for the workload's own.
        source_address: Address from which the proxy connects (`127.0.0.6`), so that its own
            connections are told apart; empty: none.
        protocol: As in `Destination`.
        connection_pool: Limits.
    """

    kind: Literal["original_dst", "static"]
    addresses: tuple[str, ...] = ()
    source_address: str = ""
    protocol: Literal["http1", "http2", "auto", "downstream"] = "http1"
    connection_pool: ConnectionPool = ConnectionPool()

    def __post_init__(self) -> None:
        replace_fields(self, addresses=as_set(self.addresses))


@dataclass(frozen=True, slots=True)
class Inbound:
    """An inbound port of the workload.

    Attributes:
        protocol: `http`, `tcp`, or `auto` (both kinds of chain exist).
        bind: Address of the listener if the port has one of its own (`$self.address`); empty: the
            port is served by `virtualInbound`, to which connections are redirected.
        routes: HTTP rules per transport, a set; empty for `tcp`.
        forwards_to: Cluster of the TCP chains, by name (`inbound|9300||`,
            `InboundPassthroughCluster`); empty: there is no TCP chain.
        upstream: The cluster behind routes and TCP chains; None: that cluster does not exist.
        idle_timeout_ms: Of TCP connections; None: Envoy's default.
        detects: Listener filters that act on the port: `http`, `tls`, and `original_src`, which
            lets the workload see the address of its caller instead of the proxy's.
        detection_timeout_ms: How long sniffing waits; 0: for ever (Istio's default).
        continue_on_timeout: Whether the connection goes on after that.
        transparent: It takes connections to addresses that are not the proxy's (interception
            `TPROXY`).
        own_port_open: For `*` alone: connections to the port of `virtualInbound` itself are passed
            on. Istio refuses them, so that they do not go round in circles.
        services: Services that the port belongs to; changes no traffic.
    """

    protocol: Literal["http", "tcp", "auto"]
    bind: str = ""
    routes: tuple[InboundRoutes, ...] = ()
    forwards_to: str = ""
    upstream: Upstream | None = None
    idle_timeout_ms: int | None = None
    detects: tuple[str, ...] = ()
    detection_timeout_ms: int = 0
    continue_on_timeout: bool = True
    transparent: bool = False
    own_port_open: bool = False
    services: tuple[Service, ...] = ()

    def __post_init__(self) -> None:
        replace_fields(
            self,
            routes=as_set(self.routes),
            detects=as_set(self.detects),
            services=as_set(self.services),
        )

    def without_names(self) -> "Inbound":
        """The port without what only logs, traces and statistics show."""
        return replace(
            self,
            services=(),
            routes=tuple(
                replace(r, rules=tuple(rule.without_names() for rule in r.rules))
                for r in self.routes
            ),
        )
