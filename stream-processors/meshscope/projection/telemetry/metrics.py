"""Which metrics Istio's statistics filter reports, from Telemetry and MeshConfig.

Source: https://istio.io/latest/docs/reference/config/telemetry/#Metrics.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from meshscope.policy.telemetry import Metrics
from meshscope.projection.telemetry.providers import (
    Direction,
    Spec,
    concerns,
    default_providers,
    named_providers,
    providers,
)

_PROMETHEUS_NAMES = {
    "GRPC_REQUEST_MESSAGES": "request_messages_total",
    "GRPC_RESPONSE_MESSAGES": "response_messages_total",
    "REQUEST_COUNT": "requests_total",
    "REQUEST_DURATION": "request_duration_milliseconds",
    "REQUEST_SIZE": "request_bytes",
    "RESPONSE_SIZE": "response_bytes",
    "TCP_CLOSED_CONNECTIONS": "tcp_connections_closed_total",
    "TCP_OPENED_CONNECTIONS": "tcp_connections_opened_total",
    "TCP_RECEIVED_BYTES": "tcp_received_bytes_total",
    "TCP_SENT_BYTES": "tcp_sent_bytes_total",
}
"""Istio's name of a metric to the filter's."""

_EVERY_METRIC = "ALL_METRICS"
_encode = msgspec.json.Encoder(order="sorted").encode


@dataclass(slots=True)
class _Override:
    """What has been said about one metric so far."""

    dropped: bool = False
    tags: dict[str, Spec] = field(default_factory=dict)


@dataclass(slots=True)
class _Provider:
    """What has been said about one provider so far."""

    everything_off: bool = False
    interval: str = ""
    metrics: dict[str, _Override] = field(default_factory=dict)


def metrics_filters(
    specs: Iterable[Spec], mesh_config: Spec, direction: Direction
) -> tuple[Metrics, ...]:
    """The statistics filters of the chains of one direction, by name of provider.

    Args:
        specs: Specs of the Telemetry resources in force, widest first.
        mesh_config: MeshConfig.
        direction: Of the chains.
    """
    parts = [part for spec in specs for part in spec.get("metrics") or ()]
    merged = _merged(parts, mesh_config, direction)
    known = providers(mesh_config)
    return tuple(
        _filter(merged[name], direction)
        for name in sorted(merged)
        if "prometheus" in known.get(name.lower(), {}) and not merged[name].everything_off
    )


def _merged(parts: list[Spec], mesh_config: Spec, direction: Direction) -> Mapping[str, _Provider]:
    names = list(default_providers(mesh_config, "metrics"))
    if not parts:
        return {name: _Provider() for name in names}
    in_scope = frozenset(
        next((found for part in reversed(parts) if (found := named_providers(part))), names)
    )
    merged: dict[str, _Provider] = {}
    for part in parts:
        names = named_providers(part) or names
        for name in names:
            if name not in in_scope:
                continue
            provider = merged.setdefault(name, _Provider())
            provider.interval = part.get("reportingInterval") or provider.interval
            for override in part.get("overrides") or ():
                _apply(override, provider, direction)
    return merged


def _apply(override: Spec, provider: _Provider, direction: Direction) -> None:
    match = override.get("match") or {}
    if not concerns(match, direction):
        return
    metric = match.get("customMetric") or match.get("metric") or _EVERY_METRIC
    disabled = override.get("disabled")
    if metric == _EVERY_METRIC and disabled:
        provider.everything_off = True
        return
    # A later override of any kind brings back what an earlier one switched off as a whole.
    provider.everything_off = False
    for name in _PROMETHEUS_NAMES if metric == _EVERY_METRIC else (metric,):
        said = provider.metrics.setdefault(name, _Override())
        if disabled is not None:
            said.dropped = bool(disabled)
        said.tags.update(override.get("tagOverrides") or {})


def _filter(provider: _Provider, direction: Direction) -> Metrics:
    settings: dict[str, Any] = {}
    if provider.interval:
        settings["tcp_reporting_duration"] = provider.interval
    if provider.metrics:
        settings["metrics"] = [
            _metric(name, provider.metrics[name]) for name in sorted(provider.metrics)
        ]
    return Metrics(
        disable_host_header_fallback=direction == "inbound",
        settings=canonical_json(settings) if settings else "",
    )


def _metric(name: str, override: _Override) -> dict[str, Any]:
    removed = sorted(tag for tag, spec in override.tags.items() if _removes(spec))
    kept = {tag: spec.get("value", "") for tag, spec in override.tags.items() if not _removes(spec)}
    metric: dict[str, Any] = {"name": _PROMETHEUS_NAMES.get(name, name)}
    if kept:
        metric["dimensions"] = kept
    if removed:
        metric["tags_to_remove"] = removed
    if override.dropped:
        metric["drop"] = True
    return metric


def _removes(tag: Spec) -> bool:
    return tag.get("operation") == "REMOVE"


def canonical_json(value: object) -> str:
    """JSON with sorted keys and no spaces, as the vocabulary of telemetry wants it."""
    return _encode(value).decode()
