"""All resources by kind, in the order in which Istio looks at them.

The oldest comes first, then the first by name, then by namespace. Resources that were read from
files have no age; where that decides between some of them, every order that they may have is a
world of its own.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final

from meshscope.events.resource import Resource
from meshscope.projection.declared.age import oldest_first
from meshscope.projection.declared.contests import contests

RELEVANT: Final[Mapping[str, str]] = {
    "": "Namespace Node Pod Service",
    "discovery.k8s.io": "EndpointSlice",
    "extensions.istio.io": "TrafficExtension WasmPlugin",
    "gateway.networking.k8s.io": "BackendTLSPolicy GRPCRoute HTTPRoute TCPRoute TLSRoute",
    "gateway.networking.x-k8s.io": "XBackendTrafficPolicy",
    "networking.istio.io": (
        "DestinationRule EnvoyFilter ServiceEntry Sidecar VirtualService WorkloadEntry"
    ),
    "security.istio.io": "AuthorizationPolicy PeerAuthentication RequestAuthentication",
    "telemetry.istio.io": "Telemetry",
}
"""API groups and their kinds that a projection looks at."""

_KINDS: Final = frozenset(
    (group, kind) for group, kinds in RELEVANT.items() for kind in kinds.split()
)


@dataclass(frozen=True, eq=False)
class Declarations:
    """All resources that matter.

    Attributes:
        by_kind: In canonical order.
    """

    by_kind: Mapping[str, tuple[Resource, ...]]

    def named(self, kind: str, namespace: str, name: str) -> Resource | None:
        """A resource by its name; None: there is none."""
        return self._by_name.get((kind, namespace, name))

    @cached_property
    def _by_name(self) -> Mapping[tuple[str, str, str], Resource]:
        return {(r.kind, r.namespace, r.name): r for some in self.by_kind.values() for r in some}

    def within(self, kind: str, *namespaces: str) -> tuple[Resource, ...]:
        """The resources of a kind that lie in some namespaces, namespace after namespace."""
        known = self._by_namespace.get(kind)
        if known is None:
            found: dict[str, list[Resource]] = defaultdict(list)
            for resource in self.by_kind.get(kind, ()):
                found[resource.namespace].append(resource)
            known = self._by_namespace[kind] = {name: tuple(some) for name, some in found.items()}
        return tuple(r for name in dict.fromkeys(namespaces) for r in known.get(name, ()))

    @cached_property
    def _by_namespace(self) -> dict[str, Mapping[str, tuple[Resource, ...]]]:
        return {}

    def of(self, *kinds: str) -> tuple[Resource, ...]:
        """The resources of some kinds, kind after kind."""
        return tuple(resource for kind in kinds for resource in self.by_kind.get(kind, ()))


def declarations(resources: Iterable[Resource]) -> Declarations:
    """Sort resources; those whose age is unknown count as the oldest."""
    found: dict[str, list[Resource]] = defaultdict(list)
    for resource in resources:
        if (resource.group, resource.kind) in _KINDS:
            found[resource.kind].append(resource)
    return Declarations({kind: tuple(sorted(some, key=seniority)) for kind, some in found.items()})


def seniority(resource: Resource) -> tuple[str, str, str]:
    """What Istio orders by: age, name, namespace."""
    return resource.created_at or "", resource.name, resource.namespace


def possible_ages(resources: Iterable[Resource], domain: str) -> tuple[tuple[Resource, ...], ...]:
    """The resources in every world that unknown ages allow; the first is as given.

    In each of the others one contest has another outcome: contests do not depend on each other, so
    they need not be combined. Its members have made-up ages there.

    Args:
        resources: All resources.
        domain: DNS domain of the cluster.
    """
    given = tuple(resources)
    found = [given]
    for contest in contests(declarations(given).by_kind, domain):
        canonical = sorted(contest, key=seniority)
        for order in oldest_first(canonical):
            if list(order) != canonical:
                aged = {id(old): new for old, new in zip(order, _aged(order), strict=True)}
                found.append(tuple(aged.get(id(resource), resource) for resource in given))
    return tuple(found)


def _aged(order: Sequence[Resource]) -> Iterator[Resource]:
    """The resources with ages that make this order, where theirs are unknown."""
    known = ""
    for number, resource in enumerate(order):
        if resource.created_at is None:
            # Sorts behind the known age before it, and before every later one.
            yield replace(resource, created_at=f"{known}~{number:03}" if known else f"{number:03}")
        else:
            known = resource.created_at
            yield resource
