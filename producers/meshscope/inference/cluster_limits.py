"""Load balancing, limits and outlier detection of a cluster."""

from typing import Final

from meshscope.inference.reader import Message
from meshscope.policy.destination import ConnectionPool, LoadBalancing, OutlierDetection

_POLICIES: Final = {
    "ROUND_ROBIN": "round_robin",
    "LEAST_REQUEST": "least_request",
    "RANDOM": "random",
    "RING_HASH": "ring_hash",
    "MAGLEV": "maglev",
    "CLUSTER_PROVIDED": "cluster_provided",
}
_ENVOY_CONNECTIONS: Final = 1024
_ENVOY_RETRIES: Final = 3
"""Envoy's own limits, where a cluster sets none."""

_CONNECT_TIMEOUT_MS: Final = 5_000
_DEFAULT_MINIMUM_WEIGHT: Final = "10"


def load_balancing(cluster: Message) -> LoadBalancing:
    """How an endpoint is chosen."""
    policy = cluster.word("lb_policy", _POLICIES, "round_robin")
    common = cluster.message("common_lb_config")
    original = cluster.message("original_dst_lb_config")
    window, aggression, weight = _slow_start(cluster)
    return LoadBalancing(
        policy=policy,
        ring_size=_ring_size(cluster),
        slow_start_ms=window,
        slow_start_aggression=aggression,
        slow_start_min_weight_percent=weight,
        locality_weighted=(
            common is not None and common.constant("locality_weighted_lb_config", {})
        ),
        panic_threshold_percent=(
            None if common is None else common.percent("healthy_panic_threshold")
        ),
        override_port=0 if original is None else original.integer("upstream_port_override"),
    )


def _ring_size(cluster: Message) -> int:
    ring = cluster.message("ring_hash_lb_config")
    if ring is not None:
        return ring.integer("minimum_ring_size")
    maglev = cluster.message("maglev_lb_config")
    return 0 if maglev is None else maglev.integer("table_size")


def _slow_start(cluster: Message) -> tuple[int, str, str]:
    """Window in milliseconds, growth factor as text, first weight in percent."""
    for name in ("round_robin_lb_config", "least_request_lb_config"):
        settings = cluster.message(name)
        found = None if settings is None else settings.message("slow_start_config")
        if found is None:
            continue
        aggression = found.message("aggression")
        factor = ""
        if aggression is not None:
            aggression.require("runtime_key", "(")
            factor = f"{aggression.number('default_value'):g}"
        percent = found.decimal_percent("min_weight_percent")
        weight = _DEFAULT_MINIMUM_WEIGHT if percent is None else percent
        return found.milliseconds("slow_start_window") or 0, factor, weight
    return 0, "", ""


def connection_pool(
    cluster: Message, options: Message | None, http2: Message | None
) -> ConnectionPool:
    """Limits of a cluster.

    Args:
        cluster: The cluster.
        options: Its HTTP options.
        http2: Its HTTP/2 options.
    """
    limits = _thresholds(cluster)
    budget = None if limits is None else limits.message("retry_budget")
    timeout = cluster.milliseconds("connect_timeout")
    keepalive = _keepalive(cluster)
    common = None if options is None else options.message("common_http_protocol_options")
    return ConnectionPool(
        max_connections=_limit(limits, "max_connections", _ENVOY_CONNECTIONS),
        max_pending_requests=_limit(limits, "max_pending_requests", _ENVOY_CONNECTIONS),
        max_requests=_limit(limits, "max_requests", _ENVOY_CONNECTIONS),
        max_retries=_limit(limits, "max_retries", _ENVOY_RETRIES),
        track_remaining=limits is not None and limits.boolean("track_remaining"),
        retry_budget_percent=None if budget is None else budget.decimal_percent("budget_percent"),
        retry_min_concurrency=(
            None if budget is None else budget.optional_integer("min_retry_concurrency")
        ),
        retry_budget_interval_ms=(
            None if budget is None else budget.milliseconds("budget_interval")
        ),
        connect_timeout_ms=_CONNECT_TIMEOUT_MS if timeout is None else timeout,
        keepalive_time_s=_limit(keepalive, "keepalive_time", 0),
        keepalive_interval_s=_limit(keepalive, "keepalive_interval", 0),
        keepalive_probes=_limit(keepalive, "keepalive_probes", 0),
        idle_timeout_ms=None if common is None else common.milliseconds("idle_timeout"),
        max_connection_duration_ms=(
            None if common is None else common.milliseconds("max_connection_duration")
        ),
        max_requests_per_connection=_limit(common, "max_requests_per_connection", 0),
        max_concurrent_streams=_limit(http2, "max_concurrent_streams", 0),
    )


def _thresholds(cluster: Message) -> Message | None:
    """The limits for default priority; those for others are left."""
    breakers = cluster.message("circuit_breakers")
    if breakers is None:
        return None
    found = None
    for item in breakers.messages("thresholds"):
        if found is None and item.peek("priority") in (None, "DEFAULT"):
            item.json("priority")
            found = item
    return found


def _limit(message: Message | None, name: str, default: int) -> int:
    return default if message is None else message.integer(name, default)


def _keepalive(cluster: Message) -> Message | None:
    options = cluster.message("upstream_connection_options")
    return None if options is None else options.message("tcp_keepalive")


def outlier_detection(cluster: Message) -> OutlierDetection | None:
    """When an endpoint is taken out; None: never."""
    found = cluster.message("outlier_detection")
    if found is None:
        return None
    number = found.optional_integer
    return OutlierDetection(
        consecutive_5xx=number("consecutive_5xx"),
        enforcing_consecutive_5xx=number("enforcing_consecutive_5xx"),
        consecutive_gateway_failure=number("consecutive_gateway_failure"),
        enforcing_consecutive_gateway_failure=number("enforcing_consecutive_gateway_failure"),
        split_local_origin_errors=found.boolean("split_external_local_origin_errors"),
        consecutive_local_origin_failure=number("consecutive_local_origin_failure"),
        enforcing_consecutive_local_origin_failure=number(
            "enforcing_consecutive_local_origin_failure"
        ),
        enforcing_success_rate=number("enforcing_success_rate"),
        enforcing_local_origin_success_rate=number("enforcing_local_origin_success_rate"),
        interval_ms=found.milliseconds("interval"),
        base_ejection_time_ms=found.milliseconds("base_ejection_time"),
        max_ejection_time_ms=found.milliseconds("max_ejection_time"),
        max_ejection_percent=number("max_ejection_percent"),
    )
