"""What `meshscope check` found, and how it is said: JSON for programs, tables for people."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, Final, Literal

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from meshscope.cli.output import COLOURS
from meshscope.comparison.verdict import EFFECTS, Difference, ProxyVerdict, source_json
from meshscope.events.control_plane import ControlPlane
from meshscope.policy.source import ResourceRef
from meshscope.watcher.problem import LOSES_INPUT, TITLES, Problem, ProblemCode

API_VERSION: Final = "meshscope.io/v1"
"""Version of the JSON; fields are added under it, never removed or given another meaning."""

Severity = Literal["error", "warning", "info"]
SEVERITIES: Final[tuple[Severity, ...]] = ("error", "warning", "info")

CLEAN: Final = 0
FINDINGS: Final = 1
UNREADABLE: Final = 2
INCOMPLETE: Final = 3
"""Exit codes of every format."""

UNREADABLE_INPUT: Final = "MSC-5001"
FAILED_VERIFICATION: Final = "MSC-5002"

_TITLES: Final[dict[str, str]] = {
    **{code.value: title for code, title in TITLES.items()},
    UNREADABLE_INPUT: "An input cannot be read",
    FAILED_VERIFICATION: "A proxy could not be verified",
}
_HELP: Final[dict[str, str]] = {
    ProblemCode.UNREADABLE.value: "Repair the document; the resources in it were left out.",
    ProblemCode.NOT_A_RESOURCE.value: (
        "Repair the document, or name only files of resources; it was left out."
    ),
    ProblemCode.UNKNOWN_FIELD.value: "Correct the name of the field, or remove it.",
    ProblemCode.DUPLICATE_RESOURCE.value: "Keep one of the two documents.",
    ProblemCode.REFUSED_BY_KUBERNETES.value: "Correct the value; `kubectl apply` would fail.",
    ProblemCode.MESH_CONFIG.value: (
        "Correct the settings, or give them with --mesh-config; Istio's defaults were assumed."
    ),
    ProblemCode.NOT_RENDERED.value: "Give MeshScope the rendered resources.",
    UNREADABLE_INPUT: "Check the path and the content of the file, and run again.",
    FAILED_VERIFICATION: "This is a fault of MeshScope; please report it with the message.",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """Something about the declarations, or about the input itself.

    Attributes:
        code: `MSC-2xxx` for declarations, `MSC-5xxx` for limits of what was verified.
        severity: How bad.
        title: What sort of thing; the same for every finding of a code.
        explanation: What it is here, and what follows from it.
        resource: Which resource; None: none.
        file, line: Where; line 0: the file as a whole.
        help: What to do.
        loses_input: Something was left out of the input because of it.
    """

    code: str
    severity: Severity
    explanation: str
    resource: ResourceRef | None = None
    file: str = ""
    line: int = 0
    loses_input: bool = False

    @property
    def title(self) -> str:
        """What sort of thing; the same for every finding of a code."""
        return _TITLES[self.code]

    @property
    def help(self) -> str:
        """What to do."""
        return _HELP[self.code]

    @property
    def place(self) -> str:
        """`file:line`."""
        return f"{self.file}:{self.line}" if self.line else self.file

    def to_json(self) -> dict[str, Any]:
        """The finding as in the JSON report."""
        return {
            "code": self.code,
            "severity": self.severity,
            "title": self.title,
            "resource": source_json(self.resource) if self.resource else None,
            "file": self.file,
            "line": self.line,
            "explanation": self.explanation,
            "witness": None,
            "related": [],
            "help": self.help,
        }


def finding(problem: Problem) -> Finding:
    """A problem of a manifest as a finding."""
    return Finding(
        code=problem.code.value,
        severity=problem.severity,
        explanation=problem.message,
        resource=problem.resource,
        file=problem.path,
        line=problem.line,
        loses_input=problem.code in LOSES_INPUT,
    )


def unreadable(path: str, reason: str) -> Finding:
    """A file that cannot be read."""
    return Finding(UNREADABLE_INPUT, "error", reason, file=path, loses_input=True)


@dataclass(frozen=True, slots=True)
class ProxyReport:
    """The verdict on one dump.

    Attributes:
        proxy: `pod.namespace`, else the name of the file.
        file: Where the dump was read.
        verdict: What the comparison says.
        coverage: Share of the dump that inference explained, 0 to 1; None: it was not read.
    """

    proxy: str
    file: str
    verdict: ProxyVerdict
    coverage: float | None = None

    def to_json(self) -> dict[str, Any]:
        """The verdict as in the JSON report."""
        verdict = self.verdict.to_json()
        return {
            "proxy": self.proxy,
            "file": self.file,
            "verdict": verdict["verdict"],
            "inference_coverage": None if self.coverage is None else round(self.coverage, 4),
            "policies": verdict["policies"],
            "differences": verdict["differences"],
            "unverifiable": verdict["unverifiable"],
            "notes": verdict["notes"],
        }


def proxy_of_file(path: str) -> str:
    """The proxy that a dump's file is named after: `cart-1.shop` for `d/cart-1.shop.json.gz`."""
    name = PurePath(path).name
    for suffix in (".gz", ".json"):
        name = name.removesuffix(suffix)
    return name


