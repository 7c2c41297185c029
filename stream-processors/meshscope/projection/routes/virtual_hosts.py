"""Which virtual hosts a route table holds.

VirtualServices come first, in order; services that none of them routes for follow. A VirtualService
has an effect on a port only if one of its hosts is a service with that port; on port 80 its other
hosts count even without one.

Source: https://istio.io/latest/docs/reference/config/networking/virtual-service/#VirtualService.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from meshscope.policy.http_route import HttpRule
from meshscope.policy.source import ResourceRef
from meshscope.projection.hosts import covers, is_wildcard
from meshscope.projection.routes.domains import DomainLedger, Domains, literal, service_domains
from meshscope.projection.routes.virtual_service import VirtualService
from meshscope.projection.services.protocols import is_http
from meshscope.projection.services.registry import Service
from meshscope.projection.sidecar_scope import EgressListener

FindAddresses = Callable[[Service], Sequence[str]]
"""Addresses of a service that a client can use."""

UNKNOWN_HOSTS_PORT = 80
"""The port on which hosts that no service has are routed for."""


@dataclass(frozen=True, slots=True)
class VirtualHost:
    """A virtual host; rules are shared between those of one VirtualService."""

    name: str
    domains: tuple[str, ...]
    rules: tuple[HttpRule, ...]
    sources: tuple[ResourceRef, ...]


@dataclass(frozen=True, slots=True)
class TableInputs:
    """What the virtual hosts of a table depend on.

    Attributes:
        port: Port of the table; 0: requests for every port come there.
        dns_domain: Of the client.
        addresses: Addresses of a service that the client can use.
        rules_of: Rules that a VirtualService makes, given the services of the table by host.
        default_rules: Rules of a service's port that no VirtualService routes for.
    """

    port: int
    dns_domain: str
    addresses: FindAddresses
    rules_of: Callable[[VirtualService, Mapping[str, Service]], tuple[HttpRule, ...]]
    default_rules: Callable[[Service, int], tuple[HttpRule, ...]]


@dataclass(frozen=True, slots=True)
class _Group:
    """Virtual hosts that share their rules, on one port."""

    port: int
    hosts: tuple[str, ...]
    services: tuple[Service, ...]
    rules: tuple[HttpRule, ...]
    sources: tuple[ResourceRef, ...]


def virtual_hosts(listener: EgressListener, inputs: TableInputs) -> tuple[VirtualHost, ...]:
    """The virtual hosts of a table."""
    services = _services(listener, inputs.port)
    groups = tuple(_groups(listener, services, inputs))
    known = {s.host for g in groups for s in g.services}
    named = {f"{s.host}:{g.port}" for g in groups for s in g.services}
    ledger = DomainLedger(frozenset(known | named))
    built = [(group, host) for group in groups for host in _built(group, ledger, inputs)]
    if inputs.port:
        return tuple(host for _, host in built)
    return tuple(
        host for group, each in built if (host := _of_all_ports(each, group.port)) is not None
    )


def _of_all_ports(host: VirtualHost, port: int) -> VirtualHost | None:
    """A virtual host of a table for every port: only on port 80 names stand without a port."""
    if port == UNKNOWN_HOSTS_PORT:
        return host
    domains = tuple(domain for domain in host.domains if ":" in domain)
    return replace(host, domains=domains) if domains else None


class PortHosts:
    """The virtual hosts of a port, ready to be looked up."""

    def __init__(self, hosts: Sequence[VirtualHost]) -> None:
        self.hosts = hosts
        self._by_domain: dict[str, dict[int, VirtualHost]] = {}
        for place, host in enumerate(hosts):
            for domain in host.domains:
                self._by_domain.setdefault(domain, {})[place] = host

    def sniffed(self, table: str) -> tuple[VirtualHost, ...]:
        """Those for the one service whose traffic is sniffed."""
        names = (table, table.rpartition(":")[0])
        places = {k: v for name in names for k, v in self._by_domain.get(name, {}).items()}
        found = tuple(places[place] for place in sorted(places))
        if len(found) != 1:
            return found
        only = found[0]
        return (VirtualHost(only.name, ("*",), only.rules, only.sources),)


def _services(listener: EgressListener, port: int) -> Mapping[str, Service]:
    """The services of a table by host; of several addresses of one host the last counts."""
    services = listener.by_port.get(port, ()) if port else listener.services
    return {service.host.lower(): service for service in services}


def _groups(
    listener: EgressListener, services: Mapping[str, Service], inputs: TableInputs
) -> Iterator[_Group]:
    routed: set[str] = set()
    patterns = [host for host in services if is_wildcard(host)]
    for vs in listener.virtual_services:
        if inputs.port != UNKNOWN_HOSTS_PORT and not _concerns(vs, services, patterns):
            continue
        rules = inputs.rules_of(vs, services)
        if not rules:
            continue
        for group in _groups_of(vs, listener, services, rules, inputs.port):
            routed |= {service.host for service in group.services}
            yield group
    for host in sorted(services):
        service = services[host]
        if service.host in routed or service.resolution == "alias":
            continue
        for port in service.ports:
            if is_http(port.protocol):
                rules = inputs.default_rules(service, port.number)
                yield _Group(port.number, (), (service,), rules, (service.ref,))


def _concerns(vs: VirtualService, services: Mapping[str, Service], patterns: Sequence[str]) -> bool:
    """Whether one of the hosts is a service of the table, or covered by a pattern among them."""
    for host in map(str.lower, vs.hosts):
        if host in services:
            return True
        if is_wildcard(host):
            if any(covers(host, known) or covers(known, host) for known in services):
                return True
        elif any(covers(pattern, host) for pattern in patterns):
            return True
    return False


def _groups_of(
    vs: VirtualService,
    listener: EgressListener,
    services: Mapping[str, Service],
    rules: tuple[HttpRule, ...],
    port: int,
) -> Iterator[_Group]:
    hosts, found = _split(vs, listener, services)
    if vs.gateway_api:
        # Routes of other namespaces than the client's and the service's do not count.
        own = listener.namespace == vs.namespace
        if not any(own or service.namespace == vs.namespace for service in found):
            return
    by_port: dict[int, list[Service]] = {}
    for service in found:
        for each in service.ports:
            if is_http(each.protocol):
                by_port.setdefault(each.number, []).append(service)
    if not by_port and port == UNKNOWN_HOSTS_PORT:
        by_port[port] = []
    for number, some in by_port.items():
        yield _Group(number, hosts, tuple(some), rules, vs.sources)


def _split(
    vs: VirtualService, listener: EgressListener, services: Mapping[str, Service]
) -> tuple[tuple[str, ...], tuple[Service, ...]]:
    """The hosts that are no services of the table, and the services that the VirtualService has."""
    others: list[str] = []
    found: list[Service] = []
    for host in (h for h in vs.hosts if not is_wildcard(h)):
        service = services.get(host.lower())
        if service is None:
            others.append(host.lower())
        else:
            found.append(service)
    for pattern in (h.lower() for h in vs.hosts if is_wildcard(h)):
        matching = [
            services[host]
            for host in sorted(services)
            if covers(pattern, host) or covers(host, pattern)
        ]
        if vs.gateway_api or not matching:
            others.append(pattern)
        else:
            found += [s for s in matching if listener.wildcard_owner.get(s.host) is vs]
    return tuple(others), tuple(found)


def _built(group: _Group, ledger: DomainLedger, inputs: TableInputs) -> Iterator[VirtualHost]:
    for host in group.hosts:
        name = f"{literal(host)}:{group.port}"
        domains = ledger.claim(name, Domains((literal(host),)))
        if domains:
            yield VirtualHost(name, domains, group.rules, group.sources)
    for service in group.services:
        name = f"{literal(service.host)}:{group.port}"
        domains = ledger.claim(
            name,
            service_domains(
                service,
                inputs.addresses(service),
                inputs.dns_domain,
                port=0 if inputs.port else group.port,
            ),
        )
        if domains:
            sources = dict.fromkeys((*group.sources, service.ref))
            yield VirtualHost(name, domains, group.rules, tuple(sources))
