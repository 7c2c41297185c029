"""What the readers of single resources find, before it is put together."""

from dataclasses import dataclass, field

from meshscope.inference.names import INBOUND_PASSTHROUGH, target
from meshscope.policy.authorization import Authorization
from meshscope.policy.destination import Service
from meshscope.policy.http_connection import HttpConnection
from meshscope.policy.http_route import HttpRule
from meshscope.policy.inbound import Upstream
from meshscope.policy.key import PolicyKey
from meshscope.policy.peer_authentication import AcceptedChain
from meshscope.policy.policy import Policy
from meshscope.policy.request_authentication import RequestAuthentication
from meshscope.policy.source import ResourceRef
from meshscope.policy.telemetry import AccessLog, Metrics, Tracing


@dataclass(slots=True)
class Filters:
    """What the filters of one chain do.

    Attributes:
        protocol: `http` or `tcp`.
        order: Roles of the filters, as in `FilterOrder`.
        authorization, tokens: Access rules, JWT rules.
        connection: Settings of the HTTP connection manager; None for TCP.
        rules, domains: Rules of an inline route configuration.
        route_table: Name of the route table that is fetched; empty: inline, or TCP.
        cluster: Cluster of a TCP chain with a single one.
        idle_timeout_ms: Of a TCP chain.
        access_logs, tracing, metrics: Telemetry.
        clusters: Clusters that the filters name.
    """

    protocol: str = "tcp"
    order: list[str] = field(default_factory=list)
    authorization: Authorization = Authorization()
    tokens: RequestAuthentication = RequestAuthentication()
    connection: HttpConnection | None = None
    rules: tuple[HttpRule, ...] = ()
    domains: tuple[str, ...] = ()
    route_table: str = ""
    cluster: str = ""
    idle_timeout_ms: int | None = None
    access_logs: tuple[AccessLog, ...] = ()
    tracing: Tracing | None = None
    metrics: tuple[Metrics, ...] = ()
    clusters: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class ChainTelemetry:
    """What one chain of a direction logs, traces and measures."""

    direction: str
    protocol: str
    access_logs: tuple[AccessLog, ...]
    tracing: Tracing | None
    metrics: tuple[Metrics, ...]


@dataclass(frozen=True, slots=True)
class InboundChain:
    """One filter chain of an inbound port.

    Attributes:
        port: Port or `*`.
        transport: `mtls`, `tls` or `plaintext`.
        accepts: Which connections it takes.
        filters: What it does with them.
        bind: Address of its listener where that has one of its own.
        detects: What is sniffed for this port.
        detection_timeout_ms, continue_on_timeout, transparent: See `Inbound`.
        sources: Resources that it came from.
    """

    port: str
    transport: str
    accepts: AcceptedChain
    filters: Filters
    bind: str
    detects: tuple[str, ...]
    detection_timeout_ms: int
    continue_on_timeout: bool
    transparent: bool
    sources: tuple[ResourceRef, ...]


@dataclass(frozen=True, slots=True)
class InboundCluster:
    """A cluster that leads to the workload itself."""

    upstream: Upstream
    services: tuple[Service, ...]
    sources: tuple[ResourceRef, ...]


@dataclass(slots=True)
class Evidence:
    """Everything that was found in a dump, resource by resource.

    Attributes:
        policies: Policies that one resource decides alone.
        chains: Inbound filter chains.
        own_port_open: Whether connections to the port of `virtualInbound` itself are passed on.
        inbound_clusters: By cluster name.
        orders: Filter order of outbound chains, as (protocol, roles).
        telemetry: Per chain.
        listener_clusters, listener_tables: Clusters and route tables that listeners name.
        table_clusters: Clusters that each route table names.
        table_policies: Keys of the policies of each route table.
        jwks: Digest of inline keys per issuer.
    """

    policies: list[Policy] = field(default_factory=list)
    chains: list[InboundChain] = field(default_factory=list)
    own_port_open: bool = False
    inbound_clusters: dict[str, InboundCluster] = field(default_factory=dict)
    orders: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)
    telemetry: list[ChainTelemetry] = field(default_factory=list)
    listener_clusters: set[str] = field(default_factory=set)
    listener_tables: set[str] = field(default_factory=set)
    table_clusters: dict[str, set[str]] = field(default_factory=dict)
    table_policies: dict[str, set[PolicyKey]] = field(default_factory=dict)
    jwks: dict[str, str] = field(default_factory=dict)

    def add(self, other: "Evidence") -> None:
        """Add what was found elsewhere, which stays as it is."""
        self.policies += other.policies
        self.chains += other.chains
        self.orders += other.orders
        self.telemetry += other.telemetry
        self.own_port_open |= other.own_port_open
        self.listener_clusters |= other.listener_clusters
        self.listener_tables |= other.listener_tables
        self.inbound_clusters |= other.inbound_clusters
        self.jwks |= other.jwks
        for table, clusters in other.table_clusters.items():
            self.table_clusters.setdefault(table, set()).update(clusters)
        for table, keys in other.table_policies.items():
            self.table_policies.setdefault(table, set()).update(keys)

    def chain_clusters(self) -> set[str]:
        """Clusters that lead from inbound chains to the workload itself."""
        return {
            name
            for chain in self.chains
            for name in chain.filters.clusters
            if leads_to_workload(name)
        }


def leads_to_workload(cluster: str) -> bool:
    """Whether a cluster is named as those are that lead to the workload itself."""
    return cluster == INBOUND_PASSTHROUGH or target(cluster).direction == "inbound"
