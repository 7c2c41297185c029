"""Which resources compete, so that the age of one of them may decide.

Only resources whose age is unknown make a contest worth while; two that cannot meet are never in
one, so that contests stay small.
"""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from itertools import pairwise

from meshscope.events.resource import Resource
from meshscope.projection.hosts import is_wildcard, overlaps, qualified

Contest = tuple[Resource, ...]
Stakes = Callable[[Resource, str], Iterable[Hashable]]
"""What a resource competes for, given the DNS domain of the cluster."""

ByKind = Mapping[str, tuple[Resource, ...]]


def contests(by_kind: ByKind, domain: str) -> Iterator[Contest]:
    """Groups of resources that compete, with at least one of unknown age in each."""
    for kinds, stakes in _STAKES:
        members = [r for kind in kinds for r in by_kind.get(kind, ())]
        if any(resource.created_at is None for resource in members):
            for group in _groups(members, stakes, domain):
                if len(group) > 1 and any(r.created_at is None for r in group):
                    yield group


def _groups(members: list[Resource], stakes: Stakes, domain: str) -> Iterator[Contest]:
    """Members that are connected by what they compete for."""
    by_stake: dict[Hashable, list[int]] = defaultdict(list)
    for index, resource in enumerate(members):
        for stake in stakes(resource, domain):
            by_stake[stake].append(index)
    parents = list(range(len(members)))

    def root(index: int) -> int:
        while parents[index] != index:
            parents[index] = parents[parents[index]]
            index = parents[index]
        return index

    for indices in (*by_stake.values(), *_overlapping(by_stake)):
        for one, other in pairwise(indices):
            parents[root(one)] = root(other)
    found: dict[int, list[Resource]] = defaultdict(list)
    for index, resource in enumerate(members):
        found[root(index)].append(resource)
    yield from map(tuple, found.values())


def _overlapping(by_stake: Mapping[Hashable, list[int]]) -> Iterator[tuple[int, int]]:
    """Members that compete because a pattern of one covers a host of another."""
    hosts = [stake for stake in by_stake if isinstance(stake, str)]
    for pattern in filter(is_wildcard, hosts):
        for host in hosts:
            if host != pattern and overlaps(pattern, host):
                yield by_stake[pattern][0], by_stake[host][0]


def _virtual_service(resource: Resource, domain: str) -> Iterator[Hashable]:
    for host in resource.spec.get("hosts") or ():
        yield qualified(host.lower(), resource.namespace, domain)


def _route(resource: Resource, domain: str) -> Iterator[Hashable]:
    for parent in resource.spec.get("parentRefs") or ():
        if parent.get("kind") in ("Service", "ServiceEntry"):
            yield parent["kind"], parent.get("namespace") or resource.namespace, parent.get("name")


def _service(resource: Resource, domain: str) -> Iterator[Hashable]:
    """Hosts, addresses that TCP listeners bind, and target ports of the same workloads."""
    spec = resource.spec
    if resource.kind == "ServiceEntry":
        yield from (("host", host) for host in spec.get("hosts") or ())
        addresses = spec.get("addresses") or (None,)
    else:
        yield "host", f"{resource.name}.{resource.namespace}.svc.{domain}"
        cluster_ip = spec.get("clusterIP")
        addresses = (cluster_ip,) if cluster_ip and cluster_ip != "None" else ()
        for name, value in (spec.get("selector") or {}).items():
            for port in spec.get("ports") or ():
                target = port.get("targetPort") or port.get("port")
                yield "workload", resource.namespace, name, value, target
    for address in addresses:
        for port in spec.get("ports") or ():
            yield "listener", address, port.get("port") or port.get("number")


def _sidecar(resource: Resource, domain: str) -> Iterator[Hashable]:
    yield resource.namespace, bool(resource.spec.get("workloadSelector"))


_STAKES: tuple[tuple[tuple[str, ...], Stakes], ...] = (
    (("VirtualService",), _virtual_service),
    (("HTTPRoute", "GRPCRoute"), _route),
    (("Service", "ServiceEntry"), _service),
    (("Sidecar",), _sidecar),
)
