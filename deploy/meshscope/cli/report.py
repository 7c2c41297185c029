"""What `meshscope check` found: values, exit code and JSON. Other forms stand beside it."""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import PurePath
from typing import Any, Final, Literal

from meshscope.cli.codes import CODES, FAILED_VERIFICATION, UNREADABLE_INPUT
from meshscope.comparison.verdict import ProxyVerdict, source_json
from meshscope.events.control_plane import ControlPlane
from meshscope.policy.source import ResourceRef
from meshscope.projection.limits import Limit
from meshscope.watcher.problem import LOSES_INPUT, Problem

API_VERSION: Final = "meshscope.io/v1"
"""Version of the JSON; fields are added under it, never removed or given another meaning."""

Severity = Literal["error", "warning", "info"]
SEVERITIES: Final[tuple[Severity, ...]] = ("error", "warning", "info")

CLEAN: Final = 0
FINDINGS: Final = 1
UNREADABLE: Final = 2
INCOMPLETE: Final = 3
"""Exit codes of every format."""

CONCLUSIONS: Final[Mapping[int, str]] = {
    CLEAN: "Clean.",
    FINDINGS: "Not clean.",
    UNREADABLE: "Some input could not be read and was left out: this result is not complete.",
    INCOMPLETE: "Nothing wrong was found, but not everything could be verified.",
}
"""What each exit code means."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something about the declarations, about a proxy, or about the input itself.

    Attributes:
        code: `MSC-2xxx` for declarations, `MSC-3xxx` for delivery and loading, `MSC-5xxx` for
            limits of what was verified.
        severity: How bad.
        explanation: What it is here, and what follows from it.
        resource: Which resource; None: none.
        file, line: Where; line 0: the file as a whole.
        proxy: Which proxy; empty: none.
        loses_input: Something was left out of the input because of it.
        field: Path of the field of the resource; empty: the resource as a whole.
        witness: A request that proves it, as JSON; empty: there is none.
        related: Other resources that have a part in it.
    """

    code: str
    severity: Severity
    explanation: str
    resource: ResourceRef | None = None
    file: str = ""
    line: int = 0
    proxy: str = ""
    loses_input: bool = False
    field: str = ""
    witness: str = ""
    related: tuple[ResourceRef, ...] = ()

    @property
    def request(self) -> str:
        """The witness in words; empty: there is none."""
        if not self.witness:
            return ""
        found = json.loads(self.witness)
        return f"{found['text']}: {found['outcome']}"

    @property
    def title(self) -> str:
        """What sort of thing; the same for every finding of a code."""
        return CODES[self.code].title

    @property
    def help(self) -> str:
        """What to do."""
        return CODES[self.code].help

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
            "proxy": self.proxy or None,
            "file": self.file,
            "line": self.line,
            "field": self.field or None,
            "explanation": self.explanation,
            "witness": json.loads(self.witness) if self.witness else None,
            "related": [source_json(one) for one in self.related],
            "help": f"{self.help} See `{CODES[self.code].page}`.",
        }


@dataclass(frozen=True, slots=True)
class SuppressedFinding:
    """A finding that its resource says not to report.

    Attributes:
        finding: The finding.
        reason: Why, as the resource says.
        until: Last day on which that counts.
    """

    finding: Finding
    reason: str
    until: date

    def to_json(self) -> dict[str, Any]:
        """The finding as in the JSON report."""
        return {
            **self.finding.to_json(),
            "reason": self.reason,
            "until": self.until.isoformat(),
        }


@dataclass(frozen=True, slots=True)
class SkippedCheck:
    """Checks of declarations that were not made.

    Attributes:
        codes: What they would have looked for.
        resources: Resources that they concern.
        lacks: Why, as a clause.
    """

    codes: tuple[str, ...]
    resources: tuple[ResourceRef, ...]
    lacks: str

    def __str__(self) -> str:
        count = len(self.resources)
        about = str(self.resources[0]) if count == 1 else f"{count} resources"
        return f"{', '.join(self.codes)} of {about}: {self.lacks}"

    def to_json(self) -> dict[str, Any]:
        """The checks as in the JSON report."""
        return {
            "codes": list(self.codes),
            "resources": [source_json(one) for one in self.resources],
            "lacks": self.lacks,
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
        code: Why the verdict is `unknown`, if it is.
    """

    proxy: str
    file: str
    verdict: ProxyVerdict
    coverage: float | None = None
    code: str = Limit.INCOMPLETE_DUMP.value

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
        findings: About declarations, proxies and input.
        control_planes: Settings that were used, one per revision.
        fail_on: Severity from which findings count for the exit code.
        places: File and line of every resource.
        suppressed: Findings that their resources say not to report.
        skipped: Checks of declarations that were not made.
    """

    resources: int
    proxies: tuple[ProxyReport, ...] = ()
    findings: tuple[Finding, ...] = ()
    control_planes: tuple[ControlPlane, ...] = ()
    fail_on: Literal["error", "warning"] = "error"
    places: Mapping[ResourceRef, tuple[str, int]] = field(default_factory=dict, hash=False)
    suppressed: tuple[SuppressedFinding, ...] = ()
    skipped: tuple[SkippedCheck, ...] = ()

    @property
    def exit_code(self) -> int:
        """What the shell gets, the same for every format.

        Input that was left out counts most, because then no other statement is about all of it.
        What is certain, findings and drift, counts more than what could not be verified.
        """
        if any(found.loses_input for found in self.findings):
            return UNREADABLE
        verdicts = {proxy.verdict.verdict for proxy in self.proxies}
        if "drift" in verdicts or any(map(self.counts, self.findings)):
            return FINDINGS
        return INCOMPLETE if verdicts - {"in-sync"} else CLEAN

    def counts(self, found: Finding) -> bool:
        """Whether a finding is reason enough for an exit code other than 0."""
        limit = SEVERITIES.index(self.fail_on)
        return found.code != FAILED_VERIFICATION and SEVERITIES.index(found.severity) <= limit

    @property
    def own_findings(self) -> tuple[Finding, ...]:
        """The findings that are not the reason why a proxy is unknown, which its verdict says."""
        said = {(p.file, p.code) for p in self.proxies if p.verdict.verdict == "unknown"}
        return tuple(found for found in self.findings if (found.file, found.code) not in said)

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
            "suppressed": [found.to_json() for found in self.suppressed],
            "skipped": [check.to_json() for check in self.skipped],
            "codes": {code: CODES[code].to_json() for code in self.codes},
        }

    @property
    def codes(self) -> tuple[str, ...]:
        """The codes that the report says, each once: differences first, limits last."""
        verdicts = [proxy.verdict for proxy in self.proxies]
        said = (
            *(found.code for verdict in verdicts for found in verdict.differences),
            *(found.code for found in self.findings),
            *(found.finding.code for found in self.suppressed),
            *(proxy.code for proxy in self.proxies if proxy.verdict.verdict == "unknown"),
            *(part.code.value for verdict in verdicts for part in verdict.unverifiable),
            *(note.partition(":")[0] for verdict in verdicts for note in verdict.notes),
        )
        return tuple(code for code in dict.fromkeys(said) if code in CODES)

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
            "suppressed": len(self.suppressed),
            "skipped": len(self.skipped),
        }
