"""The command `meshscope`: every sub-command, each loaded when it is called."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import version
from typing import Final

try:
    import click
except ModuleNotFoundError as missing:
    raise SystemExit(
        f"The command line needs {missing.name}, which is not installed: "
        "pip install 'meshscope[check]'"
    ) from missing


@dataclass(frozen=True, slots=True)
class SubCommand:
    """A sub-command and where it lives.

    Attributes:
        module, name: The `click` command.
        extra: Extra of the distribution that brings what it imports.
        help: One line for the list of commands, so that the list loads none of them.
    """

    module: str
    name: str
    extra: str
    help: str


COMMANDS: Final[Mapping[str, SubCommand]] = {
    "check": SubCommand(
        "meshscope.cli.check", "check", "check", "Verify files of resources and config dumps."
    ),
    "trace": SubCommand(
        "meshscope.cli.trace", "trace", "check", "Follow a request through both sidecars, by files."
    ),
    "explain": SubCommand(
        "meshscope.cli.explain", "explain", "check", "Say what a code means and what to do."
    ),
    "up": SubCommand(
        "meshscope.embedded.commands", "up", "embedded", "Start the whole stack on this machine."
    ),
    "down": SubCommand("meshscope.embedded.commands", "down", "embedded", "Stop it."),
    "status": SubCommand(
        "meshscope.embedded.commands", "status", "embedded", "Show what is up and how far behind."
    ),
    "logs": SubCommand("meshscope.embedded.commands", "logs", "embedded", "Show its logs."),
    "sandbox": SubCommand(
        "meshscope.sandbox.commands", "sandbox", "sandbox", "Run and disturb the sample mesh."
    ),
    "drift": SubCommand(
        "meshscope.cli.drift", "drift", "check,history", "Show the verdict on every proxy."
    ),
    "anomalies": SubCommand(
        "meshscope.cli.anomalies", "anomalies", "check,agent", "Follow the topic of anomalies."
    ),
    "sql": SubCommand("meshscope.cli.sql", "sql", "check,history", "Ask the history."),
}
"""The closed table of sub-commands, in the order in which they are listed."""


class LazyGroup(click.Group):
    """A group that loads a command only when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Load a command.

        Raises:
            click.ClickException: A library that it needs is not installed.
        """
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            return None
        try:
            command = getattr(import_module(entry.module), entry.name)
        except ModuleNotFoundError as missing:
            if (missing.name or "").partition(".")[0] == "meshscope":
                raise
            raise click.ClickException(
                f"`meshscope {cmd_name}` needs {missing.name}, which is not installed: "
                f"pip install 'meshscope[{entry.extra}]'"
            ) from missing
        if not isinstance(command, click.Command):
            raise TypeError(f"{entry.module}.{entry.name} is no click command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without loading them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.help) for name, entry in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(version("meshscope"), prog_name="meshscope")
def meshscope() -> None:
    """Inspect the configuration of a service mesh from the perspective of its behaviour."""


def main() -> None:
    """Entry point of the console script."""
    meshscope(prog_name="meshscope")
