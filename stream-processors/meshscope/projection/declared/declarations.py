"""All resources by kind, in the order in which Istio looks at them.

The oldest comes first, then the first by name, then by namespace. Resources that were read from
files have no age; where that decides between some of them, every order that they may have is a
world of its own.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain
from typing import Final

from meshscope.events.resource import Resource
from meshscope.projection.declared.age import oldest_first
from meshscope.projection.declared.contests import contests
from meshscope.projection.memory import same_objects

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
class OfKind:
    """All resources of a kind.

    Attributes:
        given: As they were given.
        ordered: In canonical order.
    """

    given: Sequence[Resource]
    ordered: tuple[Resource, ...]

    @cached_property
    def by_name(self) -> Mapping[tuple[str, str], Resource]:
        """By namespace and name."""
        return {(resource.namespace, resource.name): resource for resource in self.ordered}

    @cached_property
    def by_namespace(self) -> Mapping[str, tuple[Resource, ...]]:
        """By namespace, in canonical order."""
        found: dict[str, list[Resource]] = defaultdict(list)
        for resource in self.ordered:
            found[resource.namespace].append(resource)
        return {name: tuple(some) for name, some in found.items()}


@dataclass(frozen=True, eq=False)
class Declarations:
    """All resources that matter.

    Attributes:
        kinds: By kind.
    """

    kinds: Mapping[str, OfKind]

    @property
    def by_kind(self) -> Mapping[str, tuple[Resource, ...]]:
        """By kind, in canonical order."""
        return {kind: some.ordered for kind, some in self.kinds.items()}

    def named(self, kind: str, namespace: str, name: str) -> Resource | None:
        """A resource by its name; None: there is none."""
        some = self.kinds.get(kind)
        return None if some is None else some.by_name.get((namespace, name))

    def within(self, kind: str, *namespaces: str) -> tuple[Resource, ...]:
        """The resources of a kind that lie in some namespaces, namespace after namespace."""
        some = self.kinds.get(kind)
        if some is None:
            return ()
        known = some.by_namespace
        return tuple(r for name in dict.fromkeys(namespaces) for r in known.get(name, ()))

    def of(self, *kinds: str) -> tuple[Resource, ...]:
        """The resources of some kinds, kind after kind."""
        found = [some.ordered for kind in kinds if (some := self.kinds.get(kind)) is not None]
        return found[0] if len(found) == 1 else tuple(chain.from_iterable(found))


def declarations(resources: Iterable[Resource], before: Declarations | None = None) -> Declarations:
    """Sort resources; those whose age is unknown count as the oldest.

    Args:
        resources: All resources.
        before: Earlier ones; kinds of which nothing has changed are taken over.
    """
    found: dict[str, list[Resource]] = defaultdict(list)
    for resource in resources:
        if (resource.group, resource.kind) in _KINDS:
            found[resource.kind].append(resource)
    known = {} if before is None else before.kinds
    return Declarations({kind: _of_kind(some, known.get(kind)) for kind, some in found.items()})


def _of_kind(given: Sequence[Resource], before: OfKind | None) -> OfKind:
    if before is not None and same_objects(given, before.given):
        return before
    return OfKind(given, tuple(sorted(given, key=seniority)))


def seniority(resource: Resource) -> tuple[str, str, str]:
    """What Istio orders by: age, name, namespace."""
    return resource.created_at or "", resource.name, resource.namespace


def possible_ages(declared: Declarations, domain: str) -> tuple[Declarations, ...]:
    """The resources in every world that unknown ages allow; the first is as given.

    In each of the others one contest has another outcome: contests do not depend on each other, so
    they need not be combined. Its members have made-up ages there.

    Args:
        declared: All resources.
        domain: DNS domain of the cluster.
    """
    found = [declared]
    for contest in contests(declared.by_kind, domain):
        canonical = sorted(contest, key=seniority)
        for order in oldest_first(canonical):
            if list(order) != canonical:
                aged = {id(old): new for old, new in zip(order, _aged(order), strict=True)}
                given = (one for some in declared.kinds.values() for one in some.given)
                found.append(declarations((aged.get(id(one), one) for one in given), declared))
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
