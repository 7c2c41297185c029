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
from meshscope.projection.fragments import Fragment, Layer, Pieces
from meshscope.projection.memory import Memory
from meshscope.projection.outbound.built import BuiltListener, ListenerInputs
from meshscope.projection.outbound.chains import ChainInputs
from meshscope.projection.outbound.egress import listener_egress, outside
from meshscope.projection.outbound.listener_memory import ListenerMemory
from meshscope.projection.outbound.listeners import Address, outbound_listeners
from meshscope.projection.outbound.rivals import Rivals, rivals_among, with_rivals
from meshscope.projection.routes.tables import RouteMemory, TableSettings, route_tables
from meshscope.projection.services.protocols import HTTP, counted
from meshscope.projection.services.registry import UNSPECIFIED, Service
from meshscope.projection.sidecar_scope import SidecarScope
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
        others: What the catch-all listener and the route tables say.
    """

    listeners: Mapping[Address, BuiltListener]
    addresses: frozenset[str]
    policies: Fragment
    others: tuple[Fragment, ...]


class Shared:
    """What was worked out before, by what it depends on."""

    def __init__(self, mesh: object) -> None:
        self._worlds: Memory[tuple[World, ...]] = Memory(1_000)
        self._layers: Memory[Layer] = Memory(1_000)
        self._pieces = Pieces()
        self._by_name: Memory[tuple[object, Mapping[str, OutboundListener]]] = Memory(1_000)

    def layer(self, context: Context) -> Layer:
        """The policies of a proxy, in the layer of its class unless a listener is for itself."""
        worlds = self.of(context)
        own = _own_places(worlds, context)
        registry = context.mesh.registry
        rivals: Rivals = context.mesh.memory.while_same(
            "rivals", (registry,), lambda _, before: rivals_among(registry.services)
        )
        name = (worlds, own, tuple(rivals.items()))
        return self._layers.of(
            name, lambda: Layer(_fragments(context, worlds, own, rivals), self._pieces)
        )

    def by_name(self, context: Context) -> Mapping[str, OutboundListener]:
        """The listeners of a proxy by `address_port`, without the catch-all one."""
        worlds = self.of(context)
        listeners = worlds[0].listeners
        own = _own_places(worlds, context)

        def made() -> Mapping[str, OutboundListener]:
            return {
                f"{_own(address, context)}_{port}": built.listener
                for (address, port), built in listeners.items()
                if not built.listener.use_original_dst and not _to_itself(address, built, context)
            }

        # The listeners are kept with what is named by their identity.
        return self._by_name.of((id(listeners), own), lambda: (listeners, made()))[1]

    def of(self, context: Context) -> tuple[World, ...]:
        """The worlds that unknown ages of DestinationRules allow; one where none decides."""
        name = (context.scope, context.rules, self._workloads(context), *_settings(context))
        found = self._worlds.get(name)
        if found is None:
            worlds = [_world(context, 0, name[2:])]
            worlds += [_world(context, n, name[2:]) for n in range(1, context.rules.worlds)]
            found = self._worlds.put(name, tuple(worlds))
        return found

    def _workloads(self, context: Context) -> tuple[object, ...]:
        """Who serves services without load balancing, whose workloads have listeners each."""
        scope, known = context.scope, context.mesh.known
        services: tuple[Service, ...] = context.mesh.of_scopes.of(
            ("without load balancing", scope),
            lambda: tuple(one for one in scope.services if one.resolution == "none"),
        )
        found: tuple[object, ...] = known.results.of(
            ("workloads", services),
            lambda: tuple(known.instances.of(one.host, one.namespace) for one in services),
        )
        return found


def _settings(context: Context) -> tuple[object, ...]:
    """All that outbound policies depend on besides what the proxy sees and who serves it."""
    return (
        context.labels,
        context.interception,
        context.proxy.dns_domain,
        context.families,
        _http10(context),
        _idle_timeout_ms(context),
        _reserved(context),
        _http_proxy_port(context),
        context.unprivileged,
        _uses_allocated(context),
        _counts_attempts(context),
    )


def _world(context: Context, number: int, settings: tuple[object, ...]) -> World:
    """One of the worlds; `settings`: who serves what, and `_settings`."""
    beyond = outside(context.scope, context.mesh.config)
    known: tuple[Mapping[Address, BuiltListener], Fragment] = context.mesh.memory.results.of(
        ("listeners", *_listener_inputs(context, number), beyond, settings),
        lambda: _built(context, number),
    )
    listeners, policies = known
    tables: dict[str, None] = {}
    catch_all: list[Policy] = []
    for built in listeners.values():
        if built.listener.use_original_dst:
            name = key.egress(_VIRTUAL_OUTBOUND)
            catch_all.append(Policy(name, listener_egress(beyond), beyond.sources))
        tables |= dict.fromkeys(_tables(built))
    routes = route_tables(
        tables,
        context.scope,
        _table_settings(context, number, settings[1:]),
        context.mesh.remembered(RouteMemory),
    )
    addresses = frozenset(address for address, _ in listeners)
    return World(listeners, addresses, policies, (_fragment(catch_all), *routes))


def _tables(built: BuiltListener) -> Iterator[str]:
    """The route tables to which a listener leads."""
    listener = built.listener
    for chain in (*listener.chains, *((listener.default,) if listener.default else ())):
        if chain.route_table:
            yield chain.route_table


def _built(context: Context, number: int) -> tuple[Mapping[Address, BuiltListener], Fragment]:
    listeners = _listeners(context, number)
    memory = context.mesh.remembered(ListenerMemory)
    return listeners, _fragment(
        memory.policy(address, port, built) for (address, port), built in listeners.items()
    )


def _listener_inputs(context: Context, number: int) -> Iterator[object]:
    """All that listeners read of what the proxy sees."""
    scope, rules = context.scope, context.rules
    yield scope.namespace
    yield scope.services
    for listener in scope.listeners:
        yield listener.services
        yield listener.opaque
        yield listener.port
        yield listener.bind
        yield listener.capture_none
    opaque = context.mesh.of_scopes.of(("opaque", scope), lambda: tuple(_opaque_hosts(scope)))
    yield tuple(rules.find(host, number) for host in opaque)


def _opaque_hosts(scope: SidecarScope) -> Iterator[str]:
    """Hosts whose DestinationRules count for chains that are not routed as HTTP."""
    for service in scope.services:
        if any(port.protocol not in HTTP for port in service.ports):
            yield service.host
    for listener in scope.listeners:
        if listener.port is not None and listener.port.protocol not in HTTP:
            # The protocol of a Sidecar's port counts, whatever its services declare.
            yield from (service.host for service in listener.services)
        for vs in listener.opaque:
            yield from (host for host, _ in vs.destinations(scope.namespace))


def _fragment(*worlds: Iterable[Policy]) -> Fragment:
    return Fragment(merge([{policy.key: policy for policy in some} for some in worlds]))


def _fragments(
    context: Context, worlds: tuple[World, ...], own: tuple[str, ...], rivals: Rivals
) -> list[Fragment]:
    if len(worlds) > 1:
        fragments = [_fragment(*(_policies(context, world) for world in worlds))]
    else:
        (world,) = worlds
        listeners = _fragment(_own_policies(context, world)) if own else world.policies
        fragments = [listeners, *(_others(context, world) if own else world.others)]
    if rivals:
        fragments = [Fragment(with_rivals(each.outcomes, rivals)) for each in fragments]
    return fragments


def _own_places(worlds: Iterable[World], context: Context) -> tuple[str, ...]:
    """The proxy's addresses, if a listener stands at one of them; most proxies have none."""
    own = context.proxy.addresses
    return () if all(world.addresses.isdisjoint(own) for world in worlds) else own


