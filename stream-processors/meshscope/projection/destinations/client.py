"""Traffic policies and endpoints of everything that a proxy sees, shared between proxies.

What a service's destinations are depends on the service, the DestinationRule that the client
applies and settings that most clients share; of the client's place only what `relevant` keeps
counts for endpoints. So most proxies get the same objects.
"""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from ipaddress import ip_address
from typing import Final

from meshscope.policy import key
from meshscope.policy.destination import Destination, LoadBalancing
from meshscope.policy.key import PolicyKey
from meshscope.policy.policy import Policy
from meshscope.projection.context import Context, Contribution
from meshscope.projection.destinations.client_settings import client_settings, describes_workloads
from meshscope.projection.destinations.connection_settings import MeshDefaults
from meshscope.projection.destinations.crossing import Crossing
from meshscope.projection.destinations.destination import Client, named_destinations
from meshscope.projection.destinations.destination_rule import MergedRule
from meshscope.projection.destinations.endpoints import Viewpoint
from meshscope.projection.destinations.policies import (
    VisiblePort,
    VisibleService,
    named_labels,
    relevant,
    service_destinations,
    service_endpoints,
)
from meshscope.projection.fragments import Fragment, Layer
from meshscope.projection.inbound.inbound import PASSTHROUGH, passthrough_upstream
from meshscope.projection.mesh import Mesh
from meshscope.projection.services.locality import Place
from meshscope.projection.services.protocols import UDP
from meshscope.projection.services.registry import Service
from meshscope.projection.worlds import merge

_PROBE: Final = Viewpoint(Place("region", "zone", "sub-zone"), {"any": "label"}, "node")
"""A place of which one can see what `relevant` keeps."""

_Nearby = tuple[Place, str, tuple[tuple[str, str], ...]]
"""Place, node and labels of a client."""

_Cell = tuple[Service, MergedRule | None, int, Client]
"""A service, the rule for it, the world of PeerAuthentications, and the client's settings."""


def destinations(context: Context) -> Contribution:
    """Traffic policies and endpoints of everything that the proxy sees."""
    mesh, workload = context.mesh, context.workload
    features = mesh.features
    fragments = mesh.remembered(Fragments)
    settings = client_settings(
        mesh.config.given, features.switch, features.version, context.proxy.addresses
    )
    client = fragments.same(replace(settings, crossing=_crossing(context)))
    view = Viewpoint(
        workload.place,
        workload.place_labels,
        workload.node,
        named_workloads=features.has("named_workloads"),
        describes_workloads=describes_workloads(features.switch),
    )
    return Contribution((fragments.shared(context, client, view),))


def _crossing(context: Context) -> Crossing | None:
    networks = context.mesh.networks
    if not networks.gateways:
        return None
    return Crossing(
        networks,
        context.proxy.network,
        frozenset(ip_address(address).version for address in context.proxy.addresses),
        describes_workloads(context.mesh.features.switch),
    )


def _named(client: Client, *, unused: bool) -> Iterator[Policy]:
    """Destinations that stand for no service; `unused`: that of inbound pass-through is one."""
    yield from named_destinations(client)
    if unused:
        yield _unused_passthrough(client.mesh)


def _unused_passthrough(mesh: MeshDefaults) -> Policy:
    """The cluster of inbound pass-through, to which nothing leads where nothing is redirected."""
    behind = passthrough_upstream(mesh)
    content = Destination(
        discovery=behind.kind,
        protocol=behind.protocol,
        load_balancing=LoadBalancing("cluster_provided"),
        connection_pool=behind.connection_pool,
        source_address=behind.source_address,
    )
    return Policy(key.destination(PASSTHROUGH, 0), content)


@dataclass(frozen=True, slots=True)
class _Keeps:
    """What of a client's place counts for the endpoints of a service; labels by their names."""

    place: bool
    node: bool
    labels: tuple[str, ...] = ()


