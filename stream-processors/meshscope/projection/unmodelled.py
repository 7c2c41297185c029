"""What is not modelled, so that nothing can be said of it.

Source: https://gateway-api.sigs.k8s.io/reference/spec/#tlsroute,
https://gateway-api.sigs.k8s.io/api-types/backendtlspolicy/,
https://istio.io/latest/docs/reference/commands/pilot-discovery/#envvars and
https://istio.io/latest/docs/reference/config/networking/sidecar/#OutboundTrafficPolicy-Mode.
"""

from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_address
from typing import Any, Final

from meshscope.policy import key
from meshscope.policy.key import PolicyKey
from meshscope.policy.kinds import Kind
from meshscope.projection.context import Context, Contribution
from meshscope.projection.hosts import covers, qualified
from meshscope.projection.memory import Memory
from meshscope.projection.mesh import Mesh
from meshscope.projection.result import Unverifiable

_REDIS: Final = "PILOT_ENABLE_REDIS_FILTER"

_MODES: Final = (None, "ALLOW_ANY", "REGISTRY_ONLY")
_ALPHA: Final = "PILOT_ENABLE_ALPHA_GATEWAY_API"
_CONNECT_STRATEGY: Final = "istio.io/connect-strategy"
_PERSISTENT_SESSION: Final = "istio.io/persistent-session"


def unmodelled(context: Context) -> Contribution:
    """Parts of the proxy's outbound policies that are not modelled."""
    mesh = context.mesh
    memory = mesh.memory.while_same("unmodelled", _decisive(mesh), lambda _, before: Memory[Any]())
    found: Contribution = memory.of(context.scope, lambda: _of_scope(context))
    own = tuple(_both_families(context))
    return replace(found, unverifiable=(*found.unverifiable, *own)) if own else found


def _decisive(mesh: Mesh) -> tuple[object, ...]:
    """All that decides what is not modelled besides what a proxy sees."""
    routes = mesh.declared.of("TLSRoute", "TCPRoute", "BackendTLSPolicy", "XBackendTrafficPolicy")
    return (mesh.registry, mesh.known.rules, *routes)


def _of_scope(context: Context) -> Contribution:
    found = (
        *_routes(context),
        *_backends(context),
        *_sessions(context),
        *_strategies(context),
        *_budgets(context),
        *_filters(context),
        *_dynamic(context),
        *_modes(context),
    )
    return Contribution(unverifiable=tuple(dict.fromkeys(found)))


def _both_families(context: Context) -> Iterator[Unverifiable]:
    """Listeners of a proxy with addresses of both families have further addresses."""
    versions = {ip_address(address).version for address in context.proxy.addresses}
    if len(versions) > 1:
        reason = "further addresses of the listeners of a dual-stack proxy are not modelled"
        yield Unverifiable(reason, Kind.EXTENSION)


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


def _backends(context: Context) -> Iterator[Unverifiable]:
    """Policies of the Gateway API for the way to a service, which Istio takes for rules of its."""
    kinds = ["BackendTLSPolicy"]
    if context.mesh.features.switch(_ALPHA, False):
        kinds.append("XBackendTrafficPolicy")
    for policy in context.mesh.declared.of(*kinds):
        targets = {
            (ref.get("kind") or "Service", policy.namespace, ref.get("name"))
            for ref in policy.spec.get("targetRefs") or ()
        }
        for service in context.mesh.registry.services:
            ref = service.ref
            if (ref.kind, ref.namespace, ref.name) in targets:
                reason = f"{policy.ref} is attached to {service.host}, and is not modelled"
                for kind in (Kind.DESTINATION, Kind.ENDPOINTS):
                    yield Unverifiable(reason, kind, key_prefix=(service.host,), source=policy.ref)


def _sessions(context: Context) -> Iterator[Unverifiable]:
    """Services whose clients are sent endpoints that drain, so that sessions persist."""
    for service in context.mesh.registry.services:
        if service.labels.get(_PERSISTENT_SESSION):
            reason = f"{service.host} has persistent sessions, which are not modelled"
            yield Unverifiable(
                reason, Kind.ENDPOINTS, key_prefix=(service.host,), source=service.ref
            )


def _strategies(context: Context) -> Iterator[Unverifiable]:
    """Services whose endpoints the proxy tries to reach at once."""
    for entry in context.mesh.declared.of("ServiceEntry"):
        if _CONNECT_STRATEGY not in (*entry.annotations, *entry.labels):
            continue
        reason = f"{entry.ref} has a connect strategy, which is not modelled"
        for service in context.mesh.registry.services:
            if service.ref != entry.ref:
                continue
            yield Unverifiable(
                reason, Kind.DESTINATION, key_prefix=(service.host,), source=entry.ref
            )
            for port in service.ports:
                place = str(key.destination(service.host, port.number))
                yield Unverifiable(reason, Kind.EXTENSION, key_prefix=(place,), source=entry.ref)


def _budgets(context: Context) -> Iterator[Unverifiable]:
    """Destinations with retry budgets, which Istio before 1.30 lost now and then."""
    if context.mesh.features.has("retry_budgets"):
        return
    for rule in context.mesh.declared.of("DestinationRule"):
        policies = [rule.spec, *(rule.spec.get("subsets") or ())]
        if not any((p.get("trafficPolicy") or {}).get("retryBudget") for p in policies):
            continue
        pattern = qualified(rule.spec.get("host") or "", rule.namespace, context.mesh.domain)
        reason = f"the retry budget of {rule.ref} is not modelled for this version of Istio"
        for service in context.scope.services:
            if covers(pattern, service.host):
                yield Unverifiable(
                    reason, Kind.DESTINATION, key_prefix=(service.host,), source=rule.ref
                )


def _filters(context: Context) -> Iterator[Unverifiable]:
    order = key.filter_order("outbound", key.TRANSPORT_NONE, key.PROTOCOL_TCP)
    for service in context.scope.services:
        for port in service.ports:
            if port.protocol == "redis" and context.mesh.features.switch(_REDIS, False):
                reason = (
                    f"port {port.number} of {service.host} has a filter for {port.protocol}, "
                    "which is not modelled"
                )
                yield Unverifiable(reason, Kind.FILTER_ORDER, key=order, source=service.ref)
                yield Unverifiable(
                    reason, Kind.EXTENSION, key_prefix=(str(order),), source=service.ref
                )


def _dynamic(context: Context) -> Iterator[Unverifiable]:
    """Services whose addresses Envoy looks up for every request (dynamic forward proxy)."""
    for service in context.scope.services:
        if service.resolution != "dynamic_dns":
            continue
        reason = f"{service.ref} is resolved by DYNAMIC_DNS, which is not modelled"
        ports = [str(key.destination(service.host, port.number, "")) for port in service.ports]
        orders = [
            str(key.filter_order("outbound", key.TRANSPORT_NONE, protocol))
            for protocol in (key.PROTOCOL_HTTP, key.PROTOCOL_TCP)
        ]
        for kind in (Kind.DESTINATION, Kind.ENDPOINTS):
            yield Unverifiable(reason, kind, key_prefix=(service.host,), source=service.ref)
        for place in (*ports, *orders):
            yield Unverifiable(reason, Kind.EXTENSION, key_prefix=(place,), source=service.ref)
        for order in orders:
            yield Unverifiable(
                reason, Kind.FILTER_ORDER, key=PolicyKey.parse(order), source=service.ref
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
