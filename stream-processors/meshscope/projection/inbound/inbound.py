"""Kind `inbound`: how Istio lets connections reach the workload.

Every port of a service that selects the workload has chains of its own; the oldest service decides
about its protocol. The ingress listeners of a Sidecar take their place. All other connections are
passed through to wherever they were going.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from meshscope.policy.destination import Service
from meshscope.policy.http_route import Forward, HttpRule, Retry, RouteMatch
from meshscope.policy.inbound import Inbound, InboundRoutes, Upstream
from meshscope.policy.key import ANY_PORT
from meshscope.policy.source import ResourceRef
from meshscope.policy.target import Target, WeightedTarget
from meshscope.projection.destinations.connection_settings import (
    MeshDefaults,
    Protocol,
    connection_pool,
)
from meshscope.projection.inbound.chains import ChainShape, PortProtocol

PASSTHROUGH = "InboundPassthroughCluster"
_HTTP = frozenset(("http", "http2", "http_proxy", "grpc", "grpc-web"))
_HTTP2 = frozenset(("http2", "grpc", "grpc-web"))
_GRPC = frozenset(("grpc", "grpc-web"))
_LOOPBACK = frozenset(("127.0.0.1", "::1"))
_PASSTHROUGH_IDLE = "300s"
_RESET_RETRY = Retry(("reset-before-request",), attempts=2)


@dataclass(frozen=True, slots=True)
class InboundPort:
    """An inbound port, before it is known which chains it has.

    Attributes:
        port: Target port; None: the chains that take every port without chains of its own.
        protocol: Istio's name, lower case; `auto`: to be detected.
        host: Host name of the service, for traces; empty for pass-through.
        service_port: Port of the service, for traces.
        cluster: Cluster that it forwards to.
        bind: Address of its own listener; empty: it is served by the virtual listener.
        services: Services that it belongs to.
        sources: Resources that it came from.
    """

    port: int | None
    protocol: str = "auto"
    host: str = ""
    service_port: int = 0
    cluster: str = PASSTHROUGH
    bind: str = ""
    services: tuple[Service, ...] = ()
    sources: tuple[ResourceRef, ...] = ()

    @property
    def key(self) -> int | str:
        """The port as keys of policies say it."""
        return ANY_PORT if self.port is None else self.port

    @property
    def protocol_class(self) -> PortProtocol:
        """Whether bytes are HTTP, are not, or are looked at."""
        return protocol_class(self.protocol)

    @property
    def http2(self) -> bool:
        """Whether it is declared HTTP/2 or gRPC."""
        return self.protocol in _HTTP2

    @property
    def grpc_web(self) -> bool:
        """Whether it is declared gRPC-Web."""
        return self.protocol == "grpc-web"


def protocol_class(protocol: str) -> PortProtocol:
    """Class of a protocol, by Istio's name in lower case; `auto`: to be detected."""
    if protocol == "auto":
        return "auto"
    return "http" if protocol in _HTTP else "tcp"


def passthrough(port: int | None = None) -> InboundPort:
    """Chains that pass connections through: of every other port, or of one that no service has."""
    return InboundPort(port)


def inbound(
    port: InboundPort,
    shapes: Iterable[ChainShape],
    upstream: Upstream | None,
    *,
    sniffs_http: bool = False,
    idle_timeout_ms: int | None = None,
    detection_timeout_ms: int = 0,
    transparent: bool = False,
) -> Inbound:
    """How a port takes connections.

    Args:
        port: The port.
        shapes: Its chains.
        upstream: The cluster behind it.
        sniffs_http: HTTP is detected although no chain of the port asks for it.
        idle_timeout_ms: Of TCP connections.
        detection_timeout_ms: How long sniffing waits; 0: for ever.
        transparent: Connections are captured without being redirected (interception `TPROXY`).
    """
    chains = tuple(shapes)
    captured = transparent and not port.bind
    rules = (_rule(port),)
    transports = dict.fromkeys(shape.transport for shape in chains if shape.protocol == "http")
    carries_tcp = any(shape.protocol == "tcp" for shape in chains)
    return Inbound(
        protocol=port.protocol_class,
        bind=port.bind,
        routes=tuple(InboundRoutes(transport, rules) for transport in transports),
        forwards_to=port.cluster if carries_tcp else "",
        upstream=upstream,
        idle_timeout_ms=idle_timeout_ms if carries_tcp else None,
        detects=(
            *(name for shape in chains for name in shape.detects),
            *(("http",) if sniffs_http else ()),
            *(("original_src",) if captured else ()),
        ),
        detection_timeout_ms=detection_timeout_ms,
        transparent=captured,
        services=port.services,
    )


def _rule(port: InboundPort) -> HttpRule:
    target = (
        Target("named", port.cluster)
        if port.cluster == PASSTHROUGH
        else Target("inbound", "", port.port or 0)
    )
    return HttpRule(
        match=RouteMatch(),
        name="default",
        forward=Forward(
            to=(WeightedTarget(target),),
            timeout_ms=0,
            max_stream_duration_ms=0,
            grpc_timeout_header_max_ms=0,
            retry=None if port.protocol in _GRPC else _RESET_RETRY,
        ),
        operation=f"{port.host}:{port.service_port}/*",
    )


def upstream(
    protocol: str, policy: Mapping[str, Any] | None, mesh: MeshDefaults, *, address: str = ""
) -> Upstream:
    """The cluster behind an inbound port.

    Args:
        protocol: Of the port, as in `InboundPort`.
        policy: Traffic policy in force for the port, of which limits and retry budget count.
        mesh: The mesh's defaults.
        address: `ip:port` or `unix://path` to connect to; empty: what the caller dialled.
    """
    host = address.rpartition(":")[0].strip("[]")
    pool = (policy or {}).get("connectionPool")
    spoken: Protocol = "http2" if protocol in _HTTP2 else "http1"
    if protocol == "auto" or ((pool or {}).get("http") or {}).get("useClientProtocol"):
        spoken = "downstream"
    return Upstream(
        kind="static" if address else "original_dst",
        addresses=(address,) if address else (),
        source_address="" if host in _LOOPBACK else mesh.source,
        protocol=spoken,
        connection_pool=connection_pool(pool, (policy or {}).get("retryBudget"), spoken, mesh),
    )


def passthrough_upstream(mesh: MeshDefaults) -> Upstream:
    """The cluster of the pass-through chains; limits of HTTP connections do not reach it."""
    tcp, http = (dict(mesh.passthrough.get(kind) or {}) for kind in ("tcp", "http"))
    tcp.pop("maxConnectionDuration", None)
    for field in ("maxRequestsPerConnection", "maxConcurrentStreams"):
        http.pop(field, None)
    pool = {"tcp": tcp, "http": {**http, "idleTimeout": _PASSTHROUGH_IDLE}}
    return upstream("auto", {"connectionPool": pool}, mesh)
