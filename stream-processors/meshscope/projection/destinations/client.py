"""Traffic policies and endpoints of everything that a proxy sees, shared between proxies.

What a service's destinations are depends on the service, the DestinationRule that the client
applies and settings that most clients share; of the client's place only what `relevant` keeps
counts for endpoints. So most proxies get the same objects.
"""

from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from ipaddress import ip_address
from typing import Any, Final

from meshscope.policy import key
from meshscope.policy.destination import Destination, LoadBalancing
from meshscope.policy.key import PolicyKey
from meshscope.policy.policy import Policy
from meshscope.projection.context import Context, Contribution
from meshscope.projection.destinations.client_rules import ClientRules
from meshscope.projection.destinations.client_settings import client_settings, describes_workloads
from meshscope.projection.destinations.connection_settings import MeshDefaults
from meshscope.projection.destinations.crossing import Crossing
from meshscope.projection.destinations.destination import Client, named_destinations
from meshscope.projection.destinations.destination_rule import MergedRule
from meshscope.projection.destinations.endpoints import Viewpoint
from meshscope.projection.destinations.policies import (
    Known,
    VisiblePort,
    VisibleService,
    named_labels,
    relevant,
    service_destinations,
    service_endpoints,
)
from meshscope.projection.fragments import Fragment, Layer, Pieces
from meshscope.projection.inbound.inbound import PASSTHROUGH, passthrough_upstream
from meshscope.projection.memory import Memory
from meshscope.projection.services.locality import Place
from meshscope.projection.services.protocols import UDP
from meshscope.projection.services.registry import Service
from meshscope.projection.sidecar_scope import SidecarScope
from meshscope.projection.worlds import merge

_PROBE: Final = Viewpoint(Place("region", "zone", "sub-zone"), {"any": "label"}, "node")
"""A place of which one can see what `relevant` keeps."""


def destinations(context: Context) -> Contribution:
    """Traffic policies and endpoints of everything that the proxy sees."""
    mesh, workload = context.mesh, context.workload
    features = mesh.features
    fragments = mesh.remembered(Fragments)
    client: Client = mesh.memory.results.of(
        (
            "client",
            context.families,
            bool(context.proxy.addresses),
            context.proxy.network,
            mesh.networks,
        ),
        lambda: fragments.same(_client(context)),
    )
    view = Viewpoint(
        workload.place,
        workload.place_labels,
        workload.node,
        named_workloads=features.has("named_workloads"),
        describes_workloads=describes_workloads(features.switch),
    )
    return Contribution((fragments.shared(context, client, view),))


def _client(context: Context) -> Client:
    mesh = context.mesh
    features = mesh.features
    settings = client_settings(
        mesh.config.given, features.switch, features.version, context.proxy.addresses
    )
    return replace(settings, crossing=_crossing(context))


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


@dataclass(frozen=True, slots=True, eq=False)
class _Cell:
    """All that the destinations of a host depend on besides the client. Equality is identity.

    Who serves the services counts too; a cell is another one when that changes.

    Attributes:
        services: Those that stand for the host.
        rules: Every DestinationRule that may be the one that the client applies.
    """

    services: tuple[Service, ...]
    rules: tuple[MergedRule | None, ...]

    @property
    def host(self) -> str:
        """The host."""
        return self.services[0].host


@dataclass(frozen=True, slots=True, eq=False)
class _Near:
    """What counts of a client's place. Equality is identity."""

    view: Viewpoint


@dataclass(frozen=True, slots=True, eq=False)
class _Cells:
    """The cells of everything that a client sees. Equality is identity."""

    each: tuple[_Cell, ...]


@dataclass(frozen=True, slots=True, eq=False)
class _Serving:
    """Who serves what, and what they accept: something that stands for it, by service.

    Attributes:
        tokens: By host and namespace.
    """

    tokens: Mapping[tuple[str, str], object]


@dataclass(frozen=True, slots=True)
class _Seen:
    """What clients that see the same saw last, and what followed from it."""

    rules: ClientRules
    serving: _Serving
    cells: _Cells


