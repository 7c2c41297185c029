"""All policies about inbound connections of one workload, from what was decided for it.

A port has filter chains (`inbound_chains`), and each policy speaks about those of one transport and
class. What a class does is the same on every port: it depends on the workload alone.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from meshscope.policy import key as keys
from meshscope.policy.authorization import Authorization
from meshscope.policy.inbound import Upstream
from meshscope.policy.policy import Policy
from meshscope.policy.request_authentication import RequestAuthentication
from meshscope.policy.source import ResourceRef
from meshscope.projection.inbound import filter_order
from meshscope.projection.inbound.chains import ChainShape, chain_shapes
from meshscope.projection.inbound.http_connection import HttpSettings
from meshscope.projection.inbound.inbound import InboundPort, inbound
from meshscope.projection.security.peer_authentication import (
    MeshTls,
    MutualTls,
    peer_authentication,
)

Sources = tuple[ResourceRef, ...]


@dataclass(frozen=True, slots=True)
class Workload:
    """What is the same on every inbound port of a workload.

    Attributes:
        tls: Mutual TLS of the mesh.
        mutual_tls: Its modes.
        http_access, tcp_access: Access rules.
        access_sources: AuthorizationPolicies that select it.
        tokens: Tokens that are looked at.
        token_sources: RequestAuthentications that select it.
        http: Settings of its HTTP chains.
        exchange: Peers exchange metadata.
        stats: Metrics of inbound connections are reported.
        idle_timeout_ms: Of TCP connections.
        detection_timeout_ms: How long sniffing waits; 0: for ever.
        counted: Protocols whose operations are counted.
        transparent: Connections are captured without being redirected (interception `TPROXY`).
    """

    tls: MeshTls
    mutual_tls: MutualTls
    http_access: Authorization = Authorization()
    tcp_access: Authorization = Authorization()
    access_sources: Sources = ()
    tokens: RequestAuthentication = RequestAuthentication()
    token_sources: Sources = ()
    http: HttpSettings = HttpSettings()
    exchange: bool = True
    stats: bool = False
    idle_timeout_ms: int | None = None
    detection_timeout_ms: int = 0
    counted: frozenset[str] = frozenset()
    transparent: bool = False


@dataclass(frozen=True, slots=True)
class Served:
    """A port with the cluster behind it."""

    port: InboundPort
    upstream: Upstream | None


def inbound_policies(served: Iterable[Served], workload: Workload) -> Iterator[Policy]:
    """The policies of all ports.

    Istio switches detection of HTTP off for each port that does not need it. It takes port 0 for
    all others, which Envoy does not: they sniff HTTP as soon as any port needs it.
    """
    found = [(port, _shapes(port, workload)) for port in served]
    any_http = any(
        "http" in shape.detects for port, shapes in found if not port.port.bind for shape in shapes
    )
    for port, shapes in found:
        yield from _port_policies(port, shapes, workload, any_http and port.port.port is None)


def _port_policies(
    served: Served, shapes: tuple[ChainShape, ...], workload: Workload, sniffs_http: bool
) -> Iterator[Policy]:
    port = served.port
    yield Policy(
        keys.inbound(port.key),
        inbound(
            port,
            shapes,
            served.upstream,
            sniffs_http=sniffs_http,
            idle_timeout_ms=workload.idle_timeout_ms,
            detection_timeout_ms=workload.detection_timeout_ms,
            transparent=workload.transparent,
        ),
        port.sources,
    )
    yield Policy(
        keys.peer_authentication(port.key),
        peer_authentication(shapes, workload.tls),
        workload.mutual_tls.sources,
    )
    for transport, protocol in dict.fromkeys((s.transport, s.protocol) for s in shapes):
        yield from (
            _http_policies(port, transport, workload)
            if protocol == "http"
            else _tcp_policies(port, transport, workload)
        )


def _shapes(served: Served, workload: Workload) -> tuple[ChainShape, ...]:
    port = served.port
    mode = workload.mutual_tls.mode if port.port is None else workload.mutual_tls.of_port(port.port)
    return chain_shapes(mode, port.protocol_class, http10=workload.http.sniffs_http10)


def _http_policies(port: InboundPort, transport: str, workload: Workload) -> Iterator[Policy]:
    yield Policy(
        keys.authorization(port.key, transport, keys.PROTOCOL_HTTP),
        workload.http_access,
        workload.access_sources,
    )
    yield Policy(
        keys.request_authentication(port.key, transport), workload.tokens, workload.token_sources
    )
    yield Policy(keys.http_connection(port.key, transport), workload.http.inbound(http2=port.http2))
    yield Policy(
        keys.filter_order(port.key, transport, keys.PROTOCOL_HTTP),
        filter_order.inbound_http(
            workload.http_access,
            exchange=workload.exchange,
            tokens=bool(workload.tokens.rules),
            grpc_web=port.grpc_web,
            stats=workload.stats,
        ),
    )


def _tcp_policies(port: InboundPort, transport: str, workload: Workload) -> Iterator[Policy]:
    yield Policy(
        keys.authorization(port.key, transport, keys.PROTOCOL_TCP),
        workload.tcp_access,
        workload.access_sources,
    )
    yield Policy(
        keys.filter_order(port.key, transport, keys.PROTOCOL_TCP),
        filter_order.inbound_tcp(
            workload.tcp_access,
            exchange=workload.exchange,
            stats=workload.stats,
            counted=port.protocol if port.protocol in workload.counted else "",
        ),
    )
