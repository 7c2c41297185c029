"""What the join needs of a comparison, whatever the comparator says besides."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from meshscope.events.control_plane import ControlPlane
from meshscope.events.facts import (
    Change,
    EquivalentDifference,
    FieldDifference,
    Snapshot,
    Source,
)
from meshscope.events.proxy import ProxyInputs
from meshscope.events.resource import Resource
from meshscope.policy.key import PolicyKey
from meshscope.policy.policy import Policy
from meshscope.projection.result import Projection


@dataclass(frozen=True, slots=True)
class Difference:
    """One difference that is drift; fields as in `Drift`."""

    key: PolicyKey
    code: str
    change: Change
    effect: str
    expected: str
    observed: str
    fields: tuple[FieldDifference, ...] = ()
    sources: tuple[Source, ...] = ()
    witness: str = ""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a comparison says of one proxy.

    Attributes:
        verdict: `in-sync`, `drift`, `unverifiable`, or `unknown`: nothing was there to compare.
        differences: Those that are drift, one per key, sorted by key.
        unverifiable: Parts of which nothing can be said, each with its reason.
        equivalents: Differences in form only.
        policies: Number of policies that were compared.
        reason: Why it is `unknown`.
        notes: Limits of this verdict (`MSC-5xxx`).
    """

    verdict: Literal["in-sync", "drift", "unverifiable", "unknown"]
    differences: tuple[Difference, ...] = ()
    unverifiable: tuple[str, ...] = ()
    equivalents: tuple[EquivalentDifference, ...] = ()
    policies: int = 0
    reason: str = ""
    notes: tuple[str, ...] = ()


Project = Callable[[ControlPlane, tuple[Resource, ...], ProxyInputs], Projection]
"""`meshscope.projection.project`, or what stands in for it."""

Judge = Callable[[Projection, Mapping[PolicyKey, Policy], Snapshot], Judgement]
"""Compares what is expected with what a snapshot holds; `meshscope.stream.wiring.judge`."""