@dataclass(frozen=True, slots=True)
class CheckReport:
    """Everything that `meshscope check` found.

    Attributes:
        resources: Number of resources that were read.
        proxies: One per dump.
        findings: About declarations and input.
        control_planes: Settings that were used, one per revision.
        fail_on: Severity from which findings count for the exit code.
    """

    resources: int
    proxies: tuple[ProxyReport, ...] = ()
    findings: tuple[Finding, ...] = ()
    control_planes: tuple[ControlPlane, ...] = ()
    fail_on: Literal["error", "warning"] = "error"

    @property
    def exit_code(self) -> int:
        """What the shell gets, the same for every format.

        Input that was left out counts most, because then no other statement is about all of it.
        What is certain, findings and drift, counts more than what could not be verified.
        """
        if any(found.loses_input for found in self.findings):
            return UNREADABLE
        counting = SEVERITIES[: SEVERITIES.index(self.fail_on) + 1]
        verdicts = {proxy.verdict.verdict for proxy in self.proxies}
        found = (found for found in self.findings if found.code != FAILED_VERIFICATION)
        if "drift" in verdicts or any(one.severity in counting for one in found):
            return FINDINGS
        return INCOMPLETE if verdicts - {"in-sync"} else CLEAN

    def to_json(self) -> dict[str, Any]:
        """The report as JSON; its shape is stable under `API_VERSION`."""
        return {
            "apiVersion": API_VERSION,
            "kind": "CheckReport",
            "summary": self.summary(),
            "controlPlanes": [
                {
                    "revision": plane.revision,
                    "version": plane.version,
                    "assumed": list(plane.assumed),
                }
                for plane in self.control_planes
            ],
            "proxies": [proxy.to_json() for proxy in self.proxies],
            "findings": [found.to_json() for found in self.findings],
        }

    def summary(self) -> dict[str, Any]:
        """Numbers."""
        verdicts = Counter(proxy.verdict.verdict for proxy in self.proxies)
        severities = Counter(found.severity for found in self.findings)
        return {
            "exit_code": self.exit_code,
            "resources": self.resources,
            "proxies": len(self.proxies),
            "in_sync": verdicts["in-sync"],
            "drift": verdicts["drift"],
            "unverifiable": verdicts["unverifiable"],
            "unknown": verdicts["unknown"],
            "differences": sum(len(proxy.verdict.drift) for proxy in self.proxies),
            "equivalent": sum(len(proxy.verdict.equivalent) for proxy in self.proxies),
            "findings": {severity: severities[severity] for severity in SEVERITIES},
        }


