"""Whether the resources are enough for a verdict, or whole kinds of them were left out."""

from collections.abc import Iterator
from typing import Final

from meshscope.events.proxy import ProxyInputs
from meshscope.policy.kinds import Kind
from meshscope.projection.declared.declarations import Declarations
from meshscope.projection.limits import Limit
from meshscope.projection.result import Unverifiable

_IN_CLUSTER: Final = ".svc."


def pod_note(declared: Declarations, proxy: ProxyInputs) -> Iterator[str]:
    """A note where neither the Pod of a proxy nor its WorkloadEntry is declared."""
    name = proxy.proxy.removesuffix(f".{proxy.namespace}")
    if not any(declared.named(kind, proxy.namespace, name) for kind in ("Pod", "WorkloadEntry")):
        yield Limit.MISSING_RESOURCES.note(
            "the Pod is not among the resources; the labels that the proxy itself names are used"
        )


def insufficient(declared: Declarations) -> Iterator[Unverifiable]:
    """What cannot be said of any proxy for lack of resources.

    A sidecar's configuration follows from Services and their endpoints first of all. Istio's own
    resources alone, as a GitOps repository often holds them, would let all the rest look as if
    nobody had declared it. Where ServiceEntries declare hosts of the cluster, they stand in for
    Services.
    """
    if declared.of("Service"):
        if not declared.of("EndpointSlice"):
            reason = "the resources hold no EndpointSlice"
            yield Unverifiable(reason, Kind.ENDPOINTS, code=Limit.MISSING_RESOURCES)
        return
    hosts = (
        host for entry in declared.of("ServiceEntry") for host in entry.spec.get("hosts") or ()
    )
    if not any(_IN_CLUSTER in host for host in hosts):
        yield Unverifiable(
            "the resources hold no Service, so nothing can be said of what a sidecar should hold; "
            "give all resources of the cluster, not Istio's alone",
            code=Limit.MISSING_RESOURCES,
        )
