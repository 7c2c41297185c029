"""The report of `meshscope check` for people."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from meshscope.cli.codes import CODES
from meshscope.cli.groups import (
    DifferenceGroup,
    UnverifiableGroup,
    affected_fact,
    difference_groups,
    listed,
    number,
    unverifiable_groups,
    witness_text,
)
from meshscope.cli.output import COLOURS
from meshscope.cli.report import (
    CONCLUSIONS,
    UNREADABLE,
    CheckReport,
    Finding,
    ProxyReport,
    SkippedCheck,
)
from meshscope.comparison.verdict import Difference
from meshscope.projection.limits import Limit

MOST_IN_SYNC: Final = 20
"""Proxies in sync that are listed one by one; more are counted."""
MOST_EQUIVALENT: Final = 5
"""Notes on differences in form only that are shown."""
MOST_FIELDS: Final = 8
"""Fields of one difference that are shown."""

STYLES: Final = {
    **COLOURS,
    "error": "bold red",
    "warning": "yellow",
    "info": "cyan",
    "exposes": "bold red",
    "blocks": "red",
    "reroutes": "magenta",
    "alters": "yellow",
    "equivalent": "dim",
}
"""How verdicts, severities and effects look."""


def report_table(report: CheckReport) -> RenderableType:
    """The report for people."""
    parts: list[RenderableType] = []
    if report.proxies:
        parts += [*_overview(report.proxies), Text()]
    groups = difference_groups(report.proxies)
    for group in groups:
        if group.difference.is_drift:
            parts += [*_difference(group, len(report.proxies)), Text()]
    notes = [group for group in groups if not group.difference.is_drift]
    if notes:
        parts += [*_equivalent(notes, len(report.proxies)), Text()]
    unknown = [proxy for proxy in report.proxies if proxy.verdict.verdict == "unknown"]
    if unknown:
        parts += [*_unknown(unknown), Text()]
    unverifiable = unverifiable_groups(report.proxies)
    if unverifiable:
        parts += [*_unverifiable(unverifiable, len(report.proxies)), Text()]
    if report.own_findings:
        parts += [*_findings(report.own_findings), Text()]
    if report.skipped:
        parts += [*_skipped(report.skipped), Text()]
    parts += [*_notes(report.proxies), *(Text(line) for line in _closing(report))]
    return Group(*parts)


def _overview(proxies: Sequence[ProxyReport]) -> Iterator[RenderableType]:
    others = [proxy for proxy in proxies if proxy.verdict.verdict != "in-sync"]
    in_sync = len(proxies) - len(others)
    shown = proxies if in_sync <= MOST_IN_SYNC else others
    if shown:
        table = Table(box=None, pad_edge=False, header_style="bold")
        for title in ("proxy", "verdict", "policies", "differences", "not verifiable", "explained"):
            is_number = title not in ("proxy", "verdict")
            table.add_column(title, overflow="fold", justify="right" if is_number else "left")
        for proxy in shown:
            table.add_row(*_overview_row(proxy))
        yield table
    if len(shown) < len(proxies):
        yield Text(number(in_sync, "proxy is in sync", "proxies are in sync") + ".")


def _overview_row(proxy: ProxyReport) -> tuple[RenderableType, ...]:
    verdict = proxy.verdict
    return (
        Text(proxy.proxy),
        Text(verdict.verdict, style=STYLES[verdict.verdict]),
        Text(str(verdict.policies)),
        Text(str(len(verdict.drift))),
        Text(str(len(verdict.unverifiable))),
        Text("" if proxy.coverage is None else f"{proxy.coverage:.1%}"),
    )


def _difference(group: DifferenceGroup, of: int) -> Iterator[RenderableType]:
    found = group.difference
    head = Text(found.effect, style=STYLES[found.effect])
    yield head.append(f"  {found.code}  {CODES[found.code].title}", style="default")
    where = listed(group.subjects) + ("" if group.everywhere else " (not all in every proxy)")
    facts = [("where", where), ("proxies", _whose(group.proxies, of))]
    if found.sources:
        facts.append(("resource", ", ".join(map(str, found.sources))))
    facts += [affected_fact(found.key.kind, some) for some in found.affected]
    if found.witness:
        facts.append(("request", witness_text(found.witness)))
    yield _indented(facts_table(facts))
    yield _indented(_sides(found))


def _equivalent(groups: Sequence[DifferenceGroup], of: int) -> Iterator[RenderableType]:
    yield Text("Equivalent in effect", style="bold")
    for group in groups[:MOST_EQUIVALENT]:
        found = group.difference
        sources = f" ({', '.join(map(str, found.sources))})" if found.sources else ""
        proxies = "" if of == 1 else f", in {len(group.proxies)} of {of} proxies"
        where = listed(group.subjects, 1)
        yield _indented(Text(f"{found.code}  {where}{sources}{proxies}", style="dim"))
    more = len(groups) - MOST_EQUIVALENT
    if more > 0:
        yield _indented(Text(f"… and {more} more; -o json shows all of them", style="dim"))


def _whose(proxies: Sequence[ProxyReport], of: int) -> str:
    names = listed(proxy.proxy for proxy in proxies)
    return names if of == 1 else f"{len(proxies)} of {of}: {names}"


def facts_table(facts: Iterable[tuple[str, str]]) -> Table:
    """Names and texts, one pair a line."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True, style="dim")
    grid.add_column(overflow="fold")
    for name, text in facts:
        grid.add_row(Text(name), Text(text))
    return grid


