"""The report of `meshscope trace` for people."""

from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from typing import Final

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from meshscope.cli.groups import listed
from meshscope.cli.trace_report import CONCLUSIONS, Leg, Line, Parted, TraceReport
from meshscope.evaluation import Step
from meshscope.evaluation.words import outcome_words

BOTH: Final = " "
DECLARED: Final = "-"
HELD: Final = "+"
"""What stands before a line: as in a diff from what is declared to what is held."""

MOST_RESOURCES: Final = 2
"""Resources of one decision that are shown."""

_STYLES: Final = {BOTH: "", DECLARED: "red", HELD: "green"}


def trace_text(report: TraceReport) -> RenderableType:
    """The report for people."""
    parts: list[RenderableType] = [Text(_headline(report), style="bold"), Text()]
    for declared, held in _pairs(report.declared, report.held):
        leg = declared or held
        if leg is not None:
            parts += [_title(leg, report), Padding(_table(declared, held, report), (0, 0, 0, 2))]
            parts.append(Text())
    for found in report.parted:
        parts += [*_parting(found), Text()]
    for title, lines in (("not known", report.open), ("note", report.notes)):
        parts += (Text(f"{title}: {line}") for line in lines)
    parts += (Text(f"{found.place}: {found.explanation}") for found in report.findings)
    return Group(*parts, *(Text(line) for line in _closing(report)))


def _headline(report: TraceReport) -> str:
    request, dialled = report.call.request, report.dialled
    sent = f"{request.method} {request.authority}{request.target()}"
    if report.call.protocol == "tcp":
        sent = "a TCP connection"
    elif dialled.encrypted:
        sent = f"a TLS connection (SNI {request.server_name})"
    where = f"{dialled.address or 'an address that DNS gives'}:{dialled.port}"
    return f"{sent}  from {report.source}  to {dialled.host} at {where}"


def _pairs(
    declared: Sequence[Leg] | None, held: Sequence[Leg] | None
) -> Iterator[tuple[Leg | None, Leg | None]]:
    """Legs that belong together; None: only the other account has such a leg."""
    others = {leg.name: leg for leg in held or ()}
    for leg in declared or ():
        yield leg, others.pop(leg.name, None)
    for leg in others.values():
        yield None, leg


def _title(leg: Leg, report: TraceReport) -> Text:
    if leg.side == "outbound":
        return Text(f"{leg.proxies[0]}, outbound{_from(leg, report)}", style="bold")
    share = f"{leg.share:.4g} of the requests" if leg.share < 1 else "all requests"
    at = listed(leg.endpoints)
    title = f"{listed(leg.proxies)}, inbound at {at}{_from(leg, report)}"
    if not leg.proxies:
        title = f"{at}: {leg.says}" if at else f"no endpoint of {leg.target}"
    return Text(title, style="bold").append(f"   ({share} to {leg.target})", style="dim not bold")


def _from(leg: Leg, report: TraceReport) -> str:
    has_none = any(proxy in report.without_dump for proxy in leg.proxies)
    return " (as declared; there is no dump)" if has_none and report.held is not None else ""


def _table(declared: Leg | None, held: Leg | None, report: TraceReport) -> Table:
    shown = Table(box=None, pad_edge=False, show_header=False)
    for _ in range(4):
        shown.add_column(overflow="fold")
    one_account = report.declared is None or report.held is None
    old, new = _lines(declared), _lines(held)
    if one_account:
        old = new = old or new
    for mark, line in _merged(old, new):
        shown.add_row(
            Text(mark, style=_STYLES[mark]),
            Text(_stage(line.step), style=_STYLES[mark]),
            Text(line.step.says, style=_STYLES[mark]),
            Text(_resources(line, report), style="dim"),
        )
    ends = [None if leg is None else outcome_words(leg.outcome) for leg in (declared, held)]
    if one_account or ends[0] == ends[1]:
        ends = [ends[0] or ends[1]]
    for mark, words in zip((DECLARED, HELD) if len(ends) == 2 else (BOTH,), ends, strict=True):
        if words is not None:
            style = f"bold {_STYLES[mark]}"
            shown.add_row(Text(mark, style=style), Text("outcome", style=style), Text(words, style))
    return shown


def _lines(leg: Leg | None) -> tuple[Line, ...]:
    return () if leg is None else leg.lines


def _merged(old: Sequence[Line], new: Sequence[Line]) -> Iterator[tuple[str, Line]]:
    """Both accounts in one: what they share once, and what only one of them says."""
    matcher = SequenceMatcher(None, [line.step for line in old], [line.step for line in new], False)
    for what, first, last, first_new, last_new in matcher.get_opcodes():
        if what == "equal":
            yield from ((BOTH, line) for line in old[first:last])
            continue
        yield from ((DECLARED, line) for line in old[first:last])
        yield from ((HELD, line) for line in new[first_new:last_new])


def _stage(step: Step) -> str:
    return step.stage.replace("_", " ")


def _resources(line: Line, report: TraceReport) -> str:
    texts = [
        f"{resource} {report.place(resource)}".rstrip()
        for resource in line.resources[:MOST_RESOURCES]
    ]
    more = len(line.resources) - MOST_RESOURCES
    if more > 0:
        texts.append(f"and {more} more")
    return ", ".join(texts)


def _parting(found: Parted) -> Iterator[RenderableType]:
    one = found.parting
    proxies = listed(found.proxies)
    yield Text(f"They part at {proxies}, {one.side}:", style="bold yellow")
    for mark, step, outcome in (
        (DECLARED, one.declared, one.outcome[0]),
        (HELD, one.held, one.outcome[1]),
    ):
        says = "nothing more is decided" if step is None else f"{_stage(step)}: {step.says}"
        yield Text(f"  {mark} {says}; {outcome}", style=_STYLES[mark])


def _closing(report: TraceReport) -> Iterator[str]:
    if report.without_dump:
        yield f"There is no dump of {listed(report.without_dump)}: what is held there is not known."
    elif report.held is None:
        yield "There is no dump: only what is declared was followed."
    yield CONCLUSIONS[report.exit_code] + (
        f" ({DECLARED} declared, {HELD} held)" if report.parted else ""
    )
