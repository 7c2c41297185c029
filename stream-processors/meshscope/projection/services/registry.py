"""The services of the mesh: Kubernetes Services and the hosts of ServiceEntries.

Source: https://istio.io/latest/docs/reference/config/networking/service-entry/ and
https://kubernetes.io/docs/concepts/services-networking/service/.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from ipaddress import ip_network
from typing import Any, Final, Literal

from meshscope.events.resource import Resource
from meshscope.policy.source import ResourceRef
from meshscope.projection.declared.visibility import Visible, by_visibility, sees
from meshscope.projection.memory import Alike
from meshscope.projection.services.locality import TrafficDistribution
from meshscope.projection.services.protocols import of_kubernetes_port, parse

Json = Mapping[str, Any]
RegistryName = Literal["Kubernetes", "External"]

UNSPECIFIED: Final = "0.0.0.0"  # noqa: S104, how Istio writes that a service has no address

Resolution = Literal["static", "dns", "dns_round_robin", "none", "dynamic_dns", "alias"]

_EXPORT_TO: Final = "networking.istio.io/exportTo"
_DISTRIBUTION: Final = "networking.istio.io/traffic-distribution"
_CANONICAL_ACCOUNTS: Final = "alpha.istio.io/canonical-serviceaccounts"
_KUBERNETES_ACCOUNTS: Final = "alpha.istio.io/kubernetes-serviceaccounts"
_NEAR: Final[Mapping[str, TrafficDistribution]] = {
    "preferclose": "zone",
    "prefersamezone": "zone",
    "prefersamenode": "node",
}
_RESOLUTIONS: Final[Mapping[str, Resolution]] = {
    "NONE": "none",
    "STATIC": "static",
    "DNS": "dns",
    "DNS_ROUND_ROBIN": "dns_round_robin",
    "DYNAMIC_DNS": "dynamic_dns",
}


@dataclass(frozen=True, slots=True)
class ServicePort:
    """A port of a service.

    Attributes:
        number, name: As declared.
        protocol: See `protocols`.
        target: Port of its workloads, by number or by name of a container's port.
        override: Port to which a service without load balancing is sent instead of the port that
            the application dialled; 0: none.
    """

    number: int
    name: str
    protocol: str
    target: int | str = 0
    override: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Service:
    """A service, or one address of a ServiceEntry's host. Equality is identity.

    Attributes:
        host, namespace: Where it is reached, and where it is declared.
        name: Name of the Kubernetes Service; the host for a ServiceEntry.
        registry: Who declared it; `Kubernetes` comes before `External`.
        ports: In order of declaration.
        address: Where its listeners bind: IP address, network, or `UNSPECIFIED`.
        addresses: Cluster addresses of a Kubernetes Service; empty otherwise.
        allocated: Addresses that istiod gave to the host of a ServiceEntry without any.
        resolution, external, near, names, node_local: As in `VisibleService`.
        export_to: Namespaces that may see it; empty: the mesh's default.
        labels: Its own.
        selector: Labels of its workloads; None: it has no selector.
        external_name: Host that an ExternalName service stands for; empty: none.
        aliases: ExternalName services that stand for it.
        ref: The resource that declares it.
    """

    host: str
    namespace: str
    name: str
    registry: RegistryName
    ports: tuple[ServicePort, ...]
    address: str = UNSPECIFIED
    addresses: tuple[str, ...] = ()
    allocated: tuple[str, ...] = ()
    resolution: Resolution = "static"
    external: bool = False
    export_to: frozenset[str] = frozenset()
    labels: Mapping[str, str] = field(default_factory=dict)
    selector: Mapping[str, str] | None = None
    near: TrafficDistribution = ""
    names: tuple[str, ...] = ()
    node_local: bool = False
    external_name: str = ""
    aliases: tuple[str, ...] = ()
    ref: ResourceRef = ResourceRef("", "", "")

    @property
    def from_kubernetes(self) -> bool:
        """Whether it is a Kubernetes Service."""
        return self.registry == "Kubernetes"

    def port(self, number: int) -> ServicePort | None:
        """Its port of that number; None: it has none."""
        return next((port for port in self.ports if port.number == number), None)


@dataclass(frozen=True, eq=False)
class Registry:
    """All services, oldest first.

    Attributes:
        services: In Istio's order: age, name, namespace.
        default_exports: Who sees services that do not say so.
    """

    services: tuple[Service, ...]
    default_exports: frozenset[str]

    @cached_property
    def visible(self) -> Visible[Service]:
        """The services by who may see them."""
        return by_visibility(self.services, self.default_exports)

    @cached_property
    def by_host(self) -> Mapping[str, Mapping[str, Service]]:
        """By host and namespace; the oldest counts, but Kubernetes before ServiceEntries."""
        found: dict[str, dict[str, Service]] = defaultdict(dict)
        for service in self.services:
            known = found[service.host].get(service.namespace)
            if known is None or (service.from_kubernetes and not known.from_kubernetes):
                found[service.host][service.namespace] = service
        return found

    @cached_property
    def names(self) -> Mapping[tuple[str, str], tuple[str, ...]]:
        """Names declared for the certificates of servers, by host and namespace: the newest count.

        A ServiceEntry may so add to the names of a Kubernetes service of its namespace.
        """
        return {(service.host, service.namespace): service.names for service in self.services}

    @cached_property
    def by_namespace(self) -> Mapping[str, tuple[Service, ...]]:
        """The services of every namespace, oldest first."""
        found: dict[str, list[Service]] = defaultdict(list)
        for service in self.services:
            found[service.namespace].append(service)
        return {namespace: tuple(services) for namespace, services in found.items()}

    @cached_property
    def ranks(self) -> Mapping[Service, int]:
        """The place of every service in the order of age."""
        return {service: place for place, service in enumerate(self.services)}

    def seen_from(self, namespace: str) -> tuple[Service, ...]:
        """What a namespace sees: what is exported to it by name first, then what all see."""
        visible = self.visible
        own = (*visible.private.get(namespace, ()), *visible.exported.get(namespace, ()))
        return (*own, *visible.public)

    def is_visible(self, service: Service, namespace: str) -> bool:
        """Whether a namespace sees a service."""
        return sees(namespace, service, self.default_exports)

    def find(self, name: str) -> str | None:
        """The host that `host` or `namespace/host` means; None: none, or more than one."""
        namespace, _, host = name.rpartition("/")
        known = self.by_host.get(host, {})
        if namespace:
            return host if namespace in known else None
        return host if len(known) == 1 else None


def registry(
    resources: Iterable[Resource],
    *,
    trust_domain: str,
    domain: str,
    default_exports: frozenset[str],
    inherits: bool = True,
    before: Registry | None = None,
) -> Registry:
    """The services that Services and ServiceEntries declare.

    Args:
        resources: Services, ServiceEntries and Namespaces, in any order.
        trust_domain: Of the mesh.
        domain: DNS domain of the cluster.
        default_exports: Who sees services that do not say so.
        inherits: Services inherit how near their endpoints should be from their namespace.
        before: Earlier services, which stay where they are alike.
    """
    declared = tuple(resources)
    namespaces = {r.name: r.annotations for r in declared if r.kind == "Namespace" and inherits}
    services: list[tuple[str, Service]] = []
    for resource in declared:
        inherited = namespaces.get(resource.namespace, {})
        if resource.kind == "Service":
            found = [_kubernetes_service(resource, inherited, trust_domain, domain)]
        elif resource.kind == "ServiceEntry":
            found = list(_declared_services(resource, inherited))
        else:
            continue
        services += ((resource.created_at or "", service) for service in found)
    ordered = sorted(services, key=lambda item: (item[0], item[1].name, item[1].namespace))
    aliased = _with_aliases([service for _, service in ordered])
    known = Alike(Service, () if before is None else before.services)
    return Registry(tuple(map(known.same, aliased)), default_exports)


def _kubernetes_service(
    resource: Resource, inherited: Mapping[str, str], trust_domain: str, domain: str
) -> Service:
    spec = resource.spec
    alias = spec.get("externalName", "") if spec.get("type") == "ExternalName" else ""
    cluster_ip = spec.get("clusterIP") or ""
    headless = cluster_ip == "None"
    resolution: Resolution = "static"
    if headless:
        resolution = "none"
    elif alias:
        resolution = "alias"
    addresses: tuple[str, ...] = ()
    if cluster_ip and not headless:
        several = tuple(spec.get("clusterIPs") or ())
        addresses = several if len(several) > 1 else (cluster_ip,)
    return Service(
        host=f"{resource.name}.{resource.namespace}.svc.{domain}",
        namespace=resource.namespace,
        name=resource.name,
        registry="Kubernetes",
        ports=tuple(
            ServicePort(
                port["port"],
                port.get("name") or "",
                of_kubernetes_port(
                    port["port"],
                    port.get("name") or "",
                    port.get("protocol") or "TCP",
                    port.get("appProtocol"),
                ),
                port.get("targetPort") or port["port"],
            )
            for port in spec.get("ports") or ()
        ),
        address=addresses[0] if addresses else UNSPECIFIED,
        addresses=addresses,
        resolution=resolution,
        external=bool(alias),
        export_to=_words(resource.annotations.get(_EXPORT_TO, "")),
        labels=resource.labels,
        selector=spec.get("selector") or None,
        near=_near(spec.get("trafficDistribution"), resource.annotations, inherited),
        names=(
            *_words(resource.annotations.get(_CANONICAL_ACCOUNTS, "")),
            *(
                f"spiffe://{trust_domain}/ns/{resource.namespace}/sa/{account}"
                for account in _words(resource.annotations.get(_KUBERNETES_ACCOUNTS, ""))
            ),
        ),
        node_local=spec.get("internalTrafficPolicy") == "Local",
        external_name=alias,
        ref=resource.ref,
    )


def _declared_services(resource: Resource, inherited: Mapping[str, str]) -> Iterator[Service]:
    """One service for each host and address of a ServiceEntry."""
    spec = resource.spec
    resolution = _RESOLUTIONS.get(spec.get("resolution") or "NONE", "none")
    selector = spec.get("workloadSelector")
    given = [a for a in map(_address, spec.get("addresses") or ()) if a]
    for host in spec.get("hosts") or ():
        service = Service(
            host=host,
            namespace=resource.namespace,
            name=host,
            registry="External",
            ports=tuple(
                ServicePort(
                    port["number"],
                    port.get("name") or "",
                    parse(port.get("protocol") or ""),
                    port.get("targetPort") or port["number"],
                    (port.get("targetPort") or 0) if resolution == "none" else 0,
                )
                for port in spec.get("ports") or ()
            ),
            resolution=resolution,
            external=spec.get("location", "MESH_EXTERNAL") == "MESH_EXTERNAL",
            export_to=frozenset(spec.get("exportTo") or ()),
            labels=resource.labels,
            selector=None if selector is None else selector.get("labels") or {},
            near=_near(None, resource.annotations, inherited),
            names=tuple(spec.get("subjectAltNames") or ()),
            ref=resource.ref,
        )
        if given:
            yield from (replace(service, address=address) for address in given)
        else:
            yield replace(service, allocated=_allocated(resource.body, host))


def _address(text: str) -> str:
    """An address as listeners bind it: a network of one address is that address; "": none."""
    try:
        network = ip_network(text, strict=False)
    except ValueError:
        return ""
    if "/" in text and network.num_addresses > 1:
        return text
    return text.partition("/")[0]


def _allocated(body: Json, host: str) -> tuple[str, ...]:
    status: Json = body.get("status") or {}
    return tuple(
        entry["value"]
        for entry in status.get("addresses") or ()
        if entry.get("host") == host and entry.get("value")
    )


def _near(
    spec: str | None, own: Mapping[str, str], inherited: Mapping[str, str]
) -> TrafficDistribution:
    if spec is not None and spec.lower() in _NEAR:
        return _NEAR[spec.lower()]
    word = own.get(_DISTRIBUTION) or inherited.get(_DISTRIBUTION) or ""
    return _NEAR.get(word.lower(), "")


def _words(text: str) -> frozenset[str]:
    return frozenset(word for part in text.split(",") if (word := part.strip()))


def _with_aliases(services: list[Service]) -> tuple[Service, ...]:
    """The services, each with the ExternalName services that stand for it."""
    stands_for = {s.host: s.external_name for s in services if s.resolution == "alias"}
    aliases: dict[str, set[tuple[str, str]]] = defaultdict(set)
    for service in services:
        if service.resolution == "alias":
            target = _concrete(service.host, stands_for)
            if target is not None:
                aliases[target].add((service.namespace, service.host))
    return tuple(
        replace(service, aliases=tuple(host for _, host in sorted(aliases[service.host])))
        if service.host in aliases
        else service
        for service in services
    )


def _concrete(host: str, stands_for: Mapping[str, str]) -> str | None:
    """What an alias stands for in the end; None: it stands for itself."""
    seen = {host}
    while host in stands_for:
        host = stands_for[host]
        if host in seen:
            return None
        seen.add(host)
    return host
