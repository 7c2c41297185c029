"""Everything about the connections that the application opens: listeners, tables, destinations."""

from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any, Final

from meshscope.policy import key
from meshscope.policy.destination import Destination, LoadBalancing
from meshscope.policy.inbound import SELF_ADDRESS
from meshscope.policy.outbound_listener import OutboundListener
from meshscope.policy.policy import Policy
from meshscope.projection.client_settings import client_settings, describes_workloads
from meshscope.projection.connection_settings import MeshDefaults
from meshscope.projection.context import Context, Contribution
from meshscope.projection.destination_policies import (
    VisiblePort,
    VisibleService,
    destination_policies,
)
from meshscope.projection.destination_rule import MergedRule
from meshscope.projection.durations import milliseconds
from meshscope.projection.egress import listener_egress, outside
from meshscope.projection.endpoints import Viewpoint
from meshscope.projection.inbound import PASSTHROUGH, passthrough_upstream
from meshscope.projection.listener_chains import ChainInputs
from meshscope.projection.outbound_listeners import (
    Address,
    BuiltListener,
    ListenerInputs,
    outbound_listeners,
)
from meshscope.projection.protocols import UDP
from meshscope.projection.registry import UNSPECIFIED, Service
from meshscope.projection.route_tables import TableSettings, route_table
from meshscope.projection.worlds import merge

_HTTP_ALPN: Final = ("http/1.1", "h2c")
_HTTP10_ALPN: Final = ("http/1.0", *_HTTP_ALPN)
_CONNECT_TIMEOUT_MS: Final = 15_000
_VIRTUAL_OUTBOUND: Final = "virtualOutbound"


def outbound(context: Context) -> Contribution:
    """Listeners, route tables and the treatment of unknown hosts."""
    rules = Rules(context)
    worlds = [{policy.key: policy for policy in _policies(context, rules, 0)}]
    worlds += [
        {policy.key: policy for policy in _policies(context, rules, world)}
        for world in range(1, rules.worlds)
    ]
    return Contribution(merge(worlds))


def destinations(context: Context) -> Contribution:
    """Traffic policies and endpoints of everything that the proxy sees."""
    mesh, workload = context.mesh, context.workload
    switch = mesh.features.switch
    client = client_settings(
        mesh.config.given, switch, mesh.features.version, context.proxy.addresses
    )
    found = destination_policies(
        (_visible(s) for s in context.scope.services if s.resolution != "alias"),
        mesh.known,
        client,
        Viewpoint(
            workload.place,
            workload.place_labels,
            workload.node,
            named_workloads=mesh.features.has("named_workloads"),
            describes_workloads=describes_workloads(switch),
        ),
        namespace=workload.namespace,
        workload_labels=workload.labels,
    )
    if context.interception == "NONE":
        unused = _unused_passthrough(client.mesh)
        found = {**found, unused.key: (unused,)}
    return Contribution(found)


def _unused_passthrough(mesh: MeshDefaults) -> Policy:
    """The cluster of inbound pass-through, to which nothing leads where nothing is redirected."""
    behind = passthrough_upstream(mesh)
    content = Destination(
        discovery=behind.kind,
        protocol=behind.protocol,
        load_balancing=LoadBalancing("cluster_provided"),
        connection_pool=behind.connection_pool,
        source_address=behind.source_address,
    )
    return Policy(key.destination(PASSTHROUGH, 0), content)


def own_listeners(context: Context) -> Mapping[str, OutboundListener]:
    """The proxy's outbound listeners by `address_port`, without the catch-all one."""
    rules = Rules(context)
    return {
        f"{_own(address, context)}_{port}": built.listener
        for (address, port), built in _listeners(context, rules, 0).items()
        if not built.listener.use_original_dst
    }


