"""What is wrong with the declarations, as findings of a report."""

from dataclasses import dataclass
from datetime import date

from meshscope.cli.report import Finding, SkippedCheck, SuppressedFinding
from meshscope.declarations import finding as said
from meshscope.declarations.codes import DECLARATION_CODES
from meshscope.events.control_plane import ControlPlane
from meshscope.events.resource import Resource
from meshscope.watcher.field_lines import FieldLines


@dataclass(frozen=True, slots=True)
class Declared:
    """What the declarations say about themselves.

    Attributes:
        findings: To be reported.
        suppressed: Not to be reported, as their resources say.
        skipped: Checks that were not made.
    """

    findings: tuple[Finding, ...] = ()
    suppressed: tuple[SuppressedFinding, ...] = ()
    skipped: tuple[SkippedCheck, ...] = ()


def examine_declarations(
    control_plane: ControlPlane,
    resources: tuple[Resource, ...],
    lines: FieldLines,
    today: date,
    *,
    complete: bool,
) -> Declared:
    """Look at every resource; arguments are those of `meshscope.declarations.review`.

    `lines` knows where fields stand.
    """
    # Loaded here: the algebra and the projection are more than most commands need.
    from meshscope.declarations.review import review

    found = review(control_plane, resources, today, complete=complete)
    return Declared(
        tuple(_finding(one, lines) for one in found.findings),
        tuple(
            SuppressedFinding(_finding(one.finding, lines), one.reason, one.until)
            for one in found.suppressed
        ),
        tuple(SkippedCheck(one.codes, one.resources, one.lacks) for one in found.skipped),
    )


def _finding(one: said.Finding, lines: FieldLines) -> Finding:
    resource = one.resource
    return Finding(
        code=one.code,
        severity=DECLARATION_CODES[one.code].severity,
        explanation=f"{resource.ref}: {one.explanation}",
        resource=resource.ref,
        file=resource.origin.rpartition("#")[0] or resource.origin,
        line=lines.line(resource, one.field),
        field=one.field,
        witness="" if one.witness is None else one.witness.to_json(),
        related=one.related,
    )
