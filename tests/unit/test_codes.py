"""The table of codes, their pages, and what says them: all the same ones."""

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from meshscope.cli.codes import CODES
from meshscope.cli.explain import explain, page
from meshscope.comparison.codes import DRIFT_CODES
from meshscope.projection.limits import Limit
from meshscope.watcher.problem import ProblemCode

ROOT = Path(__file__).parents[2]
PAGES = ROOT / "docs" / "codes"
ROOMS = ("schemas", "producers", "stream-processors", "sinks", "deploy")
CODE = re.compile(r"MSC-\d{4}")
SECTIONS = ["Example", "Cause", "Repair", "Limits", "Elsewhere"]


def test_every_code_that_a_room_says_is_in_the_table() -> None:
    said = {
        *(entry.code for entry in DRIFT_CODES.values()),
        *(code.value for code in ProblemCode),
        *(limit.value for limit in Limit),
    }
    assert said <= CODES.keys()
    for room in ROOMS:
        for path in (ROOT / room / "meshscope").rglob("*.py"):
            assert set(CODE.findall(path.read_text())) <= CODES.keys(), path


def test_codes_have_titles_of_their_own_and_a_help() -> None:
    titles = [code.title for code in CODES.values()]
    assert len(set(titles)) == len(titles)
    for name, code in CODES.items():
        assert (code.code, code.page) == (name, f"meshscope explain {name}")
        assert code.help.endswith(".")
        assert not code.title.endswith(".")


def test_there_is_a_page_for_every_code_and_none_besides() -> None:
    assert {path.stem for path in PAGES.glob("*.md")} == {*CODES, "README"}


@pytest.mark.parametrize("code", CODES)
def test_a_page_says_what_it_must(code: str) -> None:
    text = page(code)
    assert text == (PAGES / f"{code}.md").read_text(encoding="utf-8")
    title, *_ = text.splitlines()
    assert title == f"# {code}: {CODES[code].title}"
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == SECTIONS
    for section in re.split(r"^## .+$", text, flags=re.MULTILINE):
        assert section.strip(), f"{code} has an empty section"
    example = text.partition("## Example")[2].partition("## Cause")[0]
    assert example.count("```") == 2
    assert code in example or code == Limit.ASSUMED_DEFAULTS.value
    if code.startswith("MSC-1"):
        assert f"{code}  {CODES[code].title}\n" in example
    assert set(CODE.findall(text)) <= CODES.keys()
    assert max(map(len, text.replace(example, "").splitlines())) <= 100


def test_the_index_names_every_code_with_its_title() -> None:
    text = (PAGES / "README.md").read_text(encoding="utf-8")
    assert set(re.findall(r"\[(MSC-\d{4})\]\(\1\.md\)", text)) == set(CODES)
    for name, code in CODES.items():
        if not name.startswith("MSC-1"):
            assert f"| {code.title} |" in text


@pytest.mark.parametrize("named", ["MSC-1083", "msc-1083", "1083"])
def test_explain_prints_the_page(named: str) -> None:
    done = CliRunner().invoke(explain, [named])
    assert (done.exit_code, done.output) == (0, page("MSC-1083"))


def test_explain_without_a_code_lists_all() -> None:
    done = CliRunner().invoke(explain, [])
    assert [line[:8] for line in done.output.splitlines()] == list(CODES)


@pytest.mark.parametrize("named", ["MSC-9999", "../../etc/passwd", ""])
def test_explain_knows_no_other_codes(named: str) -> None:
    done = CliRunner().invoke(explain, [named])
    assert done.exit_code == 2
    assert "lists them all" in done.output
