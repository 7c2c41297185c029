"""Inbound listeners, and what their filter chains say about each port together."""

from typing import Final

from meshscope.inference.chains import (
    chain_match,
    chain_protocol,
    read_chain,
    refuses_own_port,
    refusing,
    terminated_tls,
)
from meshscope.inference.evidence import ChainTelemetry, Evidence, InboundChain
from meshscope.inference.listener_filters import Detection, inbound_detection
from meshscope.inference.names import BLACKHOLE
from meshscope.inference.places import inbound_places
from meshscope.inference.reader import Message
from meshscope.inference.routes import source
from meshscope.inference.telemetry import TracingReader, access_logs
from meshscope.policy import key
from meshscope.policy.canonical import content_bytes
from meshscope.policy.outbound_listener import ChainMatch
from meshscope.policy.peer_authentication import AcceptedChain, ServerTls
from meshscope.policy.telemetry import AccessLog

INBOUND: Final = "inbound"
VIRTUAL_INBOUND: Final = "virtualInbound"

_DETECTION_TIMEOUT_MS: Final = 15_000


class InboundReader:
    """Reads one inbound listener.

    Args:
        evidence: What is found is added here.
        tracing: Reader of tracing.
        bind: Address of the listener, own addresses as `$self.address`; empty for the listener to
            which connections are redirected.
        port: Port of the listener.
    """

    def __init__(self, evidence: Evidence, tracing: TracingReader, bind: str, port: int) -> None:
        self._evidence = evidence
        self._tracing = tracing
        self._bind = bind
        self._port = port
        self._logs: tuple[AccessLog, ...] = ()
        self._timeout = _DETECTION_TIMEOUT_MS
        self._continue = False
        self._transparent = False

    def read(self, listener: Message) -> None:
        """Read the listener; its chains are added to the evidence."""
        listener.place = str(key.inbound(self._port if self._bind else key.ANY_PORT))
        self._logs = access_logs(
            listener, str(key.telemetry(INBOUND, key.PROTOCOL_TCP)), "listener"
        )
        timeout = listener.milliseconds("listener_filters_timeout")
        self._timeout = _DETECTION_TIMEOUT_MS if timeout is None else timeout
        self._continue = listener.boolean("continue_on_listener_filters_timeout")
        self._transparent = listener.boolean("transparent")
        listener.constant("bind_to_port", True)
        chains = listener.messages("filter_chains", "FilterChain")
        matches = [chain_match(chain.message("filter_chain_match")) for chain in chains]
        ports = [self._port_of(match) for match in matches]
        taking = zip(ports, matches, strict=True)
        detection = inbound_detection(listener, taking, None if self._bind else self._port)
        if not self._bind and "original_dst" not in {kind for kind, _ in detection.disabled}:
            listener.remark("listener_filters", "no filter finds the original destination")
        refused = False
        for chain, match, port in zip(chains, matches, ports, strict=True):
            if not self._bind and refuses_own_port(chain, match, self._port):
                refused = [item.target.host for item in refusing(chain)] == [BLACKHOLE]
                chain.place = str(key.inbound(key.ANY_PORT))
            else:
                self._chain(chain, match, port, detection)
        if not self._bind and not refused:
            self._evidence.own_port_open = True

    def _port_of(self, match: ChainMatch) -> str:
        if match.destination_port:
            return str(match.destination_port)
        return str(self._port) if self._bind else key.ANY_PORT

    def _chain(self, chain: Message, match: ChainMatch, port: str, detection: Detection) -> None:
        chain.place = str(key.peer_authentication(port))
        protocol = chain_protocol(chain)
        tls = terminated_tls(chain)
        transport = _transport(match, tls)
        found = source(chain)
        timeout = chain.milliseconds("transport_socket_connect_timeout")
        places = inbound_places(port, transport, protocol)
        read = read_chain(chain, places, self._tracing, self._evidence.jwks, inbound=True)
        filters = read.filters
        if len(read.tcp.to) > 1 or read.tcp.hash or read.tcp.tunnel:
            chain.remark("tcp_proxy", str(read.tcp))
        if read.tcp.max_connect_attempts != 1:
            chain.remark("max_connect_attempts", str(read.tcp.max_connect_attempts))
        if read.tcp.max_duration_ms is not None:
            chain.remark("max_downstream_connection_duration", str(read.tcp.max_duration_ms))
        others = ChainMatch(
            destination_port=match.destination_port,
            transport_protocol=match.transport_protocol,
            application_protocols=match.application_protocols,
        )
        if match != others:
            chain.remark("filter_chain_match", content_bytes(match).decode())
        evidence = self._evidence
        evidence.listener_clusters |= filters.clusters
        evidence.telemetry.append(
            ChainTelemetry(
                INBOUND,
                protocol,
                (*filters.access_logs, *self._logs),
                filters.tracing,
                filters.metrics,
            )
        )
        evidence.chains.append(
            InboundChain(
                port=port,
                transport=transport,
                accepts=AcceptedChain(
                    match.transport_protocol,
                    match.application_protocols,
                    "http" if protocol == "http" else "tcp",
                    tls,
                    timeout or 0,
                ),
                filters=filters,
                bind=self._bind,
                detects=detection.on(port),
                detection_timeout_ms=self._timeout,
                continue_on_timeout=self._continue,
                transparent=self._transparent,
                sources=() if found is None else (found,),
            )
        )


def _transport(match: ChainMatch, tls: ServerTls | None) -> str:
    if tls is not None:
        return key.TRANSPORT_MTLS
    return key.TRANSPORT_TLS if match.transport_protocol == "tls" else key.TRANSPORT_PLAINTEXT
