"""The review as a whole: suppression, what cannot be examined, the table of checks and codes."""

import re
from pathlib import Path

import pytest
from reviewed import findings, one, policy, reviewed, virtual_service

from meshscope.declarations.codes import DECLARATION_CODES

PACKAGE = Path(__file__).parents[2] / "stream-processors" / "meshscope" / "declarations"
DEAD = (
    "{hosts: [a], http: [{route: [{destination: {host: a}}]}, {route: [{destination: {host: a}}]}]}"
)


def annotated(line: str) -> str:
    return virtual_service(DEAD, more=f", annotations: {{meshscope.io/suppress: '{line}'}}")


def test_a_suppression_with_reason_and_day_hides_its_code_alone() -> None:
    found = reviewed(annotated("MSC-2301 until 2026-07-01: it is kept for later"))
    assert not found.findings
    (hidden,) = found.suppressed
    assert (hidden.finding.code, hidden.reason) == ("MSC-2301", "it is kept for later")
    other = reviewed(annotated("MSC-2302 until 2026-07-01: another code"))
    assert [one.code for one in other.findings] == ["MSC-2301"]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("MSC-2301 until 2026-06-30: over", "ended on 2026-06-30: over"),
        ("MSC-2301 until 2026-07-01", "gives no reason"),
        ("MSC-2301: no day", "does not say until when"),
        ("MSC-2301 until tomorrow: soon", "'tomorrow' is no date"),
        ("everything", "is not of the form"),
    ],
)
def test_a_suppression_that_does_not_count_is_said_and_hides_nothing(line: str, why: str) -> None:
    found = reviewed(annotated(line))
    assert [one.code for one in found.findings] == ["MSC-2010", "MSC-2301"]
    assert why in found.findings[0].explanation
    assert not found.suppressed


def test_a_field_of_another_type_fails_its_own_check_only() -> None:
    broken = virtual_service("{hosts: [a], http: [{match: [{uri: {prefix: [1]}}]}, {}]}", "broken")
    found = one(broken + policy("[{}, {}]"), "MSC-2011")
    assert found.resource.name == "broken"
    assert "another type" in found.explanation
    assert findings(broken + policy("[{}, {}]"), "MSC-2102")


def test_a_failure_that_befalls_many_checks_is_said_once() -> None:
    broken = "---\napiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {ports: [{name: x}]}\n"
    many = "".join(virtual_service(DEAD, f"v{number}") for number in range(5))
    assert len(findings(broken + many, "MSC-2011")) == 1
    assert len(findings(broken + many, "MSC-2301")) == 5


def test_every_code_is_said_somewhere() -> None:
    sources = {path.name: path.read_text() for path in PACKAGE.glob("*.py")}
    said = {
        code
        for name, text in sources.items()
        if name != "codes.py"
        for code in re.findall(r'"(MSC-\d{4})"', text)
    }
    assert said == DECLARATION_CODES.keys()


def test_the_tables_of_other_linters_say_what_the_codes_say() -> None:
    text = (PACKAGE.parents[2] / "docs" / "declarations.md").read_text(encoding="utf-8")
    rows = re.findall(
        r"^\| ((?:IST|KIA)\d{4}) \| [^|]+ \| ([^|]*)\| ?([^|]*)\|$", text, re.MULTILINE
    )
    stated = {name: set(re.findall(r"\[(MSC-\d{4})\]", codes)) for name, codes, _ in rows}
    declared: dict[str, set[str]] = {}
    for code in DECLARATION_CODES.values():
        for name in code.equivalents:
            declared.setdefault(name, set()).add(code.code)
    for name, codes in declared.items():
        assert codes <= stated[name], name
    for name, codes, remark in rows:
        assert codes.strip() or remark.strip(), f"{name} is neither covered nor is there a reason"
