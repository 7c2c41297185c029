"""Kind `outbound_listener`: which listeners a proxy opens for its application's connections.

HTTP services share one listener per port; TCP services and those whose protocol is detected have
one at their own address. Where both kinds meet at one address, the first bytes tell them apart.

Source: https://istio.io/latest/docs/ops/configuration/traffic-management/protocol-selection/ and
https://istio.io/latest/docs/reference/config/networking/sidecar/#IstioEgressListener.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_address
from typing import Final, Literal

from meshscope.policy import key
from meshscope.policy.outbound_listener import ChainMatch, OutboundChain, OutboundListener
from meshscope.policy.policy import Policy
from meshscope.policy.source import ResourceRef
from meshscope.policy.target import WeightedTarget
from meshscope.projection.hosts import is_wildcard
from meshscope.projection.inbound.ports import Interception
from meshscope.projection.memory import Memory
from meshscope.projection.outbound.chains import (
    Chain,
    ChainInputs,
    Place,
    opaque_chains,
    routing_for,
)
from meshscope.projection.outbound.egress import Outside
from meshscope.projection.routes.targets import BLACKHOLE
from meshscope.projection.services.instances import Instance
from meshscope.projection.services.protocols import (
    AUTO,
    GRPC_WEB,
    HTTP,
    HTTP_PROXY,
    TCP,
    UDP,
)
from meshscope.projection.services.registry import UNSPECIFIED, Service, ServicePort
from meshscope.projection.sidecar_scope import EgressListener, SidecarScope

Address = tuple[str, int]
"""Bind address and port of a listener."""

AddressOf = Callable[[Service], str]
InstancesOf = Callable[[Service], Sequence[Instance]]

_LOOPBACK: Final = {4: "127.0.0.1", 6: "::1"}
_WILDCARD: Final = {4: UNSPECIFIED, 6: "::"}
_SOCKET: Final = "unix://"
_RAW: Final = "raw_buffer"
_ONE_PROTOCOL: Final = ("mongo", "mysql")
"""Protocols that share their listener with no other."""

_UNBOUNDED_MS: Final = 0
_CATCH_ALL_DETECTION_MS: Final = 15_000


@dataclass(frozen=True, slots=True)
class ListenerInputs:
    """What listeners depend on besides what the proxy sees.

    Attributes:
        interception: How its connections are captured.
        families: Versions of IP that it has addresses of.
        chains: What TCP chains depend on.
        outside: Where unknown traffic goes.
        detection_timeout_ms: How long sniffing waits.
        connect_timeout_ms: Limit for handshakes.
        http_alpn: What the HTTP inspector calls HTTP.
        reserved: Ports on which the proxy has listeners of its own at the wildcard address.
        listen_port: Port to which connections are redirected.
        http_proxy_port: Port of the explicit HTTP proxy; 0: none.
        unprivileged: It cannot open ports below 1024.
        address_of: Address of a service for this proxy.
        instances: Who serves a service.
    """

    interception: Interception
    families: frozenset[int]
    chains: ChainInputs
    outside: Outside
    detection_timeout_ms: int
    connect_timeout_ms: int
    http_alpn: tuple[str, ...]
    reserved: frozenset[int]
    listen_port: int
    http_proxy_port: int
    unprivileged: bool
    address_of: AddressOf
    instances: InstancesOf

    @property
    def wildcard(self) -> str:
        """The address that stands for all."""
        return _WILDCARD[self._family]

    @property
    def loopback(self) -> str:
        """The address of listeners that open their port themselves."""
        return _LOOPBACK[self._family]

    @property
    def _family(self) -> Literal[4, 6]:
        return 6 if self.families == {6} else 4


@dataclass(frozen=True, slots=True)
class BuiltListener:
    """A listener with the resources that it came from.

    Attributes:
        listener, sources: As named.
        of_workloads: It is there only because workloads of a service have its address. A workload
            has no such listener for itself: what it sends to itself passes none.
    """

    listener: OutboundListener
    sources: tuple[ResourceRef, ...] = ()
    of_workloads: bool = False


@dataclass(frozen=True, slots=True)
class _Placed:
    """Where a service stands, whether the port is opened there, and whether it is a workload's."""

    place: Place
    binds: bool
    of_workload: bool = False


