"""What a comparison says of one proxy."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from meshscope.events.facts import Change, FieldDifference
from meshscope.policy.key import PolicyKey
from meshscope.policy.kinds import Kind
from meshscope.policy.source import ResourceRef
from meshscope.projection.limits import Limit

Effect = Literal["exposes", "blocks", "reroutes", "alters", "equivalent"]
"""What a difference does to traffic.

`exposes`: something may get through, or be read, that should not; `blocks`: something is refused
that should get through; `reroutes`: it goes elsewhere; `alters`: it is treated otherwise, such as
another timeout; `equivalent`: nothing. Where several apply or may apply, the first in this order.
"""

EFFECTS: tuple[Effect, ...] = ("exposes", "blocks", "reroutes", "alters", "equivalent")
"""Worst first."""

Outcome = Literal["in-sync", "drift", "unverifiable", "unknown"]
"""`unknown`: there was nothing to compare."""


@dataclass(frozen=True, slots=True)
class Affected:
    """Requests that are treated otherwise, all in the same way.

    Attributes:
        effect: What happens to them: with access rules `exposes` means that they gain access,
            `blocks` that they lose it.
        expected, observed: Their outcomes in words.
        requests: The requests as a union of products, such as `GET /admin/* from ns/shop/*`;
            what a product does not name may be anything that reaches the policy.
        more: Products besides those.
        complete: Whether there are no further ones; they were not all looked for.
        inverted: It happens to all requests but those.
    """

    effect: Effect
    expected: str
    observed: str
    requests: tuple[str, ...]
    more: int = 0
    complete: bool = True
    inverted: bool = False

    @property
    def text(self) -> str:
        """The requests in one line."""
        listed = ("all but " if self.inverted else "") + "; ".join(self.requests)
        if not self.more:
            return listed
        return f"{listed} and {'' if self.complete else 'at least '}{self.more} more"

    def to_json(self) -> dict[str, Any]:
        """The requests as in MeshScope's reports."""
        return {
            "effect": self.effect,
            "expected": self.expected,
            "observed": self.observed,
            "requests": list(self.requests),
            "more": self.more,
            "complete": self.complete,
            "inverted": self.inverted,
        }


@dataclass(frozen=True, slots=True)
class Difference:
    """A policy that a proxy should hold and does not hold as such, or the other way round.

    Attributes:
        code: `MSC-1xxx`, see `codes.py`.
        key: Which policy.
        change: `missing`: the proxy lacks it; `extra`: nothing declares it; `different`.
        effect: See `Effect`; `equivalent` is a note and no drift.
        expected, observed: In the words of the resource, one line per field, at most a few.
        fields: Every field that differs; empty for `missing` and `extra`.
        sources: Resources that it comes from, as far as they are known.
        witness: A request that shows it, as JSON; None: none is known.
        affected: All requests that it treats otherwise, worst first; empty: not known.
    """

    code: str
    key: PolicyKey
    change: Change
    effect: Effect
    expected: str
    observed: str
    fields: tuple[FieldDifference, ...] = ()
    sources: tuple[ResourceRef, ...] = ()
    witness: str | None = None
    affected: tuple[Affected, ...] = ()

    @property
    def is_drift(self) -> bool:
        """Whether traffic is treated otherwise than declared."""
        return self.effect != "equivalent"

    def to_json(self) -> dict[str, Any]:
        """The difference as in MeshScope's reports."""
        return {
            "code": self.code,
            "kind": self.key.kind.value,
            "key": str(self.key),
            "change": self.change,
            "effect": self.effect,
            "expected": self.expected,
            "observed": self.observed,
            "fields": [
                {"path": field.path, "expected": field.expected, "observed": field.observed}
                for field in self.fields
            ],
            "witness": json.loads(self.witness) if self.witness else None,
            "affected": [some.to_json() for some in self.affected],
            "sources": [source_json(source) for source in self.sources],
        }


@dataclass(frozen=True, slots=True)
class UnverifiablePart:
    """Policies of which nothing can be said.

    Attributes:
        reason: One sentence for the operator.
        kind: Kind of policy that is concerned; None: any.
        keys: The policies that are concerned, as far as one of both sides holds them.
        source: Resource that is not modelled; None: the reason lies elsewhere.
        code: `MSC-5xxx`, see `projection/limits.py`.
    """

    reason: str
    kind: Kind | None = None
    keys: tuple[PolicyKey, ...] = ()
    source: ResourceRef | None = None
    code: Limit = Limit.NOT_MODELLED

    def __str__(self) -> str:
        if len(self.keys) == 1:
            return f"{self.keys[0]}: {self.reason}"
        return f"{self.kind.value if self.kind else 'every kind'}: {self.reason}"

    def to_json(self) -> dict[str, Any]:
        """The part as in MeshScope's reports."""
        return {
            "code": self.code.value,
            "reason": self.reason,
            "kind": self.kind.value if self.kind else None,
            "keys": [str(key) for key in self.keys],
            "source": source_json(self.source) if self.source else None,
        }


@dataclass(frozen=True, slots=True)
class ProxyVerdict:
    """What verification says of one proxy.

    Attributes:
        verdict: `drift` if there is one that is certain, else `unverifiable` if there is a part of
            which nothing can be said, else `in-sync`; `unknown` if there was nothing to compare.
        differences: Sorted by key; equivalent ones among them.
        unverifiable: Parts of which nothing can be said.
        policies: Number of policies of both sides.
        notes: Limits of this verdict, and for `unknown` the reason.
    """

    verdict: Outcome
    differences: tuple[Difference, ...] = ()
    unverifiable: tuple[UnverifiablePart, ...] = ()
    policies: int = 0
    notes: tuple[str, ...] = ()

    @classmethod
    def unknown(cls, reason: str) -> "ProxyVerdict":
        """The verdict on a proxy that could not be compared."""
        return cls("unknown", notes=(reason,))

    @property
    def drift(self) -> tuple[Difference, ...]:
        """The differences that change what happens to traffic."""
        return tuple(difference for difference in self.differences if difference.is_drift)

    @property
    def equivalent(self) -> tuple[Difference, ...]:
        """The differences in form only."""
        return tuple(difference for difference in self.differences if not difference.is_drift)

    def to_json(self) -> dict[str, Any]:
        """The verdict as in MeshScope's reports."""
        return {
            "verdict": self.verdict,
            "policies": self.policies,
            "differences": [difference.to_json() for difference in self.differences],
            "unverifiable": [part.to_json() for part in self.unverifiable],
            "notes": list(self.notes),
        }


def source_json(source: ResourceRef) -> Mapping[str, str]:
    """A resource's name as in MeshScope's reports."""
    return {"kind": source.kind, "namespace": source.namespace, "name": source.name}
