"""Selectors: resources that select nothing, compete for the same workloads, or reach none."""

from collections.abc import Iterator, Mapping
from typing import Final

from meshscope.declarations.finding import Finding, Said
from meshscope.declarations.gateways import DEFAULT_INGRESS
from meshscope.declarations.reading import labels, texts
from meshscope.declarations.surroundings import Surroundings, selector_of, targets, words
from meshscope.declarations.workloads import Workload
from meshscope.events.resource import Resource

SELECTS_NOTHING = "MSC-2501"
COMPETES = "MSC-2502"
INEFFECTIVE = "MSC-2503"
UNKNOWN_NAMESPACE = "MSC-2506"

_OF_ONE: Final = frozenset(("PeerAuthentication", "Sidecar"))
"""Kinds of which the root namespace's own workloads alone can be selected, or none at all."""

_AMBIENT: Final = "istio.io/dataplane-mode"
_INJECTION: Final = ("istio-injection", "istio.io/rev")
_GATEWAY_NAME: Final = "gateway.networking.k8s.io/gateway-name"
_REDIRECTION: Final = "ambient.istio.io/redirection"


def selects_nothing(resource: Resource, around: Surroundings) -> Iterator[Said]:
    """Resources whose selector no workload meets."""
    if resource.kind == "Gateway":
        wanted: Mapping[str, str] | None = labels(resource.spec, "selector") or None
    else:
        wanted = selector_of(resource)
    if wanted is None or targets(resource):
        return
    if resource.kind == "PeerAuthentication" and resource.namespace == around.root:
        # It selects nothing whatever its labels are (`root_selectors`).
        return
    if resource.kind == "Gateway" and wanted == DEFAULT_INGRESS:
        # Istio's own gateway, which is seldom among the resources.
        return
    everywhere = resource.kind == "Gateway"
    lacking = around.lacks_workloads(
        around.root if everywhere else resource.namespace, SELECTS_NOTHING
    )
    found = _selected(resource, wanted, around)
    if found:
        return
    if lacking is not None:
        yield lacking
        return
    asked = words(f"{name}={value}" for name, value in wanted.items())
    yield Finding(
        SELECTS_NOTHING,
        resource,
        _field(resource),
        f"no workload {_where(resource, around)} has the labels {asked}: it has no effect",
    )


def _field(resource: Resource) -> str:
    """Where its selector stands; empty: it has none."""
    for name in ("selector", "workloadSelector"):
        if resource.spec.get(name) is not None:
            return f"spec.{name}"
    return ""


def _where(resource: Resource, around: Surroundings) -> str:
    if resource.kind == "Gateway" or resource.namespace == around.root:
        return "at all" if resource.kind not in _OF_ONE else f"of namespace {resource.namespace}"
    return f"of namespace {resource.namespace}"


def _selected(
    resource: Resource, wanted: Mapping[str, str], around: Surroundings
) -> tuple[Workload, ...]:
    if resource.kind == "Gateway":
        among = around.all_workloads
    elif resource.kind in _OF_ONE:
        among = around.workloads.get(resource.namespace, ())
    else:
        return around.selected(resource.namespace, wanted)
    return tuple(one for one in among if wanted.items() <= one.labels.items())


def competes(resource: Resource, around: Surroundings) -> Iterator[Said]:
    """Resources of one kind for the same workloads, of which Istio takes one only."""
    own = selector_of(resource)
    rivals = []
    for other in around.of(resource.kind):
        if other is resource or other.namespace != resource.namespace or targets(other):
            continue
        if _revision(other) != _revision(resource):
            continue
        if own is None or selector_of(other) is None:
            if own is None and selector_of(other) is None:
                rivals.append((other, "have no selector"))
            continue
        shared = _shared(own, selector_of(other) or {}, resource.namespace, around)
        if shared:
            rivals.append((other, f"select {shared}"))
    if rivals and not targets(resource):
        names = words(str(other.ref) for other, _ in rivals)
        yield Finding(
            COMPETES,
            resource,
            _field(resource),
            f"{names} and it {rivals[0][1]}: only one of them counts there, the oldest",
            related=tuple(other.ref for other, _ in rivals),
        )


