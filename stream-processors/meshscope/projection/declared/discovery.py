"""Which namespaces the control plane looks at (`discoverySelectors` of MeshConfig).

Source: https://istio.io/latest/docs/reference/config/istio.mesh.v1alpha1/#MeshConfig and
https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#resources-that-support-set-based-requirements.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from meshscope.events.resource import Resource
from meshscope.projection.limits import Limit

Json = Mapping[str, Any]

_NAME: Final = "kubernetes.io/metadata.name"
"""Label that Kubernetes gives to every namespace."""


def discovered(
    resources: Sequence[Resource], selectors: Sequence[Json]
) -> tuple[Sequence[Resource], tuple[str, ...]]:
    """The resources that the control plane sees, and what had to be assumed.

    Args:
        resources: Everything that is declared.
        selectors: Label selectors of which a namespace must meet one; none: all are seen.
    """
    if not selectors:
        return resources, ()
    declared = {one.name: one.labels for one in resources if one.kind == "Namespace"}
    notes = []
    seen: dict[str, bool] = {"": True}
    for namespace in dict.fromkeys(one.namespace for one in resources if one.namespace):
        labels = {_NAME: namespace, **declared.get(namespace, {})}
        seen[namespace] = any(selects(selector, labels) for selector in selectors)
        if not seen[namespace] and namespace not in declared:
            seen[namespace] = True
            notes.append(
                Limit.MISSING_RESOURCES.note(
                    f"the labels of namespace {namespace!r} are not known, which "
                    "discoverySelectors look at; it is assumed that they select it"
                )
            )
    found = tuple(one for one in resources if seen[one.namespace])
    return found, tuple(notes)


def selects(selector: Json, labels: Mapping[str, str]) -> bool:
    """Whether a label selector of Kubernetes selects labels; an empty one selects all."""
    exact: Mapping[str, str] = selector.get("matchLabels") or {}
    return exact.items() <= labels.items() and all(
        _meets(requirement, labels) for requirement in selector.get("matchExpressions") or ()
    )


def _meets(requirement: Json, labels: Mapping[str, str]) -> bool:
    value = labels.get(requirement.get("key") or "")
    values: Sequence[str | None] = requirement.get("values") or ()
    match requirement.get("operator"):
        case "In":
            return value in values
        case "NotIn":
            return value not in values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
    return False
