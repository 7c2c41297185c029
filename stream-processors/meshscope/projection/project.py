"""From everything that the control plane declares to the policies that one proxy should hold."""

from collections.abc import Mapping, Sequence
from typing import Final

from meshscope.events.control_plane import ControlPlane
from meshscope.events.proxy import ProxyInputs
from meshscope.events.resource import Resource
from meshscope.policy.key import PolicyKey
from meshscope.policy.policy import Policy
from meshscope.projection.context import Context, Contribution, Part
from meshscope.projection.destinations.client import destinations
from meshscope.projection.inbound.connections import connections
from meshscope.projection.limits import Limit
from meshscope.projection.mesh import Mesh
from meshscope.projection.meshes import meshes
from meshscope.projection.outbound.policies import outbound
from meshscope.projection.patches.patched import patched
from meshscope.projection.result import Projection
from meshscope.projection.sidecar_scope import applicable_sidecar
from meshscope.projection.unmodelled import unmodelled
from meshscope.projection.workload import workload
from meshscope.projection.worlds import distinct

PARTS: Final[Mapping[str, Part]] = {
    "listeners, routes and egress": outbound,
    "destinations and endpoints": destinations,
    "inbound connections, HTTP settings and telemetry": connections,
    "what is not modelled": unmodelled,
}
"""What a projection is made of; no two parts say something of the same policy."""


def project(
    control_plane: ControlPlane, resources: Sequence[Resource], proxy: ProxyInputs
) -> Projection:
    """The policies that a proxy should hold.

    Args:
        control_plane: The control plane, with its settings.
        resources: Everything that is declared. Calls with the same tuple share what proxies have
            in common.
        proxy: The proxy.
    """
    contexts = [_context(mesh, proxy) for mesh in meshes(control_plane, resources, proxy)]
    worlds = [[part(context) for part in PARTS.values()] for context in contexts]
    found = patched(contexts[0], _outcomes(worlds))
    outcomes = found.policies
    said = [contribution for world in worlds for contribution in world]
    mesh = contexts[0].mesh
    notes = (
        *mesh.config.notes,
        *mesh.features.notes,
        *(_assumed(name) for name in control_plane.assumed if name != "version"),
        *(note for contribution in said for note in contribution.notes),
    )
    return Projection(
        policies={key: some[0] for key, some in outcomes.items() if some[0] is not None},
        alternatives={key: some for key, some in outcomes.items() if len(some) > 1},
        unverifiable=tuple(
            dict.fromkeys(
                (
                    *(part for contribution in said for part in contribution.unverifiable),
                    *found.unverifiable,
                )
            )
        ),
        notes=tuple(dict.fromkeys(notes)),
    )


def _assumed(name: str) -> str:
    named = name.replace("_", " ")
    return Limit.ASSUMED_DEFAULTS.note(f"{named} is not known; Istio's defaults are assumed")


def _context(mesh: Mesh, proxy: ProxyInputs) -> Context:
    found = workload(proxy, mesh.declared, mesh.registry)
    sidecar = applicable_sidecar(
        mesh.declared.of("Sidecar"), found.namespace, found.labels, mesh.config.root_namespace
    )
    return Context(mesh, proxy, found, mesh.scope(found.namespace, sidecar))


def _outcomes(
    worlds: Sequence[Sequence[Contribution]],
) -> Mapping[PolicyKey, tuple[Policy | None, ...]]:
    """Every possible outcome per key, each once, those of the first world first."""
    per_world = [
        {key: found for part in parts for key, found in part.outcomes.items()} for parts in worlds
    ]
    if len(per_world) == 1:
        return per_world[0]
    keys = dict.fromkeys(key for world in per_world for key in world)
    return {
        key: distinct(policy for world in per_world for policy in world.get(key, (None,)))
        for key in keys
    }
