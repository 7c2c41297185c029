"""What a proxy sees: the Sidecar that applies, its egress listeners, services and VirtualServices.

Source: https://istio.io/latest/docs/reference/config/networking/sidecar/.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, cast

from meshscope.events.resource import Resource
from meshscope.projection.declared.visibility import Visible
from meshscope.projection.hosts import Patterns, covers, is_wildcard, overlaps
from meshscope.projection.memory import Memory
from meshscope.projection.routes.virtual_service import VirtualService
from meshscope.projection.services.protocols import HTTP_PROXY, parse
from meshscope.projection.services.registry import Registry, Service, ServicePort

Json = Mapping[str, Any]

_ANY_NAMESPACE: Final = "*"
_OWN_NAMESPACE: Final = "."
_EXCLUDED: Final = "~"
_EVERYTHING: Final[Json] = {"hosts": ("*/*",)}
"""The egress listener of proxies whose Sidecar has none, or that have no Sidecar."""


@dataclass(frozen=True, slots=True, eq=False)
class EgressListener:
    """One egress listener of a Sidecar. Equality is identity.

    Attributes:
        namespace: Of the proxies.
        port: Port, name and protocol that it opens; None: it takes every port of its services.
        bind: Address that it binds to; empty: not given.
        capture_none: It opens its port itself although connections are redirected.
        services: What it imports, oldest first.
        virtual_services: What routes for its services, in order of precedence.
        opaque: Those of them that route what is not HTTP.
        wildcard_owner: For every service, the VirtualService with the most specific host for it.
        by_port: The services with this port alone, by its number.
    """

    namespace: str
    port: ServicePort | None
    bind: str
    capture_none: bool
    services: tuple[Service, ...]
    virtual_services: tuple[VirtualService, ...]
    opaque: tuple[VirtualService, ...]
    wildcard_owner: Mapping[str, VirtualService]
    by_port: Mapping[int, tuple[Service, ...]]


@dataclass(frozen=True, slots=True, eq=False)
class SidecarScope:
    """What the proxies that share a Sidecar and a namespace see. Equality is identity.

    Attributes:
        namespace: Of the proxies.
        sidecar: The Sidecar; None: none applies.
        listeners: In order of definition.
        services: Every service that any listener or a VirtualService's destination imports.
        by_host: The same by host.
    """

    namespace: str
    sidecar: Resource | None
    listeners: tuple[EgressListener, ...]
    services: tuple[Service, ...]
    by_host: Mapping[str, Service] = field(default_factory=dict)

    @property
    def spec(self) -> Json:
        """The Sidecar's spec; empty: none applies."""
        return {} if self.sidecar is None else self.sidecar.spec

    def namespace_of(self, host: str) -> str | None:
        """Namespace of the service that is seen under a host; None: none is."""
        service = self.by_host.get(host)
        return None if service is None else service.namespace

    def listener_for(self, port: int, bind: str) -> EgressListener | None:
        """The listener whose services a route table holds.

        Args:
            port: Port of the table; 0: it is named by the address of a socket.
            bind: Name of the table.
        """
        for listener in self.listeners:
            if listener.port is None:
                return listener
            if listener.port.number == port and (port or listener.bind == bind):
                return listener
        return None


def applicable_sidecar(
    sidecars: Iterable[Resource], namespace: str, labels: Mapping[str, str], root: str
) -> Resource | None:
    """The Sidecar of a proxy: one that selects it, its namespace's, or the root namespace's.

    Args:
        sidecars: All of them, in canonical order.
        namespace, labels: Of the workload.
        root: The root namespace.
    """
    found = tuple(sidecars)
    own = [sidecar for sidecar in found if sidecar.namespace == namespace]
    for sidecar in own:
        selector = sidecar.spec.get("workloadSelector")
        if selector is not None and (selector.get("labels") or {}).items() <= labels.items():
            return sidecar
    others = [sidecar for sidecar in found if sidecar.namespace == root]
    return next((s for s in (*own, *others) if s.spec.get("workloadSelector") is None), None)


@dataclass(frozen=True, slots=True)
class _Hosts:
    """Hosts that a listener imports from one namespace, and those that it leaves out."""

    imported: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()

    def service(self, host: str) -> bool:
        return any(covers(pattern, host) for pattern in self.imported)

    def virtual_service(self, host: str, *, gateway_api: bool) -> bool:
        matches = covers if gateway_api else overlaps
        return any(matches(pattern, host) for pattern in self.imported)

    def leaves_out(self, host: str) -> bool:
        return any(covers(pattern, host) for pattern in self.excluded)


