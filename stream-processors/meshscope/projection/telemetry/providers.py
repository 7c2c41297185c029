"""Telemetry resources in force for a workload, and the providers that they name."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from typing import Any, Literal

from meshscope.events.resource import Resource
from meshscope.projection.declared.age import oldest_first, possibly_oldest

Direction = Literal["inbound", "outbound"]

Spec = Mapping[str, Any]

_BUILT_IN: tuple[Spec, ...] = (
    {"name": "prometheus", "prometheus": {}},
    {"name": "stackdriver", "stackdriver": {}},
    {"name": "envoy", "envoyFileAccessLog": {"path": "/dev/stdout"}},
)
"""Providers that exist without being declared."""


class UnmodelledProviderError(ValueError):
    """Telemetry goes to a provider whose configuration is not modelled."""


def applicable(
    telemetries: Iterable[Resource], *, namespace: str, labels: Mapping[str, str], root: str
) -> tuple[tuple[Resource, ...], ...]:
    """The Telemetry resources of a workload, widest first; later ones override earlier ones.

    Several results where it is not known which of two namespace-wide ones is older.
    """
    wide: dict[str, list[Resource]] = {root: [], namespace: []}
    selecting: list[Resource] = []
    for telemetry in telemetries:
        spec = telemetry.spec
        selector = (spec.get("selector") or {}).get("matchLabels") or {}
        targeted = bool(spec.get("targetRef") or spec.get("targetRefs"))
        if not selector and not targeted:
            if telemetry.namespace in wide:
                wide[telemetry.namespace].append(telemetry)
        elif (
            not targeted and telemetry.namespace == namespace and selector.items() <= labels.items()
        ):
            selecting.append(telemetry)
    candidates: list[list[tuple[Resource, ...]]] = [
        [(oldest,) for oldest in possibly_oldest(found)] or [()] for found in wide.values()
    ]
    return tuple(
        (*(telemetry for choice in choices for telemetry in choice), *order)
        for choices in product(*candidates)
        for order in oldest_first(selecting)
    )


def providers(mesh_config: Spec) -> Mapping[str, Spec]:
    """Extension providers by name in lower case; declared ones replace built-in ones."""
    declared = mesh_config.get("extensionProviders") or ()
    return {str(p.get("name", "")).lower(): p for p in (*_BUILT_IN, *declared)}


def default_providers(mesh_config: Spec, kind: str) -> Sequence[str]:
    """Names of the providers that are used where no Telemetry names one."""
    names: Sequence[str] = (mesh_config.get("defaultProviders") or {}).get(kind) or ()
    return names


def named_providers(part: Spec) -> list[str]:
    """Names that a part of a Telemetry gives."""
    return [str(p.get("name", "")) for p in part.get("providers") or ()]


def concerns(match: Spec | None, direction: Direction) -> bool:
    """Whether a part of a Telemetry counts for one direction; inbound is the server's."""
    mode = (match or {}).get("mode") or "CLIENT_AND_SERVER"
    return mode in ("CLIENT_AND_SERVER", "UNDEFINED") or mode == (
        "SERVER" if direction == "inbound" else "CLIENT"
    )