def _sides(found: Difference) -> Table:
    """Expected and observed, side by side."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    titles = ("field", "expected", "observed") if found.fields else ("expected", "observed")
    for title in titles:
        table.add_column(title, overflow="fold")
    for place in found.fields[:MOST_FIELDS]:
        table.add_row(Text(place.path), Text(place.expected), Text(place.observed))
    if not found.fields:
        table.add_row(Text(found.expected), Text(found.observed))
    more = len(found.fields) - MOST_FIELDS
    if more > 0:
        table.add_row(Text(f"… and {number(more, 'field', 'fields')} more"))
    return table


def _unknown(proxies: Iterable[ProxyReport]) -> Iterator[RenderableType]:
    yield Text("Unknown", style=STYLES["unknown"])
    for proxy in proxies:
        yield _indented(Text(f"{proxy.code}  {proxy.proxy}: {'; '.join(proxy.verdict.notes)}"))
        yield _indented(Text(proxy.file, style="dim"), 4)


def _unverifiable(groups: Iterable[UnverifiableGroup], of: int) -> Iterator[RenderableType]:
    yield Text("Not verifiable", style=STYLES["unverifiable"])
    for group in groups:
        part = group.part
        facts = [("proxies", _whose(group.proxies, of))]
        if part.keys:
            count = number(len(part.keys), "policy", "policies")
            facts.append(("about", f"{count}: {listed(dict.fromkeys(k.kind for k in part.keys))}"))
        if part.source:
            facts.append(("resource", str(part.source)))
        yield _indented(Text(f"{part.code.value}  {part.reason}"))
        yield _indented(facts_table(facts), 4)


def _findings(findings: Iterable[Finding]) -> Iterator[RenderableType]:
    yield Text("Findings", style="bold")
    for found in findings:
        text = Text(found.severity, style=STYLES[found.severity])
        place = f"{found.place}: " if found.file else ""
        text.append(f"  {found.code}  {place}{found.explanation}", style="default")
        yield _indented(text)
        facts = [("field", found.field), ("request", found.request)]
        if found.related:
            facts.append(("with", listed(map(str, found.related))))
        told = [(name, value) for name, value in facts if value]
        if told:
            yield _indented(facts_table(told), 4)


def _skipped(checks: Sequence[SkippedCheck]) -> Iterator[RenderableType]:
    yield Text("Not looked for", style="bold")
    for check in checks:
        yield _indented(Text(str(check), style="dim"))


def _indented(part: RenderableType, by: int = 2) -> Padding:
    return Padding(part, (0, 0, 0, by), expand=False)


def _notes(proxies: Sequence[ProxyReport]) -> Iterator[RenderableType]:
    """Notes, each once, with how many proxies it is about; what was assumed is said at the end."""
    counted = Counter(
        note
        for proxy in proxies
        if proxy.verdict.verdict != "unknown"
        for note in proxy.verdict.notes
        if not note.startswith(Limit.ASSUMED_DEFAULTS)
    )
    for note, count in counted.items():
        about = "" if count == len(proxies) else f" ({count} of {len(proxies)} proxies)"
        yield Text(f"note  {note}{about}", style="dim")


def _closing(report: CheckReport) -> Iterator[str]:
    summary = report.summary()
    assumed = sorted({name for plane in report.control_planes for name in plane.assumed})
    if assumed and report.proxies:
        words = listed((name.replace("_", " ") for name in assumed), len(assumed))
        yield (
            f"Istio's defaults are assumed for what was not found: {words}. Give the ConfigMap "
            "`istio`, istiod's Deployment, --mesh-config or --istiod-env."
        )
    if not report.proxies and report.exit_code != UNREADABLE:
        yield "No configuration dump was given: only the declarations were examined."
    counts = [
        f"{summary[name]} {word}"
        for name, word in (
            ("in_sync", "in sync"),
            ("drift", "with drift"),
            ("unverifiable", "not fully verifiable"),
            ("unknown", "unknown"),
        )
        if summary[name]
    ]
    proxies = f"{number(len(report.proxies), 'proxy', 'proxies')}"
    proxies += f" ({', '.join(counts)})" if counts else ""
    found = ", ".join(
        number(count, severity, f"{severity}s" if severity != "info" else severity)
        for severity, count in summary["findings"].items()
        if count
    )
    yield (
        f"{number(report.resources, 'resource', 'resources')}, {proxies}, "
        f"{number(summary['differences'], 'difference', 'differences')}, "
        f"{number(len(report.findings), 'finding', 'findings')}{f' ({found})' if found else ''}."
    )
    if report.suppressed:
        many = number(len(report.suppressed), "finding is", "findings are")
        yield f"{many} suppressed by annotations; -o json shows all of them."
    if report.codes:
        yield f"`meshscope explain {report.codes[0]}` says more about a code."
    yield CONCLUSIONS[report.exit_code]
