"""Settings that change what sidecars hold in ways that are not modelled.

Where one of them differs from its default, nothing can be said of the kinds of policies that it
touches. Settings that only concern gateways, istiod itself or the sidecar agent are not here.

Source: https://istio.io/latest/docs/reference/commands/pilot-discovery/#envvars and
https://istio.io/latest/docs/reference/config/istio.mesh.v1alpha1/.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from meshscope.policy.kinds import Kind
from meshscope.projection.context import Context, Contribution
from meshscope.projection.result import Unverifiable

Kinds = tuple[Kind, ...]
Path = tuple[str, ...]

_SERVICES: Final = (Kind.OUTBOUND_LISTENER, Kind.HTTP_ROUTE, Kind.DESTINATION, Kind.ENDPOINTS)
_SENT: Final = (Kind.DESTINATION, Kind.ENDPOINTS)
_TLS: Final = (Kind.DESTINATION, Kind.PEER_AUTHENTICATION)
_HTTP: Final = (Kind.HTTP_CONNECTION, Kind.EXTENSION)
_FILTER: Final = (Kind.FILTER_ORDER, Kind.HTTP_CONNECTION, Kind.EXTENSION)
_SESSIONS: Final = (Kind.HTTP_ROUTE, Kind.FILTER_ORDER, Kind.DESTINATION, Kind.EXTENSION)
_INBOUND: Final = (
    Kind.INBOUND,
    Kind.PEER_AUTHENTICATION,
    Kind.REQUEST_AUTHENTICATION,
    Kind.AUTHORIZATION,
    Kind.HTTP_CONNECTION,
    Kind.FILTER_ORDER,
)
_TUNNELS: Final = (*_SERVICES, *_INBOUND, Kind.EXTENSION)
_EVERYWHERE: Final = (
    Kind.DESTINATION, Kind.ENDPOINTS, Kind.HTTP_CONNECTION, Kind.FILTER_ORDER, Kind.INBOUND,
    Kind.OUTBOUND_LISTENER, Kind.PEER_AUTHENTICATION, Kind.EXTENSION,
)  # fmt: skip

SWITCHES: Final[Mapping[str, tuple[bool, Kinds]]] = {
    "DISABLE_SHADOW_HOST_SUFFIX": (True, (Kind.HTTP_ROUTE,)),
    "ENABLE_ENHANCED_DESTINATIONRULE_MERGE": (True, _SENT),
    "ENABLE_HCM_INTERNAL_NETWORKS": (False, _HTTP),
    "ENABLE_LOCALITY_WEIGHTED_LB_CONFIG": (False, (Kind.DESTINATION,)),
    "ENABLE_MCS_SERVICE_DISCOVERY": (False, _SERVICES),
    "ENABLE_WILDCARD_HOST_SERVICE_ENTRIES_FOR_TLS": (False, _SERVICES),
    "ISTIO_DUAL_STACK": (False, _EVERYWHERE),
    "ISTIO_ENABLE_IPV4_OUTBOUND_LISTENER_FOR_IPV6_CLUSTERS": (False, (Kind.OUTBOUND_LISTENER,)),
    "LABEL_CANONICAL_SERVICES_FOR_MESH_EXTERNAL_SERVICE_ENTRIES": (False, _SENT),
    "PILOT_ALLOW_SIDECAR_SERVICE_INBOUND_LISTENER_MERGE": (False, _INBOUND),
    "PILOT_ENABLE_ABSOLUTE_FQDN_VHOST_DOMAIN": (True, (Kind.HTTP_ROUTE,)),
    "PILOT_ENABLE_AMBIENT": (False, _EVERYWHERE),
    "PILOT_ENABLE_EDS_FOR_HEADLESS_SERVICES": (
        False,
        (*_SENT, Kind.OUTBOUND_LISTENER, Kind.EXTENSION),
    ),
    "PILOT_ENABLE_GATEWAY_API": (True, (Kind.HTTP_ROUTE,)),
    "PILOT_ENABLE_K8S_SELECT_WORKLOAD_ENTRIES": (True, _SENT),
    "PILOT_ENABLE_PERSISTENT_SESSION_FILTER": (False, _SESSIONS),
    "PILOT_ENABLE_SERVICEENTRY_SELECT_PODS": (True, (*_SENT, *_INBOUND)),
    "PILOT_SIDECAR_PICK_BEST_SERVICE_NAMESPACE": (True, _SERVICES),
    "PILOT_UNIFIED_SIDECAR_SCOPE": (True, _SERVICES),
    "PREFER_DESTINATIONRULE_TLS_FOR_EXTERNAL_SERVICES": (True, (Kind.DESTINATION,)),
}
"""istiod's switches: the default, and what another value touches.