@dataclass(frozen=True, slots=True, eq=False)
class ScopeBuilder:
    """Builds scopes from what the whole mesh shares.

    Attributes:
        registry: All services.
        virtual_services: All VirtualServices, by who may see them.
        exclusions: `~` leaves hosts out of an egress listener.
        picks_best: Of services of one host elsewhere, that of Kubernetes or the oldest counts; else
            the first by namespace.
        results: What was worked out before.
    """

    registry: Registry
    virtual_services: Visible[VirtualService]
    exclusions: bool = True
    picks_best: bool = True
    results: Memory[Any] = field(default_factory=Memory)

    def scope(self, namespace: str, sidecar: Resource | None) -> SidecarScope:
        """The scope of the proxies of a namespace to which a Sidecar applies."""
        given = (() if sidecar is None else sidecar.spec.get("egress")) or (_EVERYTHING,)
        listeners = tuple(self._listener(spec, namespace) for spec in given)
        imports = _Imports()
        for listener in listeners:
            for service in listener.services:
                imports.add(service)
            for service in self._destinations(listener, namespace):
                imports.add(service)
        services = tuple(imports.services)
        return SidecarScope(
            namespace, sidecar, listeners, services, {s.host: s for s in reversed(services)}
        )

    def _listener(self, spec: Json, namespace: str) -> EgressListener:
        hosts = self._hosts(spec, namespace)
        port = _port(spec.get("port"))
        wanted = port.number if port and port.number and port.protocol != HTTP_PROXY else 0
        services: tuple[Service, ...] = self.results.of(
            ("imports", self.registry, tuple(hosts.items()), namespace, wanted),
            lambda: tuple(self._services(hosts, namespace, wanted)),
        )
        found = tuple(self._virtual_services(hosts, namespace))
        return EgressListener(
            namespace,
            port,
            spec.get("bind") or "",
            spec.get("captureMode") == "NONE",
            services,
            found,
            tuple(vs for vs in found if vs.tcp or vs.tls),
            _owners(found, services),
            self.results.of(("ports", services), lambda: self._by_port(services)),
        )

    def _by_port(self, services: Iterable[Service]) -> Mapping[int, tuple[Service, ...]]:
        found: dict[int, list[Service]] = {}
        for service in services:
            for number in dict.fromkeys(port.number for port in service.ports):
                found.setdefault(number, []).append(self._narrowed(service, number))
        return {number: tuple(some) for number, some in found.items()}

    def _narrowed(self, service: Service, number: int) -> Service:
        if len(service.ports) == 1:
            return service
        made = self.results.of(
            ("narrowed", service, number), lambda: with_ports(service, {number}) or service
        )
        return cast(Service, made)

    def _hosts(self, spec: Json, namespace: str) -> Mapping[str, _Hosts]:
        found: dict[str, _Hosts] = defaultdict(_Hosts)
        for text in spec.get("hosts") or ():
            place, _, host = text.partition("/")
            excluded = self.exclusions and place.startswith(_EXCLUDED)
            if excluded:
                place = place.removeprefix(_EXCLUDED) or _ANY_NAMESPACE
            place = namespace if place == _OWN_NAMESPACE else place
            known = found[place]
            found[place] = (
                replace(known, excluded=(*known.excluded, host))
                if excluded
                else replace(known, imported=(*known.imported, host))
            )
        return found

    def _services(
        self, hosts: Mapping[str, _Hosts], namespace: str, port: int
    ) -> Iterator[Service]:
        """The services that the hosts name; of one host those of one namespace only."""
        found = [
            narrowed
            for service in self._candidates(hosts, namespace)
            if (narrowed := _imported(service, hosts, port)) is not None
        ]
        chosen: dict[str, Service] = {}
        for service in found:
            known = chosen.get(service.host)
            if (
                known is None
                or service.namespace == namespace
                or (
                    service.from_kubernetes
                    and not known.from_kubernetes
                    and known.namespace != namespace
                )
            ):
                chosen[service.host] = service
        for service in found:
            if service.namespace == chosen[service.host].namespace:
                yield service

    def _candidates(self, hosts: Mapping[str, _Hosts], namespace: str) -> Iterable[Service]:
        exact = all(
            place != _ANY_NAMESPACE and not any(map(is_wildcard, some.imported))
            for place, some in hosts.items()
        )
        if not exact:
            return self.registry.seen_from(namespace)
        known = self.registry.by_host
        named = {
            id(service)
            for place, some in hosts.items()
            for host in some.imported
            if (service := known.get(host, {}).get(place)) is not None
            and self.registry.is_visible(service, namespace)
        }
        return (service for service in self.registry.services if id(service) in named)

    def _virtual_services(
        self, hosts: Mapping[str, _Hosts], namespace: str
    ) -> Iterator[VirtualService]:
        anywhere = hosts.get(_ANY_NAMESPACE, _Hosts())
        visible = self.virtual_services
        for pool in (
            visible.private.get(namespace, ()),
            visible.exported.get(namespace, ()),
            visible.public,
        ):
            for vs in sorted(
                pool, key=lambda vs: not (vs.gateway_api and vs.namespace == namespace)
            ):
                own = hosts.get(vs.namespace, _Hosts())
                if any(
                    not own.leaves_out(host)
                    and not anywhere.leaves_out(host)
                    and (
                        own.virtual_service(host, gateway_api=vs.gateway_api)
                        or anywhere.virtual_service(host, gateway_api=vs.gateway_api)
                    )
                    for host in vs.hosts
                ):
                    yield vs

    def _destinations(self, listener: EgressListener, namespace: str) -> Iterator[Service]:
        """Services that the listener's VirtualServices send to, with the ports that they name."""
        port = listener.port
        by_port = port is not None and bool(port.number) and port.protocol != HTTP_PROXY
        for vs in listener.virtual_services:
            wanted: dict[str, set[int]] = defaultdict(set)
            for host, number in vs.destinations(namespace):
                wanted[host].add(number)
            for host, numbers in wanted.items():
                service = self._visible_service(host, namespace)
                if service is None:
                    continue
                if by_port and port is not None:
                    numbers = {port.number}
                narrowed = service if 0 in numbers else with_ports(service, numbers)
                if narrowed is not None:
                    yield narrowed

    def _visible_service(self, host: str, namespace: str) -> Service | None:
        """The service that a destination means: of the client's namespace, else the best one."""
        known = self.registry.by_host.get(host, {})
        if namespace in known:
            return known[namespace]
        seen = [s for s in known.values() if self.registry.is_visible(s, namespace)]
        if not self.picks_best:
            return min(seen, key=lambda s: s.namespace, default=None)
        ranks = self.registry.ranks
        return min(seen, key=lambda s: (not s.from_kubernetes, ranks[s]), default=None)


