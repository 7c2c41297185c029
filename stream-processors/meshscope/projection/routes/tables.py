"""Kinds `http_route` and `egress` of route tables: what happens to requests for a host.

A table is named by its port, by `host:port` where one service's traffic is sniffed, by
`http_proxy`, or by the path of a socket.

Source: https://istio.io/latest/docs/ops/configuration/traffic-management/traffic-routing/.
"""

from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from meshscope.policy import key
from meshscope.policy.http_route import HttpRoute, HttpRule
from meshscope.policy.policy import Policy
from meshscope.policy.target import HashPolicy, Target
from meshscope.projection.destinations.traffic_policy import hash_policy
from meshscope.projection.fragments import Fragment
from meshscope.projection.hosts import is_wildcard
from meshscope.projection.memory import Memory
from meshscope.projection.outbound.chains import FindRule
from meshscope.projection.outbound.egress import MAX_BODY_BYTES, Outside, table_egress
from meshscope.projection.routes.rules import Json, RouteInputs, default_rule, http_rules
from meshscope.projection.routes.virtual_hosts import (
    UNKNOWN_HOSTS_PORT,
    FindAddresses,
    PortHosts,
    TableInputs,
    VirtualHost,
    virtual_hosts,
)
from meshscope.projection.routes.virtual_service import VirtualService
from meshscope.projection.services.protocols import HTTP_PROXY
from meshscope.projection.services.registry import Service
from meshscope.projection.sidecar_scope import EgressListener, SidecarScope

Rules = tuple[HttpRule, ...]


@dataclass(frozen=True, slots=True)
class TableSettings:
    """What all tables of a proxy depend on besides what it sees.

    Attributes:
        namespace, labels, dns_domain: Of the client.
        retries: The mesh's `defaultHttpRetryPolicy`; None: Istio's own.
        addresses: Addresses of a service that the client can use.
        find_rule: From a host to the DestinationRule that the client applies.
        outside: Where unknown traffic goes.
        attempt_count: Requests say which attempt they are.
        named: Stands for all of these but `find_rule` and `outside`.
    """

    namespace: str
    labels: Mapping[str, str]
    dns_domain: str
    retries: Json | None
    addresses: FindAddresses
    find_rule: FindRule
    outside: Outside
    attempt_count: bool = True
    named: Hashable = None


@dataclass(frozen=True, slots=True)
class _Asked:
    """What the rules of a VirtualService depend on: hosts, and maybe the client's namespace."""

    hosts: tuple[str, ...]
    namespace: bool


def _asked(vs: VirtualService) -> _Asked:
    routes = [
        each.get("destination") or {} for block in vs.http for each in block.get("route") or ()
    ]
    mirrors = [block.get("mirror") or {} for block in vs.http]
    mirrors += [
        each.get("destination") or {} for block in vs.http for each in block.get("mirrors") or ()
    ]
    hosts = (destination.get("host") or "" for destination in (*routes, *mirrors))
    matches = (match for block in vs.http for match in block.get("match") or ())
    return _Asked(
        tuple(dict.fromkeys(hosts)), any(match.get("sourceNamespace") for match in matches)
    )


class RouteMemory:
    """Rules and virtual hosts that were worked out before, with the same settings.

    Tables of different clients differ in little but the short names of their own namespace's
    services.
    """

    def __init__(self, mesh: object) -> None:
        self._asked: Memory[_Asked] = Memory()
        self._rules: Memory[Rules] = Memory()
        self._policies: Memory[tuple[Rules, Policy]] = Memory()
        self._ports: Memory[PortHosts] = Memory(2_000)
        self._tables: Memory[Fragment] = Memory()
        self._relevant: Memory[Mapping[int, tuple[VirtualService, ...]]] = Memory()

    def port(self, listener: EgressListener, port: int, settings: TableSettings) -> PortHosts:
        """The virtual hosts of the tables of a port; 0: of a table for every port."""
        services = listener.by_port.get(port, ()) if port else listener.services
        relevant = self._relevant.of(
            (listener.virtual_services, listener.services), lambda: _by_port(listener)
        )
        candidates = relevant.get(port, ()) if port else listener.virtual_services
        hosts = dict.fromkeys(service.host for service in services)
        hosts.update((host, None) for vs in candidates for host in self.asked(vs).hosts)
        name = (
            listener.namespace,
            port,
            services,
            candidates,
            tuple(map(settings.find_rule, hosts)),
            settings.named,
        )
        return self._ports.of(
            name, lambda: PortHosts(virtual_hosts(listener, _inputs(port, settings, self)))
        )

    def table(self, table: str, known: PortHosts, settings: TableSettings) -> Fragment:
        """The policies of a table whose port is known."""
        return self._tables.of(
            (table, known, settings.outside, settings.attempt_count),
            lambda: Fragment({p.key: (p,) for p in _route_table(table, known, settings, self)}),
        )

    def asked(self, vs: VirtualService) -> _Asked:
        """What the rules of a VirtualService depend on."""
        return self._asked.of(vs, lambda: _asked(vs))

    def default_rules(self, host: str, port: int, settings: TableSettings) -> Rules:
        """The rules of a service's port that no VirtualService routes for."""
        hashed = hash_policy(settings.find_rule(host), port)
        name = (host, port, hashed)
        found = self._rules.get(name)
        if found is None:
            rule = default_rule(Target("outbound", host, port), settings.retries, hashed)
            found = self._rules.put(name, (rule,))
        return found

    def rules(self, vs: VirtualService, inputs: RouteInputs, settings: TableSettings) -> Rules:
        """The rules of a VirtualService."""
        asked = self.asked(vs)
        services = tuple(inputs.find_service(host) for host in asked.hosts)
        name = (
            vs,
            inputs.port,
            inputs.namespace if asked.namespace else "",
            tuple(sorted(inputs.labels.items())),
            tuple(settings.find_rule(host) for host in asked.hosts),
            # On a port of its own a table knows services by this port alone.
            services if not inputs.port else tuple(s and s.external_name for s in services),
        )
        found = self._rules.get(name)
        if found is None:
            found = self._rules.put(name, http_rules(vs, inputs))
        return found

    def policy(self, table: str, host: VirtualHost, *, attempt_count: bool) -> Policy:
        """The policy of a virtual host."""
        name = (table, host.name, host.domains, id(host.rules), host.sources, attempt_count)
        known = self._policies.get(name)
        if known is None:
            content = HttpRoute(
                host.domains,
                host.rules,
                attempt_count_request=attempt_count,
                ignore_port_in_host=True,
                max_direct_response_bytes=MAX_BODY_BYTES,
            )
            policy = Policy(key.http_route(table, host.name), content, host.sources)
            # The rules are kept as well, so that their identity stays theirs.
            known = self._policies.put(name, (host.rules, policy))
        return known[1]