def _policies(context: Context, world: World) -> Iterator[Policy]:
    yield from _own_policies(context, world)
    for fragment in _others(context, world):
        yield from fragment.policies.values()


def _others(context: Context, world: World) -> Iterator[Fragment]:
    """What stands beside the listeners, but for tables to which those for itself alone lead."""
    kept: set[str] = set()
    gone: set[str] = set()
    for (address, _), built in world.listeners.items():
        (gone if _to_itself(address, built, context) else kept).update(_tables(built))
    for fragment in world.others:
        lost = {k for k in fragment.policies if k.parts[0] in gone - kept}
        yield fragment.without(lost) if lost else fragment


def _own_policies(context: Context, world: World) -> Iterator[Policy]:
    """The listeners of a proxy: without those for itself, own addresses as `$self.address`."""
    for (address, port), built in world.listeners.items():
        if _to_itself(address, built, context):
            continue
        own = _own(address, context)
        known = world.policies.policies[key.outbound_listener(address, port)]
        if own == address:
            yield known
        else:
            yield Policy(key.outbound_listener(own, port), built.listener, built.sources)


def _to_itself(address: str, built: BuiltListener, context: Context) -> bool:
    return built.of_workloads and address in context.proxy.addresses[:1]


def _listeners(context: Context, world: int) -> Mapping[Address, BuiltListener]:
    mesh, rules = context.mesh, context.rules
    inputs = ListenerInputs(
        interception=context.interception,
        families=context.families,
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
        unprivileged=context.unprivileged,
        address_of=lambda service: _address(service, context),
        instances=lambda service: mesh.known.instances.of(service.host, service.namespace),
    )
    return outbound_listeners(context.scope, inputs, mesh.remembered(ListenerMemory))


def _table_settings(context: Context, world: int, settings: tuple[object, ...]) -> TableSettings:
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
        named=settings,
    )


def _reserved(context: Context) -> frozenset[int]:
    """Ports of the proxy's own listeners."""
    config = context.mesh.config
    return context.own_ports | {config.listen_port, config.inbound_port}


def _http_proxy_port(context: Context) -> int:
    own = str(context.proxy.metadata.get("HTTP_PROXY_PORT") or "")
    return int(own) if own.isdecimal() else context.mesh.config.http_proxy_port


def _own(address: str, context: Context) -> str:
    return SELF_ADDRESS if address in context.proxy.addresses else address


@lru_cache(maxsize=100_000)
def _version(address: str) -> int:
    return ip_address(address).version


def _http10(context: Context) -> bool:
    """Whether HTTP/1.0 is detected; the node's metadata only let it be accepted."""
    return context.mesh.features.switch("PILOT_HTTP10", False)


def _idle_timeout_ms(context: Context) -> int | None:
    text = context.proxy.metadata.get("IDLE_TIMEOUT")
    return milliseconds(text) if text else None


def _counts_attempts(context: Context) -> bool:
    """Whether requests say which attempt they are (`proxyHeaders` of ProxyConfig)."""
    headers: Mapping[str, Any] = context.proxy_config.get("proxyHeaders") or {}
    return not (headers.get("attemptCount") or {}).get("disabled")


def _addresses(service: Service, context: Context) -> tuple[str, ...]:
    """Addresses of a service that the client can use; those of ServiceEntries count as given."""
    given = service.addresses or (service.allocated if _uses_allocated(context) else ())
    families = context.families
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
