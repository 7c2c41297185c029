"""What `security` must know of istiod and of DestinationRules, read from their own forms.

Source: https://istio.io/latest/docs/reference/commands/pilot-discovery/#envvars.
"""

from collections.abc import Callable, Mapping
from typing import Any, get_args

from meshscope.projection.destinations.destination_rule import RuleIndex
from meshscope.projection.destinations.traffic_policy import effective
from meshscope.projection.features import has
from meshscope.projection.inbound.ports import PortPlan
from meshscope.projection.security.request_authentication import FetchMode
from meshscope.projection.security.workload import PolicyLookup, Switches
from meshscope.projection.services.protocols import counted

_FETCH_MODES: Mapping[str, FetchMode] = {mode: mode for mode in get_args(FetchMode)}


def switches(
    switch: Callable[[str, bool], bool],
    environment: Mapping[str, str],
    version: tuple[int, int],
) -> Switches:
    """The switches that count here.

    Args:
        switch: Value of one of istiod's switches, given its name and its default.
        environment: istiod's environment, for settings that are no switches.
        version: Of the control plane, such as (1, 31).
    """
    fetch = environment.get("PILOT_JWT_ENABLE_REMOTE_JWKS", "false").lower()
    sampling = environment.get("PILOT_TRACE_SAMPLING", "")
    return Switches(
        http10=switch("PILOT_HTTP10", False),
        exchange=switch("PILOT_ENABLE_METADATA_EXCHANGE", True),
        exchange_alpn=not switch("PILOT_DISABLE_MX_ALPN", False),
        alpn_filter=switch("PILOT_ENABLE_ALPN_FILTER", True),
        check_trust_domain=not switch("PILOT_SKIP_VALIDATE_TRUST_DOMAIN", False),
        use_remote_address=switch("PILOT_SIDECAR_USE_REMOTE_ADDRESS", False),
        proxy_100_continue=switch("ENABLE_100_CONTINUE_HEADERS", True),
        several_providers=switch("PILOT_ENABLE_MULTIPLE_CUSTOM_AUTHZ_PROVIDERS", False),
        provider_in_ids=has(version, "provider_in_ids"),
        fetch_keys=_FETCH_MODES.get(fetch, "false"),
        sampling_percent=float(sampling or 1.0),
        ingress_tls=switch("ENABLE_TLS_ON_SIDECAR_INGRESS", False),
        counted=counted(switch),
    )


def inbound_policies_of(
    rules: RuleIndex,
    namespace: str,
    seen: Callable[[str], str | None],
    mesh_config: Mapping[str, Any],
    version: tuple[int, int],
) -> PolicyLookup:
    """Find the traffic policy that a workload applies to its own ports.

    Rules with a workload selector are for clients; they do not count. Neither do those of a service
    that the workload serves but does not see, because its Sidecar does not import it.

    Args:
        rules: Every DestinationRule.
        namespace: Namespace of the workload.
        seen: Namespace of the service that the workload sees under a host; None: it sees none.
        mesh_config: MeshConfig.
        version: Of the control plane.
    """
    known = has(version, "default_traffic_policy")
    defaults = mesh_config.get("defaultTrafficPolicy") if known else None

    def find(plan: PortPlan) -> tuple[Mapping[str, Any] | None, ...]:
        owner = None if plan.owner is None else seen(plan.owner.host)
        if plan.owner is None or owner is None:
            return (effective(None, None, plan.policy_port, defaults).blocks,)
        return tuple(
            effective(
                next((r.policy for r in reversed(found) if r.selector is None), None),
                None,
                plan.policy_port,
                defaults,
            ).blocks
            for found in rules.candidates(namespace, owner, plan.owner.host)
        )

    return find