Some changed what a real istiod sent to a recorded mesh when they were turned the other way; of the
others it is taken from their documentation.
"""

VALUES: Final[Mapping[str, tuple[str, Kinds]]] = {
    "COMPLIANCE_POLICY": ("", _TLS),
    "ISTIO_DEFAULT_REQUEST_TIMEOUT": ("0s", (Kind.HTTP_ROUTE,)),
    "METRIC_GRACEFUL_DELETION_INTERVAL": ("5m", (Kind.TELEMETRY,)),
    "METRIC_ROTATION_INTERVAL": ("0s", (Kind.TELEMETRY,)),
    "PILOT_DNS_CARES_UDP_MAX_QUERIES": ("100", (Kind.DESTINATION, Kind.EXTENSION)),
    "PILOT_DNS_JITTER_DURATION": ("100ms", (Kind.DESTINATION,)),
    "PILOT_DRAINING_LABEL": ("istio.io/draining", (Kind.ENDPOINTS,)),
    "PILOT_MX_ADDITIONAL_LABELS": ("", _FILTER),
    "SHARED_MESH_CONFIG": ("", tuple(Kind)),
}
"""istiod's other settings: the default as istiod prints it, and what another value touches."""

MESH: Final[Mapping[Path, Kinds]] = {
    ("enableEnvoyAccessLogService",): (Kind.TELEMETRY, Kind.EXTENSION),
}
"""Fields of MeshConfig that are off by default, and what they touch."""

PROXY: Final[Mapping[Path, Kinds]] = {
    ("proxyHeaders", "envoyDebugHeaders", "disabled"): _FILTER,
    ("proxyHeaders", "metadataExchangeHeaders", "mode"): _FILTER,
    ("proxyHeaders", "preserveHttp1HeaderCase"): (*_HTTP, Kind.DESTINATION, Kind.INBOUND),
    ("proxyHeaders", "requestId", "disabled"): _HTTP,
    ("proxyHeaders", "xForwardedHost", "enabled"): (*_HTTP, Kind.HTTP_ROUTE),
    ("proxyHeaders", "xForwardedPort", "enabled"): _HTTP,
    ("tracing", "maxPathTagLength"): (Kind.TELEMETRY, Kind.EXTENSION),
}
"""Fields of ProxyConfig that are off by default, and what they touch."""

METADATA: Final[Mapping[Path, Kinds]] = {("ENABLE_HBONE",): _TUNNELS}
"""Metadata of a proxy's node that are off by default, and what they touch."""

_OFF: Final = frozenset(("", "0", "False", "false", "UNDEFINED"))


def unmodelled_settings(context: Context) -> Contribution:
    """What of the proxy's policies depends on settings that are not modelled."""
    mesh = context.mesh
    said = (
        *_environment(context),
        *_fields(mesh.config.given, MESH, "MeshConfig"),
        *_fields(context.proxy_config, PROXY, "ProxyConfig"),
        *_fields(context.proxy.metadata, METADATA, "the proxy's metadata"),
    )
    return Contribution(unverifiable=tuple(dict.fromkeys(said)))


def _environment(context: Context) -> Iterator[Unverifiable]:
    features = context.mesh.features
    for name in sorted(features.environment):
        text = features.text(name)
        if name in SWITCHES:
            default, kinds = SWITCHES[name]
            differs = features.switch(name, default) != default
        elif name in VALUES:
            usual, kinds = VALUES[name]
            differs = text not in ("", usual)
        else:
            continue
        if differs:
            yield from _unverifiable(f"istiod's {name}", text, kinds)


def _fields(
    given: Mapping[str, Any], table: Mapping[Path, Kinds], of: str
) -> Iterator[Unverifiable]:
    for path, kinds in table.items():
        value: Any = given
        for name in path:
            value = value.get(name) if isinstance(value, Mapping) else None
        if value is not None and str(value) not in _OFF:
            yield from _unverifiable(f"{'.'.join(path)} of {of}", str(value), kinds)


def _unverifiable(name: str, value: str, kinds: Kinds) -> Iterator[Unverifiable]:
    for kind in kinds:
        yield Unverifiable(f"{name} is {value!r}, which is not modelled", kind)
