"""Listeners once it is known which chains they have.

Source: https://www.envoyproxy.io/docs/envoy/latest/api-v3/config/listener/v3/listener.proto.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from meshscope.policy.outbound_listener import ChainMatch, OutboundChain, OutboundListener
from meshscope.policy.source import ResourceRef
from meshscope.policy.target import WeightedTarget
from meshscope.projection.inbound.ports import Interception
from meshscope.projection.outbound.chains import Chain, ChainInputs
from meshscope.projection.outbound.egress import Outside
from meshscope.projection.routes.targets import BLACKHOLE
from meshscope.projection.services.instances import Instance
from meshscope.projection.services.registry import UNSPECIFIED, Service

AddressOf = Callable[[Service], str]
InstancesOf = Callable[[Service], Sequence[Instance]]

_LOOPBACK: Final = {4: "127.0.0.1", 6: "::1"}
_WILDCARD: Final = {4: UNSPECIFIED, 6: "::"}
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


@dataclass(slots=True)
class Entry:
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


def build_listener(entry: Entry, inputs: ListenerInputs) -> BuiltListener:
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


def http_proxy(inputs: ListenerInputs) -> BuiltListener:
    """The listener of the explicit HTTP proxy."""
    chain = OutboundChain(route_table="http_proxy", connect_timeout_ms=inputs.connect_timeout_ms)
    return BuiltListener(
        OutboundListener(
            binds=True,
            detection_timeout_ms=_UNBOUNDED_MS,
            continue_on_timeout=True,
            chains=(chain,),
        )
    )


def catch_all(inputs: ListenerInputs) -> BuiltListener:
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
