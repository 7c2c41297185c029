"""The report as SARIF 2.1.0, for code scanning.

Source: https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html.
"""

from collections.abc import Iterable, Mapping
from hashlib import sha256
from importlib.metadata import version
from pathlib import PurePath
from typing import Any, Final
from urllib.parse import quote

from meshscope.cli.codes import CODES
from meshscope.cli.groups import (
    DifferenceGroup,
    UnverifiableGroup,
    difference_groups,
    listed,
    unverifiable_groups,
)
from meshscope.cli.report import (
    CONCLUSIONS,
    UNREADABLE,
    CheckReport,
    Finding,
    ProxyReport,
    Severity,
    SkippedCheck,
    SuppressedFinding,
)

SCHEMA: Final = (
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
)
_LEVELS: Final[Mapping[Severity, str]] = {"error": "error", "warning": "warning", "info": "note"}


def sarif(report: CheckReport) -> dict[str, Any]:
    """The report as a SARIF log: one result per difference, unverifiable part and finding.

    A result points at the resource that is responsible, where its place is known, else at the
    configuration dump. What is alike in several proxies is one result that names them.
    """
    results = [
        *(_difference(group, report) for group in difference_groups(report.proxies)),
        *(_unverifiable(group, report) for group in unverifiable_groups(report.proxies)),
        *(_unknown(proxy) for proxy in report.proxies if proxy.verdict.verdict == "unknown"),
        *(_finding(found, report) for found in report.own_findings),
        *(_suppressed(found, report) for found in report.suppressed),
    ]
    codes = sorted({result["ruleId"] for result in results})
    for result in results:
        result["ruleIndex"] = codes.index(result["ruleId"])
    return {
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "MeshScope",
                        "version": version("meshscope"),
                        "rules": [_rule(code) for code in codes],
                    }
                },
                "columnKind": "unicodeCodePoints",
                "invocations": [
                    {
                        "executionSuccessful": report.exit_code != UNREADABLE,
                        "exitCode": report.exit_code,
                        "exitCodeDescription": CONCLUSIONS[report.exit_code],
                        "toolExecutionNotifications": [
                            *(_notification(f) for f in report.findings if f.loses_input),
                            *(_skipped(check) for check in report.skipped),
                        ],
                    }
                ],
                "results": results,
                "properties": report.summary(),
            }
        ],
    }


def _rule(code: str) -> dict[str, Any]:
    known = CODES[code]
    text = f"{known.help} `{known.page}` says more."
    return {
        "id": code,
        "shortDescription": {"text": known.title},
        "fullDescription": {"text": f"{known.title}."},
        "help": {"text": text, "markdown": text},
    }


def _difference(group: DifferenceGroup, report: CheckReport) -> dict[str, Any]:
    found = group.difference
    sources = ", ".join(map(str, found.sources))
    lines = [
        f"{CODES[found.code].title} ({found.effect}): {listed(group.subjects)}.",
        f"Proxies: {listed((proxy.proxy for proxy in group.proxies), 10)}.",
        f"Expected: {found.expected}",
        f"Observed: {found.observed}",
        *([f"From {sources}."] if sources else []),
        *([f"A request that shows it: {found.witness}"] if found.witness else []),
    ]
    identity = (found.code, *map(str, group.keys), *(proxy.proxy for proxy in group.proxies))
    place = next((report.places[s] for s in found.sources if s in report.places), None)
    return {
        "ruleId": found.code,
        "level": "error" if found.is_drift else "note",
        "message": {"text": "\n".join(lines)},
        "locations": [_location(*(place or (group.proxies[0].file, 0)), group.proxies)],
        "relatedLocations": _dumps(group.proxies),
        "partialFingerprints": {"meshscope/v1": _fingerprint(identity)},
        "properties": {
            "effect": found.effect,
            "change": found.change,
            "keys": [str(key) for key in group.keys],
        },
    }


def _unverifiable(group: UnverifiableGroup, report: CheckReport) -> dict[str, Any]:
    part = group.part
    place = report.places.get(part.source) if part.source else None
    names = [proxy.proxy for proxy in group.proxies]
    return {
        "ruleId": part.code.value,
        "level": "warning",
        "message": {
            "text": f"Could not be verified: {part.reason}.\nProxies: {listed(names, 10)}."
        },
        "locations": [_location(*(place or (group.proxies[0].file, 0)), group.proxies)],
        "relatedLocations": _dumps(group.proxies),
        "partialFingerprints": {"meshscope/v1": _fingerprint((part.code, part.reason, *names))},
        "properties": {"keys": [str(key) for key in part.keys]},
    }


def _unknown(proxy: ProxyReport) -> dict[str, Any]:
    reason = "; ".join(proxy.verdict.notes)
    return {
        "ruleId": proxy.code,
        "level": "warning",
        "message": {"text": f"Nothing is known of {proxy.proxy}: {reason}."},
        "locations": [_location(proxy.file, 0, (proxy,))],
        "partialFingerprints": {"meshscope/v1": _fingerprint(("unknown", proxy.proxy))},
    }


def _finding(found: Finding, report: CheckReport) -> dict[str, Any]:
    about = (found.resource or found.proxy, found.file, found.explanation)
    location = _location(found.file, found.line)
    request = f"\nA request that shows it: {found.request}" if found.request else ""
    related = [
        {**_location(*report.places[one]), "message": {"text": str(one)}}
        for one in found.related
        if one in report.places
    ]
    return {
        "ruleId": found.code,
        "level": _LEVELS[found.severity],
        "message": {"text": found.explanation + request},
        "locations": [location] if location else [],
        **({"relatedLocations": related} if related else {}),
        "partialFingerprints": {"meshscope/v1": _fingerprint((found.code, *map(str, about)))},
    }


def _suppressed(found: SuppressedFinding, report: CheckReport) -> dict[str, Any]:
    justification = f"{found.reason} (until {found.until})"
    return {
        **_finding(found.finding, report),
        "suppressions": [{"kind": "inSource", "justification": justification}],
    }


def _skipped(check: SkippedCheck) -> dict[str, Any]:
    return {"level": "note", "message": {"text": f"Not looked for: {check}"}}


def _notification(found: Finding) -> dict[str, Any]:
    location = _location(found.file, found.line)
    return {
        "level": "error",
        "message": {"text": f"{found.place}: {found.explanation}"},
        "descriptor": {"id": found.code},
        **({"locations": [location]} if location else {}),
    }


def _location(file: str, line: int, proxies: Iterable[ProxyReport] = ()) -> dict[str, Any]:
    """A place in a file, if there is one, and the proxies that are concerned."""
    location: dict[str, Any] = {}
    if file:
        location["physicalLocation"] = {"artifactLocation": {"uri": _uri(file)}}
    if file and line:
        location["physicalLocation"]["region"] = {"startLine": line}
    names = [{"fullyQualifiedName": proxy.proxy, "kind": "resource"} for proxy in proxies]
    if names:
        location["logicalLocations"] = names
    return location


def _dumps(proxies: Iterable[ProxyReport]) -> list[dict[str, Any]]:
    return [
        {**_location(proxy.file, 0), "message": {"text": f"configuration dump of {proxy.proxy}"}}
        for proxy in proxies
    ]


def _uri(file: str) -> str:
    path = PurePath(file)
    return path.as_uri() if path.is_absolute() else quote(path.as_posix())


def _fingerprint(parts: Iterable[str]) -> str:
    return sha256("\x00".join(parts).encode()).hexdigest()[:32]
