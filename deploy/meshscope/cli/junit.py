"""The report as JUnit XML, for CI servers that show tests."""

import re
from collections.abc import Iterable
from typing import Final
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from meshscope.cli.codes import CODES
from meshscope.cli.groups import number
from meshscope.cli.report import CheckReport, Finding, ProxyReport, SkippedCheck
from meshscope.comparison.subjects import subject
from meshscope.comparison.verdict import Difference

_FORBIDDEN: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 cannot hold."""


def junit(report: CheckReport) -> str:
    """The report as XML: a test case per proxy, and one per finding.

    Drift and findings from the threshold up are failures. Whatever could not be read or verified
    is an error: a skipped test would read as clean. Only checks of declarations that need more than
    was given are skipped tests.
    """
    root = Element("testsuites", name="meshscope check")
    cases = [*map(_proxy_case, report.proxies)]
    if cases:
        _suite(root, "proxies", cases)
    _suite(root, "findings", [*_finding_cases(report)] or [_case("findings", "none")])
    if report.skipped:
        _suite(root, "not looked for", map(_skipped_case, report.skipped))
    for total in ("tests", "failures", "errors"):
        root.set(total, str(sum(int(suite.get(total, "0")) for suite in root)))
    indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{tostring(root, encoding="unicode")}\n'


def _suite(root: Element, name: str, cases: Iterable[Element]) -> None:
    suite = SubElement(root, "testsuite", name=name)
    suite.extend(cases)
    suite.set("tests", str(len(suite)))
    suite.set("failures", str(sum(case.find("failure") is not None for case in suite)))
    suite.set("errors", str(sum(case.find("error") is not None for case in suite)))
    suite.set("skipped", str(sum(case.find("skipped") is not None for case in suite)))


def _case(group: str, name: str) -> Element:
    return Element("testcase", classname=_clean(group), name=_clean(name), time="0")


def _outcome(case: Element, tag: str, kind: str, message: str, text: str) -> None:
    found = SubElement(case, tag, type=kind, message=_clean(message))
    found.text = _clean(text)


def _proxy_case(proxy: ProxyReport) -> Element:
    pod, _, namespace = proxy.proxy.rpartition(".")
    case = _case(f"proxies.{namespace or 'unknown'}", pod or proxy.proxy)
    case.set("file", _clean(proxy.file))
    verdict = proxy.verdict
    if verdict.drift:
        codes = ", ".join(dict.fromkeys(found.code for found in verdict.drift))
        text = "\n\n".join(map(_difference_text, verdict.drift))
        _outcome(
            case, "failure", codes, number(len(verdict.drift), "difference", "differences"), text
        )
    elif verdict.verdict == "unknown":
        _outcome(case, "error", proxy.code, "; ".join(verdict.notes), "\n".join(verdict.notes))
    elif verdict.verdict == "unverifiable":
        codes = ", ".join(dict.fromkeys(part.code.value for part in verdict.unverifiable))
        reasons = [f"{part.code.value}  {part}" for part in verdict.unverifiable]
        message = f"{number(len(reasons), 'part', 'parts')} could not be verified"
        _outcome(case, "error", codes, message, "\n".join(reasons))
    return case


def _difference_text(found: Difference) -> str:
    sources = f"\nfrom: {', '.join(map(str, found.sources))}" if found.sources else ""
    return (
        f"{found.effect}  {found.code}  {CODES[found.code].title}: {subject(found.key)}\n"
        f"expected: {found.expected}\nobserved: {found.observed}{sources}"
        + (f"\nrequest: {found.witness}" if found.witness else "")
    )


def _finding_cases(report: CheckReport) -> Iterable[Element]:
    for found in report.own_findings:
        case = _case(f"findings.{found.code}", _name(found))
        request = f"\nrequest: {found.request}" if found.request else ""
        text = f"{found.explanation}{request}\n{found.help}"
        if found.loses_input:
            _outcome(case, "error", found.code, found.title, text)
        elif report.counts(found):
            _outcome(case, "failure", found.code, found.title, text)
        else:
            SubElement(case, "system-out").text = _clean(f"{found.severity}: {text}")
        yield case


def _skipped_case(check: SkippedCheck) -> Element:
    case = _case("declarations", f"{', '.join(check.codes)}: {check.lacks}")
    SubElement(case, "skipped", message=_clean(str(check)))
    return case


def _name(found: Finding) -> str:
    about = found.resource or found.proxy
    return " ".join(str(part) for part in (about, found.place) if part) or found.title


def _clean(text: str) -> str:
    return _FORBIDDEN.sub("\ufffd", text)