class Fragments:
    """Policies of single services that were worked out before, of one mesh."""

    def __init__(self, mesh: Mesh) -> None:
        self._mesh = mesh
        self._visible: dict[Service, VisibleService] = {}
        self._worlds: dict[Service, range] = {}
        self._clients: dict[Client, Client] = {}
        self._destinations: dict[_Cell, tuple[Policy, ...]] = {}
        self._keeps: dict[_Cell, _Keeps] = {}
        self._fragments: dict[tuple[object, ...], Fragment] = {}
        self._classes: dict[tuple[object, ...], Layer] = {}
        self._views: dict[tuple[object, ...], _Keeps] = {}

    def same(self, client: Client) -> Client:
        """The first settings that were equal, so that looking them up is cheap."""
        return self._clients.setdefault(client, client)

    def shared(self, context: Context, client: Client, view: Viewpoint) -> Layer:
        """The policies of all services, which clients at alike places share."""
        kind = (context.rules, client)
        keeps = self._views.get(kind)
        if keeps is None:
            keeps = self._views[kind] = self._all_keep(context, client)
        near = _near(view, keeps)
        unused = context.interception == "NONE"
        name = (*kind, unused, *_place(near))
        found = self._classes.get(name)
        if found is None:
            named = Fragment({p.key: (p,) for p in _named(client, unused=unused)})
            services = self._services(context, client, near)
            found = self._classes[name] = Layer((named, *services))
        return found

    def _all_keep(self, context: Context, client: Client) -> _Keeps:
        kept = {
            self._keep((service, rule, 0, client))
            for service in _real(context.scope.services)
            for rule in context.rules.all(service.host)
        }
        return _union(kept)

    def _services(self, context: Context, client: Client, view: Viewpoint) -> Iterator[Fragment]:
        by_host: dict[str, list[Service]] = {}
        for service in _real(context.scope.services):
            by_host.setdefault(service.host, []).append(service)
        nearest: dict[_Keeps, tuple[Viewpoint, _Nearby]] = {}
        for host, services in by_host.items():
            rules = context.rules.all(host)
            parts = [self._fragment(service, rules, client, view, nearest) for service in services]
            # Several addresses of one host: the last one counts where they say something of a port.
            yield parts[0] if len(parts) == 1 else _joined(parts)

    def _fragment(
        self,
        service: Service,
        rules: tuple[MergedRule | None, ...],
        client: Client,
        view: Viewpoint,
        nearest: dict[_Keeps, tuple[Viewpoint, _Nearby]],
    ) -> Fragment:
        """What a service is for clients that apply one of the rules, at a place."""
        keeps = self._keep((service, rules[0], 0, client))
        for rule in rules[1:]:
            keeps = _union((keeps, self._keep((service, rule, 0, client))))
        known = nearest.get(keeps)
        if known is None:
            view = _near(view, keeps)
            known = nearest[keeps] = (view, _place(view))
        near, place = known
        name = (service, rules, client, place)
        found = self._fragments.get(name)
        if found is None:
            worlds = [
                {p.key: p for p in self.policies((service, rule, world, client), near)}
                for rule in rules
                for world in self.worlds(service)
            ]
            found = self._fragments[name] = Fragment(merge(worlds))
        return found

    def worlds(self, service: Service) -> range:
        """Numbers of the worlds that unknown ages of PeerAuthentications allow."""
        found = self._worlds.get(service)
        if found is None:
            known = self._mesh.known
            instances = known.of(self.visible(service))
            found = self._worlds[service] = known.servers.worlds(service.namespace, instances)
        return found

    def visible(self, service: Service) -> VisibleService:
        """A service as its clients see it."""
        found = self._visible.get(service)
        if found is None:
            names = self._mesh.registry.names.get((service.host, service.namespace), ())
            found = self._visible[service] = replace(visible(service), names=names)
        return found

    def policies(self, cell: _Cell, view: Viewpoint) -> Iterator[Policy]:
        """All policies of a service for a client at a place."""
        found = self._destinations.get(cell)
        service, rule, world, client = cell
        if found is None:
            found = self._destinations[cell] = service_destinations(
                self.visible(service), rule, world, self._mesh.known, client
            )
        yield from found
        yield from service_endpoints(
            self.visible(service), rule, world, self._mesh.known, client, view
        )

    def _keep(self, cell: _Cell) -> _Keeps:
        keeps = self._keeps.get(cell)
        if keeps is None:
            service, rule, _, client = cell
            kept = relevant(_PROBE, self.visible(service), rule, client)
            keeps = self._keeps[cell] = _Keeps(
                kept.place != Place(), bool(kept.node), tuple(kept.labels)
            )
        return keeps


def _real(services: Iterable[Service]) -> Iterator[Service]:
    """Services that have destinations of their own; an alias only stands for another."""
    return (service for service in services if service.resolution != "alias")


def _joined(parts: Iterable[Fragment]) -> Fragment:
    outcomes: dict[PolicyKey, tuple[Policy | None, ...]] = {}
    for part in parts:
        outcomes |= part.outcomes
    return Fragment(outcomes)


def _union(kept: Collection[_Keeps]) -> _Keeps:
    return _Keeps(
        any(one.place for one in kept),
        any(one.node for one in kept),
        tuple(sorted({name for one in kept for name in one.labels})),
    )


def _near(view: Viewpoint, keeps: _Keeps) -> Viewpoint:
    labels = named_labels(view.labels, keeps.labels) if keeps.place else {}
    view = replace(view, place=view.place if keeps.place else Place(), labels=labels)
    return view if keeps.node else replace(view, node="")


def _place(view: Viewpoint) -> _Nearby:
    return view.place, view.node, tuple(sorted(view.labels.items()))


def visible(service: Service) -> VisibleService:
    """A service in the words of its destinations; UDP has none."""
    return VisibleService(
        service.host,
        service.namespace,
        service.name,
        tuple(
            VisiblePort(port.number, port.name, port.protocol, port.override)
            for port in service.ports
            if port.protocol != UDP
        ),
        service.resolution,
        service.external,
        not service.from_kubernetes,
        service.near,
        service.names,
        service.node_local,
        (service.ref,),
    )