def _port(spec: Json | None) -> ServicePort | None:
    if spec is None:
        return None
    return ServicePort(
        spec.get("number") or 0, spec.get("name") or "", parse(spec.get("protocol") or "")
    )


def _imported(service: Service, hosts: Mapping[str, _Hosts], port: int) -> Service | None:
    """A service as a listener imports it; None: it does not."""
    pools = [hosts[name] for name in (service.namespace, _ANY_NAMESPACE) if name in hosts]
    if any(pool.leaves_out(service.host) for pool in pools):
        return None
    for pool in pools:
        if pool.service(service.host):
            found = with_ports(service, {port}) if port else service
            if found is not None:
                aliases = tuple(alias for alias in found.aliases if pool.service(alias))
                return found if aliases == found.aliases else replace(found, aliases=aliases)
    return None


def with_ports(service: Service, numbers: set[int]) -> Service | None:
    """A service with some of its ports; None: it has none of them."""
    ports = tuple(port for port in service.ports if port.number in numbers)
    if len(ports) == len(service.ports):
        return service
    return replace(service, ports=ports) if ports else None


def _owners(
    virtual_services: Iterable[VirtualService], services: Iterable[Service]
) -> Mapping[str, VirtualService]:
    by_host: dict[str, VirtualService] = {}
    for vs in virtual_services:
        for host in vs.hosts:
            by_host.setdefault(host, vs)
    patterns = Patterns(by_host)
    found: dict[str, VirtualService] = {}
    for service in services:
        chosen = patterns.most_specific(service.host)
        if chosen is not None:
            found[service.host] = by_host[chosen]
    return found


class _Imports:
    """Services by host, in the order in which they were found first."""

    def __init__(self) -> None:
        self.services: list[Service] = []
        self._places: dict[str, int] = {}

    def add(self, service: Service) -> None:
        """Add a service; one of the same host is replaced, merged with it, or kept."""
        place = self._places.setdefault(service.host, len(self.services))
        if place == len(self.services):
            self.services.append(service)
            return
        known = self.services[place]
        if known.from_kubernetes and not service.from_kubernetes:
            return
        if service.from_kubernetes and not known.from_kubernetes:
            self.services[place] = service
        elif _can_merge(known, service):
            numbers = {port.number for port in known.ports}
            added = tuple(port for port in service.ports if port.number not in numbers)
            if added:
                self.services[place] = replace(known, ports=(*known.ports, *added))


def _can_merge(one: Service, other: Service) -> bool:
    return (
        one.namespace == other.namespace
        and one.resolution == other.resolution
        and one.registry == other.registry
        and one.labels == other.labels
        and (one.selector or {}) == (other.selector or {})
        and one.export_to == other.export_to
    )
