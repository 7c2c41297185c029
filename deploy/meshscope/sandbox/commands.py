"""`meshscope sandbox …`: run the sample mesh, move it, break it, heal it."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn, TypeVar, get_args

import click
import msgspec

from meshscope.sandbox import protocol
from meshscope.sandbox.client import SandboxClient
from meshscope.sandbox.errors import SandboxError
from meshscope.sandbox.model import load_index
from meshscope.sandbox.paths import HOME_VARIABLE, default_directory

FAILED = 1
CANNOT_START = 2


directory_option = click.option(
    "--dir",
    "directory",
    type=click.Path(path_type=Path, file_okay=False),
    help=f"Directory of the sandbox; default ${HOME_VARIABLE}/sandbox or ~/.meshscope/sandbox.",
)

F = TypeVar("F", bound=Callable[..., None])


def run_options(command: F) -> F:
    """How to run a sandbox."""
    for option in (
        click.option("--no-traffic", is_flag=True, help="Send no requests through the mesh."),
        click.option("--probe", is_flag=True, help="Serve the variant with the route for probes."),
        click.option(
            "--state", default="00-base", show_default=True, help="Recorded state to start in."
        ),
    ):
        command = option(command)
    return command


@click.group()
@directory_option
@click.pass_context
def sandbox(context: click.Context, directory: Path | None) -> None:
    """A sample mesh of real Envoys on this machine: move it from state to state, break it, heal it.

    PROXY is pod.namespace, as in cart-1.shop; 'status' lists them.
    """
    context.obj = directory or default_directory()


@sandbox.command()
@run_options
@click.pass_obj
def run(directory: Path, state: str, probe: bool, no_traffic: bool) -> None:
    """Run the sandbox in the foreground, until Ctrl-C."""
    run_in_foreground(directory, state, probe, no_traffic)


def run_in_foreground(directory: Path, state: str, probe: bool, no_traffic: bool) -> None:
    """Runs a sandbox until SIGINT or SIGTERM; exits with code 2 if it cannot start."""
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    # Processes are forked only to run Envoy; gRPC's handlers for other forks would complain.
    os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
    try:
        from meshscope.sandbox.recording import Variant
        from meshscope.sandbox.server import serve
    except ImportError as error:
        _fail(f"a library is missing ({error}): install meshscope[sandbox]", CANNOT_START)
    variant = Variant.PROBE if probe else Variant.PLAIN
    try:
        asyncio.run(serve(directory.absolute(), state, variant, not no_traffic, click.echo))
    except SandboxError as error:
        _fail(str(error), CANNOT_START)


@sandbox.command()
def states() -> None:
    """List the recorded states and what each changes."""
    with _readable_errors():
        for state in load_index().states:
            click.echo(f"{state.id}  {state.title}")
            click.echo(f"    {state.story}")
            if state.effect:
                click.echo(f"    Effect: {state.effect}")


@sandbox.command()
@click.argument("state")
@click.pass_obj
def state(directory: Path, state: str) -> None:
    """Move the mesh to a recorded STATE: declared resources and every proxy."""
    _report(lambda client: client.state(state), directory)


@sandbox.command()
@click.argument("state")
@click.pass_obj
def declare(directory: Path, state: str) -> None:
    """Declare a recorded STATE and push it to no proxy: all are out of date."""
    _report(lambda client: client.declare(state), directory)


_switch = click.argument("switch", type=click.Choice(["on", "off"]), default="on")


@sandbox.command()
@click.argument("proxy")
@_switch
@click.pass_obj
def stale(directory: Path, proxy: str, switch: str) -> None:
    """Keep pushes from PROXY: later changes do not reach it."""
    _report(lambda client: client.stale(proxy, switch == "on"), directory)


@sandbox.command()
@click.argument("proxy")
@click.argument("kind", type=click.Choice(get_args(protocol.XdsName)))
@click.pass_obj
def reject(directory: Path, proxy: str, kind: protocol.XdsName) -> None:
    """Send PROXY an update that Envoy refuses; it keeps what it had."""
    _report(lambda client: client.reject(proxy, kind), directory)


@sandbox.command()
@click.argument("proxy")
@click.pass_obj
def warm(directory: Path, proxy: str) -> None:
    """Give PROXY a cluster that warms for ever."""
    _report(lambda client: client.warm(proxy), directory)


@sandbox.command()
@click.argument("proxy")
@_switch
@click.pass_obj
def disconnect(directory: Path, proxy: str, switch: str) -> None:
    """Take PROXY's control plane away."""
    _report(lambda client: client.disconnect(proxy, switch == "on"), directory)


