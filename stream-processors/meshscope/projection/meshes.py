"""Meshes that were built lately, so that proxies share what they have in common.

Resources and control plane are compared by identity: a caller that asks for many proxies passes the
same tuple every time.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Final

from meshscope.events.control_plane import ControlPlane
from meshscope.events.proxy import ProxyInputs
from meshscope.events.resource import Resource
from meshscope.projection.declared.declarations import declarations, possible_ages
from meshscope.projection.declared.discovery import discovered
from meshscope.projection.mesh import DEFAULT_DOMAIN, Mesh, build_mesh

_KEPT: Final = 4
"""Meshes that are kept, of the latest declarations."""

_Key = tuple[int, int, str, str, str]


@dataclass(frozen=True, slots=True)
class _Built:
    """What was built, and what it was built of, which keeps the identities taken."""

    control_plane: ControlPlane
    resources: Sequence[Resource]
    meshes: tuple[Mesh, ...]


_built: OrderedDict[_Key, _Built] = OrderedDict()


def meshes(
    control_plane: ControlPlane, resources: Sequence[Resource], proxy: ProxyInputs
) -> tuple[Mesh, ...]:
    """The meshes that unknown ages allow; one where all ages are known that decide.

    Args:
        control_plane: The control plane.
        resources: Everything that is declared.
        proxy: A proxy; of it only its cluster and domain count, and its version where that of the
            control plane is not known.
    """
    version = control_plane.version or proxy.istio_version
    cluster = proxy.cluster or control_plane.environment.get("CLUSTER_ID") or "Kubernetes"
    domain = proxy.dns_domain.partition(".svc.")[2] or DEFAULT_DOMAIN
    key = (id(control_plane), id(resources), version, cluster, domain)
    found = _built.get(key)
    if found is None:
        selectors = control_plane.mesh_config.get("discoverySelectors") or ()
        seen, notes = discovered(resources, selectors)
        latest = _latest(key)
        worlds = possible_ages(declarations(seen, latest[0].declared if latest else None), domain)
        built = tuple(
            build_mesh(
                control_plane,
                declared,
                version=version,
                cluster=cluster,
                domain=domain,
                notes=notes,
                before=before,
            )
            for declared, before in zip_longest(worlds, latest[: len(worlds)])
        )
        found = _built[key] = _Built(control_plane, resources, built)
    _built.move_to_end(key)
    while len(_built) > _KEPT:
        _built.popitem(last=False)
    return found.meshes


def _latest(key: _Key) -> tuple[Mesh, ...]:
    """The meshes that were built last for a version, cluster and domain."""
    return next((some.meshes for name, some in reversed(_built.items()) if name[2:] == key[2:]), ())


def forget() -> None:
    """Forget all meshes, and what was remembered of them."""
    _built.clear()
