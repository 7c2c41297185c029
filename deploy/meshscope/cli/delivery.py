"""Findings of delivery and loading (`MSC-3xxx`) as far as a configuration dump shows them."""

from collections.abc import Collection, Iterable, Mapping
from typing import Final

from meshscope.agent.state import milliseconds, state_of_dump
from meshscope.analysis.delivery import conditions, without_sidecar
from meshscope.analysis.delivery_codes import DRAINING, NOT_INJECTED, WARMING
from meshscope.analysis.mesh import DeclaredMesh, has_sidecar
from meshscope.cli.report import Finding, Severity
from meshscope.events.facts import Source
from meshscope.inference.result import Inference
from meshscope.policy.source import ResourceRef
from meshscope.projection.result import Unverifiable

_SEVERITIES: Final[Mapping[str, Severity]] = {
    "critical": "error",
    "warning": "warning",
    "info": "info",
}


def delivery_findings(
    inference: Inference, mesh: DeclaredMesh, unverifiable: Iterable[Unverifiable], file: str
) -> tuple[Finding, ...]:
    """What a dump shows to be wrong on the way from the declaration into its proxy.

    A dump is one moment: it does not tell for how long something has been so. What drains then is
    normal; what warms is said, with that reservation. Times are compared with the latest one in the
    dump, not with today, since a dump may be old.

    Args:
        inference: What was read from the dump.
        mesh: What is declared.
        unverifiable: What the projection says of patches in force.
        file: Where the dump was read.
    """
    patches = tuple(dict.fromkeys(each.source for each in unverifiable if each.source))
    found = conditions(
        state_of_dump(inference.state),
        inference.proxy,
        mesh,
        now=milliseconds(inference.state.seen_at),
        patches=patches,
    )
    proxy = inference.proxy.proxy
    return tuple(
        Finding(
            each.code.code,
            _SEVERITIES[each.code.severity],
            f"{proxy}: {each.observed}"
            + (", at the moment of the dump" if each.code is WARMING else ""),
            resource=_ref(each.cause.resource),
            file=file,
            proxy=proxy,
        )
        for each in found
        if each.code is not DRAINING
    )


def pods_without_sidecar(mesh: DeclaredMesh, seen: Collection[str]) -> tuple[Finding, ...]:
    """Pods that should have a sidecar and have none.

    Args:
        mesh: What is declared.
        seen: Proxies of which there is a dump.
    """
    return tuple(
        Finding(
            NOT_INJECTED.code,
            _SEVERITIES[NOT_INJECTED.severity],
            f"{name}: {without_sidecar(pod).observed}",
            resource=pod.ref,
            file=pod.origin.rpartition("#")[0] or pod.origin,
            line=pod.line,
        )
        for name, pod in mesh.awaited.items()
        if name not in seen and not has_sidecar(pod)
    )


def _ref(source: Source | None) -> ResourceRef | None:
    return ResourceRef(source.kind, source.namespace, source.name) if source else None
