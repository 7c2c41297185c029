"""Listeners and route tables for the connections that the application opens.

They depend on what the proxy sees, on a few of its labels and settings, and on little else, so that
most proxies of a namespace share them.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_address
from typing import Any, Final

from meshscope.policy import key
from meshscope.policy.inbound import SELF_ADDRESS
from meshscope.policy.outbound_listener import OutboundListener
from meshscope.policy.policy import Policy
from meshscope.projection.context import Context, Contribution
from meshscope.projection.durations import milliseconds
from meshscope.projection.fragments import Fragment, Layer
from meshscope.projection.mesh import Mesh
from meshscope.projection.outbound.chains import ChainInputs
from meshscope.projection.outbound.egress import listener_egress, outside
from meshscope.projection.outbound.listeners import (
    Address,
    BuiltListener,
    ListenerInputs,
    ListenerMemory,
    outbound_listeners,
)
from meshscope.projection.outbound.rivals import with_rivals
from meshscope.projection.routes.tables import RouteMemory, TableSettings, route_tables
from meshscope.projection.services.protocols import counted
from meshscope.projection.services.registry import UNSPECIFIED, Service
from meshscope.projection.worlds import merge

_HTTP_ALPN: Final = ("http/1.1", "h2c")
_HTTP10_ALPN: Final = ("http/1.0", *_HTTP_ALPN)
_CONNECT_TIMEOUT_MS: Final = 15_000
_VIRTUAL_OUTBOUND: Final = "virtualOutbound"


def outbound(context: Context) -> Contribution:
    """Listeners, route tables and the treatment of unknown hosts."""
    return Contribution((context.mesh.remembered(Shared).layer(context),))


def own_listeners(context: Context) -> Mapping[str, OutboundListener]:
    """The proxy's outbound listeners by `address_port`, without the catch-all one."""
    return context.mesh.remembered(Shared).by_name(context)


@dataclass(frozen=True, slots=True, eq=False)
class World:
    """What clients of a class share in one of the worlds.

    Attributes:
        listeners: By address and port, with real addresses.
        addresses: Where they stand.
        policies: The same as policies.
        others: Policies of the catch-all listener and the route tables.
    """

    listeners: Mapping[Address, BuiltListener]
    addresses: frozenset[str]
    policies: Mapping[Address, Policy]
    others: tuple[Policy, ...]


class Shared:
    """What was worked out before for proxies of one mesh, by what it depends on."""

    def __init__(self, mesh: Mesh) -> None:
        self._worlds: dict[tuple[object, ...], tuple[World, ...]] = {}
        self._layers: dict[tuple[object, ...], Layer] = {}
        self._by_name: dict[tuple[object, ...], Mapping[str, OutboundListener]] = {}

    def layer(self, context: Context) -> Layer:
        """The policies of a proxy, in the layer of its class unless a listener is for itself."""
        worlds = self.of(context)
        name = (worlds, _own_places(worlds, context))
        found = self._layers.get(name)
        if found is None:
            policies = [_policies(context, world) for world in worlds]
            found = self._layers[name] = Layer(
                [
                    Fragment(
                        with_rivals(
                            merge([{p.key: p for p in some} for some in policies]),
                            context.mesh.registry.services,
                        )
                    )
                ]
            )
        return found

    def by_name(self, context: Context) -> Mapping[str, OutboundListener]:
        """The listeners of a proxy by `address_port`, without the catch-all one."""
        worlds = self.of(context)
        name = (worlds, _own_places(worlds, context))
        found = self._by_name.get(name)
        if found is None:
            found = self._by_name[name] = {
                f"{_own(address, context)}_{port}": built.listener
                for (address, port), built in worlds[0].listeners.items()
                if not built.listener.use_original_dst and not _to_itself(address, built, context)
            }
        return found

    def of(self, context: Context) -> tuple[World, ...]:
        """The worlds that unknown ages of DestinationRules allow; one where none decides."""
        name = (
            context.scope,
            context.labels,
            context.interception,
            context.proxy.dns_domain,
            _families(context),
            _http10(context),
            _idle_timeout_ms(context),
            _reserved(context),
            _http_proxy_port(context),
            _is_unprivileged(context),
            _uses_allocated(context),
            _counts_attempts(context),
        )
        found = self._worlds.get(name)
        if found is None:
            worlds = [_world(context, 0)]
            worlds += [_world(context, number) for number in range(1, context.rules.worlds)]
            found = self._worlds[name] = tuple(worlds)
        return found


def _world(context: Context, number: int) -> World:
    beyond = outside(context.scope, context.mesh.config)
    listeners = _listeners(context, number)
    memory = context.mesh.remembered(ListenerMemory)
    policies = {
        (address, port): memory.policy(address, port, built)
        for (address, port), built in listeners.items()
    }
    others = []
    tables: dict[str, None] = {}
    for built in listeners.values():
        if built.listener.use_original_dst:
            name = key.egress(_VIRTUAL_OUTBOUND)
            others.append(Policy(name, listener_egress(beyond), beyond.sources))
        tables |= dict.fromkeys(chain.route_table for chain in built.listener.chains)
    settings = _table_settings(context, number)
    routes = context.mesh.remembered(RouteMemory)
    others += route_tables(filter(None, tables), context.scope, settings, routes)
    return World(listeners, frozenset(at for at, _ in listeners), policies, tuple(others))


def _own_places(worlds: Iterable[World], context: Context) -> tuple[str, ...]:
    """The proxy's addresses, if a listener stands at one of them; most proxies have none."""
    own = context.proxy.addresses
    return () if all(world.addresses.isdisjoint(own) for world in worlds) else own


