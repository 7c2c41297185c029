"""Hosts with several addresses, of which a route table names one.

A ServiceEntry with several addresses is a service for each of them. In a route table the last one
that istiod comes to stands for the host, and it comes to them in no particular order.

Source: https://istio.io/latest/docs/reference/config/networking/service-entry/#ServiceEntry.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace

from meshscope.policy.http_route import HttpRoute
from meshscope.policy.kinds import Kind
from meshscope.policy.policy import Policy
from meshscope.projection.routes.domains import literal
from meshscope.projection.services.registry import UNSPECIFIED, Service
from meshscope.projection.worlds import Outcomes, distinct


def with_rivals(outcomes: Outcomes, services: Iterable[Service]) -> Outcomes:
    """The outcomes with one for every address that may stand for a host."""
    rivals = _rivals(services)
    if not rivals:
        return outcomes
    return {
        key: (
            distinct(each for policy in found for each in _either(policy, names))
            if key.kind is Kind.HTTP_ROUTE
            and (names := rivals.get(key["virtual_host"].rpartition(":")[0]))
            else found
        )
        for key, found in outcomes.items()
    }


def _rivals(services: Iterable[Service]) -> Mapping[str, frozenset[str]]:
    """Addresses by host, of hosts with several, as domains name them."""
    found: dict[str, set[str]] = defaultdict(set)
    for service in services:
        if not service.from_kubernetes and service.address != UNSPECIFIED:
            found[service.host].add(literal(service.address))
    return {host: frozenset(names) for host, names in found.items() if len(names) > 1}


def _either(policy: Policy | None, names: frozenset[str]) -> Iterable[Policy | None]:
    """A virtual host under each of the addresses, if it is under one of them."""
    yield policy
    content = None if policy is None else policy.content
    if policy is None or not isinstance(content, HttpRoute):
        return
    others = [domain for domain in content.domains if domain not in names]
    if len(others) == len(content.domains):
        return
    for name in sorted(names):
        yield Policy(policy.key, replace(content, domains=(*others, name)), policy.sources)
