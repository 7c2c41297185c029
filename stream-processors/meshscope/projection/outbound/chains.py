"""Filter chains of outbound listeners for traffic that is not routed as HTTP.

Routes in `tls` count on ports declared TLS or HTTPS, routes in `tcp` on all others; where neither
is there, the service itself is the destination.

Source: https://istio.io/latest/docs/reference/config/networking/virtual-service/#TCPRoute and
https://istio.io/latest/docs/reference/config/networking/virtual-service/#TLSRoute.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_network
from typing import Any, Final

from meshscope.policy.outbound_listener import ChainMatch, OutboundChain
from meshscope.policy.source import ResourceRef
from meshscope.policy.target import HashPolicy, Target, WeightedTarget
from meshscope.projection.destinations.destination_rule import MergedRule
from meshscope.projection.durations import milliseconds
from meshscope.projection.hosts import is_wildcard, overlaps
from meshscope.projection.routes.domains import service_domains
from meshscope.projection.routes.targets import FindService, target
from meshscope.projection.routes.virtual_service import MESH, VirtualService
from meshscope.projection.services.protocols import TLS
from meshscope.projection.services.registry import UNSPECIFIED, Service, ServicePort

Json = Mapping[str, Any]
FindRule = Callable[[str], MergedRule | None]
"""From a host to the DestinationRule that the client applies to its service; None: none."""

_WILDCARDS: Final = (UNSPECIFIED, "::")


@dataclass(frozen=True, slots=True)
class Chain:
    """A chain before it is known which others its listener has.

    Attributes:
        match: Which connections.
        content: The chain, without its match.
        sources: Resources that it came from.
    """

    match: ChainMatch
    content: OutboundChain
    sources: tuple[ResourceRef, ...] = ()

    @property
    def takes_everything(self) -> bool:
        """Whether no connection falls through."""
        return self.match == ChainMatch()

    def built(self) -> OutboundChain:
        """The chain with its match."""
        return replace(self.content, match=self.match)

    def conflicts_with(self, other: "Chain") -> bool:
        """Whether both take the same connections, so that only one can stay."""
        one, two = self.match, other.match
        return (
            one.transport_protocol == two.transport_protocol
            and one.application_protocols == two.application_protocols
            and one.server_names == two.server_names
            and set(map(_masked, one.prefix_ranges)) == set(map(_masked, two.prefix_ranges))
        )


@dataclass(frozen=True, slots=True)
class ChainInputs:
    """What chains depend on besides the service.

    Attributes:
        namespace, labels: Of the client.
        dns_domain: Of the client.
        find_service: From a host to its service.
        find_rule: From a host to its DestinationRule.
        idle_timeout_ms: Idle timeout of the proxy where no rule gives one; None: Envoy's.
        counted: Protocols whose operations are counted.
    """

    namespace: str
    labels: Mapping[str, str]
    dns_domain: str
    find_service: FindService
    find_rule: FindRule
    idle_timeout_ms: int | None = None
    counted: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Place:
    """Where chains of a service are to stand.

    Attributes:
        service: The service.
        port: Port of the listener; 0: it is a socket.
        bind: Address of the listener.
        networks: Networks of the service, where the listener does not bind its address.
    """

    service: Service
    port: ServicePort
    bind: str
    networks: tuple[str, ...] = ()


def routing_for(
    host: str, virtual_services: Sequence[VirtualService]
) -> tuple[VirtualService, ...]:
    """The VirtualServices that route for a host."""
    return tuple(vs for vs in virtual_services if any(overlaps(each, host) for each in vs.hosts))


def opaque_chains(
    place: Place, virtual_services: Sequence[VirtualService], inputs: ChainInputs
) -> tuple[Chain, ...]:
    """The chains of a service's port for traffic that is not routed as HTTP."""
    routing = routing_for(place.service.host, virtual_services)
    if place.port.protocol in TLS:
        found = tuple(_tls_chains(place, routing, inputs))
        return found or (_own_chain(place, inputs, _own_names(place, inputs)),)
    return tuple(_tcp_chains(place, routing, inputs))


def _tls_chains(
    place: Place, routing: Sequence[VirtualService], inputs: ChainInputs
) -> Iterator[Chain]:
    seen: set[tuple[tuple[str, ...], tuple[str, ...]]] = set()
    networks = place.networks
    for vs in routing:
        for block in vs.tls:
            for match in _matches(block):
                if not _applies(match, place.port.number, inputs):
                    continue
                subnets = tuple(match.get("destinationSubnets") or ())
                names = tuple(match.get("sniHosts") or ())
                if subnets and place.port.number:
                    # Istio keeps them for the matches that follow as well.
                    networks = subnets
                if (names, subnets) not in seen:
                    seen.add((names, subnets))
                    yield _routed(block["route"], names, networks, place, inputs, vs)


def _matches(block: Json) -> Sequence[Json]:
    """The matches of a block; one without destinations is left out."""
    found: Sequence[Json] = block.get("match") or ()
    return found if block.get("route") else ()


