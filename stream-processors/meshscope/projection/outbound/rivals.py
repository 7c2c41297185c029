"""Addresses that may or may not stand for a host in a route table.

A ServiceEntry with several addresses is a service for each of them. In a route table the last one
that istiod comes to stands for the host. An address of several hosts stands for the one that istiod
comes to first. It comes to them in no particular order.

Source: https://istio.io/latest/docs/reference/config/networking/service-entry/#ServiceEntry.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from meshscope.policy.http_route import HttpRoute
from meshscope.policy.key import PolicyKey
from meshscope.policy.kinds import Kind
from meshscope.policy.policy import Policy
from meshscope.projection.routes.domains import literal
from meshscope.projection.services.registry import UNSPECIFIED, Service
from meshscope.projection.worlds import Outcomes, distinct


@dataclass(frozen=True, slots=True)
class Names:
    """Addresses of a host, as domains name them.

    Attributes:
        own: Of several addresses that are its alone, one stands for it.
        shared: Each may stand for another host instead.
    """

    own: frozenset[str]
    shared: frozenset[str]


Rivals = Mapping[str, Names]
"""Hosts of ServiceEntries of which it is open whether an address stands for them."""


def with_rivals(outcomes: Outcomes, rivals: Rivals) -> Outcomes:
    """The outcomes with one for every address that may stand for a host."""
    named = {
        (key["route_table"], domain)
        for key, found in outcomes.items()
        if key.kind is Kind.HTTP_ROUTE
        for policy in found
        if policy is not None and isinstance(policy.content, HttpRoute)
        for domain in policy.content.domains
    }

    def either(key: PolicyKey, found: tuple[Policy | None, ...]) -> tuple[Policy | None, ...]:
        if key.kind is not Kind.HTTP_ROUTE:
            return found
        host, _, port = key["virtual_host"].rpartition(":")
        names = rivals.get(host)
        # Tables for every port name hosts with their ports.
        forms = tuple(f for f in ("", f":{port}") if (key["route_table"], f"{host}{f}") in named)
        if names is None or not any(
            (key["route_table"], f"{name}{form}") in named for name in names.own for form in forms
        ):
            return found
        return distinct(each for policy in found for each in _either(policy, names, forms))

    return {key: either(key, found) for key, found in outcomes.items()}


def rivals_among(services: Iterable[Service]) -> Rivals:
    """Hosts of ServiceEntries of which it is open whether an address stands for them."""
    by_host: dict[str, set[str]] = defaultdict(set)
    by_name: dict[str, set[str]] = defaultdict(set)
    for service in services:
        if not service.from_kubernetes and service.address != UNSPECIFIED:
            name = literal(service.address)
            by_host[service.host].add(name)
            by_name[name].add(service.host)
    found = {}
    for host, names in by_host.items():
        shared = frozenset(name for name in names if len(by_name[name]) > 1)
        if shared or len(names) > 1:
            found[host] = Names(frozenset(names), shared)
    return found


def _either(policy: Policy | None, names: Names, forms: tuple[str, ...]) -> Iterable[Policy | None]:
    """A virtual host under each of the addresses, and under none that another host may have.

    Args:
        policy: The virtual host.
        names: The addresses.
        forms: What stands behind them.
    """
    yield policy
    content = None if policy is None else policy.content
    if policy is None or not isinstance(content, HttpRoute):
        return
    own = {f"{name}{form}" for name in names.own for form in forms}
    others = tuple(domain for domain in content.domains if domain not in own)
    if len(others) == len(content.domains) and not names.shared:
        return
    for name in sorted(names.own):
        yield _under(policy, content, (*others, *(f"{name}{form}" for form in forms)))
    if names.shared:
        yield _under(policy, content, others)


def _under(policy: Policy, content: HttpRoute, domains: tuple[str, ...]) -> Policy:
    return Policy(policy.key, replace(content, domains=domains), policy.sources)
