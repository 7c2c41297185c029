"""Kind `destination`: how connections to a service are made."""

from dataclasses import dataclass, replace
from typing import Literal

from meshscope.policy.canonical import as_set, replace_fields
from meshscope.policy.matches import StringMatch

UNLIMITED = 4_294_967_295
"""What Istio writes for a limit that is not set."""


@dataclass(frozen=True, slots=True)
class LoadBalancing:
    """How an endpoint is chosen.

    Attributes:
        policy: Envoy's policy in lower case (`least_request`, `round_robin`, `random`,
            `ring_hash`, `maglev`, `cluster_provided`).
        ring_size: Minimum size of the ring, or size of the Maglev table; 0: Envoy's default.
        slow_start_ms: Time over which a new endpoint is warmed up; 0: none.
        slow_start_aggression: Its growth factor, as text.
        slow_start_min_weight_percent: Its first weight, a decimal number as text.
        locality_weighted: Localities are chosen by weight.
        panic_threshold_percent: Share of healthy endpoints below which all are used.
        override_port: Port used instead of the original destination's; 0: none.
    """

    policy: str = "round_robin"
    ring_size: int = 0
    slow_start_ms: int = 0
    slow_start_aggression: str = ""
    slow_start_min_weight_percent: str = ""
    locality_weighted: bool = False
    panic_threshold_percent: int | None = None
    override_port: int = 0


@dataclass(frozen=True, slots=True)
class ConnectionPool:
    """Limits toward the destination; `UNLIMITED` where Istio sets none.

    Attributes:
        max_connections, max_pending_requests, max_requests, max_retries: Circuit breakers.
        track_remaining: Whether statistics show what remains of them.
        retry_budget_percent, retry_min_concurrency: None: `max_retries` counts. The percentage is a
            decimal number as text.
        retry_budget_interval_ms: None: Envoy's default.
        connect_timeout_ms: For a new connection.
        keepalive_time_s, keepalive_interval_s, keepalive_probes: TCP keepalive; 0: kernel's.
        idle_timeout_ms: None: Envoy's default of one hour.
        max_connection_duration_ms: None: no limit.
        max_requests_per_connection: 0: no limit.
        max_concurrent_streams: HTTP/2; 0: Envoy's default.
    """

    max_connections: int = UNLIMITED
    max_pending_requests: int = UNLIMITED
    max_requests: int = UNLIMITED
    max_retries: int = UNLIMITED
    track_remaining: bool = False
    retry_budget_percent: str | None = None
    retry_min_concurrency: int | None = None
    retry_budget_interval_ms: int | None = None
    connect_timeout_ms: int = 5_000
    keepalive_time_s: int = 0
    keepalive_interval_s: int = 0
    keepalive_probes: int = 0
    idle_timeout_ms: int | None = None
    max_connection_duration_ms: int | None = None
    max_requests_per_connection: int = 0
    max_concurrent_streams: int = 0


@dataclass(frozen=True, slots=True)
class OutlierDetection:
    """When an endpoint is taken out (Envoy `OutlierDetection`).

    Percentages are those of enforcement (0: only counted). None: Envoy's default.
    """

    consecutive_5xx: int | None = None
    enforcing_consecutive_5xx: int | None = None
    consecutive_gateway_failure: int | None = None
    enforcing_consecutive_gateway_failure: int | None = None
    split_local_origin_errors: bool = False
    consecutive_local_origin_failure: int | None = None
    enforcing_consecutive_local_origin_failure: int | None = None
    enforcing_success_rate: int | None = None
    enforcing_local_origin_success_rate: int | None = None
    interval_ms: int | None = None
    base_ejection_time_ms: int | None = None
    max_ejection_time_ms: int | None = None
    max_ejection_percent: int | None = None


@dataclass(frozen=True, slots=True)
class ClientTls:
    """TLS that the proxy speaks to the destination.

    Attributes:
        sni: Server name that it asks for; empty: none. `auto_sni`: the host header.
        auto_san_validation: The server's name is checked against the host header.
        alpn: Protocols that it offers, in order of preference.
        server_names: Names that the server's certificate must bear (any of them); empty: not
            checked.
        trusted: SDS name of the trusted certificates (`ROOTCA`, `file-root:…`); empty: the
            server's certificate is not validated.
        certificate: SDS name of the client certificate; empty: none.
        minimum, maximum: Protocol versions, such as `TLSv1_2`; empty: Envoy's.
        ciphers: Cipher suites, in order; empty: Envoy's.
        curves: ECDH curves, in order; empty: Envoy's.
        crl: SDS name or path of a revocation list; empty: none.
    """

    sni: str = ""
    auto_sni: bool = False
    auto_san_validation: bool = False
    alpn: tuple[str, ...] = ()
    server_names: tuple[StringMatch, ...] = ()
    trusted: str = ""
    certificate: str = ""
    minimum: str = ""
    maximum: str = ""
    ciphers: tuple[str, ...] = ()
    curves: tuple[str, ...] = ()
    crl: str = ""

    def __post_init__(self) -> None:
        replace_fields(self, server_names=as_set(self.server_names))


@dataclass(frozen=True, slots=True)
class Service:
    """A service that a destination stands for, as the registry names it; changes no traffic."""

    host: str
    namespace: str
    name: str


@dataclass(frozen=True, slots=True)
class Destination:
    """The traffic policy toward a service's port and subset.

    Attributes:
        discovery: Where endpoints come from: `eds`, `strict_dns`, `logical_dns`, `original_dst`,
            `static`, `dynamic_forward_proxy`.
        protocol: Protocol spoken upstream: `http1` (also for TCP), `http2`, `auto` (ALPN) or
            `downstream` (as the client spoke).
        load_balancing, connection_pool, outlier_detection: As named; None: no detection.
        tls_mode: `auto`: mutual TLS to endpoints labelled `istio`, plaintext to others; `always`:
            TLS to all; `never`: plaintext.
        tls: Its parameters; None with `never`.
        proxy_protocol: `v1` or `v2` is sent first; empty: none.
        external: The service lies outside the mesh.
        dns_refresh_ms, dns_respect_ttl, dns_family, dns_jitter_ms: For DNS; 0, False, "".
        metadata_exchange: Istio's TCP metadata exchange is spoken.
        alpn_override: False: Istio's ALPN filter must not change the ALPN of requests.
        source_address: Address from which the proxy connects; empty: the kernel chooses.
        services: What it stands for.
        eds_service_name: Name asked from the control plane where it is not the default one.
    """

    discovery: str
    protocol: Literal["http1", "http2", "auto", "downstream"] = "http1"
    load_balancing: LoadBalancing = LoadBalancing()
    connection_pool: ConnectionPool = ConnectionPool()
    outlier_detection: OutlierDetection | None = None
    tls_mode: Literal["auto", "always", "never"] = "never"
    tls: ClientTls | None = None
    proxy_protocol: str = ""
    external: bool = False
    dns_refresh_ms: int = 0
    dns_respect_ttl: bool = False
    dns_family: str = ""
    dns_jitter_ms: int = 0
    metadata_exchange: bool = False
    alpn_override: bool = True
    source_address: str = ""
    services: tuple[Service, ...] = ()
    eds_service_name: str = ""

    def __post_init__(self) -> None:
        replace_fields(self, services=as_set(self.services))

    def without_names(self) -> "Destination":
        """The policy without the names of the services that it stands for."""
        return replace(self, services=())