@sandbox.command("remove-rbac")
@click.argument("proxy")
@click.option(
    "--chain",
    type=click.Choice(get_args(protocol.ChainName)),
    default="all",
    show_default=True,
    help="Filter chains that lose their RBAC filters: all, those without TLS, those with it.",
)
@click.pass_obj
def remove_rbac(directory: Path, proxy: str, chain: protocol.ChainName) -> None:
    """Serve PROXY inbound listeners without RBAC filters."""
    _report(lambda client: client.remove_rbac(proxy, chain), directory)


@sandbox.command()
@click.argument("name", type=click.Choice(get_args(protocol.OverlayName)))
@_switch
@click.pass_obj
def overlay(directory: Path, name: protocol.OverlayName, switch: str) -> None:
    """Declare and push a change on top of any state.

    dns-cluster: an external service that Envoy finds through DNS. outlier: outlier detection for
    the cart, one of whose hosts is then made to fail and ejected.
    """
    _report(lambda client: client.overlay(name, switch == "on"), directory)


@sandbox.command()
@click.argument("proxy", required=False)
@click.pass_obj
def heal(directory: Path, proxy: str | None) -> None:
    """Undo every fault of PROXY, or of all, and push what is declared."""
    _report(lambda client: client.heal(proxy), directory)


@sandbox.command()
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table")
@click.pass_obj
def status(directory: Path, output: str) -> None:
    """Show every proxy: Envoy's state, versions sent and accepted, injected faults."""
    with _readable_errors():
        answer = SandboxClient(directory).status()
    if output == "json":
        click.echo(msgspec.json.format(msgspec.json.encode(answer)).decode())
        return
    for line in render_status(answer):
        click.echo(line)


def render_status(status: protocol.Status) -> Iterator[str]:
    """The status as a table for people."""
    overlays = f" with overlays {', '.join(status.overlays)}" if status.overlays else ""
    yield f"declared {status.declared}{overlays}, pushed {status.pushed} (process {status.pid})"
    yield f"{'PROXY':<22}{'STATE':<18}{'PID':<9}{'ADMIN':<20}{'SERVED':<26}{'VERSIONS':<20}FAULTS"
    for proxy in status.proxies:
        faults = ", ".join(proxy.faults) or "-"
        yield (
            f"{proxy.proxy:<22}{proxy.state:<18}{proxy.pid or '-':<9}{proxy.admin:<20}"
            f"{proxy.delivered:<26}{_versions(proxy):<20}{faults}"
        )
        for name, kind in proxy.types.items():
            if kind.error:
                yield f"    {name} rejected: {kind.error}"


def _versions(proxy: protocol.ProxyStatus) -> str:
    if not proxy.connected:
        return "not connected"
    waiting = [name for name, kind in proxy.types.items() if kind.sent and not kind.answered]
    refused = [name for name, kind in proxy.types.items() if kind.error]
    words = [f"{', '.join(waiting)} unanswered"] if waiting else []
    words += [f"{', '.join(refused)} rejected"] if refused else []
    return "; ".join(words) or "all accepted"


def render_result(result: protocol.MutationResult) -> Iterator[str]:
    """What a mutation did, a line per proxy that has something to say."""
    quiet = 0
    for push in result.pushes:
        if push.note:
            yield f"{push.proxy}: {push.note}"
        for kind, text in push.rejected.items():
            yield f"{push.proxy}: Envoy rejected {kind}: {text}"
        if push.unanswered:
            yield f"{push.proxy}: no answer for {', '.join(push.unanswered)}"
        if not (push.note or push.rejected or push.unanswered):
            quiet += 1
    if quiet:
        yield f"{quiet} {'proxy' if quiet == 1 else 'proxies'} accepted what was pushed"
    if result.note:
        yield result.note
    yield f"declared: {result.declared}"


def _report(command: Callable[[SandboxClient], protocol.MutationResult], directory: Path) -> None:
    with _readable_errors():
        for line in render_result(command(SandboxClient(directory))):
            click.echo(line)


@contextmanager
def _readable_errors() -> Iterator[None]:
    try:
        yield
    except SandboxError as error:
        _fail(str(error), FAILED)


def _fail(message: str, code: int) -> NoReturn:
    click.echo(f"meshscope sandbox: {message}", err=True)
    sys.exit(code)
