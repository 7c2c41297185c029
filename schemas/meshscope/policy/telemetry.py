"""Kind `telemetry`: what is logged, traced and measured."""

from dataclasses import dataclass

from meshscope.policy.canonical import as_set, replace_fields


@dataclass(frozen=True, slots=True)
class AccessLog:
    """One access log.

    Attributes:
        sink: Where it goes: `file:/dev/stdout`, `grpc:cluster`, `otel:cluster`.
        format: Text format, or canonical JSON of a JSON format; empty: Envoy's default. Canonical
            JSON here has sorted keys, no spaces and letters beyond ASCII as they are.
        filter: Canonical JSON of the condition under which a line is written (Envoy's
            `AccessLogFilter`, `@type` included); empty: always.
        at: `connection` (HTTP connection manager or TCP proxy) or `listener` (what no chain took).
    """

    sink: str
    format: str = ""
    filter: str = ""
    at: str = "connection"


@dataclass(frozen=True, slots=True)
class Tracing:
    """Tracing of HTTP requests.

    Attributes:
        provider: Provider's extension name and cluster; empty: spans go nowhere.
        client_percent, random_percent, overall_percent: Sampling, in hundredths of a percent.
        tags: `name=value` for literals; `name=environment:NAME:default`,
            `name=header:NAME:default` and `name=metadata:<canonical JSON>` for others. The tags
            `istio.canonical_revision`, `istio.canonical_service`, `istio.cluster_id`,
            `istio.mesh_id` and `istio.namespace` stand as `istio.x=$self.x` where their value is
            what the proxy's node says of itself (labels `service.istio.io/canonical-*`, else
            `latest` and `unknown`; `CLUSTER_ID`, `MESH_ID`, `NAMESPACE`).
        verbose: Annotations are added to spans.
    """

    provider: str = ""
    client_percent: int = 10_000
    random_percent: int = 10_000
    overall_percent: int = 10_000
    tags: tuple[str, ...] = ()
    verbose: bool = False

    def __post_init__(self) -> None:
        replace_fields(self, tags=as_set(self.tags))


@dataclass(frozen=True, slots=True)
class Metrics:
    """Istio's metrics filter.

    Attributes:
        disable_host_header_fallback: The host header is not used as the destination's name.
        settings: Canonical JSON of the other settings (`metrics`: dropped ones, dimensions;
            `tcp_reporting_duration` …), with Envoy's names, without `@type`; empty: none.
    """

    disable_host_header_fallback: bool = False
    settings: str = ""


@dataclass(frozen=True, slots=True)
class Telemetry:
    """The telemetry of all chains of one direction and protocol.

    Each tuple is the set of what was found on those chains: one element where they agree. Chains
    that only refuse connections (to `BlackHoleCluster`, on the listeners' own ports) do not count.
    The access logs of a chain are those of its connection manager or TCP proxy, and those of the
    listener that holds it (`at: listener`).
    """

    access_logs: tuple[tuple[AccessLog, ...], ...] = ()
    tracing: tuple[Tracing | None, ...] = ()
    metrics: tuple[Metrics | None, ...] = ()

    def __post_init__(self) -> None:
        replace_fields(
            self,
            access_logs=as_set(as_set(logs) for logs in self.access_logs),
            tracing=as_set(self.tracing),
            metrics=as_set(self.metrics),
        )

    def without_names(self) -> "Telemetry":
        """Itself: nothing in it is only a name."""
        return self
