"""Kind `telemetry`: what a workload logs, traces and measures, per direction and protocol."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from meshscope.events.resource import Resource
from meshscope.policy import key as keys
from meshscope.policy.policy import Policy
from meshscope.policy.source import ResourceRef
from meshscope.policy.telemetry import AccessLog, Metrics, Telemetry, Tracing
from meshscope.projection.telemetry.access_logs import access_logs
from meshscope.projection.telemetry.metrics import metrics_filters
from meshscope.projection.telemetry.providers import Direction, UnmodelledProviderError
from meshscope.projection.telemetry.tracing import tracing


@dataclass(frozen=True, slots=True)
class Reporting:
    """What the chains of one direction report.

    Attributes:
        logs: Access logs of every chain.
        listener_logs: Those of a listener that has logs of its own.
        tracing: Of HTTP chains; None: nothing is traced.
        metrics: One per filter; empty: nothing is measured.
        sources: Telemetry resources in force.
        unmodelled: Why logs or tracing are not told; empty: they are.
    """

    direction: Direction
    logs: tuple[AccessLog, ...] = ()
    listener_logs: tuple[AccessLog, ...] = ()
    tracing: Tracing | None = None
    metrics: tuple[Metrics, ...] = ()
    sources: tuple[ResourceRef, ...] = ()
    unmodelled: str = ""


def reporting(
    resources: Iterable[Resource],
    mesh_config: Mapping[str, Any],
    proxy_config: Mapping[str, Any],
    direction: Direction,
    *,
    sampling_percent: float,
) -> Reporting:
    """What a workload reports of one direction.

    Args:
        resources: Telemetry resources in force, widest first.
        mesh_config: MeshConfig.
        proxy_config: ProxyConfig of the proxy.
        direction: Of the chains.
        sampling_percent: istiod's `PILOT_TRACE_SAMPLING`.
    """
    found = tuple(resources)
    specs = [resource.spec for resource in found]
    reports = Reporting(
        direction,
        metrics=metrics_filters(specs, mesh_config, direction),
        sources=tuple(resource.ref for resource in found),
    )
    try:
        logs, listener_logs = access_logs(specs, mesh_config, direction)
        traced = tracing(
            specs, mesh_config, proxy_config, direction, sampling_percent=sampling_percent
        )
    except UnmodelledProviderError as error:
        return replace(reports, unmodelled=str(error))
    return replace(reports, logs=logs, listener_logs=listener_logs, tracing=traced)


def telemetry_policies(
    found: Reporting, *, listeners: Mapping[str, frozenset[bool]]
) -> Iterator[Policy]:
    """The telemetry of one direction.

    Args:
        found: What is reported.
        listeners: Per protocol of chains (`http`, `tcp`), whether the listeners that hold such
            chains have access logs of their own; protocols without chains are left out.
    """
    for protocol, have_logs in listeners.items():
        yield Policy(
            keys.telemetry(found.direction, protocol),
            Telemetry(
                access_logs=tuple(
                    (*found.logs, *(found.listener_logs if own else ())) for own in have_logs
                ),
                tracing=(found.tracing,) if protocol == keys.PROTOCOL_HTTP else (),
                metrics=found.metrics or (None,),
            ),
            found.sources,
        )
