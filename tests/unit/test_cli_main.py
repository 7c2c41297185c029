"""The command line as a whole: what it lists, loads, and says when something is missing."""

import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from meshscope.cli import main
from meshscope.cli.main import COMMANDS, SubCommand, meshscope


def run(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(meshscope, arguments)
    return done.exit_code, done.output


def test_help_lists_every_command_and_loads_none() -> None:
    code, output = run("--help")
    assert code == 0
    for name, command in COMMANDS.items():
        assert f"  {name} " in output
        assert command.help in output
    loaded = (
        "import sys; from click.testing import CliRunner; from meshscope.cli.main import meshscope;"
        "CliRunner().invoke(meshscope, ['--help']);"
        "print(*sorted(m for m in sys.modules if m.split('.')[0] in "
        "('meshscope', 'rich', 'yaml', 'confluent_kafka', 'clickhouse_connect', 'grpc')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", loaded], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["meshscope", "meshscope.cli", "meshscope.cli.main"]


def test_a_command_that_is_not_there() -> None:
    code, output = run("chekc")
    assert code == 2
    assert "No such command 'chekc'" in output


def test_a_missing_library_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "needs_a_library.py").write_text("import a_library_that_nobody_has\n")
    monkeypatch.syspath_prepend(tmp_path)
    entry = SubCommand("needs_a_library", "command", "stream", "…")
    monkeypatch.setattr(main, "COMMANDS", {"command": entry})
    code, output = run("command")
    assert code == 1
    assert output == (
        "Error: `meshscope command` needs a_library_that_nobody_has, which is not installed: "
        "pip install 'meshscope[stream]'\n"
    )


def test_a_missing_module_of_meshscope_is_no_missing_extra(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    entry = SubCommand("meshscope.nowhere", "command", "stream", "…")
    monkeypatch.setattr(main, "COMMANDS", {"command": entry})
    done = CliRunner().invoke(meshscope, ["command"])
    assert isinstance(done.exception, ModuleNotFoundError)


@pytest.mark.parametrize("name", ["check", "sandbox", "drift", "anomalies", "sql"])
def test_commands_can_be_loaded(name: str) -> None:
    with click.Context(meshscope) as context:
        command = meshscope.get_command(context, name)
    assert command is not None
    assert command.help


def test_the_version_is_that_of_the_distribution() -> None:
    code, output = run("--version")
    assert code == 0
    assert output.startswith("meshscope, version ")