def _tcp_chains(
    place: Place, routing: Sequence[VirtualService], inputs: ChainInputs
) -> Iterator[Chain]:
    """Chains for networks until a route takes every address; else the service itself follows."""
    for vs in routing:
        for block in vs.tcp:
            if not block.get("route"):
                continue
            networks: list[str] = []
            for match in _matches(block) or ({},):
                if not _applies(match, place.port.number, inputs):
                    continue
                subnets = match.get("destinationSubnets") or ()
                if not subnets or not place.port.number:
                    yield _routed(block["route"], (), place.networks, place, inputs, vs)
                    return
                networks += subnets
            if networks:
                yield _routed(block["route"], (), tuple(networks), place, inputs, vs)
                if sorted(networks) == sorted(place.networks):
                    return
    yield _own_chain(place, inputs, ())


def _applies(match: Json, port: int, inputs: ChainInputs) -> bool:
    gateways = match.get("gateways") or (MESH,)
    labels = match.get("sourceLabels") or {}
    return (
        MESH in gateways
        and labels.items() <= inputs.labels.items()
        and match.get("port") in (None, 0, port)
        and match.get("sourceNamespace") in (None, "", inputs.namespace)
    )


def _own_names(place: Place, inputs: ChainInputs) -> tuple[str, ...]:
    """Server names that tell the service apart where its address does not."""
    service = place.service
    shared = service.address == UNSPECIFIED and place.bind in _WILDCARDS
    several = "/" in service.address
    dynamic = is_wildcard(service.host) and service.resolution == "dynamic_dns"
    if not (place.networks or shared or several or dynamic):
        return ()
    aliases = [replace(service, host=alias, aliases=()) for alias in service.aliases]
    return (
        service.host,
        *(name for alias in aliases for name in service_domains(alias, (), inputs.dns_domain).all),
    )


def _own_chain(place: Place, inputs: ChainInputs, names: tuple[str, ...]) -> Chain:
    service = place.service
    number = service.ports[0].number if len(service.ports) == 1 else place.port.number
    rule = inputs.find_rule(service.host)
    to = (WeightedTarget(Target("outbound", service.host, number)),)
    return Chain(
        _match(names, place.networks),
        _tcp(to, rule, "", place, inputs),
        (service.ref, *(() if rule is None else rule.refs)),
    )


def _routed(
    routes: Sequence[Json],
    names: tuple[str, ...],
    networks: tuple[str, ...],
    place: Place,
    inputs: ChainInputs,
    vs: VirtualService,
) -> Chain:
    first: Json = routes[0].get("destination") or {}
    service = inputs.find_service(first.get("host") or "")
    rule = None if service is None else inputs.find_rule(service.host)
    port = place.port.number
    if len(routes) == 1:
        to: tuple[WeightedTarget, ...] = (WeightedTarget(target(first, service, port)),)
        subset = first.get("subset") or ""
    else:
        to = tuple(_weighted(route, port, inputs) for route in routes if route.get("weight"))
        subset = ""
    return Chain(_match(names, networks), _tcp(to, rule, subset, place, inputs), vs.sources)


def _weighted(route: Json, port: int, inputs: ChainInputs) -> WeightedTarget:
    destination: Json = route.get("destination") or {}
    service = inputs.find_service(destination.get("host") or "")
    return WeightedTarget(target(destination, service, port), route["weight"])


def _match(names: tuple[str, ...], networks: tuple[str, ...]) -> ChainMatch:
    return ChainMatch(
        server_names=() if "*" in names else names,
        prefix_ranges=tuple(_network(text) for text in networks if text != UNSPECIFIED),
    )


def _network(text: str) -> str:
    if "/" in text:
        return text
    return f"{text}/{128 if ':' in text else 32}"


def _masked(network: str) -> str:
    return str(ip_network(network, strict=False))


def _tcp(
    to: tuple[WeightedTarget, ...],
    rule: MergedRule | None,
    subset: str,
    place: Place,
    inputs: ChainInputs,
) -> OutboundChain:
    policy: Json = (rule.policy if rule else None) or {}
    own: Json | None = ((rule.subsets.get(subset) if rule else None) or {}).get("trafficPolicy")
    tcp = (policy.get("connectionPool") or {}).get("tcp") or {}
    idle = tcp.get("idleTimeout")
    return OutboundChain(
        to=to,
        idle_timeout_ms=inputs.idle_timeout_ms if idle is None else milliseconds(idle),
        max_duration_ms=_optional(tcp.get("maxConnectionDuration")),
        hash=(HashPolicy("source_ip"),) if _by_source(policy, own) else (),
        tunnel=_tunnel((own if subset else policy) or {}),
        statistics_of=place.port.protocol if place.port.protocol in inputs.counted else "",
    )


def _by_source(policy: Json, own: Json | None) -> bool:
    """Whether the client's address chooses the host; a subset's balancer overrides the rule's."""
    balancer = (own or {}).get("loadBalancer") or policy.get("loadBalancer") or {}
    return bool((balancer.get("consistentHash") or {}).get("useSourceIp"))


def _tunnel(policy: Json) -> str:
    tunnel = policy.get("tunnel")
    if not tunnel:
        return ""
    host = tunnel.get("targetHost") or ""
    where = f"[{host}]" if ":" in host else host
    post = "POST " if tunnel.get("protocol") == "POST" else ""
    return f"{post}{where}:{tunnel.get('targetPort')}"


def _optional(text: str | None) -> int | None:
    return None if text is None else milliseconds(text)
