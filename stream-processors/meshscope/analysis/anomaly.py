"""Which anomaly a drift is evidence of: one per cluster, layer, code and responsible resource."""

import json
from collections.abc import Iterable, Mapping
from hashlib import blake2b
from typing import Final

from meshscope.comparison.codes import DRIFT_CODES
from meshscope.events.facts import Drift, Source

LAYER: Final = "delivery"
"""Of a drift: what is declared is not what the proxy holds. Which step between them failed, a
drift alone does not tell; later evidence may."""

SEVERITIES: Final = ("critical", "warning", "info")
"""Worst first."""

_SEVERITY_OF_EFFECT: Final[Mapping[str, str]] = {
    "exposes": "critical",
    "blocks": "critical",
    "reroutes": "warning",
    "alters": "warning",
}

_CONTEXT_KINDS: Final = frozenset(
    {"ConfigMap", "Namespace", "Pod", "Service", "ServiceEntry", "WorkloadEntry", "WorkloadGroup"}
)
"""Kinds that say what there is, not what should happen to it; seldom the ones to look at."""

_TITLES: Final[Mapping[str, str]] = {each.code: each.title for each in DRIFT_CODES.values()}


def responsible(sources: Iterable[Source]) -> Source | None:
    """The resource to look at first; None: none is known."""
    ordered = sorted(
        sources,
        key=lambda each: (each.kind in _CONTEXT_KINDS, each.kind, each.namespace, each.name),
    )
    return ordered[0] if ordered else None


def fingerprint(drift: Drift) -> str:
    """Names the anomaly; the same after restarts and for every life of it.

    Digest of cluster, layer, code, and the responsible resource, or proxy and policy key where
    none is known. Independent of the version of the vocabulary: consumers rely on it for ever.
    """
    resource = responsible(drift.sources)
    place = (
        ("resource", resource.kind, resource.namespace, resource.name)
        if resource
        else ("proxy", drift.proxy, drift.key)
    )
    name = json.dumps(["anomaly", drift.cluster, LAYER, drift.code, *place]).encode()
    return blake2b(name, digest_size=16).hexdigest()


def severity(effects: Iterable[str]) -> str:
    """The worst of what the evidence does to traffic."""
    found = {_SEVERITY_OF_EFFECT.get(effect, "info") for effect in effects}
    return next((each for each in SEVERITIES if each in found), "info")


def title(drift: Drift) -> str:
    """One sentence for the anomaly of a drift."""
    resource = responsible(drift.sources)
    what = _TITLES.get(drift.code, f"{drift.kind} is {drift.change}")
    if resource is None:
        return f"{what} in {drift.proxy}"
    return f"{what}; {resource.kind} {resource.namespace}/{resource.name} says otherwise"