@dataclass(slots=True)
class _Entry:
    """A listener while services are added to it.

    Attributes:
        binds: It opens its port itself.
        protocol: Declared protocol; `auto` once chains of both kinds are there.
        chains: So far.
        of_workloads: As in `BuiltListener`.
        locked: An earlier egress listener made it, so that later ones add nothing.
    """

    binds: bool
    protocol: str
    chains: list[Chain]
    of_workloads: bool
    locked: bool = False


class ListenerMemory:
    """Chains and listeners that were worked out before, of one mesh."""

    def __init__(self, mesh: object) -> None:
        self._routed: Memory[frozenset[str]] = Memory()
        self._chains: Memory[tuple[Chain, ...]] = Memory()
        self._listeners: Memory[tuple[tuple[Chain, ...], BuiltListener]] = Memory()
        self._policies: Memory[tuple[BuiltListener, Policy]] = Memory()

    def opaque(
        self, place: Place, listener: EgressListener, inputs: ChainInputs
    ) -> tuple[Chain, ...]:
        """The chains of a service for what is not HTTP."""
        host = place.service.host
        if self._may_route(host, listener) and routing_for(host, listener.opaque):
            return opaque_chains(place, listener.opaque, inputs)
        domain = inputs.dns_domain if place.service.aliases else ""
        name = (place, inputs.find_rule(host), domain, inputs.idle_timeout_ms)
        found = self._chains.get(name)
        if found is None:
            found = self._chains.put(name, opaque_chains(place, (), inputs))
        return found

    def _may_route(self, host: str, listener: EgressListener) -> bool:
        """Whether a VirtualService of the listener may route for a host; most do for none."""
        hosts = self._routed.of(
            listener.opaque, lambda: frozenset(h for vs in listener.opaque for h in vs.hosts)
        )
        return host in hosts or is_wildcard(host) or any(map(is_wildcard, hosts))

    def http(self, table: str, match: ChainMatch, *, grpc_web: bool = False) -> Chain:
        """The chain of an HTTP route table."""
        name = (table, match, grpc_web)
        found = self._chains.get(name)
        if found is None:
            content = OutboundChain(route_table=table, grpc_web=grpc_web)
            found = self._chains.put(name, (Chain(match, content),))
        return found[0]

    def listener(self, entry: "_Entry", inputs: ListenerInputs) -> BuiltListener:
        """The listener of an entry."""
        name = (
            *map(id, entry.chains),
            entry.binds,
            entry.of_workloads,
            inputs.outside,
            inputs.detection_timeout_ms,
            inputs.connect_timeout_ms,
            inputs.chains.idle_timeout_ms,
        )
        found = self._listeners.get(name)
        if found is None:
            # The chains are kept as well, so that their identity stays theirs.
            found = self._listeners.put(name, (tuple(entry.chains), _built(entry, inputs)))
        return found[1]

    def policy(self, address: str, port: int, built: BuiltListener) -> Policy:
        """The policy of a listener at its address."""
        name = (address, port, id(built))
        found = self._policies.get(name)
        if found is None:
            policy = Policy(key.outbound_listener(address, port), built.listener, built.sources)
            found = self._policies.put(name, (built, policy))
        return found[1]


def outbound_listeners(
    scope: SidecarScope, inputs: ListenerInputs, memory: ListenerMemory
) -> Mapping[Address, BuiltListener]:
    """The listeners of a proxy by address and port, the catch-all listener among them."""
    entries: dict[Address, _Entry] = {}
    for listener in scope.listeners:
        for entry in entries.values():
            entry.locked = True
        for placed in _places(listener, inputs):
            _add(entries, placed, listener, inputs, memory)
    found = {address: memory.listener(entry, inputs) for address, entry in entries.items()}
    if inputs.http_proxy_port:
        found[inputs.loopback, inputs.http_proxy_port] = _http_proxy(inputs)
    if inputs.interception != "NONE":
        found[inputs.wildcard, inputs.listen_port] = _catch_all(inputs)
    return found


