"""Which anomaly a drift or finding is evidence of: one per cluster, layer, code and cause."""

import json
from collections.abc import Iterable, Mapping
from hashlib import blake2b
from typing import Final

from meshscope.analysis.delivery_codes import DELIVERY_CODES, Layer
from meshscope.comparison.codes import DRIFT_CODES
from meshscope.events.facts import Cause, Drift, Finding, Source

DRIFT_LAYER: Final[Layer] = "delivery"
"""Of a drift that nothing explains: what is declared is not what the proxy holds. Which step
between them failed, a drift alone does not tell."""

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


def cause(fact: Drift | Finding) -> Cause:
    """What a drift or finding comes from, as far as is known."""
    if isinstance(fact, Finding):
        return fact.cause
    return fact.cause or Cause(fact.code, fact.proxy, responsible(fact.sources))


def layer(code: str) -> Layer:
    """The step at which what a code stands for goes wrong."""
    known = DELIVERY_CODES.get(code)
    return known.layer if known else DRIFT_LAYER


def repair(code: str) -> str:
    """What to do; empty: that depends."""
    known = DELIVERY_CODES.get(code)
    return known.repair if known else ""


def responsible(sources: Iterable[Source]) -> Source | None:
    """The resource to look at first; None: none is known."""
    ordered = sorted(
        sources,
        key=lambda each: (each.kind in _CONTEXT_KINDS, each.kind, each.namespace, each.name),
    )
    return ordered[0] if ordered else None


def fingerprint(fact: Drift | Finding) -> str:
    """Names the anomaly; the same after restarts and for every life of it.

    Digest of cluster, layer, code, and the responsible resource; where none is known, of the
    subject of the finding, or of proxy and policy key. Independent of the version of the
    vocabulary: consumers rely on it for ever.
    """
    found = cause(fact)
    if found.resource:
        resource = found.resource
        place: tuple[str, ...] = ("resource", resource.kind, resource.namespace, resource.name)
    elif found.code in DELIVERY_CODES or isinstance(fact, Finding):
        place = ("subject", found.subject)
    else:
        place = ("proxy", fact.proxy, fact.key)
    name = json.dumps(["anomaly", fact.cluster, layer(found.code), found.code, *place]).encode()
    return blake2b(name, digest_size=16).hexdigest()


def severity(effects: Iterable[str], code: str = "") -> str:
    """The worst of what the evidence does to traffic, and at least what the code says."""
    found = {_SEVERITY_OF_EFFECT.get(effect, "info") for effect in effects}
    if code in DELIVERY_CODES:
        found.add(DELIVERY_CODES[code].severity)
    return next((each for each in SEVERITIES if each in found), "info")


def title(fact: Drift | Finding) -> str:
    """One sentence for the anomaly that this is evidence of."""
    found = cause(fact)
    if found.code in DELIVERY_CODES:
        return f"{DELIVERY_CODES[found.code].title}: {found.subject}"
    resource = found.resource
    what = _TITLES.get(found.code, found.code)
    if resource is None:
        return f"{what} in {fact.proxy}"
    return f"{what}; {resource.kind} {resource.namespace}/{resource.name} says otherwise"
