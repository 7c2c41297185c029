"""Inbound listeners, and what their filter chains say about each port together."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final, Literal, TypeVar

from meshscope.inference.chains import (
    chain_match,
    chain_protocol,
    read_chain,
    refuses_own_port,
    refusing,
    terminated_tls,
)
from meshscope.inference.evidence import ChainTelemetry, Evidence, InboundChain, InboundCluster
from meshscope.inference.listener_filters import Detection, inbound_detection
from meshscope.inference.names import BLACKHOLE
from meshscope.inference.places import inbound_places
from meshscope.inference.reader import Message
from meshscope.inference.routes import source
from meshscope.inference.telemetry import TracingReader, access_logs
from meshscope.policy import key
from meshscope.policy.authorization import Authorization, Rule
from meshscope.policy.canonical import as_set, content_bytes
from meshscope.policy.filter_order import FilterOrder
from meshscope.policy.inbound import Inbound, InboundRoutes
from meshscope.policy.key import PolicyKey
from meshscope.policy.outbound_listener import ChainMatch
from meshscope.policy.peer_authentication import AcceptedChain, PeerAuthentication, ServerTls
from meshscope.policy.policy import Content, Policy
from meshscope.policy.source import ResourceRef
from meshscope.policy.telemetry import AccessLog

INBOUND: Final = "inbound"
VIRTUAL_INBOUND: Final = "virtualInbound"

_DETECTION_TIMEOUT_MS: Final = 15_000

C = TypeVar("C", bound=Content)
Disagreement = tuple[PolicyKey, str, tuple[str, ...]]
"""Key, what the chains of a class do not agree on, and the variants as canonical JSON."""


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

    def read(self, listener: Message) -> None:
        """Read the listener; its chains are added to the evidence."""
        listener.place = str(key.inbound(self._port if self._bind else key.ANY_PORT))
        self._logs = access_logs(
            listener, str(key.telemetry(INBOUND, key.PROTOCOL_TCP)), "listener"
        )
        timeout = listener.milliseconds("listener_filters_timeout")
        self._timeout = _DETECTION_TIMEOUT_MS if timeout is None else timeout
        self._continue = listener.boolean("continue_on_listener_filters_timeout")
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
                sources=() if found is None else (found,),
            )
        )


def _transport(match: ChainMatch, tls: ServerTls | None) -> str:
    if tls is not None:
        return key.TRANSPORT_MTLS
    return key.TRANSPORT_TLS if match.transport_protocol == "tls" else key.TRANSPORT_PLAINTEXT


def inbound_policies(
    evidence: Evidence,
) -> tuple[list[Policy], list[Disagreement]]:
    """The policies of all inbound ports, and where the chains of one class do not agree."""
    by_port: dict[str, list[InboundChain]] = {}
    for chain in evidence.chains:
        by_port.setdefault(chain.port, []).append(chain)
    policies: list[Policy] = []
    disagreements: list[Disagreement] = []
    for port, chains in by_port.items():
        policies.append(_inbound(port, chains, evidence, disagreements))
        policies.append(
            Policy(
                key.peer_authentication(port),
                PeerAuthentication(tuple(chain.accepts for chain in chains)),
            )
        )
        policies.extend(_class_policies(port, chains, disagreements))
    return policies, disagreements


def _inbound(
    port: str,
    chains: list[InboundChain],
    evidence: Evidence,
    disagreements: list[Disagreement],
) -> Policy:
    policy_key = key.inbound(port)
    http = [chain for chain in chains if chain.accepts.protocol == "http"]
    tcp = [chain for chain in chains if chain.accepts.protocol == "tcp"]
    clusters = sorted({name for chain in chains for name in chain.filters.clusters})
    behind = [evidence.inbound_clusters[n] for n in clusters if n in evidence.inbound_clusters]
    cluster = behind[0] if behind else _NOTHING_BEHIND
    if len(behind) > 1:
        _disagree(disagreements, policy_key, "upstream", (found.upstream for found in behind))

    def same(what: str, values: Iterable[T]) -> T:
        variants = _variants(values)
        if len(variants) > 1:
            _disagree(disagreements, policy_key, what, variants)
        return variants[0]

    protocol: Literal["http", "tcp", "auto"] = "auto" if http and tcp else "http" if http else "tcp"
    content = Inbound(
        protocol=protocol,
        bind=same("bind", (chain.bind for chain in chains)),
        routes=tuple(
            InboundRoutes(chain.transport, chain.filters.rules, chain.filters.domains)
            for chain in http
        ),
        forwards_to=same("cluster", (chain.filters.cluster for chain in tcp)) if tcp else "",
        upstream=None if cluster is None else cluster.upstream,
        idle_timeout_ms=(
            same("idle_timeout", (chain.filters.idle_timeout_ms for chain in tcp)) if tcp else None
        ),
        detects=chains[0].detects,
        detection_timeout_ms=chains[0].detection_timeout_ms,
        continue_on_timeout=chains[0].continue_on_timeout,
        own_port_open=port == key.ANY_PORT and evidence.own_port_open,
        services=() if cluster is None else cluster.services,
    )
    sources = {ref for chain in chains for ref in chain.sources}
    if cluster is not None:
        sources.update(cluster.sources)
    return Policy(policy_key, content, tuple(sources))


T = TypeVar("T")
_NOTHING_BEHIND: Final[InboundCluster | None] = None


def _class_policies(
    port: str, chains: list[InboundChain], disagreements: list[Disagreement]
) -> Iterator[Policy]:
    classes: dict[tuple[str, str], list[InboundChain]] = {}
    for chain in chains:
        classes.setdefault((chain.transport, chain.accepts.protocol), []).append(chain)
    for (transport, protocol), members in classes.items():
        found: list[tuple[PolicyKey, list[Content]]] = [
            (
                key.authorization(port, transport, protocol),
                [chain.filters.authorization for chain in members],
            ),
            (
                key.filter_order(port, transport, protocol),
                [FilterOrder(tuple(chain.filters.order)) for chain in members],
            ),
        ]
        if protocol == key.PROTOCOL_HTTP:
            found.append(
                (
                    key.request_authentication(port, transport),
                    [chain.filters.tokens for chain in members],
                )
            )
            found.append(
                (
                    key.http_connection(port, transport),
                    [c for chain in members if (c := chain.filters.connection) is not None],
                )
            )
        for policy_key, contents in found:
            if not contents:
                continue
            variants = _variants(contents)
            if len(variants) > 1:
                _disagree(disagreements, policy_key, "chains", variants)
            content = variants[0]
            yield Policy(policy_key, content, authorization_sources(content))


def authorization_sources(content: Content) -> tuple[ResourceRef, ...]:
    """The AuthorizationPolicies that access rules came from; empty for other contents."""
    if not isinstance(content, Authorization):
        return ()
    rules: list[Rule] = [rule for custom in content.custom for rule in custom.rules]
    for group in (
        content.audit,
        content.deny,
        content.allow,
        content.dry_run_deny,
        content.dry_run_allow,
    ):
        rules.extend(group or ())
    return as_set(
        ResourceRef("AuthorizationPolicy", namespace, name)
        for namespace, slash, name in (rule.policy.partition("/") for rule in rules)
        if slash
    )


def outbound_orders(
    orders: Iterable[tuple[str, tuple[str, ...]]],
) -> tuple[list[Policy], list[Disagreement]]:
    """The filter order of outbound chains, per protocol."""
    by_protocol: dict[str, list[FilterOrder]] = {}
    for protocol, roles in orders:
        by_protocol.setdefault(protocol, []).append(FilterOrder(roles))
    policies: list[Policy] = []
    disagreements: list[Disagreement] = []
    for protocol, found in by_protocol.items():
        policy_key = key.filter_order("outbound", key.TRANSPORT_NONE, protocol)
        variants = _variants(found)
        if len(variants) > 1:
            _disagree(disagreements, policy_key, "chains", variants)
        policies.append(Policy(policy_key, variants[0]))
    return policies, disagreements


def _variants(values: Iterable[T]) -> list[T]:
    """Different values, in an order that does not depend on that of the chains."""
    by_bytes: Mapping[bytes, T] = {content_bytes(value): value for value in values}
    return [by_bytes[data] for data in sorted(by_bytes)]


def _disagree(
    disagreements: list[Disagreement], policy_key: PolicyKey, what: str, variants: Iterable[object]
) -> None:
    texts = tuple(sorted(content_bytes(variant).decode() for variant in variants))
    disagreements.append((policy_key, what, texts))