@dataclass(frozen=True, slots=True)
class _Class:
    """What clients of a class were given last.

    Attributes:
        cells: What that depends on besides the class.
        layer: Destinations that stand for no service, and those of every cell.
    """

    cells: _Cells
    layer: Layer


class Fragments:
    """Policies of single services that were worked out before.

    A class of clients keeps its layer while nothing changes that the layer depends on; of what has
    changed only the fragments are made anew.
    """

    def __init__(self, mesh: object) -> None:
        self._clients: dict[Client, Client] = {}
        self._results: Memory[Any] = Memory(100_000)
        self._seen: Memory[_Seen] = Memory(2_000)
        self._changes: Memory[frozenset[str]] = Memory(8)
        self._classes: Memory[_Class] = Memory(2_000)
        self._pieces = Pieces()

    def same(self, client: Client) -> Client:
        """The first settings that were equal, so that looking them up is cheap."""
        return self._clients.setdefault(client, client)

    def shared(self, context: Context, client: Client, view: Viewpoint) -> Layer:
        """The policies of all services, which clients at alike places share."""
        rules, known = context.rules, context.mesh.known
        sidecar = context.scope.sidecar and context.scope.sidecar.ref
        seen_from = (context.scope.namespace, sidecar, rules.labels)
        cells = self._cells(seen_from, context.scope, rules, known)
        keeps: _Keeps = self._results.of(
            ("keeps", cells, id(client)),
            lambda: _union({self._keep(cell, known, client) for cell in cells.each}),
        )
        near = _near(view, keeps)
        unused = context.interception == "NONE"
        name = (*seen_from, id(client), unused, *_place(near))
        last = self._classes.get(name)
        if last is None or last.cells is not cells:
            layer = self._layer(cells, known, client, near, unused, last)
            last = self._classes.put(name, _Class(cells, layer))
        return last.layer

    def _cells(
        self, seen_from: Hashable, scope: SidecarScope, rules: ClientRules, known: Known
    ) -> _Cells:
        """The cells of what a client sees; the same object while they are the same."""
        serving = self._serving(known)
        last = self._seen.get(seen_from)
        if last is not None and last.rules is rules and last.serving is serving:
            return last.cells
        if last is not None and last.rules is rules:
            changed = self._changed(last.serving, serving)
            each = tuple(
                self._cell(cell.services, cell.rules, serving) if cell.host in changed else cell
                for cell in last.cells.each
            )
        else:
            by_host = self._by_host(scope)
            each = tuple(self._cell(some, rules.all(h), serving) for h, some in by_host.items())
        cells = last.cells if last is not None and last.cells.each == each else _Cells(each)
        self._seen.put(seen_from, _Seen(rules, serving, cells))
        return cells

    def _by_host(self, scope: SidecarScope) -> Mapping[str, tuple[Service, ...]]:
        def made() -> Mapping[str, tuple[Service, ...]]:
            found: dict[str, list[Service]] = {}
            for service in _real(scope.services):
                found.setdefault(service.host, []).append(service)
            return {host: tuple(some) for host, some in found.items()}

        found: Mapping[str, tuple[Service, ...]] = self._results.of(("hosts", scope), made)
        return found

    def _changed(self, before: _Serving, now: _Serving) -> frozenset[str]:
        """Hosts whose servers are others, or accept something else, than they were."""
        tokens = before.tokens
        return self._changes.of(
            (before, now),
            lambda: frozenset(
                place[0] for place, one in now.tokens.items() if one is not tokens.get(place)
            ),
        )

    def _cell(
        self,
        services: tuple[Service, ...],
        rules: tuple[MergedRule | None, ...],
        serving: _Serving,
    ) -> _Cell:
        tokens = tuple(serving.tokens[each.host, each.namespace] for each in services)
        found: _Cell = self._results.of((services, rules, tokens), lambda: _Cell(services, rules))
        return found

    def _serving(self, known: Known) -> _Serving:
        """Who serves what, and what they accept."""

        def made() -> _Serving:
            return _Serving(
                {
                    place: self._results.of(
                        (known.servers, place, known.instances.of(*place), names),
                        partial(self._token, known, place, names),
                    )
                    for place, names in known.names.items()
                }
            )

        found: _Serving = known.results.of("serving", made)
        return found

    def _token(self, known: Known, place: tuple[str, str], names: tuple[str, ...]) -> object:
        return self._results.of(("alike", known.serving(*place), names), object)

    def _layer(
        self,
        cells: _Cells,
        known: Known,
        client: Client,
        view: Viewpoint,
        unused: bool,
        last: _Class | None,
    ) -> Layer:
        nearest: dict[_Keeps, _Near] = {}

        def made(cell: _Cell) -> Fragment:
            keeps = self._keep(cell, known, client)
            if keeps not in nearest:
                near = _near(view, keeps)
                nearest[keeps] = self._results.of(("near", *_place(near)), lambda: _Near(near))
            return self._fragment(cell, known, client, nearest[keeps])

        if last is not None and len(last.cells.each) == len(cells.each):
            named, *fragments = last.layer.fragments
            renewed = [
                old if was is cell else made(cell)
                for old, was, cell in zip(fragments, last.cells.each, cells.each, strict=True)
            ]
            return last.layer.with_others((named, *renewed))
        named = self._named(client, unused)
        return Layer((named, *map(made, cells.each)), self._pieces)

    def _named(self, client: Client, unused: bool) -> Fragment:
        found: Fragment = self._results.of(
            ("named", id(client), unused),
            lambda: Fragment({p.key: (p,) for p in _named(client, unused=unused)}),
        )
        return found

    def _fragment(self, cell: _Cell, known: Known, client: Client, near: _Near) -> Fragment:
        """What the services of a host are for clients at a place."""

        def made() -> Fragment:
            outcomes: dict[PolicyKey, tuple[Policy | None, ...]] = {}
            for service in cell.services:
                # Of several addresses of one host the last counts where they say of one port.
                instances = known.of(self._visible(service, known))
                worlds = known.servers.worlds(service.namespace, instances)
                found = [
                    self._policies(service, rule, world, known, client, near.view)
                    for rule in cell.rules
                    for world in worlds
                ]
                outcomes |= merge([{policy.key: policy for policy in some} for some in found])
            return Fragment(outcomes)

        fragment: Fragment = self._results.of(("fragment", cell, id(client), near), made)
        return fragment

    def _visible(self, service: Service, known: Known) -> VisibleService:
        """A service as its clients see it."""
        names = known.names.get((service.host, service.namespace), ())
        found: VisibleService = self._results.of(
            ("visible", service, names), lambda: replace(visible(service), names=names)
        )
        return found

    def _policies(
        self,
        service: Service,
        rule: MergedRule | None,
        world: int,
        known: Known,
        client: Client,
        view: Viewpoint,
    ) -> Iterator[Policy]:
        """All policies of a service for a client at a place."""
        seen, serving = self._visible(service, known), self._serving(known)
        token = serving.tokens[service.host, service.namespace]
        yield from self._results.of(
            ("destinations", service, rule, world, token, id(client)),
            lambda: service_destinations(seen, rule, world, known, client),
        )
        yield from service_endpoints(seen, rule, world, known, client, view)

    def _keep(self, cell: _Cell, known: Known, client: Client) -> _Keeps:
        """What of a client's place counts for the services of a host."""

        def made() -> _Keeps:
            kept = [
                relevant(_PROBE, self._visible(service, known), rule, client)
                for service in cell.services
                for rule in cell.rules
            ]
            return _union([_Keeps(k.place != Place(), bool(k.node), tuple(k.labels)) for k in kept])

        found: _Keeps = self._results.of(("keep", cell, id(client)), made)
        return found


def _real(services: Iterable[Service]) -> Iterator[Service]:
    """Services that have destinations of their own; an alias only stands for another."""
    return (service for service in services if service.resolution != "alias")


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


def _place(view: Viewpoint) -> tuple[object, ...]:
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
