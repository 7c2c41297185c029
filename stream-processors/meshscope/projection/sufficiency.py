"""Whether the resources suffice for a verdict, or decide too little of what a proxy holds."""

from collections.abc import Iterator, Sequence
from typing import Final

from meshscope.events.resource import Resource
from meshscope.policy.kinds import Kind
from meshscope.projection.limits import Limit
from meshscope.projection.result import Unverifiable

_SERVICES: Final = frozenset((("", "Service"), ("networking.istio.io", "ServiceEntry")))
_ADDRESSES: Final = frozenset(
    (
        ("", "Endpoints"),
        ("discovery.k8s.io", "EndpointSlice"),
        ("networking.istio.io", "ServiceEntry"),
        ("networking.istio.io", "WorkloadEntry"),
    )
)


def missing(resources: Sequence[Resource]) -> tuple[Unverifiable, ...]:
    """What cannot be said because a whole kind of resources was not given.

    A sidecar's configuration follows from Services and their endpoints first of all. Istio's own
    resources alone, as a GitOps repository often holds them, would let all the rest look as if
    nobody had declared it.
    """
    return tuple(_missing({(resource.group, resource.kind) for resource in resources}))


def _missing(given: set[tuple[str, str]]) -> Iterator[Unverifiable]:
    if not given & _SERVICES:
        yield Unverifiable(
            "the resources hold no Service, so nothing can be said of what a sidecar should hold; "
            "give all resources of the cluster, not Istio's alone",
            code=Limit.MISSING_RESOURCES,
        )
    elif not given & _ADDRESSES:
        yield Unverifiable(
            "the resources hold no EndpointSlice", Kind.ENDPOINTS, code=Limit.MISSING_RESOURCES
        )