def _places(listener: EgressListener, inputs: ListenerInputs) -> Iterator[_Placed]:
    """Where the services of an egress listener stand.

    An empty address is decided by the protocol.
    """
    binds = (
        inputs.interception == "NONE" or listener.capture_none or listener.bind.startswith(_SOCKET)
    )
    bind = listener.bind or (inputs.loopback if binds else "")
    for service in listener.services:
        for port in service.ports if listener.port is None else (listener.port,):
            if not _can_bind(port, bind, inputs, binds=binds):
                continue
            if listener.port is None and _by_workload(service, port, bind, inputs):
                yield from (
                    _Placed(Place(service, port, address), binds, of_workload=True)
                    for address in _workload_addresses(service, port, inputs)
                )
            else:
                yield _Placed(Place(service, port, bind), binds)


def _can_bind(port: ServicePort, bind: str, inputs: ListenerInputs, *, binds: bool) -> bool:
    if binds and inputs.unprivileged and 0 < port.number < 1024:
        return False
    at_wildcard = bind == inputs.wildcard if bind else port.protocol in HTTP
    return not (at_wildcard and port.number in inputs.reserved)


def _by_workload(service: Service, port: ServicePort, bind: str, inputs: ListenerInputs) -> bool:
    """Whether every workload of a service has a listener of its own."""
    return (
        not bind
        and service.resolution == "none"
        and inputs.address_of(service) == UNSPECIFIED
        and (port.protocol in TCP or port.protocol == AUTO)
        and (
            service.from_kubernetes
            or service.selector is not None
            or any(i.port_name == port.name for i in inputs.instances(service))
        )
    )


def _workload_addresses(
    service: Service, port: ServicePort, inputs: ListenerInputs
) -> Iterator[str]:
    """Addresses of a service's workloads."""
    for instance in inputs.instances(service):
        if instance.port_name == port.name:
            try:
                ip_address(instance.address)
            except ValueError:
                continue
            yield instance.address


def _add(
    entries: dict[Address, _Entry],
    placed: _Placed,
    listener: EgressListener,
    inputs: ListenerInputs,
    memory: ListenerMemory,
) -> None:
    """Add a service's port to the listener of its address, unless another service has it."""
    place, binds = placed.place, placed.binds
    protocol = place.port.protocol
    if place.service.resolution == "alias" or protocol == UDP:
        return
    place = _bound(place, inputs)
    entry = entries.get((place.bind, place.port.number))
    if entry is not None and entry.locked:
        return
    if entry is None or protocol == HTTP_PROXY:
        # A port of an explicit proxy takes whatever stands there.
        chains = _chains(place, listener, inputs, memory)
        http_only = protocol in HTTP and place.bind != inputs.wildcard
        kind = protocol if protocol in TCP or http_only or protocol == HTTP_PROXY else AUTO
        entries[place.bind, place.port.number] = _Entry(binds, kind, chains, placed.of_workload)
        return
    if _refuses(entry, protocol) or (protocol == AUTO and entry.protocol == AUTO):
        return
    entry.of_workloads &= placed.of_workload
    if protocol in HTTP:
        if entry.protocol in TCP:
            _merge(entry, _chains(place, listener, inputs, memory), AUTO)
    elif protocol == AUTO and entry.protocol in HTTP:
        entry.binds, entry.protocol = binds, AUTO
        entry.chains = _chains(place, listener, inputs, memory)
    else:
        mixed = entry.protocol if protocol in TCP and entry.protocol in TCP else AUTO
        _merge(entry, _chains(place, listener, inputs, memory), mixed)


def _refuses(entry: _Entry, protocol: str) -> bool:
    special = protocol in _ONE_PROTOCOL or entry.protocol in _ONE_PROTOCOL
    return special and protocol != entry.protocol


def _merge(entry: _Entry, chains: Sequence[Chain], protocol: str) -> None:
    for chain in chains:
        if not any(known.conflicts_with(chain) for known in entry.chains):
            entry.chains.append(chain)
    entry.protocol = protocol


