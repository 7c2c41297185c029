"""What a check says: a finding, or that the inputs lack what it needs."""

import json
from dataclasses import dataclass
from typing import Literal, TypeAlias

from meshscope.algebra.request import Request
from meshscope.events.resource import Resource
from meshscope.policy.source import ResourceRef

Severity = Literal["error", "warning", "info"]


@dataclass(frozen=True, slots=True)
class Witness:
    """A request that proves a finding.

    Attributes:
        request: The request.
        outcome: What happens to it, in words.
    """

    request: Request
    outcome: str

    def to_json(self) -> str:
        """The witness as it stands in reports, in the form of those of drift."""
        return json.dumps(
            {
                "request": self.request.fields(),
                "text": str(self.request),
                "outcome": self.outcome,
            }
        )


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that a resource says and that its author can hardly mean.

    Attributes:
        code: `MSC-2xxx`, one of `codes.DECLARATION_CODES`.
        resource: The resource.
        field: Path of the field, such as `spec.rules[0].from`; empty: the resource as a whole.
        explanation: What it is here and what follows from it, in the words of the resource.
        witness: A request that proves it; None: the resources alone do.
        related: Other resources that have a part in it.
    """

    code: str
    resource: Resource
    field: str
    explanation: str
    witness: Witness | None = None
    related: tuple[ResourceRef, ...] = ()


@dataclass(frozen=True, slots=True)
class Lacking:
    """A check that was not made, since the inputs do not hold what it needs.

    Attributes:
        codes: What it would have looked for.
        what: Why, as a clause.
    """

    codes: tuple[str, ...]
    what: str


Said: TypeAlias = Finding | Lacking


def absent(what: str) -> str:
    """Why a check was not made that needs something, such as `workloads of namespace shop`."""
    return f"{what} are not among the resources"
