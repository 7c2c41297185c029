"""The report of `meshscope check --against` as Markdown, for a comment in a review."""

from collections.abc import Iterator, Sequence
from typing import Final

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

MOST_ENTRIES: Final = 30
"""Entries of one topic that are shown: forges cut long comments off, or refuse them."""


def against_markdown(report: AgainstReport) -> str:
    """The report as Markdown (GitHub's and GitLab's), ending in a line feed."""
    lines = [f"### {CONCLUSIONS[report.exit_code]}"]
    for said in overview(report):
        lines += ["", _plain(said)]
    for section in sections(report):
        lines += ["", f"#### {section.title}", ""]
        for entry in section.entries[:MOST_ENTRIES]:
            lines += _entry(entry)
        more = len(section.entries) - MOST_ENTRIES
        if more > 0:
            lines.append(f"- … and {more} more; `-o json` has all of them")
    lines += _list("No change in behaviour", [*map(change_words, report.text_only)])
    lines += _list(
        "Not known whether they change anything", [*map(change_words, unattributed(report))]
    )
    lines += _list("Not comparable", [*_open(report)])
    lines += _list(
        "Findings",
        [
            f"{found.severity} {found.code} {found.place}: {found.explanation}"
            for found in report.findings
        ],
    )
    return "\n".join(lines) + "\n"


def _entry(entry: Entry) -> Iterator[str]:
    yield f"- **{entry.effect}** {_plain(entry.head)}"
    for name, text in entry.requests:
        yield f"  - {name}: {_code(text)}"
    for name, text in entry.facts:
        yield f"  - {name}: {_code(text)}"
    yield "  <details><summary>before and after</summary>"
    yield ""
    yield "  | field | before | after |"
    yield "  |---|---|---|"
    for row in entry.rows:
        yield f"  | {' | '.join(_cell(text) for text in row)} |"
    if entry.more:
        yield f"  | … and {entry.more} more | | |"
    yield ""
    yield "  </details>"


def _list(title: str, items: Sequence[str]) -> Iterator[str]:
    if items:
        yield from ("", f"#### {title}", "")
        yield from (f"- {_plain(item)}" for item in items[:MOST_ENTRIES])
        if len(items) > MOST_ENTRIES:
            yield f"- … and {len(items) - MOST_ENTRIES} more"


def _open(report: AgainstReport) -> Iterator[str]:
    for group in open_parts(report):
        source = f" ({group.part.source})" if group.part.source else ""
        whom = whose(group.proxies, len(report.proxies))
        yield f"{group.part.code.value} {group.part.reason}{source}; {whom}"
    for proxy in report.proxies:
        if proxy.verdict.verdict == "unknown":
            yield f"{proxy.code} {proxy.proxy}: {'; '.join(proxy.verdict.notes)}"


def _code(text: str) -> str:
    """Text that is shown as it is: no links, no mentions, no markup."""
    fence = "``" if "`" in text else "`"
    pad = " " if "`" in text else ""
    return f"{fence}{pad}{' '.join(text.split())}{pad}{fence}"


_SPECIAL: Final = str.maketrans({c: f"\\{c}" for c in "\\`*_[]<>|#@~"})


def _plain(text: str) -> str:
    """Text without any markup of its own."""
    return " ".join(text.split()).translate(_SPECIAL)


def _cell(text: str) -> str:
    """Text in a table, its lines kept."""
    return "<br>".join(_plain(line) for line in text.splitlines())
