"""Kinds `http_route` and `egress` of route tables: what happens to requests for a host.

A table is named by its port, by `host:port` where one service's traffic is sniffed, by
`http_proxy`, or by the path of a socket.

Source: https://istio.io/latest/docs/ops/configuration/traffic-management/traffic-routing/.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from meshscope.policy import key
from meshscope.policy.http_route import HttpRoute, HttpRule
from meshscope.policy.policy import Policy
from meshscope.policy.target import HashPolicy, Target
from meshscope.projection.destinations.traffic_policy import hash_policy
from meshscope.projection.outbound.chains import FindRule
from meshscope.projection.outbound.egress import MAX_BODY_BYTES, Outside, table_egress
from meshscope.projection.routes.rules import Json, RouteInputs, default_rule, http_rules
from meshscope.projection.routes.virtual_hosts import (
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
    """

    namespace: str
    labels: Mapping[str, str]
    dns_domain: str
    retries: Json | None
    addresses: FindAddresses
    find_rule: FindRule
    outside: Outside
    attempt_count: bool = True


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
    """Rules and virtual hosts that were worked out before, of one mesh.

    Tables of different clients differ in little but the short names of their own namespace's
    services.
    """

    def __init__(self, mesh: object) -> None:
        self._asked: dict[VirtualService, _Asked] = {}
        self._rules: dict[tuple[object, ...], Rules] = {}
        self._policies: dict[tuple[object, ...], tuple[Rules, Policy]] = {}

    def default_rules(self, host: str, port: int, settings: TableSettings) -> Rules:
        """The rules of a service's port that no VirtualService routes for."""
        hashed = hash_policy(settings.find_rule(host), port)
        name = (host, port, hashed)
        found = self._rules.get(name)
        if found is None:
            rule = default_rule(Target("outbound", host, port), settings.retries, hashed)
            found = self._rules[name] = (rule,)
        return found

    def rules(self, vs: VirtualService, inputs: RouteInputs, settings: TableSettings) -> Rules:
        """The rules of a VirtualService."""
        asked = self._asked.get(vs)
        if asked is None:
            asked = self._asked[vs] = _asked(vs)
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
            found = self._rules[name] = http_rules(vs, inputs)
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
            known = self._policies[name] = (host.rules, policy)
        return known[1]


def route_tables(
    tables: Iterable[str], scope: SidecarScope, settings: TableSettings, memory: RouteMemory
) -> Iterator[Policy]:
    """The policies of some tables; those of one port have their virtual hosts in common."""
    by_port: dict[tuple[EgressListener, int], PortHosts] = {}
    for table in tables:
        port, one_service = _port(table)
        listener = scope.listener_for(port, table)
        if listener is None:
            yield _empty(table) if one_service else _catch_all(table, settings)
            continue
        if listener.port is not None and listener.port.protocol == HTTP_PROXY:
            port = 0
        known = by_port.get((listener, port))
        if known is None:
            hosts = virtual_hosts(listener, _inputs(port, settings, memory))
            known = by_port[listener, port] = PortHosts(hosts)
        yield from _route_table(table, known, settings, memory, one_service=one_service)


def _route_table(
    table: str,
    known: PortHosts,
    settings: TableSettings,
    memory: RouteMemory,
    *,
    one_service: bool,
) -> Iterator[Policy]:
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
