"""From everything that is declared to what is wrong with it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date

from meshscope.declarations.checks import CHECKS, Check
from meshscope.declarations.finding import Finding, Lacking, Said
from meshscope.declarations.suppression import suppressions, unusable
from meshscope.declarations.surroundings import Surroundings, foreign
from meshscope.events.control_plane import ControlPlane
from meshscope.events.resource import Resource
from meshscope.policy.source import ResourceRef

NOT_EXAMINED = "MSC-2011"


@dataclass(frozen=True, slots=True)
class Suppressed:
    """A finding that its resource says not to report.

    Attributes:
        finding: The finding.
        reason: Why, as the resource says.
        until: Last day on which that counts.
    """

    finding: Finding
    reason: str
    until: date


@dataclass(frozen=True, slots=True)
class Skipped:
    """Checks that were not made.

    Attributes:
        codes: What they would have looked for.
        resources: Resources that they concern.
        lacks: Why, as a clause.
    """

    codes: tuple[str, ...]
    resources: tuple[ResourceRef, ...]
    lacks: str


@dataclass(frozen=True, slots=True)
class Review:
    """What is wrong with the declarations.

    Attributes:
        findings: In the order of the resources.
        suppressed: Findings that are not to be reported.
        skipped: What could not be looked for.
    """

    findings: tuple[Finding, ...] = ()
    suppressed: tuple[Suppressed, ...] = ()
    skipped: tuple[Skipped, ...] = ()


def review(
    control_plane: ControlPlane,
    resources: tuple[Resource, ...],
    today: date,
    *,
    complete: bool = False,
    checks: Mapping[str, tuple[Check, ...]] = CHECKS,
) -> Review:
    """Look at every resource.

    Args:
        control_plane: The control plane.
        resources: Everything that is declared.
        today: Suppressions that ended before do not count.
        complete: What is not among the resources does not exist.
        checks: What is looked for.
    """
    around = Surroundings(control_plane, resources, complete, today)
    findings: list[Finding] = []
    suppressed: list[Suppressed] = []
    lacking: dict[str, dict[str, dict[ResourceRef, None]]] = {}
    failed: set[str] = set()
    for resource in resources:
        allowed = {one.code: one for one in suppressions(resource) if one.counts(today)}
        findings += unusable(resource, today)
        own = () if foreign(resource) else checks.get(resource.kind, ())
        for said in _said(own, resource, around, failed):
            if isinstance(said, Lacking):
                for code in said.codes:
                    lacking.setdefault(said.what, {}).setdefault(code, {})[resource.ref] = None
            elif said.code in allowed:
                one = allowed[said.code]
                suppressed.append(Suppressed(said, one.reason, one.until))
            else:
                findings.append(said)
    return Review(
        tuple(findings),
        tuple(suppressed),
        tuple(
            Skipped(
                tuple(sorted(codes)),
                tuple(dict.fromkeys(ref for refs in codes.values() for ref in refs)),
                what,
            )
            for what, codes in sorted(lacking.items())
        ),
    )


def _said(
    checks: tuple[Check, ...], resource: Resource, around: Surroundings, failed: set[str]
) -> Iterator[Said]:
    for check in checks:
        try:
            yield from tuple(check(resource, around))
        except Exception as error:
            # Kubernetes refuses fields of another type than their schema's; files may have them.
            # One of them must not take the other checks with it, and is said once.
            reason = f"{type(error).__name__}: {error}"
            if reason in failed:
                continue
            failed.add(reason)
            yield Finding(
                NOT_EXAMINED,
                resource,
                "",
                f"{check.__name__.replace('_', ' ')} could not be examined, probably because a "
                f"field, here or in a resource that counts with it, has another type than it must "
                f"have ({reason})",
            )