class Rules:
    """The DestinationRules that a proxy applies, looked up once each.

    Attributes:
        worlds: How many outcomes unknown ages allow, as far as was looked.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._found: dict[str, tuple[MergedRule | None, ...]] = {}
        self.worlds = 1

    def find(self, host: str, world: int) -> MergedRule | None:
        """The rule for the service of a host, in one of the worlds."""
        found = self._found.get(host)
        if found is None:
            found = self._look_up(host)
            self._found[host] = found
            self.worlds = max(self.worlds, len(found))
        return found[world % len(found)]

    def _look_up(self, host: str) -> tuple[MergedRule | None, ...]:
        service = self._context.scope.by_host.get(host)
        if service is None:
            return (None,)
        workload = self._context.workload
        return self._context.mesh.known.rules.choose(
            workload.namespace, workload.labels, service.namespace, host
        )


def _policies(context: Context, rules: Rules, world: int) -> list[Policy]:
    found = []
    beyond = outside(context.scope, context.mesh.config)
    tables: dict[str, None] = {}
    for (address, port), built in _listeners(context, rules, world).items():
        name = key.outbound_listener(_own(address, context), port)
        found.append(Policy(name, built.listener, built.sources))
        if built.listener.use_original_dst:
            found.append(
                Policy(key.egress(_VIRTUAL_OUTBOUND), listener_egress(beyond), beyond.sources)
            )
        tables |= dict.fromkeys(chain.route_table for chain in built.listener.chains)
    settings = _table_settings(context, rules, world)
    for table in filter(None, tables):
        found += route_table(table, context.scope, settings)
    return found


def _listeners(context: Context, rules: Rules, world: int) -> Mapping[Address, BuiltListener]:
    mesh, proxy = context.mesh, context.proxy
    metadata = proxy.metadata
    idle = metadata.get("IDLE_TIMEOUT")
    http10 = mesh.features.switch("PILOT_HTTP10", False) or metadata.get("HTTP10") == "1"
    inputs = ListenerInputs(
        interception=context.interception,
        addresses=proxy.addresses,
        chains=ChainInputs(
            context.workload.namespace,
            context.workload.labels,
            proxy.dns_domain,
            context.scope.by_host.get,
            lambda host: rules.find(host, world),
            milliseconds(idle) if idle else None,
        ),
        outside=outside(context.scope, mesh.config),
        detection_timeout_ms=mesh.config.detection_timeout_ms,
        connect_timeout_ms=_CONNECT_TIMEOUT_MS,
        http_alpn=_HTTP10_ALPN if http10 else _HTTP_ALPN,
        reserved=_reserved(context),
        listen_port=mesh.config.listen_port,
        http_proxy_port=_http_proxy_port(context),
        unprivileged=str(metadata.get("UNPRIVILEGED_POD", "")).lower() == "true",
        address_of=lambda service: _address(service, context),
        instances=lambda service: mesh.known.instances.of(service.host, service.namespace),
    )
    return outbound_listeners(context.scope, inputs)


def _table_settings(context: Context, rules: Rules, world: int) -> TableSettings:
    headers: Mapping[str, Any] = context.proxy_config.get("proxyHeaders") or {}
    return TableSettings(
        context.workload.namespace,
        context.workload.labels,
        context.proxy.dns_domain,
        context.mesh.config.retries,
        lambda service: _addresses(service, context),
        lambda host: rules.find(host, world),
        outside(context.scope, context.mesh.config),
        attempt_count=not (headers.get("attemptCount") or {}).get("disabled"),
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


def _families(context: Context) -> set[int]:
    found: set[int] = {ip_address(address).version for address in context.proxy.addresses}
    return found or {4}


def _addresses(service: Service, context: Context) -> tuple[str, ...]:
    """Addresses of a service that the client can use."""
    given = service.addresses or (service.allocated if _uses_allocated(context) else ())
    families = _families(context)
    found = tuple(address for address in given if ip_address(address).version in families)
    return found or (() if service.address == UNSPECIFIED else (service.address,))


def _address(service: Service, context: Context) -> str:
    """The address at which listeners of a service bind."""
    return next(iter(_addresses(service, context)), UNSPECIFIED)


def _uses_allocated(context: Context) -> bool:
    """Whether the client resolves names itself, and so knows addresses that istiod gave."""
    captures = str(context.proxy.metadata.get("DNS_CAPTURE", "")).lower() == "true"
    allocates = context.mesh.features.switch("PILOT_ENABLE_IP_AUTOALLOCATE", True)
    own = str(context.proxy.metadata.get("DNS_AUTO_ALLOCATE", "")).lower() == "true"
    return captures and (allocates or own)


def _visible(service: Service) -> VisibleService:
    return VisibleService(
        service.host,
        service.namespace,
        service.name,
        tuple(
            VisiblePort(port.number, port.name, port.protocol, port.override)
            for port in service.ports
            if port.protocol != UDP
        ),
        service.resolution,
        service.external,
        not service.from_kubernetes,
        service.near,
        service.names,
        service.node_local,
        (service.ref,),
    )