def _revision(resource: Resource) -> str:
    return resource.labels.get("istio.io/rev", "")


def _shared(
    one: Mapping[str, str], other: Mapping[str, str], namespace: str, around: Surroundings
) -> str:
    """What both select, in words; empty: nothing that is known."""
    if one == other:
        return "by the same labels"
    both = {**one, **other}
    if any(other.get(name, value) != value for name, value in one.items()):
        return ""
    found = around.workloads.get(namespace, ())
    common = [w for w in found if both.items() <= w.labels.items()]
    return words(str(w.resource.ref) for w in common)


def without_sidecars(resource: Resource, around: Surroundings) -> Iterator[Said]:
    """Resources for sidecars in a namespace, or for workloads, of the ambient mode."""
    if targets(resource):
        return
    wanted = selector_of(resource)
    if wanted is None:
        if resource.namespace != around.root and _is_ambient(resource.namespace, around):
            yield Finding(
                INEFFECTIVE,
                resource,
                "",
                f"the workloads of namespace {resource.namespace} are in ambient mode and have no "
                "sidecars: it has no effect",
            )
        return
    found = _selected(resource, wanted, around)
    ambient = [one for one in found if _in_ambient(one, around)]
    if ambient and len(ambient) == len(found):
        yield Finding(
            INEFFECTIVE,
            resource,
            _field(resource),
            f"{words(str(one.resource.ref) for one in ambient)} is in ambient mode and has no "
            "sidecar: it has no effect",
            related=(ambient[0].resource.ref,),
        )


def at_gateways(resource: Resource, around: Surroundings) -> Iterator[Said]:
    """Policies that select workloads of the Gateway API, which take policies by `targetRefs`."""
    wanted = selector_of(resource)
    if wanted is None or targets(resource):
        return
    found = _selected(resource, wanted, around)
    names = {one.labels.get(_GATEWAY_NAME, "") for one in found}
    if found and "" not in names:
        yield Finding(
            INEFFECTIVE,
            resource,
            _field(resource),
            f"it selects workloads of the gateway {words(sorted(names))} of the Gateway API: "
            "waypoints take policies by targetRefs alone, and other gateways need not heed "
            "selectors",
            related=(found[0].resource.ref,),
        )


def _is_ambient(namespace: str, around: Surroundings) -> bool:
    own = around.namespaces.get(namespace, {})
    return own.get(_AMBIENT) == "ambient" and not (
        own.get(_INJECTION[0]) == "enabled" or own.get(_INJECTION[1])
    )


def _in_ambient(workload: Workload, around: Surroundings) -> bool:
    if workload.annotations.get(_REDIRECTION) == "enabled":
        return True
    if workload.labels.get(_AMBIENT):
        return workload.labels[_AMBIENT] == "ambient"
    return _is_ambient(workload.namespace, around)


def root_selectors(resource: Resource, around: Surroundings) -> Iterator[Said]:
    """PeerAuthentications of the root namespace with a selector, which Istio does not look at."""
    if resource.namespace == around.root and selector_of(resource) is not None:
        yield Finding(
            INEFFECTIVE,
            resource,
            "spec.selector",
            f"{around.root} is the root namespace, where PeerAuthentications are for the whole "
            "mesh: one with a selector has no effect",
        )


def unknown_export(resource: Resource, around: Surroundings) -> Iterator[Said]:
    """Namespaces of `exportTo` that do not exist."""
    named = [
        (place, name)
        for place, name in enumerate(texts(resource.spec, "exportTo"))
        if name not in ("*", ".", "~")
    ]
    if not named:
        return
    lacking = around.lacks_namespaces(UNKNOWN_NAMESPACE)
    if lacking is not None:
        yield lacking
        return
    for place, name in named:
        if name not in around.namespaces:
            yield Finding(
                UNKNOWN_NAMESPACE,
                resource,
                f"spec.exportTo[{place}]",
                f"there is no namespace {name} to export to",
            )
