"""The report of `meshscope check --against` for people."""

from collections.abc import Iterable, Iterator

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from meshscope.cli.against_report import CONCLUSIONS, AgainstReport
from meshscope.cli.against_words import (
    Entry,
    change_words,
    open_parts,
    overview,
    sections,
    unattributed,
    whose,
)
from meshscope.cli.groups import listed, number
from meshscope.cli.table import STYLES, facts_table


def against_table(report: AgainstReport) -> RenderableType:
    """The report for people."""
    parts: list[RenderableType] = []
    for section in sections(report):
        parts += [Text(section.title, style="bold"), Text()]
        for entry in section.entries:
            parts += [*_entry(entry), Text()]
    for title, changes in (
        ("No change in behaviour", report.text_only),
        ("Not known whether they change anything", unattributed(report)),
    ):
        if changes:
            lines = [_indented(Text(change_words(change))) for change in changes]
            parts += [Text(title, style="bold"), *lines, Text()]
    parts += _open(report)
    for found in report.findings:
        place = f"{found.place}: " if found.file else ""
        text = Text(found.severity, style=STYLES[found.severity])
        parts.append(text.append(f"  {found.code}  {place}{found.explanation}", style="default"))
    parts += [Text(line) for line in overview(report)]
    return Group(*parts, Text(CONCLUSIONS[report.exit_code]))


def _entry(entry: Entry) -> Iterator[RenderableType]:
    head = Text(entry.effect, style=STYLES[entry.effect])
    yield _indented(head.append(f"  {entry.head}", style="default"))
    yield _indented(facts_table((*entry.requests, *entry.facts)), 4)
    yield _indented(_rows(entry), 4)


def _rows(entry: Entry) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    has_names = any(name for name, _, _ in entry.rows)
    for title in ("field", "before", "after") if has_names else ("before", "after"):
        table.add_column(title, overflow="fold")
    for row in entry.rows:
        table.add_row(*map(Text, row if has_names else row[1:]))
    if entry.more:
        table.add_row(Text(f"… and {number(entry.more, 'field', 'fields')} more"))
    return table


def _open(report: AgainstReport) -> Iterable[RenderableType]:
    groups = open_parts(report)
    if groups:
        yield Text("Not comparable", style=STYLES["unverifiable"])
    for group in groups:
        part = group.part
        facts = [("proxies", whose(group.proxies, len(report.proxies)))]
        if part.keys:
            count = number(len(part.keys), "policy", "policies")
            facts.append(("about", f"{count}: {listed(dict.fromkeys(k.kind for k in part.keys))}"))
        if part.source:
            facts.append(("resource", str(part.source)))
        yield _indented(Text(f"{part.code.value}  {part.reason}"))
        yield _indented(facts_table(facts), 4)
    unknown = [proxy for proxy in report.proxies if proxy.verdict.verdict == "unknown"]
    for proxy in unknown:
        yield Text(f"{proxy.code}  {proxy.proxy}: {'; '.join(proxy.verdict.notes)}")
    if groups or unknown:
        yield Text()


def _indented(part: RenderableType, by: int = 2) -> Padding:
    return Padding(part, (0, 0, 0, by), expand=False)
