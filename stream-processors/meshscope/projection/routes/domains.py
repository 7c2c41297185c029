"""The host names under which a virtual host is reached.

Source: https://istio.io/latest/docs/ops/configuration/traffic-management/traffic-routing/.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from ipaddress import IPv6Address
from typing import Final

from meshscope.projection.services.registry import Service

_SERVICES: Final = ".svc."


@dataclass(frozen=True, slots=True)
class Domains:
    """Domains of a virtual host; `short` are those that only shorten a full name."""

    all: tuple[str, ...]
    short: frozenset[str] = frozenset()


def service_domains(
    service: Service, addresses: Sequence[str], dns_domain: str, *, port: int = 0
) -> Domains:
    """The domains of a service for a client.

    Args:
        service: The service.
        addresses: Its addresses that the client can use.
        dns_domain: DNS domain of the client, such as `shop.svc.cluster.local`.
        port: Port that is written behind names as well, for proxies that look at it; 0: none.
    """
    names: list[str] = []
    short: list[str] = []
    for host in (service.host, *service.aliases):
        others = [f"{host}.", *_shortened(host, dns_domain)]
        names += [host, *others]
        short += others
    if service.resolution == "none" and service.from_kubernetes:
        names += [f"*.{name}" for name in names]
    names += [literal(address) for address in addresses]
    if port:
        names = [form for name in names for form in (name, f"{name}:{port}")]
    return Domains(tuple(names), frozenset(short))


def literal(host: str) -> str:
    """A host as it stands in a host header: IPv6 addresses in brackets."""
    try:
        return f"[{IPv6Address(host)}]" if ":" in host else host
    except ValueError:
        return host


def _shortened(host: str, dns_domain: str) -> tuple[str, ...]:
    """What may be left out of a host name by a client in a DNS domain."""
    if _SERVICES in dns_domain:
        namespace, _, domain = dns_domain.partition(_SERVICES)
        if not host.endswith(f"{_SERVICES}{domain}"):
            return ()
        without = host.partition(_SERVICES)[0]
        name, dot, owner = without.partition(".")
        if not dot:
            return ()
        if owner == namespace:
            return name, f"{without}.svc", without
        return without, f"{without}.svc"
    own, theirs = host.split("."), dns_domain.split(".")
    shared = 0
    while shared < min(len(own), len(theirs)) and own[-1 - shared] == theirs[-1 - shared]:
        shared += 1
    if not shared:
        return ()
    unique = own[:-shared]
    first = ".".join(unique)
    return (first, f"{first}.{own[-shared]}") if len(unique) == 2 else (first,)


@dataclass(slots=True)
class DomainLedger:
    """Domains and names that are taken: of several virtual hosts the first has them.

    Attributes:
        full_names: Full names of services, which short forms of others never take.
    """

    full_names: frozenset[str]
    _names: set[str] = field(default_factory=set)
    _domains: set[str] = field(default_factory=set)

    def claim(self, name: str, domains: Domains) -> tuple[str, ...]:
        """What is left of a virtual host's domains; none: the virtual host is left out."""
        if name in self._names:
            return ()
        self._names.add(name)
        kept: list[str] = []
        for domain in domains.all:
            if domain.lower() in self._domains:
                continue
            if domain in domains.short and domain in self.full_names:
                continue
            self._domains.add(domain.lower())
            kept.append(domain)
        return tuple(kept)
