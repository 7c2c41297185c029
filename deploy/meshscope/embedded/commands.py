"""`meshscope up`, `down`, `status` and `logs`."""

import contextlib
import json
import os
import sys
from datetime import UTC, datetime
from typing import Any

import click
from confluent_kafka import KafkaException

from meshscope.embedded.lag import lags
from meshscope.embedded.process_log import followed, tail
from meshscope.embedded.settings import SettingsError, StackSettings, from_environment
from meshscope.embedded.stack import Standing, standing, start, stop
from meshscope.embedded.supervisor import NotStarted

GROUPS = ("meshscope-history", "meshscope-verification")
"""Consumer groups of the sink and of the stream workers."""
STOP_SECONDS = 25.0
NOTHING_RUNS = 3


def _settings() -> StackSettings:
    try:
        return from_environment(os.environ)
    except SettingsError as error:
        raise click.UsageError(str(error)) from error


def _standing(settings: StackSettings) -> Standing:
    try:
        return standing(settings.home)
    except SettingsError as error:
        raise click.ClickException(str(error)) from error


@click.command()
def up() -> None:
    """Start everything on this machine, with the sandbox mesh; Ctrl-C ends it.

    Exit code 2 where it cannot be started.
    """
    settings = _settings()

    def tell(line: str) -> None:
        # Once the terminal is gone there is nobody to tell, but still a stack to end.
        with contextlib.suppress(OSError):
            show(line)

    def show(line: str) -> None:
        click.echo(line)
        if line.startswith("everything runs"):
            click.echo(
                f"\nThe page: {settings.console}\n"
                "In another terminal: meshscope drift --watch | meshscope anomalies | "
                "meshscope sandbox --help\nCtrl-C ends it."
            )

    try:
        start(settings, tell)
    except (SettingsError, NotStarted) as error:
        click.echo(f"meshscope: {error}", err=True)
        sys.exit(2)
    tell("ended")


@click.command()
def down() -> None:
    """End the stack that runs in this home."""
    try:
        ended = stop(_settings().home, STOP_SECONDS)
    except SettingsError as error:
        raise click.ClickException(str(error)) from error
    click.echo("ended" if ended else "no stack runs here")


@click.command()
@click.option(
    "-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True
)
def status(output: str) -> None:
    """What runs, since when, and how far behind it is.

    Exit code: 0 where everything runs, 1 where something does not, 3 where no stack runs.
    """
    settings = _settings()
    found = _standing(settings)
    document: dict[str, Any] = {**found.document, "running": found.pid is not None}
    # A running stack may have been started with other settings than this command.
    brokers = found.document.get("brokers", settings.brokers)
    document["lag"], document["lag_error"] = _lag(brokers) if document["running"] else ([], "")
    if output == "json":
        click.echo(json.dumps(document))
    else:
        _show(settings, document)
    states = [service["state"] for service in document.get("services", [])]
    healthy = bool(states) and all(state == "ready" for state in states)
    sys.exit(NOTHING_RUNS if not document["running"] else 0 if healthy else 1)


def _lag(brokers: str) -> tuple[list[dict[str, object]], str]:
    try:
        found = lags(brokers, GROUPS)
    except (KafkaException, TimeoutError) as error:
        return [], f"the broker does not answer: {error}"
    return [
        {"group": each.group, "topic": each.topic, "records": each.records} for each in found
    ], ""


def _show(settings: StackSettings, document: dict[str, Any]) -> None:
    if not document["running"]:
        click.echo(f"no stack runs in {settings.home}; start it with `meshscope up`")
        return
    click.echo(f"{'process':22} {'state':11} {'pid':>7} {'restarts':>8}  since     last end")
    for service in document.get("services", []):
        since = datetime.fromtimestamp(service["since"], UTC).astimezone().strftime("%H:%M:%S")
        pid = service["pid"] or ""
        click.echo(
            f"{service['name']:22} {service['state']:11} {pid:>7} {service['restarts']:>8}  "
            f"{since}  {service['last_exit']}"
        )
    click.echo("")
    if document["lag_error"]:
        click.echo(document["lag_error"])
    for lag in document["lag"]:
        click.echo(f"{lag['group']:22} {lag['records']:>7} records behind on {lag['topic']}")
    if not document["lag_error"]:
        for group in sorted(set(GROUPS) - {lag["group"] for lag in document["lag"]}):
            click.echo(f"{group:22} has committed nothing yet")
    click.echo(
        f"\npage  {document.get('console', settings.console)}\nlogs  {settings.home / 'logs'}"
    )


@click.command()
@click.argument("name")
@click.option("-f", "--follow", is_flag=True, help="Go on with what is to come.")
@click.option("-n", "--lines", default=50, show_default=True, help="How many lines from the end.")
def logs(name: str, follow: bool, lines: int) -> None:
    """Show the log of a process, NAME as `meshscope status` lists it."""
    folder = _settings().home / "logs"
    known = sorted(path.stem for path in folder.glob("*.log"))
    if name not in known:
        raise click.UsageError(
            f"there is no log of {name!r}; there are: {', '.join(known) or 'none'}"
        )
    for line in tail(folder / f"{name}.log", lines):
        click.echo(line)
    if follow:
        for line in followed(folder / f"{name}.log"):
            click.echo(line)
