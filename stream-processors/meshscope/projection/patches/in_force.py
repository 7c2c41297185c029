"""Which patches are in force for a proxy, in the order in which Istio applies them.

Source: https://istio.io/latest/docs/reference/config/networking/envoy-filter/#EnvoyFilter.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, Final

from meshscope.events.resource import Resource
from meshscope.policy.source import ResourceRef
from meshscope.projection.context import Context

Json = Mapping[str, Any]

INBOUND: Final = "inbound"
OUTBOUND: Final = "outbound"

ADDING: Final = ("ADD", "INSERT_BEFORE", "INSERT_AFTER", "INSERT_FIRST")

_DIRECTIONS: Final[Mapping[str, tuple[str, ...]]] = {
    "ANY": (INBOUND, OUTBOUND),
    "SIDECAR_INBOUND": (INBOUND,),
    "SIDECAR_OUTBOUND": (OUTBOUND,),
}
_INSERTED: Final = ("HTTP_FILTER", "NETWORK_FILTER", "HTTP_ROUTE", "LISTENER_FILTER")
_LONGEST_EXPRESSION: Final = 1024
"""Longest expression for versions that istiod compiles; a longer one matches no proxy."""


@dataclass(frozen=True, slots=True)
class Patch:
    """One patch of an EnvoyFilter.

    Attributes:
        source: The EnvoyFilter.
        target: What is patched (`applyTo`).
        operation: `MERGE`, `REMOVE`, `ADD` …
        directions: Of the connections that it is about: `inbound`, `outbound`.
        given_context: The context as given; empty: none.
        match: Further conditions: `listener`, `routeConfiguration` or `cluster`.
        value: What is merged or added.
    """

    source: ResourceRef
    target: str
    operation: str
    directions: tuple[str, ...] = (INBOUND, OUTBOUND)
    given_context: str = ""
    match: Json = field(default_factory=dict, hash=False)
    value: Json = field(default_factory=dict, hash=False)

    @property
    def adds(self) -> bool:
        """Whether it puts something where there was nothing."""
        return self.operation in ADDING


@dataclass(frozen=True, slots=True)
class InForce:
    """What patches a proxy.

    Attributes:
        patches: In the order in which they are applied.
        other_order: The same in another order that is possible as well, because the age of
            EnvoyFilters is not known; None: it is known, or there is nothing to order.
    """

    patches: tuple[Patch, ...]
    other_order: tuple[Patch, ...] | None = None


def in_force(context: Context) -> InForce:
    """The patches of all EnvoyFilters that select the proxy."""
    found = [one for one in context.mesh.declared.of("EnvoyFilter") if selects(one, context)]
    if not found:
        return InForce(())
    root = context.mesh.config.root_namespace
    ordered = _ordered(found, root)
    patches = tuple(patch for one in ordered for patch in _patches(one, context))
    unknown = any(one.created_at is None for one in ordered)
    if not unknown or len(ordered) < 2:
        return InForce(patches)
    turned = [
        one
        for _, group in groupby(ordered, key=lambda one: _rank(one, root))
        for one in reversed(list(group))
    ]
    return InForce(patches, tuple(patch for one in turned for patch in _patches(one, context)))


def extensions(context: Context) -> Iterator[Resource]:
    """WasmPlugins and TrafficExtensions that select the proxy."""
    for resource in context.mesh.declared.of("WasmPlugin", "TrafficExtension"):
        if selects(resource, context):
            yield resource


def selects(resource: Resource, context: Context) -> bool:
    """Whether a resource is in force for the proxy; those with targets are for gateways."""
    spec = resource.spec
    if spec.get("targetRefs") or spec.get("targetRef"):
        return False
    labels = (spec.get("workloadSelector") or {}).get("labels")
    labels = labels or (spec.get("selector") or {}).get("matchLabels") or {}
    places = (context.mesh.config.root_namespace, context.workload.namespace)
    return resource.namespace in places and labels.items() <= context.workload.labels.items()


def _ordered(filters: Iterable[Resource], root: str) -> list[Resource]:
    return sorted(
        filters,
        key=lambda one: (*_rank(one, root), one.created_at or "", f"{one.name}.{one.namespace}"),
    )


def _rank(resource: Resource, root: str) -> tuple[int, bool]:
    """What counts before age: priority, and the root namespace."""
    return int(resource.spec.get("priority") or 0), resource.namespace != root


def _patches(resource: Resource, context: Context) -> Iterator[Patch]:
    for given in resource.spec.get("configPatches") or ():
        match: Json = given.get("match") or {}
        directions = _DIRECTIONS.get(match.get("context") or "ANY", ())
        change: Json = given.get("patch") or {}
        if not directions or not change or not _is_for(match.get("proxy") or {}, context):
            continue
        target, operation = given.get("applyTo") or "", change.get("operation") or ""
        if operation in ADDING and target not in _INSERTED:
            operation = "ADD"
        yield Patch(
            resource.ref,
            target,
            operation,
            directions,
            match.get("context") or "",
            match,
            change.get("value") or {},
        )


def _is_for(proxy: Json, context: Context) -> bool:
    """Whether a patch is for a proxy of this version and metadata."""
    expression = proxy.get("proxyVersion")
    if expression and not _matches(expression, context.proxy.istio_version):
        return False
    metadata = context.proxy.metadata
    return all(metadata.get(name) == value for name, value in (proxy.get("metadata") or {}).items())


def _matches(expression: str, version: str) -> bool:
    """Whether a version matches; an expression that cannot be read may match."""
    if len(expression) > _LONGEST_EXPRESSION:
        return False
    try:
        return bool(version) and re.search(expression, version) is not None
    except re.error:
        return True