_STYLES: Final = {
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


def report_table(report: CheckReport) -> RenderableType:
    """The report for people."""
    parts: list[RenderableType] = []
    if report.proxies:
        parts += [_overview(report.proxies), Text()]
    for proxy in report.proxies:
        parts += _proxy_details(proxy)
    if report.findings:
        parts.append(Text("Findings", style="bold"))
        parts += [
            Padding(_finding_text(found), (0, 0, 0, 2), expand=False) for found in report.findings
        ]
        parts.append(Text())
    parts += [Text(line) for line in _closing(report)]
    return Group(*parts)


def _overview(proxies: Sequence[ProxyReport]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("proxy", "verdict", "policies", "differences", "not verifiable", "explained"):
        is_number = title not in ("proxy", "verdict")
        table.add_column(title, overflow="fold", justify="right" if is_number else "left")
    for proxy in proxies:
        verdict = proxy.verdict
        coverage = "" if proxy.coverage is None else f"{proxy.coverage:.1%}"
        table.add_row(
            Text(proxy.proxy),
            Text(verdict.verdict, style=_STYLES[verdict.verdict]),
            str(verdict.policies),
            str(len(verdict.drift)),
            str(len(verdict.unverifiable)),
            coverage,
        )
    return table


def _proxy_details(proxy: ProxyReport) -> list[RenderableType]:
    verdict = proxy.verdict
    lines: list[RenderableType] = []
    for difference in sorted(verdict.differences, key=lambda d: (EFFECTS.index(d.effect), d.key)):
        lines += _difference_lines(difference)
    for part in verdict.unverifiable:
        text = Text("not verifiable", style=_STYLES["unverifiable"])
        text.append(f"  {part}", style="default")
        if len(part.keys) > 1:
            text.append(f" ({len(part.keys)} policies)", style="default")
        if part.source:
            text.append(f" ({part.source})", style="default")
        lines.append(text)
    lines += [Text(f"note  {note}") for note in verdict.notes]
    if not lines:
        return []
    title = Text(proxy.proxy, style="bold")
    title.append(f"  {proxy.file}", style="dim")
    return [title, *(Padding(line, (0, 0, 0, 2), expand=False) for line in lines), Text()]


def _difference_lines(difference: Difference) -> Iterator[RenderableType]:
    head = Text(difference.effect, style=_STYLES[difference.effect])
    rest = f"  {difference.code}  {difference.change}  {difference.key}"
    head.append(rest, style="default")
    yield head
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    grid.add_row(Text("expected"), Text(difference.expected))
    grid.add_row(Text("observed"), Text(difference.observed))
    if difference.sources:
        grid.add_row(Text("from"), Text(", ".join(map(str, difference.sources))))
    yield Padding(grid, (0, 0, 0, 2), expand=False)


def _finding_text(found: Finding) -> Text:
    text = Text(found.severity, style=_STYLES[found.severity])
    place = f"{found.place}: " if found.file else ""
    text.append(f"  {found.code}  {place}{found.explanation}", style="default")
    return text


def _closing(report: CheckReport) -> Iterator[str]:
    summary = report.summary()
    assumed = sorted({name for plane in report.control_planes for name in plane.assumed})
    if assumed and report.proxies:
        listed = ", ".join(name.replace("_", " ") for name in assumed)
        yield (
            f"Istio's defaults are assumed for what was not found: {listed}. Give the ConfigMap "
            "`istio`, istiod's Deployment, --mesh-config or --istiod-env."
        )
    if not report.proxies:
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
    proxies = f"{_number(len(report.proxies), 'proxy', 'proxies')}"
    proxies += f" ({', '.join(counts)})" if counts else ""
    found = ", ".join(
        _number(count, severity, f"{severity}s" if severity != "info" else severity)
        for severity, count in summary["findings"].items()
        if count
    )
    yield (
        f"{_number(report.resources, 'resource', 'resources')}, {proxies}, "
        f"{_number(summary['differences'], 'difference', 'differences')}, "
        f"{_number(len(report.findings), 'finding', 'findings')}{f' ({found})' if found else ''}."
    )
    yield {
        CLEAN: "Clean.",
        FINDINGS: "Not clean.",
        UNREADABLE: "Some input could not be read and was left out: this result is not complete.",
        INCOMPLETE: "Nothing wrong was found, but not everything could be verified.",
    }[report.exit_code]


def _number(count: int, one: str, many: str) -> str:
    return f"{count} {one if count == 1 else many}"
