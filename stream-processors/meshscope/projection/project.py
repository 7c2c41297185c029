"""From everything that the control plane declares to the policies that one proxy should hold."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from meshscope.events.control_plane import ControlPlane
from meshscope.events.proxy import ProxyInputs
from meshscope.events.resource import Resource
from meshscope.projection.context import Context, Contribution, Part
from meshscope.projection.destinations.client import destinations
from meshscope.projection.fragments import Fragment, Layer, Pieces, Policies
from meshscope.projection.inbound.connections import connections
from meshscope.projection.limits import Limit
from meshscope.projection.mesh import Mesh
from meshscope.projection.meshes import meshes
from meshscope.projection.outbound.policies import outbound
from meshscope.projection.patches.patched import PatchedLayers
from meshscope.projection.result import Projection
from meshscope.projection.sidecar_scope import applicable_sidecar
from meshscope.projection.sufficiency import insufficient, pod_note
from meshscope.projection.unmodelled import unmodelled
from meshscope.projection.unmodelled_settings import unmodelled_settings
from meshscope.projection.workload import workload
from meshscope.projection.worlds import distinct

PARTS: Final[Mapping[str, Part]] = {
    "listeners, routes and egress": outbound,
    "destinations and endpoints": destinations,
    "inbound connections, HTTP settings and telemetry": connections,
    "what is not modelled": unmodelled,
    "settings that are not modelled": unmodelled_settings,
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
    found = contexts[0].mesh.remembered(PatchedLayers).of(contexts[0], tuple(_layers(worlds)))
    alternatives = {k: some for each in found.layers for k, some in each.alternatives.items()}
    said = [contribution for world in worlds for contribution in world]
    mesh = contexts[0].mesh
    notes = (
        *mesh.config.notes,
        *mesh.features.notes,
        *mesh.notes,
        *pod_note(mesh.declared, proxy),
        *(_assumed(name) for name in control_plane.assumed if name != "version"),
        *(note for contribution in said for note in contribution.notes),
    )
    return Projection(
        policies=Policies(found.layers, mesh.remembered(Pieces)),
        alternatives=alternatives,
        unverifiable=tuple(
            dict.fromkeys(
                (
                    *insufficient(mesh.declared),
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
    root = mesh.config.root_namespace
    sidecar = applicable_sidecar(
        mesh.declared.within("Sidecar", found.namespace, root), found.namespace, found.labels, root
    )
    return Context(mesh, proxy, found, mesh.scope(found.namespace, sidecar))


def _layers(worlds: Sequence[Sequence[Contribution]]) -> Iterable[Layer]:
    """The layers of a proxy; where worlds differ, one with every possible outcome per key."""
    if len(worlds) == 1:
        return [layer for part in worlds[0] for layer in part.layers]
    per_world = [
        {
            key: outcomes
            for part in parts
            for layer in part.layers
            for fragment in layer.fragments
            for key, outcomes in fragment.outcomes.items()
        }
        for parts in worlds
    ]
    keys = dict.fromkeys(key for world in per_world for key in world)
    return [
        Layer(
            [
                Fragment(
                    {
                        key: distinct(p for world in per_world for p in world.get(key, (None,)))
                        for key in keys
                    }
                )
            ]
        )
    ]
