"""VirtualServices as proxies see them: full host names, delegates merged in, defaults resolved.

Source: https://istio.io/latest/docs/reference/config/networking/virtual-service/.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from meshscope.events.resource import Resource
from meshscope.policy.source import ResourceRef
from meshscope.projection.declared.visibility import sees
from meshscope.projection.hosts import qualified
from meshscope.projection.routes.delegation import merged_routes

Json = Mapping[str, Any]

Full = Callable[[str], str]
"""From a host as a resource writes it to the full host name."""

MESH: Final = "mesh"
"""The gateway that stands for all sidecars."""


@dataclass(frozen=True, slots=True, eq=False)
class VirtualService:
    """A VirtualService, or what a route of the Gateway API stands for. Equality is identity.

    Attributes:
        name, namespace: Of the resource; a route of the Gateway API has a made-up name.
        hosts: Full host names, in order.
        http, tcp, tls: Its blocks, with full host names in destinations.
        export_to: Who may see it; empty: the mesh's default.
        gateway_api: It stands for routes of the Gateway API, whose rules differ in places.
        sources: The resources that it came from; the first one is named in proxies.
        created_at: Its age; None: not known.
    """

    name: str
    namespace: str
    hosts: tuple[str, ...]
    http: tuple[Json, ...] = ()
    tcp: tuple[Json, ...] = ()
    tls: tuple[Json, ...] = ()
    export_to: frozenset[str] = frozenset()
    gateway_api: bool = False
    sources: tuple[ResourceRef, ...] = ()
    created_at: str | None = None

    @property
    def seniority(self) -> tuple[str, str, str]:
        """What Istio orders by: age, name, namespace."""
        return self.created_at or "", self.name, self.namespace

    def destinations(self, namespace: str) -> Iterator[tuple[str, int]]:
        """Hosts and ports (0: not given) that it sends to, for clients in a namespace."""
        for block in self.http:
            wanted = [m["sourceNamespace"] for m in _matches(block) if m.get("sourceNamespace")]
            if wanted and namespace not in wanted:
                continue
            found = [route.get("destination") for route in block.get("route") or ()]
            found.append(block.get("mirror"))
            found += [mirror.get("destination") for mirror in block.get("mirrors") or ()]
            yield from (_place(destination) for destination in found if destination)
        for block in (*self.tcp, *self.tls):
            for route in block.get("route") or ():
                if route.get("destination"):
                    yield _place(route["destination"])


def _matches(block: Json) -> Iterable[Json]:
    found: Iterable[Json] = block.get("match") or ()
    return found


def _place(destination: Json) -> tuple[str, int]:
    return destination.get("host") or "", (destination.get("port") or {}).get("number") or 0


FindDelegate = Callable[[str, str, str], VirtualService | None]
"""From namespace and name of a delegate and the namespace of its root to the delegate."""


def virtual_services(
    resources: Iterable[Resource], *, domain: str, default_exports: frozenset[str]
) -> tuple[VirtualService, ...]:
    """The VirtualServices that sidecars may apply, in the order given.

    Those without hosts are delegates and appear as parts of others alone.

    Args:
        resources: Every VirtualService, in canonical order.
        domain: DNS domain of the cluster.
        default_exports: Who sees those that do not say so.
    """
    resolved = [_resolved(resource, domain) for resource in resources]
    delegates = {(vs.namespace, vs.name): vs for vs, _ in resolved if not vs.hosts}

    def delegate(namespace: str, name: str, root: str) -> VirtualService | None:
        found = delegates.get((namespace, name))
        return found if found and sees(root, found, default_exports) else None

    return tuple(
        _with_delegates(vs, delegate) for vs, gateways in resolved if vs.hosts and MESH in gateways
    )


def _with_delegates(vs: VirtualService, find: FindDelegate) -> VirtualService:
    if not any("delegate" in block for block in vs.http):
        return vs
    blocks: list[Json] = []
    sources = list(vs.sources)
    for block in vs.http:
        named = block.get("delegate")
        if not named:
            blocks.append(block)
            continue
        found = find(named.get("namespace") or vs.namespace, named.get("name", ""), vs.namespace)
        if found is not None:
            sources += found.sources
            blocks += merged_routes(block, found.http)
    return replace(vs, http=tuple(blocks), sources=tuple(dict.fromkeys(sources)))


def _resolved(resource: Resource, domain: str) -> tuple[VirtualService, tuple[str, ...]]:
    """A VirtualService with full host names, and the gateways that it is bound to."""
    spec, namespace = resource.spec, resource.namespace

    def full(host: str) -> str:
        return qualified(host, namespace, domain)

    def blocks(kind: str) -> tuple[Json, ...]:
        return tuple(_full_block(block, full) for block in spec.get(kind) or ())

    found = VirtualService(
        resource.name,
        namespace,
        tuple(full(host) for host in spec.get("hosts") or ()),
        blocks("http"),
        blocks("tcp"),
        blocks("tls"),
        frozenset(spec.get("exportTo") or ()),
        sources=(resource.ref,),
        created_at=resource.created_at,
    )
    return found, tuple(spec.get("gateways") or (MESH,))


def _full_block(block: Json, full: Full) -> Json:
    changed: dict[str, Any] = dict(block)
    if block.get("route"):
        changed["route"] = [_full_destination(route, full) for route in block["route"]]
    if block.get("mirror"):
        changed["mirror"] = {**block["mirror"], "host": full(block["mirror"].get("host", ""))}
    if block.get("mirrors"):
        changed["mirrors"] = [_full_destination(mirror, full) for mirror in block["mirrors"]]
    return changed


def _full_destination(route: Json, full: Full) -> Json:
    destination = route.get("destination")
    if not destination:
        return route
    return {**route, "destination": {**destination, "host": full(destination.get("host", ""))}}
