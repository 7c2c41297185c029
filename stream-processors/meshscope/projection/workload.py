"""The proxy as a workload: its labels, its place, and the service ports that it serves."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from meshscope.events.proxy import ProxyInputs
from meshscope.events.resource import Resource
from meshscope.policy.source import ResourceRef
from meshscope.projection.declared.declarations import Declarations
from meshscope.projection.inbound.ports import ServiceTarget
from meshscope.projection.services.instances import (
    SERVICE_NAME,
    entry_labels,
    mapped,
    place_of,
    with_place,
)
from meshscope.projection.services.locality import Place
from meshscope.projection.services.protocols import UDP
from meshscope.projection.services.registry import Registry, Service, ServicePort

Json = Mapping[str, Any]
Labels = Mapping[str, str]


@dataclass(frozen=True, slots=True, eq=False)
class Workload:
    """What a projection knows of the proxy's workload.

    Attributes:
        namespace: Its namespace.
        labels: Labels that selectors look at: of the Pod, else of the endpoint that has its
            address, else of the node metadata, which goes stale.
        addresses: Its own.
        node: Kubernetes node that it runs on.
        place: Where it is.
        place_labels: Its labels with those of its place.
        targets: Service ports that it serves, oldest service first.
    """

    namespace: str
    labels: Labels
    addresses: tuple[str, ...] = ()
    node: str = ""
    place: Place = Place()
    place_labels: Labels = field(default_factory=dict)
    targets: tuple[ServiceTarget, ...] = ()


def workload(proxy: ProxyInputs, declared: Declarations, registry: Registry) -> Workload:
    """The workload of a proxy."""
    name, _, namespace = proxy.proxy.rpartition(".")
    pod = declared.named("Pod", namespace, name)
    labels = proxy.labels if pod is None else pod.labels
    if pod is None and not labels:
        labels = next(_endpoint_labels(declared, proxy.addresses), {})
    node = proxy.node_name if pod is None else pod.spec.get("nodeName") or proxy.node_name
    host = declared.named("Node", "", node)
    place = place_of(labels, {} if host is None else host.labels)
    if place == Place():
        place = Place(proxy.region, proxy.zone, proxy.sub_zone)
    placed = with_place(labels, place, cluster=proxy.cluster, node=node, network=proxy.network)
    return Workload(
        namespace=proxy.namespace,
        labels=labels,
        addresses=proxy.addresses,
        node=node,
        place=place,
        place_labels=placed,
        targets=tuple(_targets(proxy, pod, labels, declared, registry)),
    )


def _endpoint_labels(declared: Declarations, addresses: Iterable[str]) -> Iterator[Labels]:
    """Labels of the endpoints that have one of the addresses."""
    own = set(addresses)
    for entry in declared.of("WorkloadEntry"):
        if entry.spec.get("address") in own:
            yield entry_labels(entry)
    for entry in declared.of("ServiceEntry"):
        for endpoint in entry.spec.get("endpoints") or ():
            if endpoint.get("address") in own:
                yield endpoint.get("labels") or {}


def _targets(
    proxy: ProxyInputs,
    pod: Resource | None,
    labels: Labels,
    declared: Declarations,
    registry: Registry,
) -> list[ServiceTarget]:
    """Service ports that a workload serves, oldest service first, then by host."""
    # Services do not cross namespaces here, not even ServiceEntries that list the proxy's address.
    services = registry.by_namespace.get(proxy.namespace, ())
    kubernetes = [service for service in services if service.from_kubernetes]
    own = _own_entry(declared, proxy)
    if own is not None:
        found = [
            target
            for service in registry.by_namespace.get(own.namespace, ())
            if service.from_kubernetes and _selects(service, entry_labels(own))
            for target in _entry_targets(service, own, declared)
        ]
    elif any(_selects(service, labels) for service in kubernetes):
        found = [
            target
            for service in kubernetes
            if _selects(service, labels)
            for target in _kubernetes_targets(service, pod)
        ]
    else:
        found = list(_listed_targets(proxy, {s.name: s for s in kubernetes}, declared))
    seen: set[tuple[str, ResourceRef]] = set()
    for service in services:
        entry = declared.named("ServiceEntry", service.namespace, service.ref.name)
        # Of several addresses of one host one is enough.
        if not service.from_kubernetes and entry and (service.host, service.ref) not in seen:
            seen.add((service.host, service.ref))
            found += _declared_targets(service, entry, proxy, labels, declared)
    return sorted(found, key=lambda target: (_age(target, declared), target.host))


def _age(target: ServiceTarget, declared: Declarations) -> str:
    (ref,) = target.sources
    resource = declared.named(ref.kind, ref.namespace, ref.name)
    return "" if resource is None else resource.created_at or ""


def _own_entry(declared: Declarations, proxy: ProxyInputs) -> Resource | None:
    """The WorkloadEntry that stands for the proxy: of several with its address its namesake."""
    found = [
        entry
        for entry in declared.of("WorkloadEntry")
        if entry.spec.get("address") in proxy.addresses[:1]
    ]
    name = proxy.proxy.removesuffix(f".{proxy.namespace}")
    return min(
        found,
        key=lambda entry: (
            (entry.namespace, entry.name) != (proxy.namespace, name),
            entry.namespace != proxy.namespace,
            entry.namespace,
            entry.name,
        ),
        default=None,
    )


def _entry_targets(
    service: Service, entry: Resource, declared: Declarations
) -> Iterator[ServiceTarget]:
    """Ports of a Kubernetes service that a WorkloadEntry serves; headless ones have none."""
    resource = declared.named("Service", service.namespace, service.name)
    if resource is None or service.resolution != "static":
        return
    written = {port["port"]: port for port in resource.spec.get("ports") or ()}
    for port in service.ports:
        number = mapped(written[port.number], entry.spec.get("ports") or {})
        if number and port.protocol != UDP:
            yield _target(service, port, number)


def _listed_targets(
    proxy: ProxyInputs, services: Mapping[str, Service], declared: Declarations
) -> Iterator[ServiceTarget]:
    """Ports of services, by their names, among whose endpoints the proxy is."""
    own = set(proxy.addresses[:1])
    for piece in declared.within("EndpointSlice", proxy.namespace):
        service = services.get(piece.labels.get(SERVICE_NAME, ""))
        endpoints = piece.body.get("endpoints") or ()
        if service is None or not any(own & {*(e.get("addresses") or ())} for e in endpoints):
            continue
        ports = {port.name: port for port in service.ports}
        for given in piece.body.get("ports") or ():
            port = ports.get(given.get("name") or "")
            if port is not None and given.get("port"):
                yield _target(service, port, given["port"])


def _selects(service: Service, labels: Labels) -> bool:
    return service.selector is not None and service.selector.items() <= labels.items()


def _kubernetes_targets(service: Service, pod: Resource | None) -> Iterator[ServiceTarget]:
    for port in service.ports:
        number = port.target if isinstance(port.target, int) else _container_port(pod, port.target)
        if number:
            yield _target(service, port, number)


def _container_port(pod: Resource | None, name: str) -> int:
    """The port of a Pod's container of that name; 0: it has none."""
    containers = () if pod is None else pod.spec.get("containers") or ()
    for container in containers:
        for port in container.get("ports") or ():
            if port.get("name") == name and port.get("protocol", "TCP") == "TCP":
                number: int = port["containerPort"]
                return number
    return 0


