"""Networks of a mesh, and the gateways that lead from one to another.

Source: https://istio.io/latest/docs/reference/config/istio.mesh.v1alpha1/#MeshNetworks,
https://istio.io/latest/docs/setup/install/multicluster/multi-primary_multi-network/ and
https://istio.io/latest/docs/reference/config/labels/.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from math import lcm
from typing import Any, Final

from meshscope.events.resource import Resource

Json = Mapping[str, Any]

NETWORK: Final = "topology.istio.io/network"
_GATEWAY_PORT: Final = "networking.istio.io/gatewayPort"
_DEFAULT_PORT: Final = 15443


@dataclass(frozen=True, slots=True, order=True)
class Gateway:
    """An address through which workloads of a network are reached.

    Attributes:
        address, port: Of the gateway.
        network: That it leads to.
        cluster: Whose workloads it is for; empty: those of any.
    """

    address: str
    port: int
    network: str
    cluster: str = ""


@dataclass(frozen=True)
class Networks:
    """The networks of a mesh.

    Attributes:
        gateways: All gateways; none: every workload is reached directly.
        default: Network of workloads that say nothing of it; empty: decided by address.
        ranges: Networks by address, in order.
    """

    gateways: tuple[Gateway, ...] = ()
    default: str = ""
    ranges: tuple[tuple[IPv4Network | IPv6Network, str], ...] = field(default=())

    @property
    def scale(self) -> int:
        """What weights are multiplied with, so that any number of gateways can share them."""
        by_network: dict[str, int] = {}
        for gateway in self.gateways:
            by_network[gateway.network] = by_network.get(gateway.network, 0) + 1
        return lcm(*by_network.values())

    def of(self, address: str, labels: Mapping[str, str]) -> str:
        """The network of a workload; empty: it is in any."""
        return labels.get(NETWORK) or self.default or self._by_address(address)

    def leading_to(self, network: str, cluster: str) -> tuple[Gateway, ...]:
        """The gateways to a network, those for the cluster if it has its own."""
        found = tuple(one for one in self.gateways if one.network == network)
        return tuple(one for one in found if one.cluster == cluster) or found

    def _by_address(self, address: str) -> str:
        try:
            parsed = ip_address(address)
        except ValueError:
            return ""
        return next((name for network, name in self.ranges if parsed in network), "")


def networks(
    mesh_networks: Json, resources: Iterable[Resource], *, cluster: str, root: str, domain: str
) -> Networks:
    """The networks of a mesh.

    Args:
        mesh_networks: MeshNetworks.
        resources: Services and Namespaces.
        cluster: Kubernetes cluster id.
        root: Namespace of the control plane, whose label names the cluster's network.
        domain: DNS domain of the cluster.
    """
    given: Mapping[str, Json] = mesh_networks.get("networks") or {}
    own = ""
    registered: dict[str, list[tuple[str, int]]] = {}
    ranges = []
    gateways: set[Gateway] = set()
    for name, spec in given.items():
        endpoints = spec.get("endpoints") or ()
        ranges += [
            (ip_network(one["fromCidr"], strict=False), name)
            for one in endpoints
            if "fromCidr" in one
        ]
        mine = any(one.get("fromRegistry") == cluster for one in endpoints)
        if mine and not own:
            own = name
        for gateway in spec.get("gateways") or ():
            if gateway.get("address"):
                gateways.add(Gateway(gateway["address"], gateway.get("port") or 0, name))
            elif mine and gateway.get("registryServiceName"):
                place = registered.setdefault(gateway["registryServiceName"], [])
                place.append((name, gateway.get("port") or 0))
    default = ""
    for resource in resources:
        if resource.kind == "Namespace" and resource.name == root:
            default = resource.labels.get(NETWORK, "")
        elif resource.kind == "Service":
            host = f"{resource.name}.{resource.namespace}.svc.{domain}"
            gateways.update(_of_service(resource, registered.get(host, ()), cluster))
    usable = sorted(one for one in gateways if one.port and _is_address(one.address))
    # The most specific range comes first.
    ranges.sort(key=lambda one: -one[0].prefixlen)
    return Networks(tuple(usable), default or own, tuple(ranges))


def _of_service(
    service: Resource, registered: Iterable[tuple[str, int]], cluster: str
) -> Iterator[Gateway]:
    """The gateways behind a service that is labelled with a network, or named as its gateway."""
    leads = tuple(registered)
    ports = {port.get("port"): port for port in service.spec.get("ports") or ()}
    network = service.labels.get(NETWORK)
    if network:
        text = service.labels.get(_GATEWAY_PORT, "")
        number = int(text) if text.isdecimal() else _DEFAULT_PORT
        leads = ((network, number),) if number in ports else ()
    for name, number in leads:
        for address in _external(service):
            yield Gateway(address, number, name, cluster)


def _external(service: Resource) -> Iterator[str]:
    """Addresses at which a service is reached from outside the cluster."""
    if service.spec.get("type") == "LoadBalancer":
        status: Json = (service.body.get("status") or {}).get("loadBalancer") or {}
        for ingress in status.get("ingress") or ():
            yield ingress.get("ip") or ingress.get("hostname") or ""
    yield from service.spec.get("externalIPs") or ()


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
