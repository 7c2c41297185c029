"""What the documents tell people to type."""

import re
import shlex
from pathlib import Path

import click
import pytest
import yaml

from meshscope.cli.check import check
from meshscope.cli.codes import CODES

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
COMMAND = re.compile(r"meshscope check((?: +(?!\|)[^\s`>]+)+)")
ELIDED = "…"


def commands() -> list[tuple[str, list[str]]]:
    return [
        (document.name, arguments)
        for document in DOCUMENTS
        for found in COMMAND.finditer(document.read_text(encoding="utf-8"))
        for arguments in [shlex.split(found[1])]
        if arguments[0].startswith("-") and ELIDED not in found[1]
    ]


def test_there_are_some() -> None:
    assert {"README.md", "ci.md", "MSC-5007.md"} <= {document for document, _ in commands()}


@pytest.mark.parametrize(("document", "arguments"), commands())
def test_every_documented_check_is_understood(document: str, arguments: list[str]) -> None:
    context = check.make_context("check", list(arguments))
    assert context.params["resources"] or context.params["bug_report"], document
    assert isinstance(context.command, click.Command)


def test_the_examples_for_ci_are_yaml() -> None:
    text = (ROOT / "docs" / "ci.md").read_text(encoding="utf-8")
    pull_request, drift, hooks = (
        yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    )
    for workflow, job in ((pull_request, "declarations"), (drift, "drift")):
        steps = workflow["jobs"][job]["steps"]
        assert any("meshscope check" in step.get("run", "") for step in steps)
    (hook,) = hooks["repos"][0]["hooks"]
    assert re.match(hook["files"], "mesh/a/b.yaml")
    assert hook["entry"].startswith("meshscope check ")


def test_codes_that_documents_name_exist() -> None:
    for document in DOCUMENTS:
        named = set(re.findall(r"MSC-\d{4}", document.read_text(encoding="utf-8")))
        assert named <= CODES.keys(), document