def _policies(context: Context, world: World) -> Iterator[Policy]:
    """The policies of a proxy: without listeners for itself, own addresses as `$self.address`."""
    for (address, port), policy in world.policies.items():
        built = world.listeners[address, port]
        if _to_itself(address, built, context):
            continue
        own = _own(address, context)
        if own == address:
            yield policy
        else:
            yield Policy(key.outbound_listener(own, port), built.listener, built.sources)
    yield from world.others


def _to_itself(address: str, built: BuiltListener, context: Context) -> bool:
    return built.of_workloads and address in context.proxy.addresses[:1]


def _listeners(context: Context, world: int) -> Mapping[Address, BuiltListener]:
    mesh, rules = context.mesh, context.rules
    inputs = ListenerInputs(
        interception=context.interception,
        families=_families(context),
        chains=ChainInputs(
            context.workload.namespace,
            dict(context.labels),
            context.proxy.dns_domain,
            context.scope.by_host.get,
            lambda host: rules.find(host, world),
            _idle_timeout_ms(context),
            counted(mesh.features.switch),
        ),
        outside=outside(context.scope, mesh.config),
        detection_timeout_ms=mesh.config.detection_timeout_ms,
        connect_timeout_ms=_CONNECT_TIMEOUT_MS,
        http_alpn=_HTTP10_ALPN if _http10(context) else _HTTP_ALPN,
        reserved=_reserved(context),
        listen_port=mesh.config.listen_port,
        http_proxy_port=_http_proxy_port(context),
        unprivileged=_is_unprivileged(context),
        address_of=lambda service: _address(service, context),
        instances=lambda service: mesh.known.instances.of(service.host, service.namespace),
    )
    return outbound_listeners(context.scope, inputs, mesh.remembered(ListenerMemory))


def _table_settings(context: Context, world: int) -> TableSettings:
    rules = context.rules
    return TableSettings(
        context.workload.namespace,
        dict(context.labels),
        context.proxy.dns_domain,
        context.mesh.config.retries,
        lambda service: _addresses(service, context),
        lambda host: rules.find(host, world),
        outside(context.scope, context.mesh.config),
        attempt_count=_counts_attempts(context),
    )


def _reserved(context: Context) -> frozenset[int]:
    """Ports of the proxy's own listeners."""
    metadata, config = context.proxy.metadata, context.mesh.config
    named = (metadata.get(name) for name in ("ENVOY_STATUS_PORT", "ENVOY_PROMETHEUS_PORT"))
    own = {int(port) for port in named if port}
    return frozenset(own | {config.listen_port, config.inbound_port})


def _http_proxy_port(context: Context) -> int:
    own = str(context.proxy.metadata.get("HTTP_PROXY_PORT") or "")
    return int(own) if own.isdecimal() else context.mesh.config.http_proxy_port


def _own(address: str, context: Context) -> str:
    return SELF_ADDRESS if address in context.proxy.addresses else address


@lru_cache(maxsize=100_000)
def _version(address: str) -> int:
    return ip_address(address).version


def _families(context: Context) -> frozenset[int]:
    found = frozenset(_version(address) for address in context.proxy.addresses)
    return found or frozenset((4,))


def _http10(context: Context) -> bool:
    """Whether HTTP/1.0 is detected; the node's metadata only let it be accepted."""
    return context.mesh.features.switch("PILOT_HTTP10", False)


def _idle_timeout_ms(context: Context) -> int | None:
    text = context.proxy.metadata.get("IDLE_TIMEOUT")
    return milliseconds(text) if text else None


def _is_unprivileged(context: Context) -> bool:
    return str(context.proxy.metadata.get("UNPRIVILEGED_POD", "")).lower() == "true"


def _counts_attempts(context: Context) -> bool:
    """Whether requests say which attempt they are (`proxyHeaders` of ProxyConfig)."""
    headers: Mapping[str, Any] = context.proxy_config.get("proxyHeaders") or {}
    return not (headers.get("attemptCount") or {}).get("disabled")


def _addresses(service: Service, context: Context) -> tuple[str, ...]:
    """Addresses of a service that the client can use; those of ServiceEntries count as given."""
    given = service.addresses or (service.allocated if _uses_allocated(context) else ())
    families = _families(context)
    if given and len(families) > 1 and not _uses_both_families(context):
        families = frozenset((_version(given[0]),))
    found = tuple(address for address in given if _version(address) in families)
    if found or service.addresses or service.address == UNSPECIFIED:
        return found
    return (service.address,)


def _address(service: Service, context: Context) -> str:
    """The address at which listeners of a service bind, be it of the client's family or not."""
    return next(iter(_addresses(service, context)), service.address)


def _uses_both_families(context: Context) -> bool:
    """Whether a client with addresses of both families is told both of a service's addresses."""
    switch = context.mesh.features.switch
    return switch("ISTIO_DUAL_STACK", False) or switch("PILOT_ENABLE_AMBIENT", False)


def _uses_allocated(context: Context) -> bool:
    """Whether the client resolves names itself, and so knows addresses that istiod gave."""
    captures = str(context.proxy.metadata.get("DNS_CAPTURE", "")).lower() == "true"
    allocates = context.mesh.features.switch("PILOT_ENABLE_IP_AUTOALLOCATE", True)
    own = str(context.proxy.metadata.get("DNS_AUTO_ALLOCATE", "")).lower() == "true"
    return captures and (allocates or own)
