"""Outbound listeners."""

from typing import Final, Literal

from meshscope.inference.chains import (
    STATISTICS_FILTERS,
    ReadChain,
    chain_match,
    chain_protocol,
    read_chain,
    refuses_own_port,
    refusing,
)
from meshscope.inference.evidence import ChainTelemetry, Evidence
from meshscope.inference.http_filters import GRPC_WEB
from meshscope.inference.listener_filters import listener_filters
from meshscope.inference.names import BLACKHOLE, PASSTHROUGH
from meshscope.inference.places import outbound_places
from meshscope.inference.reader import Message
from meshscope.inference.routes import source
from meshscope.inference.telemetry import TracingReader, access_logs
from meshscope.policy import key
from meshscope.policy.egress import Egress
from meshscope.policy.outbound_listener import ChainMatch, OutboundChain, OutboundListener
from meshscope.policy.policy import Policy
from meshscope.policy.source import ResourceRef
from meshscope.policy.target import Target, WeightedTarget
from meshscope.policy.telemetry import AccessLog

VIRTUAL_OUTBOUND: Final = "virtualOutbound"
OUTBOUND: Final = "outbound"

_DETECTION_TIMEOUT_MS: Final = 15_000


class OutboundReader:
    """Reads one outbound listener.

    Args:
        evidence: What is found is added here.
        tracing: Reader of tracing.
        address, port: What the listener binds to, own addresses as `$self.address`.
    """

    def __init__(self, evidence: Evidence, tracing: TracingReader, address: str, port: int) -> None:
        self._evidence = evidence
        self._tracing = tracing
        self._address = address
        self._port = port
        self._sources: set[ResourceRef] = set()
        self._logs: tuple[AccessLog, ...] = ()

    def read(self, listener: Message) -> None:
        """Read the listener; what it decides is added to the evidence."""
        policy_key = key.outbound_listener(self._address, self._port)
        listener.place = str(policy_key)
        self._logs = access_logs(
            listener, str(key.telemetry(OUTBOUND, key.PROTOCOL_TCP)), "listener"
        )
        detects = listener_filters(listener)
        timeout = listener.milliseconds("listener_filters_timeout")
        default = listener.message("default_filter_chain", "FilterChain")
        content = OutboundListener(
            binds=listener.boolean("bind_to_port", True),
            detects=detects,
            detection_timeout_ms=_DETECTION_TIMEOUT_MS if timeout is None else timeout,
            continue_on_timeout=listener.boolean("continue_on_listener_filters_timeout"),
            use_original_dst=listener.boolean("use_original_dst"),
            transparent=listener.boolean("transparent"),
            chains=tuple(
                self._chain(item) for item in listener.messages("filter_chains", "FilterChain")
            ),
            default=None if default is None else self._chain(default),
        )
        self._evidence.policies.append(Policy(policy_key, content, tuple(self._sources)))
        if content.use_original_dst:
            self._evidence.policies.append(catch_all(content, self._port))

    def _chain(self, chain: Message) -> OutboundChain:
        protocol = chain_protocol(chain)
        places = outbound_places(self._address, self._port, protocol)
        match = chain_match(chain.message("filter_chain_match"))
        found = source(chain)
        if found is not None:
            self._sources.add(found)
        timeout = chain.milliseconds("transport_socket_connect_timeout")
        if refuses_own_port(chain, match, self._port):
            return OutboundChain(match, to=refusing(chain), connect_timeout_ms=timeout or 0)
        read = read_chain(chain, places, self._tracing, self._evidence.jwks, inbound=False)
        order = read.filters.order
        # They differ from chain to chain, while the order of the others is the same on all.
        statistics = [role for role in order if role in STATISTICS_FILTERS]
        own = {*statistics, GRPC_WEB}
        read.filters.order = [role for role in order if role not in own]
        self._keep(read, protocol)
        self._evidence.listener_clusters |= read.filters.clusters
        if read.filters.route_table:
            self._evidence.listener_tables.add(read.filters.route_table)
        tcp = read.tcp
        return OutboundChain(
            match=match,
            route_table=read.filters.route_table,
            to=tcp.to,
            idle_timeout_ms=tcp.idle_timeout_ms,
            max_duration_ms=tcp.max_duration_ms,
            max_connect_attempts=tcp.max_connect_attempts,
            hash=tcp.hash,
            tunnel=tcp.tunnel,
            connect_timeout_ms=timeout or 0,
            statistics_of=" ".join(statistics),
            grpc_web=GRPC_WEB in order,
        )

    def _keep(self, read: ReadChain, protocol: str) -> None:
        filters = read.filters
        evidence = self._evidence
        evidence.orders.append((protocol, tuple(filters.order)))
        evidence.telemetry.append(
            ChainTelemetry(
                OUTBOUND,
                protocol,
                (*filters.access_logs, *self._logs),
                filters.tracing,
                filters.metrics,
            )
        )
        if filters.connection is not None:
            policy_key = key.http_connection(f"{self._address}_{self._port}")
            evidence.policies.append(Policy(policy_key, filters.connection))


def catch_all(listener: OutboundListener, port: int) -> Policy:
    """What the catch-all listener does with connections that no other listener takes."""
    own_port = ChainMatch(destination_port=port)
    to: tuple[WeightedTarget, ...] = ()
    binds_blackhole = False
    for chain in (*listener.chains, *((listener.default,) if listener.default else ())):
        if chain.match == own_port:
            binds_blackhole = [item.target.host for item in chain.to] == [BLACKHOLE]
        elif chain.match == ChainMatch():
            to = chain.to
    return Policy(
        key.egress(VIRTUAL_OUTBOUND),
        Egress(egress_mode(to), to, binds_blackhole=binds_blackhole),
    )


def egress_mode(
    to: tuple[WeightedTarget, ...],
) -> Literal["ALLOW_ANY", "REGISTRY_ONLY", "PROXY"]:
    """Istio's word for where unknown traffic goes."""
    targets = {item.target for item in to}
    if not targets or targets == {Target("named", BLACKHOLE)}:
        return "REGISTRY_ONLY"
    return "ALLOW_ANY" if targets == {Target("named", PASSTHROUGH)} else "PROXY"
