"""Everything about inbound connections, HTTP settings, filter order and telemetry of a proxy."""

from collections.abc import Mapping, Sequence
from typing import Any

from meshscope.projection.context import Context, Contribution
from meshscope.projection.destinations.client_settings import client_settings
from meshscope.projection.inbound.ports import (
    PortPlan,
    ingress_ports,
    service_ports,
    with_pools,
)
from meshscope.projection.outbound.policies import own_listeners
from meshscope.projection.security.settings import inbound_policies_of, switches
from meshscope.projection.security.workload import Declarations, Situation, security


def connections(context: Context) -> Contribution:
    """What the neighbouring modules decide about the workload's connections."""
    mesh, workload, proxy = context.mesh, context.workload, context.proxy
    config, switch = mesh.config, mesh.features.switch
    client = client_settings(config.given, switch, mesh.features.version, proxy.addresses)
    found = security(
        Declarations(
            mesh.declared.of("PeerAuthentication"),
            mesh.declared.of("RequestAuthentication"),
            mesh.declared.of("AuthorizationPolicy"),
            mesh.declared.of("Telemetry"),
        ),
        Situation(
            namespace=workload.namespace,
            labels=workload.labels,
            root=config.root_namespace,
            mesh_config=config.given,
            proxy_config=context.proxy_config,
            node_metadata=proxy.metadata,
            interception=context.interception,
            mesh=client.mesh,
            switches=switches(switch, mesh.features.environment, mesh.features.version),
            hosts=frozenset(mesh.registry.by_host),
            find_service=mesh.registry.find,
            find_policy=inbound_policies_of(
                mesh.known.rules, workload.namespace, config.given, mesh.features.version
            ),
        ),
        (_ports(context),),
        own_listeners(context),
    )
    return Contribution(found.outcomes, found.unverifiable)


def _ports(context: Context) -> Sequence[PortPlan]:
    """The inbound ports: of the Sidecar's ingress listeners, else of the workload's services."""
    mesh, proxy, spec = context.mesh, context.proxy, context.scope.spec
    labelled = mesh.features.switch("PILOT_ENABLE_TELEMETRY_LABEL", True)
    inbound: Mapping[str, Any] = mesh.config.given.get("inboundTrafficPolicy") or {}
    plans: Sequence[PortPlan] = ()
    if context.scope.sidecar is not None and spec.get("ingress"):
        plans = ingress_ports(
            context.scope.sidecar.ref,
            spec,
            context.workload.targets,
            interception=context.interception,
            addresses=proxy.addresses,
            labelled=labelled,
        )
    elif context.interception != "NONE":
        plans = service_ports(
            context.workload.targets,
            forward_to_loopback=inbound.get("mode") == "LOCALHOST",
            labelled=labelled,
            reserved=(mesh.config.listen_port, mesh.config.inbound_port),
        )
    return with_pools(plans, spec)
