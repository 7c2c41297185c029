"""What `meshscope check --against` says to people, before it becomes a table or Markdown."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from meshscope.cli.against_report import (
    CHANGES,
    NO_PROXY,
    TOPICS,
    AgainstReport,
    ResourceChange,
    sides,
    topic,
)
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
from meshscope.cli.report import ProxyReport

MOST_FIELDS: Final = 8
"""Fields of one difference that are shown."""
MOST_NAMES: Final = 5
"""Proxies and resources that are named in one line."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that changes.

    Attributes:
        effect: What it does to traffic.
        head: What it is about.
        requests: What happens to which requests: a name and a text each.
        facts: Proxies, resources, an example.
        rows: Field, before, after.
        more: Rows that are not shown.
    """

    effect: str
    head: str
    requests: tuple[tuple[str, str], ...]
    facts: tuple[tuple[str, str], ...]
    rows: tuple[tuple[str, str, str], ...]
    more: int = 0


@dataclass(frozen=True, slots=True)
class Section:
    """The entries of one topic."""

    title: str
    entries: tuple[Entry, ...]


def sections(report: AgainstReport) -> tuple[Section, ...]:
    """Everything that changes, by topic; what is alike in many proxies is said once."""
    groups = [g for g in difference_groups(report.proxies) if g.difference.is_drift]
    found = []
    for name, title in TOPICS.items():
        of_topic = [group for group in groups if topic(group.difference) == name]
        if of_topic:
            entries = tuple(_entry(group, report) for group in of_topic)
            found.append(Section(title, entries))
    return tuple(found)


def _entry(group: DifferenceGroup, report: AgainstReport) -> Entry:
    found = group.difference
    changed = {change.ref for change in report.changes}
    where = listed(group.subjects) + ("" if group.everywhere else " (not all in every proxy)")
    facts = [("proxies", whose(group.proxies, len(report.proxies)))]
    if found.sources:
        # What was changed comes first.
        sources = sorted(found.sources, key=lambda source: source not in changed)
        facts.append(("resource", listed(map(str, sources), MOST_NAMES)))
    if found.witness:
        facts.append(("example", witness_text(found.witness)))
    rows = [(each.path, each.expected, each.observed) for each in found.fields]
    if not rows:
        rows = [("", *sides(found))]
    return Entry(
        found.effect,
        f"{where}: {CHANGES[found.change]}" if found.change != "different" else where,
        tuple(affected_fact(found.key.kind, some) for some in found.affected),
        tuple(facts),
        tuple(rows[:MOST_FIELDS]),
        max(0, len(rows) - MOST_FIELDS),
    )


def whose(proxies: Sequence[ProxyReport], of: int) -> str:
    """Proxies by name, and how many they are of all."""
    return f"{len(proxies)} of {of}: {listed((p.proxy for p in proxies), MOST_NAMES)}"


def open_parts(report: AgainstReport) -> tuple[UnverifiableGroup, ...]:
    """What could not be compared."""
    return unverifiable_groups(report.proxies)


def unattributed(report: AgainstReport) -> tuple[ResourceChange, ...]:
    """Resources of which nobody can say whether they change something."""
    return tuple(change for change in report.changes if change.effect == "not known")


def change_words(change: ResourceChange) -> str:
    """`VirtualService shop/cart (changed, mesh/routes.yaml:12)`."""
    return f"{change.ref} ({', '.join(filter(None, (change.change, change.place)))})"


def overview(report: AgainstReport) -> Iterator[str]:
    """Numbers, and what was not compared for lack of data."""
    said = report.summary()
    counts = [
        f"{said[name]} {words}"
        for name, words in (
            ("changed", "behave otherwise"),
            ("unchanged", "behave alike"),
            ("unverifiable", "not fully comparable"),
            ("unknown", "unknown"),
        )
        if said[name]
    ]
    texts = number(said["resources_changed"], "resource is", "resources are")
    yield (
        f"{texts} written otherwise. {number(said['proxies'], 'sidecar', 'sidecars')}"
        + (f": {', '.join(counts)}." if counts else " compared.")
    )
    if not report.proxies:
        yield NO_PROXY
    for names, words in ((report.new, "come"), (report.gone, "go")):
        if names:
            yield (
                f"Sidecars that {words}, with nothing to compare them with: "
                f"{listed(names, MOST_NAMES)}."
            )
    yield from _without(report.without.items())
    assumed = sorted({name for plane in report.control_planes for name in plane.assumed})
    if assumed and report.proxies:
        words = ", ".join(name.replace("_", " ") for name in assumed)
        yield f"Istio's defaults are assumed for what was not found: {words}."


def _without(reasons: Iterable[tuple[str, str]]) -> Iterator[str]:
    names: dict[str, list[str]] = {}
    for name, reason in reasons:
        names.setdefault(reason, []).append(name)
    for reason, whom in names.items():
        yield f"Not compared: {listed(whom, MOST_NAMES)}: {reason}."
