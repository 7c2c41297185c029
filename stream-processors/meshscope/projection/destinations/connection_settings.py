"""Load balancing, limits and outlier detection of a destination, from the policy in force.

Source: https://istio.io/latest/docs/reference/config/networking/destination-rule/.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from meshscope.policy.destination import (
    UNLIMITED,
    ConnectionPool,
    LoadBalancing,
    OutlierDetection,
)
from meshscope.projection.durations import milliseconds

Json = Mapping[str, Any]
Protocol = Literal["http1", "http2", "auto", "downstream"]

PASSTHROUGH = "PASSTHROUGH"

_SIMPLE = {
    "ROUND_ROBIN": "round_robin",
    "RANDOM": "random",
    "LEAST_CONN": "least_request",
    "LEAST_REQUEST": "least_request",
}
_DEFAULT_POLICY = "least_request"
_WARMED_UP = ("least_request", "round_robin")
_DEFAULT_RING_SIZE = 1024
_DEFAULT_WARMUP_PERCENT = 10
_DEFAULT_RETRY_BUDGET_PERCENT = 20
_DEFAULT_RETRY_CONCURRENCY = 3


@dataclass(frozen=True, slots=True)
class MeshDefaults:
    """What the mesh configuration says of every connection.

    Attributes:
        connect_timeout_ms: `connectTimeout`.
        keepalive: `tcpKeepalive`.
        h2_upgrade: `h2UpgradePolicy` is `UPGRADE`.
        track_remaining: istiod lets Envoy count what remains of limits.
        source: Address from which the proxy connects to its own workload, so that these
            connections are told apart.
        passthrough: `connectionPool` of connections that are passed on to where they were dialled.
    """

    connect_timeout_ms: int = 10_000
    keepalive: Mapping[str, Any] = field(default_factory=dict, hash=False)
    h2_upgrade: bool = False
    track_remaining: bool = False
    source: str = "127.0.0.6"
    passthrough: Mapping[str, Any] = field(default_factory=dict, hash=False)


def upstream_protocol(port_protocol: str, pool: Json | None, mesh: MeshDefaults) -> Protocol:
    """The protocol that is spoken upstream.

    Args:
        port_protocol: `http`, `http2`, `grpc`, `grpc-web`, `auto`; anything else is opaque bytes.
        pool: `connectionPool` of the policy in force.
        mesh: The mesh's defaults.
    """
    http = (pool or {}).get("http") or {}
    if http.get("useClientProtocol"):
        return "downstream"
    if port_protocol in ("http2", "grpc", "grpc-web"):
        return "http2"
    if port_protocol == "auto":
        return "downstream"
    upgrade = http.get("h2UpgradePolicy", "DEFAULT")
    if upgrade == "UPGRADE" or (
        upgrade == "DEFAULT" and mesh.h2_upgrade and port_protocol == "http"
    ):
        return "http2"
    return "http1"


def connection_pool(
    pool: Json | None, budget: Json | None, protocol: Protocol, mesh: MeshDefaults
) -> ConnectionPool:
    """Limits of a destination.

    Args:
        pool: `connectionPool` of the policy in force.
        budget: Its `retryBudget`.
        protocol: What is spoken upstream.
        mesh: The mesh's defaults.
    """
    tcp = (pool or {}).get("tcp") or {}
    http = (pool or {}).get("http") or {}
    keepalive = {**mesh.keepalive, **_set(tcp.get("tcpKeepalive"))}
    return ConnectionPool(
        max_connections=tcp.get("maxConnections") or UNLIMITED,
        max_pending_requests=http.get("http1MaxPendingRequests") or UNLIMITED,
        max_requests=http.get("http2MaxRequests") or UNLIMITED,
        max_retries=max(http.get("maxRetries", 0), 0) or UNLIMITED,
        track_remaining=mesh.track_remaining,
        retry_budget_percent=(
            None
            if budget is None
            else _decimal(budget.get("percent", _DEFAULT_RETRY_BUDGET_PERCENT))
        ),
        retry_min_concurrency=(
            None
            if budget is None
            else budget.get("minRetryConcurrency") or _DEFAULT_RETRY_CONCURRENCY
        ),
        retry_budget_interval_ms=_optional((budget or {}).get("budgetInterval")),
        connect_timeout_ms=_duration(tcp.get("connectTimeout"), mesh.connect_timeout_ms),
        keepalive_time_s=_duration(keepalive.get("time"), 0) // 1000,
        keepalive_interval_s=_duration(keepalive.get("interval"), 0) // 1000,
        keepalive_probes=keepalive.get("probes") or 0,
        idle_timeout_ms=_optional(http.get("idleTimeout") or tcp.get("idleTimeout")),
        max_connection_duration_ms=_optional(tcp.get("maxConnectionDuration")),
        max_requests_per_connection=http.get("maxRequestsPerConnection") or 0,
        max_concurrent_streams=(
            (http.get("maxConcurrentStreams") or 0) if protocol == "http2" else 0
        ),
    )


def outlier_detection(block: Json | None) -> OutlierDetection | None:
    """When endpoints are taken out; None where the policy in force does not say.

    Istio counts success rates but never acts on them.
    """
    if block is None:
        return None
    server_errors = block.get("consecutive5xxErrors")
    gateway_errors = block.get("consecutiveGatewayErrors")
    split = bool(block.get("splitExternalLocalOriginErrors"))
    local = (block.get("consecutiveLocalOriginFailures") or 0) if split else 0
    return OutlierDetection(
        consecutive_5xx=server_errors,
        enforcing_consecutive_5xx=_enforcing(server_errors),
        consecutive_gateway_failure=gateway_errors,
        enforcing_consecutive_gateway_failure=_enforcing(gateway_errors),
        split_local_origin_errors=split,
        consecutive_local_origin_failure=local or None,
        enforcing_consecutive_local_origin_failure=100 if local else None,
        enforcing_success_rate=0,
        enforcing_local_origin_success_rate=0 if split else None,
        interval_ms=_optional(block.get("interval")),
        base_ejection_time_ms=_optional(block.get("baseEjectionTime")),
        max_ejection_percent=block.get("maxEjectionPercent") or None,
    )


def panic_threshold(outlier: Json | None, *, unready_sent: bool, forced: bool) -> int | None:
    """Share of healthy endpoints below which all are used; None: Envoy's default of 50.

    Args:
        outlier: `outlierDetection` of the policy in force.
        unready_sent: Unready endpoints are sent to clients by default.
        forced: They are sent whatever the rule says, so that no rule can make clients use them.
    """
    if forced:
        return 0
    if outlier is not None:
        return int(outlier.get("minHealthPercent") or 0)
    return 0 if unready_sent else None


def load_balancing(
    block: Json | None,
    *,
    original_dst: bool,
    override_port: int,
    panic_threshold_percent: int | None,
    locality_weighted: bool,
) -> LoadBalancing:
    """How an endpoint is chosen.

    Args:
        block: `loadBalancer` of the policy in force.
        original_dst: The application chose the address.
        override_port: Port instead of the one that it chose; 0: none.
        panic_threshold_percent, locality_weighted: As in the result.
    """
    if original_dst:
        return LoadBalancing(
            "cluster_provided",
            panic_threshold_percent=panic_threshold_percent,
            locality_weighted=locality_weighted,
            override_port=override_port,
        )
    settings = block or {}
    policy, ring_size = _algorithm(settings)
    window, aggression, weight = _warmup(settings) if policy in _WARMED_UP else (0, "", "")
    return LoadBalancing(
        policy,
        ring_size=ring_size,
        slow_start_ms=window,
        slow_start_aggression=aggression,
        slow_start_min_weight_percent=weight,
        locality_weighted=locality_weighted,
        panic_threshold_percent=panic_threshold_percent,
    )


def _algorithm(settings: Json) -> tuple[str, int]:
    consistent = settings.get("consistentHash")
    if consistent is None:
        return _SIMPLE.get(settings.get("simple", ""), _DEFAULT_POLICY), 0
    if (maglev := consistent.get("maglev")) is not None:
        return "maglev", int(maglev.get("tableSize") or 0)
    if (ring := consistent.get("ringHash")) is not None:
        return "ring_hash", int(ring.get("minimumRingSize") or 0)
    return "ring_hash", int(consistent.get("minimumRingSize") or _DEFAULT_RING_SIZE)


def _warmup(settings: Json) -> tuple[int, str, str]:
    """Window in milliseconds, growth factor, first weight; the older field sets only the first."""
    warmup = settings.get("warmup")
    if warmup is not None:
        percent = warmup.get("minimumPercent", _DEFAULT_WARMUP_PERCENT)
        window = _duration(warmup.get("duration"), 0)
        return window, _decimal(warmup.get("aggression", 1)), _decimal(percent)
    older = settings.get("warmupDurationSecs")
    if older is None:
        return 0, "", ""
    return milliseconds(older), "", _decimal(_DEFAULT_WARMUP_PERCENT)


def _decimal(number: float) -> str:
    return f"{number:g}"


def _enforcing(errors: int | None) -> int | None:
    if errors is None:
        return None
    return 100 if errors > 0 else 0


def _set(block: Json | None) -> Json:
    return {name: value for name, value in (block or {}).items() if value}


def _duration(text: str | None, default: int) -> int:
    return default if text is None else milliseconds(text)


def _optional(text: str | None) -> int | None:
    return None if text is None else milliseconds(text)
