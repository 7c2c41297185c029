"""Everything about inbound connections, HTTP settings, filter order and telemetry of a proxy."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from meshscope.projection.context import Context, Contribution
from meshscope.projection.destinations.client_settings import client_settings
from meshscope.projection.fragments import Fragment, Layer
from meshscope.projection.inbound.ports import (
    PortPlan,
    ingress_ports,
    service_ports,
    with_pools,
)
from meshscope.projection.memory import Memory
from meshscope.projection.outbound.policies import own_listeners
from meshscope.projection.security.settings import inbound_policies_of, switches
from meshscope.projection.security.workload import (
    Declarations,
    InForce,
    Security,
    Situation,
    in_force,
    inbound_security,
    outbound_security,
)

_NODE_METADATA: Final = ("HTTP10", "IDLE_TIMEOUT")
"""Metadata of the node that count here; nothing else of them is passed on."""

_encode: Final = msgspec.json.Encoder(order="deterministic").encode
_Name = tuple[object, ...]


def connections(context: Context) -> Contribution:
    """What is decided about the connections that a workload takes and opens."""
    mesh, workload = context.mesh, context.workload
    root = mesh.config.root_namespace
    near = [
        mesh.declared.within(kind, workload.namespace, root)
        for kind in (
            "PeerAuthentication", "RequestAuthentication", "AuthorizationPolicy", "Telemetry"
        )
    ]  # fmt: skip
    found = in_force(
        Declarations(*near), namespace=workload.namespace, labels=workload.labels, root=root
    )
    memory = mesh.remembered(Connections)
    return memory.joined(memory.inbound(context, found), memory.outbound(context, found))


class Connections:
    """What was worked out before, by what it depends on; resources count by their identity."""

    def __init__(self, mesh: object) -> None:
        self._found: Memory[tuple[Security, Layer, object]] = Memory(4_000)
        self._joined: Memory[Contribution] = Memory(4_000)

    def inbound(self, context: Context, found: InForce) -> tuple[Security, Layer]:
        """What a workload does with connections that it takes."""
        mesh, sidecar, targets = context.mesh, context.scope.sidecar, context.workload.targets
        owners = tuple(context.scope.namespace_of(target.host) for target in targets)
        ingress = sidecar is not None and bool(context.scope.spec.get("ingress"))
        asks = found.tokens or any(one.spec.get("action") == "CUSTOM" for one in found.access)
        rules, namespace = mesh.known.rules, context.workload.namespace
        name = (
            "inbound",
            namespace,
            targets,
            owners,
            tuple(
                rules.candidates(namespace, owner, target.host)
                for target, owner in zip(targets, owners, strict=True)
                if owner is not None
            ),
            id(sidecar),
            (context.proxy.addresses, context.own_ports, context.unprivileged) if ingress else (),
            *_ids(found.access, found.tokens, *found.telemetries),
            found.modes,
            mesh.registry if asks else None,
            *_common(context),
        )
        known = self._found.get(name)
        if known is None:
            security = inbound_security(found, _situation(context), (_ports(context),))
            # What counts by its identity is kept as well, so that its identity stays its own.
            known = self._found.put(name, (security, _layer(security), (found, sidecar)))
        return known[:2]

    def outbound(self, context: Context, found: InForce) -> tuple[Security, Layer]:
        """What a workload does with connections that it opens."""
        listeners = own_listeners(context)
        name = ("outbound", id(listeners), *_ids(*found.telemetries), *_common(context))
        known = self._found.get(name)
        if known is None:
            security = outbound_security(found.telemetries, _situation(context), listeners)
            known = self._found.put(name, (security, _layer(security), (found, listeners)))
        return known[:2]

    def joined(self, *parts: tuple[Security, Layer]) -> Contribution:
        """What both say, always the same object."""
        name = tuple(layer for _, layer in parts)
        known = self._joined.get(name)
        if known is None:
            refused = dict.fromkeys(one for security, _ in parts for one in security.unverifiable)
            known = self._joined.put(name, Contribution(name, tuple(refused)))
        return known


def _layer(security: Security) -> Layer:
    return Layer((Fragment(security.outcomes),))


def _ids(*some: Sequence[object]) -> _Name:
    return tuple(tuple(map(id, each)) for each in some)


def _common(context: Context) -> _Name:
    return (
        context.interception,
        context.families,
        _encode(context.proxy_config),
        *(context.proxy.metadata.get(name) for name in _NODE_METADATA),
    )


def _situation(context: Context) -> Situation:
    mesh, proxy = context.mesh, context.proxy
    config, switch = mesh.config, mesh.features.switch
    client = client_settings(config.given, switch, mesh.features.version, proxy.addresses)
    return Situation(
        mesh_config=config.given,
        proxy_config=context.proxy_config,
        node_metadata={k: proxy.metadata[k] for k in _NODE_METADATA if k in proxy.metadata},
        interception=context.interception,
        mesh=client.mesh,
        switches=switches(switch, mesh.features.environment, mesh.features.version),
        hosts=frozenset(mesh.registry.by_host),
        find_service=mesh.registry.find,
        find_policy=inbound_policies_of(
            mesh.known.rules,
            context.workload.namespace,
            context.scope.namespace_of,
            config.given,
            mesh.features.version,
        ),
    )


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
            reserved=context.own_ports,
            unprivileged=context.unprivileged,
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