def _bound(place: Place, inputs: ListenerInputs) -> Place:
    """Decide the address where it was left open."""
    if place.bind:
        return place
    if place.port.protocol in HTTP:
        return replace(place, bind=inputs.wildcard)
    address = inputs.address_of(place.service)
    if "/" in address:
        return replace(place, bind=inputs.wildcard, networks=(address,))
    if address == UNSPECIFIED and not place.service.from_kubernetes:
        address = inputs.wildcard
    return replace(place, bind=address)


def _chains(
    place: Place, listener: EgressListener, inputs: ListenerInputs, memory: ListenerMemory
) -> list[Chain]:
    protocol = place.port.protocol
    if protocol == HTTP_PROXY:
        return [memory.http(_table(place), ChainMatch())]
    sniffed = ChainMatch(application_protocols=inputs.http_alpn, transport_protocol=_RAW)
    if protocol in HTTP:
        match = sniffed if place.bind == inputs.wildcard else ChainMatch()
        # The service that makes the listener decides for all that share it.
        return [memory.http(_table(place), match, grpc_web=protocol == GRPC_WEB)]
    chains = list(memory.opaque(place, listener, inputs.chains))
    if protocol == AUTO:
        own_table = place.bind != inputs.wildcard
        chains.append(memory.http(_table(place, own=own_table), sniffed))
    return chains


def _table(place: Place, *, own: bool = False) -> str:
    """Name of the route table of a port, or (`own`) of one service on it."""
    number = place.port.number
    if not number:
        return place.bind
    return f"{place.service.host}:{number}" if own else str(number)


def _built(entry: _Entry, inputs: ListenerInputs) -> BuiltListener:
    """The listener; connections that no chain takes leave the mesh, or are refused."""
    some = [chain for chain in entry.chains if not chain.takes_everything]
    every = [chain for chain in entry.chains if chain.takes_everything]
    default: OutboundChain | None = None
    chains = [_timed(chain.built(), inputs) for chain in some]
    if every and some:
        default = _timed(every[-1].built(), inputs)
    elif every:
        chains = [_timed(every[-1].built(), inputs)]
    else:
        default = OutboundChain(
            to=(WeightedTarget(inputs.outside.to),), idle_timeout_ms=inputs.chains.idle_timeout_ms
        )
    detects: list[Literal["http", "tls"]] = []
    if any(chain.match.server_names for chain in entry.chains):
        detects.append("tls")
    by_http = any(chain.match.application_protocols for chain in entry.chains)
    if by_http:
        detects.append("http")
    return BuiltListener(
        OutboundListener(
            binds=entry.binds,
            detects=tuple(detects),
            detection_timeout_ms=inputs.detection_timeout_ms if by_http else _UNBOUNDED_MS,
            continue_on_timeout=True,
            chains=tuple(chains),
            default=default,
        ),
        tuple(dict.fromkeys(ref for chain in entry.chains for ref in chain.sources)),
        entry.of_workloads,
    )


def _timed(chain: OutboundChain, inputs: ListenerInputs) -> OutboundChain:
    return replace(chain, connect_timeout_ms=inputs.connect_timeout_ms)


def _http_proxy(inputs: ListenerInputs) -> BuiltListener:
    chain = OutboundChain(route_table="http_proxy", connect_timeout_ms=inputs.connect_timeout_ms)
    return BuiltListener(
        OutboundListener(
            binds=True,
            detection_timeout_ms=_UNBOUNDED_MS,
            continue_on_timeout=True,
            chains=(chain,),
        )
    )


def _catch_all(inputs: ListenerInputs) -> BuiltListener:
    """The listener to which connections are redirected; its own port is closed."""
    chains = (
        OutboundChain(
            ChainMatch(destination_port=inputs.listen_port), to=(WeightedTarget(BLACKHOLE),)
        ),
        OutboundChain(
            to=(WeightedTarget(inputs.outside.to),), idle_timeout_ms=inputs.chains.idle_timeout_ms
        ),
    )
    return BuiltListener(
        OutboundListener(
            binds=True,
            detection_timeout_ms=_CATCH_ALL_DETECTION_MS,
            use_original_dst=True,
            transparent=inputs.interception == "TPROXY",
            chains=chains,
        ),
        inputs.outside.sources,
    )
