"""Which policies select a workload."""

from collections.abc import Iterable, Mapping

from meshscope.events.resource import Resource


def selecting(
    policies: Iterable[Resource], *, namespace: str, labels: Mapping[str, str], root: str
) -> tuple[Resource, ...]:
    """The policies in force for a workload with a sidecar, those of its namespace first.

    Policies of the root namespace count everywhere. A selector must name labels of the workload;
    policies that target a Gateway or a Service are for gateways and waypoints.
    """
    return tuple(
        policy
        for scope in dict.fromkeys((namespace, root))
        for policy in policies
        if policy.namespace == scope and _selects(policy, labels)
    )


def _selects(policy: Resource, labels: Mapping[str, str]) -> bool:
    spec = policy.spec
    if spec.get("targetRef") or spec.get("targetRefs"):
        return False
    selector: Mapping[str, str] = (spec.get("selector") or {}).get("matchLabels") or {}
    return selector.items() <= labels.items()