def _declared_targets(
    service: Service,
    entry: Resource,
    proxy: ProxyInputs,
    labels: Labels,
    declared: Declarations,
) -> Iterator[ServiceTarget]:
    """Ports of a ServiceEntry that lists one of the proxy's addresses, or selects it."""
    endpoint = _own_endpoint(service, entry, proxy, labels, declared)
    if endpoint is not None:
        numbers = endpoint.get("ports") or {}
        for port in service.ports:
            target = numbers.get(port.name) or port.target
            if isinstance(target, int):
                yield _target(service, port, target)


def _own_endpoint(
    service: Service,
    entry: Resource,
    proxy: ProxyInputs,
    labels: Labels,
    declared: Declarations,
) -> Json | None:
    for endpoint in entry.spec.get("endpoints") or ():
        if endpoint.get("address") in proxy.addresses:
            found: Json = endpoint
            return found
    if service.selector is None or service.namespace != proxy.namespace:
        return None
    for chosen in declared.of("WorkloadEntry"):
        if (
            chosen.namespace == proxy.namespace
            and chosen.spec.get("address") in proxy.addresses
            and service.selector.items() <= entry_labels(chosen).items()
        ):
            return chosen.spec
    return {} if _selects(service, labels) else None


def _target(service: Service, port: ServicePort, number: int) -> ServiceTarget:
    return ServiceTarget(
        service.host,
        service.namespace,
        service.name,
        port.number,
        number,
        port.protocol,
        external=service.external,
        sources=(service.ref,),
    )
