"""Patches of clusters.

Source: https://www.envoyproxy.io/docs/envoy/latest/api-v3/config/cluster/v3/cluster.proto.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Final

from meshscope.policy.destination import (
    ConnectionPool,
    Destination,
    LoadBalancing,
    OutlierDetection,
)
from meshscope.policy.inbound import Inbound
from meshscope.policy.key import ANY_PORT, PolicyKey
from meshscope.policy.kinds import Kind
from meshscope.projection.patches.effects import Effect, Held, changed
from meshscope.projection.patches.fields import Fields, Unmodelled, read
from meshscope.projection.patches.in_force import INBOUND, OUTBOUND, Json, Patch

_PASSTHROUGH: Final = "InboundPassthroughCluster"
_POLICIES: Final = {
    "LEAST_REQUEST": "least_request",
    "RING_HASH": "ring_hash",
    "RANDOM": "random",
    "MAGLEV": "maglev",
}
"""What a merge can set; ROUND_ROBIN is the default, which a merge takes for not given."""

_COUNTS: Final = (
    "consecutive_5xx", "enforcing_consecutive_5xx", "consecutive_gateway_failure",
    "enforcing_consecutive_gateway_failure", "consecutive_local_origin_failure",
    "enforcing_consecutive_local_origin_failure", "enforcing_success_rate",
    "enforcing_local_origin_success_rate", "max_ejection_percent",
)  # fmt: skip
_TIMES: Final = ("interval", "base_ejection_time", "max_ejection_time")

_NOTHING: Final = Destination("eds")

_Pool = Callable[[ConnectionPool], ConnectionPool]
_Change = Callable[[Destination], Destination]


def merge(patch: Patch, held: Held) -> Iterator[Effect]:
    """Settings that are merged into clusters."""
    pool, change, leftovers = read(
        patch.value, "cluster", lambda fields: _merge(fields, patch.operation)
    )
    if INBOUND in patch.directions and change(_NOTHING) is not _NOTHING:
        raise Unmodelled("settings of inbound clusters other than their limits")
    match: Json = patch.match.get("cluster") or {}
    if OUTBOUND in patch.directions:
        keys = [key for key in held if key.kind is Kind.DESTINATION and _matches(match, key)]
        yield from changed(
            held,
            keys,
            Destination,
            lambda content: change(replace(content, connection_pool=pool(content.connection_pool))),
            patch.source,
            leftovers=leftovers,
        )
    if INBOUND in patch.directions:
        keys = [
            key for key in held if key.kind is Kind.INBOUND and _matches_inbound(match, key, held)
        ]
        yield from changed(
            held, keys, Inbound, lambda port: _upstream(port, pool), patch.source,
            leftovers=leftovers,
        )  # fmt: skip


def remove(patch: Patch, held: Held) -> Iterator[Effect]:
    """Clusters that are taken away."""
    if INBOUND in patch.directions:
        raise Unmodelled("inbound clusters that are removed")
    match: Json = patch.match.get("cluster") or {}
    for key in held:
        if key.kind in (Kind.DESTINATION, Kind.ENDPOINTS) and _matches(match, key):
            yield Effect(key, ())


def _matches(match: Json, key: PolicyKey) -> bool:
    """Whether a cluster is meant; keys of others than services have port 0."""
    host, port, subset = key.parts
    if match.get("name"):
        name = f"outbound|{port}|{subset}|{host}" if port != "0" else host
        return bool(match["name"] == name)
    if port == "0":
        host = ""
    return (
        _is(match.get("service"), host)
        and _is(match.get("subset"), subset)
        and _is(str(match.get("portNumber") or ""), port)
    )


def _is(wanted: str | None, found: str) -> bool:
    return not wanted or wanted == found


def _matches_inbound(match: Json, key: PolicyKey, held: Held) -> bool:
    port = key.parts[0]
    name = _PASSTHROUGH if port == ANY_PORT else f"inbound|{port}||"
    if match.get("name"):
        return bool(match["name"] == name)
    if match.get("subset") or not _is(str(match.get("portNumber") or ""), port):
        return False
    service = match.get("service")
    return not service or any(
        one.host == service
        for policy in held[key]
        if policy is not None and isinstance(policy.content, Inbound)
        for one in policy.content.services
    )


def _upstream(port: Inbound, pool: _Pool) -> Inbound:
    if port.upstream is None:
        return port
    upstream = replace(port.upstream, connection_pool=pool(port.upstream.connection_pool))
    return replace(port, upstream=upstream)


def _merge(fields: Fields, operation: str) -> tuple[_Pool, _Change, bool]:
    """What becomes of limits and of the rest, and whether leftovers stay."""
    timeout = fields.duration("connect_timeout")
    keepalive = fields.message(
        "upstream_connection_options",
        lambda options: options.message("tcp_keepalive", _keepalive),
    )
    limits: dict[str, Any] = dict(keepalive or {})
    if timeout is not None:
        limits["connect_timeout_ms"] = timeout
    balancing = fields.word("lb_policy", _POLICIES, "ROUND_ROBIN")
    outlier = fields.message("outlier_detection", _outlier)
    respects = fields.flag("respect_dns_ttl")
    refresh = fields.duration("dns_refresh_rate")
    # Merged lists are appended, and of two limits for a priority Envoy takes the first.
    leftovers = operation == "MERGE" and fields.json("circuit_breakers") is not None

    def pool(given: ConnectionPool) -> ConnectionPool:
        return replace(given, **limits)

    def change(given: Destination) -> Destination:
        found = given
        if balancing is not None:
            found = replace(found, load_balancing=_balance(found.load_balancing, balancing))
        if outlier is not None:
            known = found.outlier_detection or OutlierDetection()
            found = replace(found, outlier_detection=outlier(known))
        if respects:
            found = replace(found, dns_respect_ttl=True)
        if refresh is not None:
            found = replace(found, dns_refresh_ms=refresh)
        return found

    return pool, change, leftovers


def _keepalive(fields: Fields) -> dict[str, int]:
    names = {
        "keepalive_time": "keepalive_time_s",
        "keepalive_interval": "keepalive_interval_s",
        "keepalive_probes": "keepalive_probes",
    }
    found = {attribute: fields.number(name) for name, attribute in names.items()}
    return {attribute: number for attribute, number in found.items() if number is not None}


def _balance(given: LoadBalancing, policy: str) -> LoadBalancing:
    if given.policy == "cluster_provided" or given.ring_size or given.slow_start_ms:
        raise Unmodelled("a load balancing policy in place of one with settings")
    return replace(given, policy=policy)


def _outlier(fields: Fields) -> Callable[[OutlierDetection], OutlierDetection]:
    counts = {name: fields.number(name) for name in _COUNTS}
    times = {f"{name}_ms": fields.duration(name) for name in _TIMES}
    splits = fields.flag("split_external_local_origin_errors")
    lasting = {name: value for name, value in times.items() if value is not None}

    def merged(known: OutlierDetection) -> OutlierDetection:
        # Merging zero into a number leaves it as it is.
        given = {
            name: value
            for name, value in counts.items()
            if value or (value == 0 and getattr(known, name) is None)
        }
        return replace(
            known,
            **lasting,
            **given,
            split_local_origin_errors=known.split_local_origin_errors or bool(splits),
        )

    return merged
