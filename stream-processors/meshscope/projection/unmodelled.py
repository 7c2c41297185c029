"""What is not modelled, so that nothing can be said of it.

Source: https://gateway-api.sigs.k8s.io/reference/spec/#tlsroute,
https://istio.io/latest/docs/reference/commands/pilot-discovery/#envvars and
https://istio.io/latest/docs/reference/config/networking/sidecar/#OutboundTrafficPolicy-Mode.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from ipaddress import ip_address
from typing import Final

from meshscope.policy import key
from meshscope.policy.kinds import Kind
from meshscope.projection.context import Context, Contribution
from meshscope.projection.mesh import Mesh
from meshscope.projection.result import Unverifiable
from meshscope.projection.sidecar_scope import SidecarScope

_FILTERS: Final[Mapping[str, tuple[str, bool]]] = {
    "mongo": ("PILOT_ENABLE_MONGO_FILTER", True),
    "mysql": ("PILOT_ENABLE_MYSQL_FILTER", False),
    "redis": ("PILOT_ENABLE_REDIS_FILTER", False),
}
"""Protocols with filters of their own, the switch of each and its default."""

_EVERYWHERE: Final = (
    Kind.DESTINATION, Kind.ENDPOINTS, Kind.HTTP_CONNECTION, Kind.FILTER_ORDER, Kind.INBOUND,
    Kind.OUTBOUND_LISTENER, Kind.PEER_AUTHENTICATION, Kind.EXTENSION,
)  # fmt: skip

SWITCHES: Final[Mapping[str, tuple[str, tuple[Kind, ...]]]] = {
    "ENABLE_LOCALITY_WEIGHTED_LB_CONFIG": ("locality weights everywhere", (Kind.DESTINATION,)),
    "ISTIO_DUAL_STACK": ("dual stack", _EVERYWHERE),
    "PILOT_ENABLE_AMBIENT": ("ambient mode beside sidecars", _EVERYWHERE),
    "PILOT_ENABLE_EDS_FOR_HEADLESS_SERVICES": (
        "load balancing of headless services",
        (Kind.DESTINATION, Kind.ENDPOINTS, Kind.OUTBOUND_LISTENER, Kind.EXTENSION),
    ),
    "PILOT_ENABLE_PERSISTENT_SESSION_FILTER": (
        "persistent sessions",
        (Kind.FILTER_ORDER, Kind.HTTP_ROUTE, Kind.EXTENSION),
    ),
}
"""Switches of istiod, off by default, that change what is not modelled: what, and the kinds.

Every switch that istiod of `features.LATEST` reads was turned the other way on a recorded mesh. One
that is not here changed nothing there, or is modelled.
"""

_MODES: Final = (None, "ALLOW_ANY", "REGISTRY_ONLY")
_ALPHA: Final = "PILOT_ENABLE_ALPHA_GATEWAY_API"


def unmodelled(context: Context) -> Contribution:
    """Parts of the proxy's outbound policies that are not modelled."""
    memory = context.mesh.remembered(_Found)
    found = memory.by_scope.get(context.scope)
    if found is None:
        said = (
            *_routes(context),
            *_filters(context),
            *_modes(context),
            *_switched(context),
        )
        found = memory.by_scope[context.scope] = Contribution(
            unverifiable=tuple(dict.fromkeys(said))
        )
    own = tuple(_both_families(context))
    return replace(found, unverifiable=(*found.unverifiable, *own)) if own else found


def _switched(context: Context) -> Iterator[Unverifiable]:
    for name, (what, kinds) in SWITCHES.items():
        if context.mesh.features.switch(name, False):
            for kind in kinds:
                yield Unverifiable(f"istiod's {name}: {what} is not modelled", kind)


def _both_families(context: Context) -> Iterator[Unverifiable]:
    """Listeners of a proxy with addresses of both families have further addresses."""
    versions = {ip_address(address).version for address in context.proxy.addresses}
    if len(versions) > 1:
        reason = "further addresses of the listeners of a dual-stack proxy are not modelled"
        yield Unverifiable(reason, Kind.EXTENSION)


class _Found:
    """What was found before in one mesh, by what proxies see."""

    def __init__(self, mesh: Mesh) -> None:
        self.by_scope: dict[SidecarScope, Contribution] = {}


def _routes(context: Context) -> Iterator[Unverifiable]:
    """Routes of the Gateway API for what is not HTTP; Istio serves TCPRoutes only as alpha."""
    kinds = ["TLSRoute"]
    if context.mesh.features.switch(_ALPHA, False):
        kinds.append("TCPRoute")
    for route in context.mesh.declared.of(*kinds):
        parents = route.spec.get("parentRefs") or ()
        if any(parent.get("kind") in ("Service", "ServiceEntry") for parent in parents):
            reason = f"{route.ref} is attached to a service; such routes are not modelled"
            yield Unverifiable(reason, Kind.OUTBOUND_LISTENER, source=route.ref)


def _filters(context: Context) -> Iterator[Unverifiable]:
    order = key.filter_order("outbound", key.TRANSPORT_NONE, key.PROTOCOL_TCP)
    for service in context.scope.services:
        for port in service.ports:
            switch = _FILTERS.get(port.protocol)
            if switch is not None and context.mesh.features.switch(*switch):
                reason = (
                    f"port {port.number} of {service.host} has a filter for {port.protocol}, "
                    "which is not modelled"
                )
                yield Unverifiable(reason, Kind.FILTER_ORDER, key=order, source=service.ref)
                yield Unverifiable(
                    reason, Kind.EXTENSION, key_prefix=(str(order),), source=service.ref
                )


def _modes(context: Context) -> Iterator[Unverifiable]:
    """Ways to treat unknown hosts other than those that are modelled."""
    own = context.scope.spec.get("outboundTrafficPolicy")
    given = context.mesh.config.given.get("outboundTrafficPolicy")
    mode = (given if own is None else own or {}) or {}
    if mode.get("mode") not in _MODES:
        reason = f"the outbound traffic policy {mode['mode']} is not modelled"
        source = context.scope.sidecar.ref if own is not None and context.scope.sidecar else None
        for kind in (Kind.EGRESS, Kind.OUTBOUND_LISTENER, Kind.DESTINATION, Kind.EXTENSION):
            yield Unverifiable(reason, kind, source=source)
