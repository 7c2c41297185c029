"""What is looked for, by kind of resource: the visible table."""

from collections.abc import Callable, Iterable, Mapping
from typing import Final, TypeAlias

from meshscope.declarations import (
    access_forms,
    access_identity,
    access_ports,
    access_references,
    access_rules,
    access_tokens,
    control_plane,
    destination_rules,
    envoy_filters,
    gateways,
    injection,
    route_destinations,
    route_hosts,
    route_rules,
    route_values,
    selectors,
    services,
    sidecars,
    telemetry,
    transport_security,
)
from meshscope.declarations.finding import Said
from meshscope.declarations.surroundings import Surroundings
from meshscope.events.resource import Resource

Check: TypeAlias = Callable[[Resource, Surroundings], Iterable[Said]]
"""From a resource and all others to what is said of it; two checks never say the same code."""

_PODS: Final = (services.two_protocols, injection.proxy_user, injection.automatic_images)

CHECKS: Final[Mapping[str, tuple[Check, ...]]] = {
    "AuthorizationPolicy": (
        selectors.selects_nothing,
        access_rules.dead_rules,
        access_ports.rules_on_ports,
        access_identity.identities_that_never_arrive,
        access_identity.negated_identities,
        access_identity.dodged_denials,
        access_forms.bypassing_forms,
        access_references.dry_run,
        access_references.unknown_identities,
        access_references.methods_that_nobody_sends,
        access_references.unknown_provider,
        access_tokens.tokens_not_validated,
        selectors.at_gateways,
    ),
    "RequestAuthentication": (
        selectors.selects_nothing,
        selectors.at_gateways,
        access_tokens.tokens_not_required,
    ),
    "PeerAuthentication": (
        selectors.selects_nothing,
        selectors.competes,
        selectors.root_selectors,
        transport_security.port_levels,
    ),
    "VirtualService": (
        route_rules.dead_routes,
        route_destinations.unknown_destinations,
        route_hosts.rivals,
        route_hosts.gateways,
        route_hosts.routes_nothing,
        route_values.weights,
        route_values.attempts,
        route_values.patterns,
        route_values.delegates,
        access_tokens.routes_by_claims,
        selectors.unknown_export,
    ),
    "DestinationRule": (
        destination_rules.unknown_host,
        destination_rules.hidden,
        destination_rules.empty_subsets,
        destination_rules.unverified_servers,
        transport_security.refused_connections,
        selectors.selects_nothing,
        selectors.unknown_export,
    ),
    "ServiceEntry": (
        services.without_addresses,
        services.collisions,
        selectors.selects_nothing,
        selectors.unknown_export,
    ),
    "Sidecar": (
        selectors.selects_nothing,
        selectors.competes,
        selectors.without_sidecars,
        sidecars.imports_nothing,
        sidecars.cuts_off,
    ),
    "EnvoyFilter": (
        selectors.selects_nothing,
        selectors.without_sidecars,
        envoy_filters.patches,
    ),
    "Telemetry": (
        selectors.selects_nothing,
        selectors.competes,
        selectors.at_gateways,
        telemetry.providers,
    ),
    "WasmPlugin": (selectors.selects_nothing, selectors.at_gateways),
    "Gateway": (
        selectors.selects_nothing,
        gateways.unopened_ports,
        gateways.claimed_hosts,
        gateways.credentials,
        gateways.shared_certificates,
    ),
    "Service": (services.undeclared_protocols,),
    "Namespace": (injection.namespace_labels, injection.other_proxies),
    "Deployment": (*_PODS, control_plane.fetched_keys),
    "StatefulSet": _PODS,
    "DaemonSet": _PODS,
    "Pod": _PODS,
    "MutatingWebhookConfiguration": (control_plane.webhooks,),
    "ValidatingWebhookConfiguration": (control_plane.webhooks,),
}
"""Kinds of resources, and what is looked for in each."""
