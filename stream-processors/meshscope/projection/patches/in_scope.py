"""What EnvoyFilters, WasmPlugins and TrafficExtensions may change, and cannot be verified.

Patches are not modelled. Of every one that is in force for a proxy it is worked out which policies
it may touch, as narrowly as its match allows, and only those are unverifiable.

Source: https://istio.io/latest/docs/reference/config/networking/envoy-filter/ and
https://istio.io/latest/docs/reference/config/proxy_extensions/wasm-plugin/.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from meshscope.events.resource import Resource
from meshscope.policy.key import PolicyKey
from meshscope.policy.kinds import Kind
from meshscope.projection.context import Context
from meshscope.projection.patches.parts import Touch, touches
from meshscope.projection.result import Unverifiable

Json = Mapping[str, Any]

_MOST_KEYS: Final = 100
"""Keys that are named one by one; a patch that may touch more makes their kind unverifiable."""

_FOR_SIDECARS: Final = ("ANY", "SIDECAR_INBOUND", "SIDECAR_OUTBOUND")


@dataclass(frozen=True, slots=True)
class _Patch:
    """A resource that patches the proxy, and what it may touch."""

    source: Resource
    touches: tuple[Touch, ...]


def patches(context: Context, known: Iterable[PolicyKey]) -> tuple[Unverifiable, ...]:
    """What cannot be verified because a patch in force may touch it.

    Args:
        context: The proxy in its mesh.
        known: Keys of all policies that are projected.
    """
    keys = tuple(known)
    found = [unverifiable for patch in _in_force(context) for unverifiable in _said(patch, keys)]
    return tuple(dict.fromkeys(found))


def _in_force(context: Context) -> Iterator[_Patch]:
    declared = context.mesh.declared
    for resource in declared.of("EnvoyFilter"):
        selector = (resource.spec.get("workloadSelector") or {}).get("labels")
        if _selects(resource, selector, context):
            patched = [
                touch
                for patch in resource.spec.get("configPatches") or ()
                if _applies(patch, context)
                for touch in touches(patch)
            ]
            yield _Patch(resource, tuple(patched))
    for resource in declared.of("WasmPlugin", "TrafficExtension"):
        selector = (resource.spec.get("selector") or {}).get("matchLabels")
        if _selects(resource, selector, context):
            yield _Patch(resource, (Touch(Kind.FILTER_ORDER), Touch(Kind.EXTENSION)))


def _selects(resource: Resource, selector: Mapping[str, str] | None, context: Context) -> bool:
    """Whether a resource is in force for the proxy; those with targets are for gateways."""
    if resource.spec.get("targetRefs") or resource.spec.get("targetRef"):
        return False
    places = (context.mesh.config.root_namespace, context.workload.namespace)
    return resource.namespace in places and (
        (selector or {}).items() <= context.workload.labels.items()
    )


def _applies(patch: Json, context: Context) -> bool:
    """Whether a patch is for sidecars of this version and metadata."""
    match = patch.get("match") or {}
    if match.get("context", "ANY") not in _FOR_SIDECARS:
        return False
    proxy = match.get("proxy") or {}
    version = proxy.get("proxyVersion")
    if version and not _matches(version, context.proxy.istio_version):
        return False
    metadata = context.proxy.metadata
    return all(metadata.get(k) == v for k, v in (proxy.get("metadata") or {}).items())


def _matches(pattern: str, version: str) -> bool:
    """Whether a version matches; an expression that cannot be read may match."""
    try:
        return re.search(pattern, version) is not None
    except re.error:
        return True


def _said(patch: _Patch, keys: Sequence[PolicyKey]) -> Iterator[Unverifiable]:
    reason = f"{patch.source.ref} patches this part of the configuration, which is not modelled"
    source = patch.source.ref
    for touch in patch.touches:
        if not touch.is_narrow:
            yield Unverifiable(reason, touch.kind, source=source)
            yield Unverifiable(reason, Kind.EXTENSION, source=source)
            continue
        if touch.prefix:
            yield Unverifiable(reason, touch.kind, key_prefix=touch.prefix, source=source)
        concerned = [one for one in (*keys, *touch.added) if touch.concerns(one)]
        if len(concerned) > _MOST_KEYS:
            yield Unverifiable(reason, touch.kind, source=source)
            yield Unverifiable(reason, Kind.EXTENSION, source=source)
            continue
        for one in concerned:
            if not touch.prefix:
                yield Unverifiable(reason, touch.kind, key=one, source=source)
            yield Unverifiable(reason, Kind.EXTENSION, key_prefix=(str(one),), source=source)
