"""Which access logs a proxy writes, from Telemetry and MeshConfig.

Source: https://istio.io/latest/docs/reference/config/telemetry/#AccessLogging.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from meshscope.policy.telemetry import AccessLog
from meshscope.projection.telemetry.metrics import canonical_json
from meshscope.projection.telemetry.providers import (
    Direction,
    Spec,
    UnmodelledProviderError,
    concerns,
    default_providers,
    named_providers,
    providers,
)

_TEXT_FORMAT = (
    '[%START_TIME%] "%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%" '
    "%RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %CONNECTION_TERMINATION_DETAILS% "
    '"%UPSTREAM_TRANSPORT_FAILURE_REASON%" %BYTES_RECEIVED% %BYTES_SENT% %DURATION% '
    '%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% "%REQ(X-FORWARDED-FOR)%" "%REQ(USER-AGENT)%" '
    '"%REQ(X-REQUEST-ID)%" "%REQ(:AUTHORITY)%" "%UPSTREAM_HOST%" %UPSTREAM_CLUSTER_RAW% '
    "%UPSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_REMOTE_ADDRESS% "
    "%REQUESTED_SERVER_NAME% %ROUTE_NAME%\n"
)
_JSON_FORMAT: Mapping[str, str] = {
    "authority": "%REQ(:AUTHORITY)%",
    "bytes_received": "%BYTES_RECEIVED%",
    "bytes_sent": "%BYTES_SENT%",
    "connection_termination_details": "%CONNECTION_TERMINATION_DETAILS%",
    "downstream_local_address": "%DOWNSTREAM_LOCAL_ADDRESS%",
    "downstream_remote_address": "%DOWNSTREAM_REMOTE_ADDRESS%",
    "duration": "%DURATION%",
    "method": "%REQ(:METHOD)%",
    "path": "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%",
    "protocol": "%PROTOCOL%",
    "request_id": "%REQ(X-REQUEST-ID)%",
    "requested_server_name": "%REQUESTED_SERVER_NAME%",
    "response_code": "%RESPONSE_CODE%",
    "response_code_details": "%RESPONSE_CODE_DETAILS%",
    "response_flags": "%RESPONSE_FLAGS%",
    "route_name": "%ROUTE_NAME%",
    "start_time": "%START_TIME%",
    "upstream_cluster": "%UPSTREAM_CLUSTER_RAW%",
    "upstream_host": "%UPSTREAM_HOST%",
    "upstream_local_address": "%UPSTREAM_LOCAL_ADDRESS%",
    "upstream_service_time": "%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)%",
    "upstream_transport_failure_reason": "%UPSTREAM_TRANSPORT_FAILURE_REASON%",
    "user_agent": "%REQ(USER-AGENT)%",
    "x_forwarded_for": "%REQ(X-FORWARDED-FOR)%",
}
_STDOUT = "/dev/stdout"
_BUILT_IN = "envoy"
_ENVOY_TYPE = "type.googleapis.com/envoy.extensions.access_loggers"
_NO_ROUTE = {"response_flag_filter": {"flags": ["NR"]}}
"""What a listener logs: connections that no chain took."""

_SERVICES = frozenset(("envoyHttpAls", "envoyTcpAls", "envoyOtelAls"))
"""Kinds of providers whose logs go to a service."""


@dataclass(frozen=True, slots=True)
class _Log:
    """One log before it is known where it stands: sink and format, condition of a Telemetry."""

    sink: str
    format: str
    expression: str = ""


def access_logs(
    specs: Iterable[Spec], mesh_config: Spec, direction: Direction
) -> tuple[tuple[AccessLog, ...], tuple[AccessLog, ...]]:
    """The access logs of one direction: of each connection, and of a listener itself.

    Args:
        specs: Specs of the Telemetry resources in force, widest first.
        mesh_config: MeshConfig.
        direction: Of the chains.

    Raises:
        UnmodelledProviderError: Logs go to a service.
    """
    logs = _logs(list(specs), mesh_config, direction)
    return (
        tuple(AccessLog(log.sink, log.format, _condition(log)) for log in logs),
        ()
        if mesh_config.get("disableEnvoyListenerLog")
        else tuple(
            AccessLog(log.sink, log.format, _condition(log, _NO_ROUTE), "listener") for log in logs
        ),
    )


def _logs(specs: list[Spec], mesh_config: Spec, direction: Direction) -> list[_Log]:
    levels = [parts for spec in specs if (parts := spec.get("accessLogging"))]
    known = providers(mesh_config)
    logs: list[_Log] = []
    found = False
    chosen = _chosen(levels, mesh_config, direction)
    for name in sorted(chosen, key=lambda name: str(known.get(name.lower(), {}).get("name"))):
        provider = known.get(name.lower(), {})
        expression = chosen[name]
        if expression is not None and not _SERVICES.isdisjoint(provider):
            raise UnmodelledProviderError(
                f"logs go to provider {name!r}, whose configuration is not modelled"
            )
        file = provider.get("envoyFileAccessLog")
        found = found or file is not None or not _SERVICES.isdisjoint(provider)
        if file is not None and expression is not None:
            logs.append(_Log(*_file(provider, file, mesh_config), expression))
    path = mesh_config.get("accessLogFile")
    if not found and path:
        # No Telemetry says anything about logs that exist: MeshConfig's older setting counts.
        logs.append(_Log(f"file:{path}", _mesh_format(mesh_config)))
    return logs


def _chosen(
    levels: list[list[Spec]], mesh_config: Spec, direction: Direction
) -> dict[str, str | None]:
    """Providers that are decided about: the expression of their filter, or None for off."""
    defaults = list(default_providers(mesh_config, "accessLogging"))
    if not levels:
        return dict.fromkeys(defaults, "")
    in_scope = defaults
    filters: dict[str, str] = {}
    for level in levels:
        names: list[str] = []
        for part in level:
            if not concerns(part.get("match"), direction):
                continue
            named = named_providers(part)
            names += named
            expression = (part.get("filter") or {}).get("expression") or ""
            filters.update(dict.fromkeys(named, expression))
        in_scope = names or in_scope
    chosen: dict[str, str | None] = {}
    inherited = defaults
    for part in (part for level in levels for part in level):
        inherited = named_providers(part) or inherited
        for name in inherited:
            if name in in_scope and concerns(part.get("match"), direction):
                chosen[name] = None if part.get("disabled") else filters.get(name, "")
    return chosen


def _file(provider: Spec, file: Spec, mesh_config: Spec) -> tuple[str, str]:
    """Sink and format of a provider that writes to a file."""
    layout = file.get("logFormat")
    path = file.get("path") or ""
    if provider.get("name") == _BUILT_IN and layout is None and not file.get("omitEmptyValues"):
        return f"file:{path}", _mesh_format(mesh_config)
    sink = f"file:{path or _STDOUT}"
    if layout is not None and "labels" in layout:
        return sink, canonical_json(layout["labels"] or _JSON_FORMAT)
    return sink, _text((layout or {}).get("text"))


def _mesh_format(mesh_config: Spec) -> str:
    layout = mesh_config.get("accessLogFormat")
    if mesh_config.get("accessLogEncoding") != "JSON":
        return _text(layout)
    parsed: Any = None
    if layout:
        try:
            parsed = json.loads(layout)
        except ValueError:
            # Istio logs the error and uses its own format.
            parsed = None
    return canonical_json(parsed if isinstance(parsed, dict) else _JSON_FORMAT)


def _text(layout: str | None) -> str:
    if not layout:
        return _TEXT_FORMAT
    return layout if layout.endswith("\n") else f"{layout}\n"


def _condition(log: _Log, *others: Spec) -> str:
    conditions = list(others)
    if log.expression:
        typed = {
            "@type": f"{_ENVOY_TYPE}.filters.cel.v3.ExpressionFilter",
            "expression": log.expression,
        }
        conditions.append(
            {
                "extension_filter": {
                    "name": "envoy.access_loggers.extension_filters.cel",
                    "typed_config": typed,
                }
            }
        )
    if not conditions:
        return ""
    if len(conditions) == 1:
        return canonical_json(conditions[0])
    return canonical_json({"and_filter": {"filters": conditions}})