def route_tables(
    tables: Iterable[str], scope: SidecarScope, settings: TableSettings, memory: RouteMemory
) -> Iterator[Fragment]:
    """The policies of some tables."""
    by_port: dict[tuple[EgressListener, int], PortHosts] = {}
    for table in tables:
        port, one_service = _port(table)
        listener = scope.listener_for(port, table)
        if listener is None:
            policy = _empty(table) if one_service else _catch_all(table, settings)
            yield Fragment({policy.key: (policy,)})
            continue
        if listener.port is not None and listener.port.protocol == HTTP_PROXY:
            port = 0
        known = by_port.get((listener, port))
        if known is None:
            known = by_port[listener, port] = memory.port(listener, port, settings)
        yield memory.table(table, known, settings)


def _by_port(listener: EgressListener) -> Mapping[int, tuple[VirtualService, ...]]:
    """Of every port the VirtualServices that may have an effect on its tables."""
    ports: dict[str, tuple[int, ...]] = {}
    for service in listener.services:
        numbers = tuple(port.number for port in service.ports)
        ports[service.host.lower()] = (*ports.get(service.host.lower(), ()), *numbers)
    everywhere = any(map(is_wildcard, ports)) or any(
        is_wildcard(host) for vs in listener.virtual_services for host in vs.hosts
    )
    if everywhere:
        # A pattern may cover any host, and of several the most specific one counts.
        return dict.fromkeys(listener.by_port, listener.virtual_services)
    found: dict[int, dict[VirtualService, None]] = {number: {} for number in listener.by_port}
    for vs in listener.virtual_services:
        for host in vs.hosts:
            for number in ports.get(host.lower(), ()):
                found[number][vs] = None
    by_port = {number: tuple(some) for number, some in found.items()}
    return by_port | {UNKNOWN_HOSTS_PORT: listener.virtual_services}


def _route_table(
    table: str, known: PortHosts, settings: TableSettings, memory: RouteMemory
) -> Iterator[Policy]:
    _, one_service = _port(table)
    hosts = known.hosts
    if one_service:
        hosts = known.sniffed(table)
        if not hosts:
            yield _empty(table)
    else:
        yield _catch_all(table, settings)
    for host in hosts:
        yield memory.policy(table, host, attempt_count=settings.attempt_count)


def _port(table: str) -> tuple[int, bool]:
    """The port that a table is for, and whether it is for one service only; 0: for none."""
    _, colon, number = table.rpartition(":")
    if table.startswith("unix://") or not number.isdecimal():
        return 0, False
    return int(number), bool(colon)


def _catch_all(table: str, settings: TableSettings) -> Policy:
    """What a table does with requests for hosts that it does not have."""
    beyond = settings.outside
    content = table_egress(beyond, attempt_count=settings.attempt_count)
    return Policy(key.egress(table), content, beyond.sources)


def _empty(table: str) -> Policy:
    """A table without virtual hosts, in which every request is answered 404."""
    content = HttpRoute((), ignore_port_in_host=True, max_direct_response_bytes=MAX_BODY_BYTES)
    return Policy(key.http_route(table, ""), content)


def _inputs(port: int, settings: TableSettings, memory: RouteMemory) -> TableInputs:
    def rules_of(vs: VirtualService, services: Mapping[str, Service]) -> Rules:
        inputs = RouteInputs(
            port,
            settings.namespace,
            settings.labels,
            settings.retries,
            services.get,
            lambda destination: _destination_hash(destination, settings.find_rule),
        )
        return memory.rules(vs, inputs, settings)

    return TableInputs(
        port,
        settings.dns_domain,
        settings.addresses,
        rules_of,
        lambda service, number: memory.default_rules(service.host, number, settings),
    )


def _destination_hash(destination: Json, find_rule: FindRule) -> tuple[HashPolicy, ...]:
    number = (destination.get("port") or {}).get("number")
    rule = find_rule(destination.get("host") or "")
    return hash_policy(rule, number, destination.get("subset") or "")
