"""Kind `outbound_listener`: which listeners a proxy opens for its application's connections.

HTTP services share one listener per port; TCP services and those whose protocol is detected have
one at their own address. Where both kinds meet at one address, the first bytes tell them apart.

Source: https://istio.io/latest/docs/ops/configuration/traffic-management/protocol-selection/ and
https://istio.io/latest/docs/reference/config/networking/sidecar/#IstioEgressListener.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_address
from typing import Final

from meshscope.policy.outbound_listener import ChainMatch
from meshscope.projection.outbound.built import (
    BuiltListener,
    Entry,
    ListenerInputs,
    catch_all,
    http_proxy,
)
from meshscope.projection.outbound.chains import Chain, Place
from meshscope.projection.outbound.listener_memory import ListenerMemory
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

_SOCKET: Final = "unix://"
_RAW: Final = "raw_buffer"
_ONE_PROTOCOL: Final = ("mongo", "mysql")
"""Protocols that share their listener with no other."""


@dataclass(frozen=True, slots=True)
class _Placed:
    """Where a service stands, whether the port is opened there, and whether it is a workload's."""

    place: Place
    binds: bool
    of_workload: bool = False


def outbound_listeners(
    scope: SidecarScope, inputs: ListenerInputs, memory: ListenerMemory
) -> Mapping[Address, BuiltListener]:
    """The listeners of a proxy by address and port, the catch-all listener among them."""
    entries: dict[Address, Entry] = {}
    for listener in scope.listeners:
        for entry in entries.values():
            entry.locked = True
        for placed in _places(listener, inputs):
            _add(entries, placed, listener, inputs, memory)
    found = {address: memory.listener(entry, inputs) for address, entry in entries.items()}
    if inputs.http_proxy_port:
        found[inputs.loopback, inputs.http_proxy_port] = http_proxy(inputs)
    if inputs.interception != "NONE":
        found[inputs.wildcard, inputs.listen_port] = catch_all(inputs)
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
    entries: dict[Address, Entry],
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
        entries[place.bind, place.port.number] = Entry(binds, kind, chains, placed.of_workload)
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


def _refuses(entry: Entry, protocol: str) -> bool:
    special = protocol in _ONE_PROTOCOL or entry.protocol in _ONE_PROTOCOL
    return special and protocol != entry.protocol


def _merge(entry: Entry, chains: Sequence[Chain], protocol: str) -> None:
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
