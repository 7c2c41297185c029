"""What is traced of HTTP requests, from Telemetry, MeshConfig and the proxy's own configuration.

Source: https://istio.io/latest/docs/reference/config/telemetry/#Tracing.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from meshscope.policy.telemetry import Tracing
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

_DEFAULT_PERCENT = 1.0
_IDENTITY_TAGS = tuple(
    f"istio.{name}=$self.{name}"
    for name in ("canonical_revision", "canonical_service", "cluster_id", "mesh_id", "namespace")
)
_DRY_RUN_TAGS = tuple(
    f"istio.authorization.dry_run.{action}_policy.{tag}=metadata:"
    + canonical_json(
        {
            "kind": {"request": {}},
            "metadata_key": {
                "key": "envoy.filters.http.rbac",
                "path": [{"key": f"istio_dry_run_{action}_shadow_{key}"}],
            },
        }
    )
    for action in ("allow", "deny")
    for tag, key in (("name", "effective_policy_id"), ("result", "engine_result"))
)
_HUNDREDTHS = 100


def tracing(
    specs: Iterable[Spec],
    mesh_config: Spec,
    proxy_config: Spec,
    direction: Direction,
    *,
    sampling_percent: float = _DEFAULT_PERCENT,
) -> Tracing | None:
    """What is traced on the HTTP chains of one direction; None: nothing.

    Args:
        specs: Specs of the Telemetry resources in force, widest first.
        mesh_config: MeshConfig.
        proxy_config: ProxyConfig of the proxy.
        direction: Of the chains.
        sampling_percent: istiod's `PILOT_TRACE_SAMPLING`.

    Raises:
        UnmodelledProviderError: A tracing provider is in use.
    """
    parts = [part for spec in specs for part in spec.get("tracing") or ()]
    defaults = default_providers(mesh_config, "tracing")
    own = proxy_config.get("tracing") or {}
    percent = float(own.get("sampling") or sampling_percent)
    if percent > 100:
        percent = _DEFAULT_PERCENT
    if not parts and not defaults:
        if mesh_config.get("enableTracing") is False:
            return None
        istio_tags = own.get("enableIstioTags") is not False
        return _without_provider(percent, istio_tags, own.get("customTags") or {})
    name = _reporting_provider(parts, defaults[0] if defaults else "", direction)
    if name.lower() not in providers(mesh_config):
        return None
    raise UnmodelledProviderError(
        f"traces go to provider {name!r}, whose configuration is not modelled"
    )


def _reporting_provider(parts: Iterable[Spec], name: str, direction: Direction) -> str:
    """Name of the provider that gets the spans; empty: reporting is off, or nobody is named."""
    disabled = False
    for part in parts:
        if not concerns(part.get("match"), direction):
            continue
        if names := named_providers(part):
            name = names[0]
        if part.get("disableSpanReporting") is not None:
            disabled = bool(part["disableSpanReporting"])
    return "" if disabled else name


def _without_provider(percent: float, istio_tags: bool, custom: Mapping[str, Any]) -> Tracing:
    tags = [*_IDENTITY_TAGS, *_DRY_RUN_TAGS] if istio_tags else []
    tags += (tag for name, spec in custom.items() if (tag := _tag(name, spec or {})))
    return Tracing(
        client_percent=100 * _HUNDREDTHS,
        random_percent=round(percent * _HUNDREDTHS),
        overall_percent=100 * _HUNDREDTHS,
        tags=tuple(tags),
    )


def _tag(name: str, spec: Spec) -> str:
    for kind in ("environment", "header"):
        if (found := spec.get(kind)) is not None:
            return f"{name}={kind}:{found.get('name', '')}:{found.get('defaultValue') or ''}"
    if (literal := spec.get("literal")) is not None:
        return f"{name}={literal.get('value', '')}"
    return ""
