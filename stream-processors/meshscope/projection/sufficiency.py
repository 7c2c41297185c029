"""Whether the resources suffice for a verdict, or decide too little of what a proxy holds."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from meshscope.events.resource import Resource
from meshscope.policy.key import PolicyKey
from meshscope.policy.kinds import Kind
from meshscope.projection.limits import Limit
from meshscope.projection.result import Unverifiable

_SERVICE: Final = ("", "Service")
_SLICES: Final = frozenset((("", "Endpoints"), ("discovery.k8s.io", "EndpointSlice")))
_IN_CLUSTER: Final = ".svc."


class Sufficiency:
    """Knows of a set of resources whether whole kinds of them were left out.

    A sidecar's configuration follows from Services and their endpoints first of all. Istio's own
    resources alone, as a GitOps repository often holds them, would let all the rest look as if
    nobody had declared it.
    """

    def __init__(self, resources: Sequence[Resource]) -> None:
        kinds = {(resource.group, resource.kind) for resource in resources}
        self._has_services = _SERVICE in kinds
        self._has_slices = bool(kinds & _SLICES)
        self._hosts = frozenset(
            host
            for resource in resources
            if resource.kind == "ServiceEntry"
            for host in resource.spec.get("hosts") or ()
        )

    def missing(self, held: Iterable[PolicyKey]) -> Iterator[Unverifiable]:
        """What cannot be said of a proxy that holds these policies.

        Services may be declared by ServiceEntries alone; then some of the cluster's hosts that the
        proxy knows are theirs.
        """
        if self._has_services:
            if not self._has_slices:
                yield Unverifiable(
                    "the resources hold no EndpointSlice",
                    Kind.ENDPOINTS,
                    code=Limit.MISSING_RESOURCES,
                )
            return
        hosts = {key["host"] for key in held if key.kind is Kind.DESTINATION}
        in_cluster = {host for host in hosts if _IN_CLUSTER in host}
        if in_cluster and not in_cluster & self._hosts:
            yield Unverifiable(
                "the resources hold no Service, so nothing can be said of what a sidecar should "
                "hold; give all resources of the cluster, not Istio's alone",
                code=Limit.MISSING_RESOURCES,
            )
