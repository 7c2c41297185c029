"""The codes of declarations (`MSC-2xxx`) beside those of manifests."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from meshscope.declarations.finding import Severity


@dataclass(frozen=True, slots=True)
class DeclarationCode:
    """One sort of finding.

    Attributes:
        code: Public and stable.
        title: What sort of thing it is.
        severity: `error`: requests fail for certain, or a resource is refused. `warning`: it does
            not do what it says. `info`: it may be meant so.
        repair: What to do.
        equivalents: Codes of `istioctl analyze` (IST) and Kiali (KIA) that look at the same.
    """

    code: str
    title: str
    severity: Severity
    repair: str
    equivalents: tuple[str, ...] = ()


_CODES: Final = (
    DeclarationCode(
        "MSC-2010",
        "A suppression does not count",
        "warning",
        "Repair what it hides, or write code, day and reason anew.",
    ),
    DeclarationCode(
        "MSC-2011",
        "A resource could not be examined",
        "warning",
        "Correct the field; `kubectl apply --dry-run=server` names it.",
        ("KIA0001",),
    ),
    DeclarationCode(
        "MSC-2101",
        "An access rule matches no request",
        "warning",
        "Correct the conditions that exclude each other, or remove the rule.",
    ),
    DeclarationCode(
        "MSC-2102",
        "An access rule is covered by others",
        "warning",
        "Remove the rule, or find out which of the others is too wide.",
    ),
    DeclarationCode(
        "MSC-2103",
        "All that an ALLOW rule allows is refused by DENY rules",
        "warning",
        "Narrow the DENY rules, or remove the ALLOW rule.",
    ),
    DeclarationCode(
        "MSC-2301",
        "A route is never reached",
        "warning",
        "Put it before the routes that take its requests, narrow these, or remove it.",
        ("IST0130",),
    ),
    DeclarationCode(
        "MSC-2302",
        "A match of a route changes nothing",
        "info",
        "Remove the match, or correct the one that takes its requests.",
        ("IST0131",),
    ),
)

DECLARATION_CODES: Final[Mapping[str, DeclarationCode]] = {one.code: one for one in _CODES}
"""The closed table of codes."""
