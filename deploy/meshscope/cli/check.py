"""`meshscope check`: verify files, without a broker."""

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Literal

import click

from meshscope.cli.examine import Inputs, examine
from meshscope.cli.output import Format, console, format_option
from meshscope.cli.report import Finding, report_table, unreadable
from meshscope.events.control_plane import ControlPlane
from meshscope.events.proxy import ProxyInputs
from meshscope.events.resource import Resource
from meshscope.inference.result import Inference
from meshscope.projection.result import Projection
from meshscope.watcher.control_plane import SettingsFile
from meshscope.watcher.files import SUFFIXES, UnreadableFile, find_files, read_bytes, unpack

STDIN: Final = "-"
DUMP_SUFFIXES: Final = (".json", ".json.gz")
MAX_DUMP_BYTES: Final = 1 << 30


class ManyValues(click.Command):
    """A command whose repeatable options take several values at once, up to the next option.

    So that `--config-dump dumps/*.json` works, which a shell turns into many arguments.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Repeat the option before each of its values."""
        repeatable = {
            name
            for parameter in self.params
            if isinstance(parameter, click.Option) and parameter.multiple
            for name in parameter.opts
        }
        spread: list[str] = []
        current = ""
        for position, arg in enumerate(args):
            is_value = arg == STDIN or not arg.startswith("-")
            if not is_value:
                current = arg if arg in repeatable else ""
            elif current and args[position - 1] != current:
                spread.append(current)
            spread.append(arg)
        return super().parse_args(ctx, spread)


@click.command(cls=ManyValues)
@click.option(
    "--resources",
    "resources",
    multiple=True,
    required=True,
    metavar="PATH…",
    help="Files or directories of YAML or JSON, `-` for standard input; later ones win.",
)
@click.option(
    "--config-dump",
    "dumps",
    multiple=True,
    metavar="PATH…",
    help="Files or directories of Envoy's /config_dump?include_eds, of `istioctl proxy-config all "
    "-o json` or of istiod's /debug/config_dump, plain or gzip, `-` for standard input.",
)
@click.option(
    "--mesh-config",
    metavar="FILE",
    help="MeshConfig, or the ConfigMap that holds it; else ConfigMap `istio` of the resources.",
)
@click.option(
    "--istiod-env",
    multiple=True,
    metavar="NAME=VALUE…",
    help="A switch of istiod; else those of its Deployment among the resources.",
)
@click.option(
    "--fail-on",
    type=click.Choice(["error", "warning"]),
    default="error",
    show_default=True,
    help="Severity from which findings make the exit code 1.",
)
@format_option
def check(
    resources: tuple[str, ...],
    dumps: tuple[str, ...],
    mesh_config: str | None,
    istiod_env: tuple[str, ...],
    fail_on: Literal["error", "warning"],
    output: Format,
) -> None:
    """Verify configuration dumps of sidecars against the resources that are declared.

    Without dumps, only the declarations are examined.

    Exit code: 0 clean, 1 drift or findings from --fail-on up, 2 wrong usage or input that cannot be
    read, 3 something could not be verified.
    """
    if [*resources, *dumps, mesh_config].count(STDIN) > 1:
        raise click.UsageError("standard input (`-`) can be read once only")
    lost: list[Finding] = []
    inputs = Inputs(
        manifests=tuple(_manifests(resources, lost)),
        dumps=_dumps(dumps),
        mesh_config=_mesh_config(mesh_config) if mesh_config else None,
        environment=_environment(istiod_env),
        unreadable=tuple(lost),
    )
    report = examine(inputs, _infer, _project, fail_on)
    if output == "json":
        click.echo(json.dumps(report.to_json(), indent=2, ensure_ascii=False))
    else:
        console().print(report_table(report))
    raise SystemExit(report.exit_code)


def _infer(dump: Mapping[str, Any]) -> Inference:
    """`infer`, loaded when there is a dump."""
    from meshscope.inference.infer import infer

    return infer(dump)


def _project(
    control_plane: ControlPlane, resources: tuple[Resource, ...], proxy: ProxyInputs
) -> Projection:
    """`project`, loaded when there is a dump."""
    from meshscope.projection.project import project

    return project(control_plane, resources, proxy)


def _manifests(paths: tuple[str, ...], lost: list[Finding]) -> Iterator[tuple[str, bytes]]:
    """Files of resources; those that cannot be read are added to `lost`."""
    for path in paths:
        for name, data in _read(path, SUFFIXES):
            if isinstance(data, Finding):
                lost.append(data)
            else:
                yield name, data


def _dumps(paths: tuple[str, ...]) -> Iterator[tuple[str, bytes | Finding]]:
    """Config dumps, one in memory at a time."""
    for path in paths:
        yield from _read(path, DUMP_SUFFIXES, MAX_DUMP_BYTES)


def _read(
    path: str, suffixes: tuple[str, ...], limit: int | None = None
) -> Iterator[tuple[str, bytes | Finding]]:
    """A file, all files of a directory, or standard input; findings for what cannot be read."""
    limits = {} if limit is None else {"limit": limit}
    if path == STDIN:
        try:
            yield "standard input", unpack("standard input", sys.stdin.buffer.read(), **limits)
        except UnreadableFile as error:
            yield error.path, unreadable(error.path, error.reason)
        return
    try:
        files = find_files(Path(path), suffixes)
    except UnreadableFile as error:
        yield error.path, unreadable(error.path, error.reason)
        return
    if not files:
        reason = f"this directory holds no file whose name ends in {', '.join(suffixes)}"
        yield path, unreadable(path, reason)
    for file in files:
        try:
            yield str(file), read_bytes(file, **limits)
        except UnreadableFile as error:
            yield error.path, unreadable(error.path, error.reason)


def _mesh_config(path: str) -> SettingsFile:
    """The file of --mesh-config.

    Raises:
        click.BadParameter: It cannot be read.
    """
    try:
        data = sys.stdin.buffer.read() if path == STDIN else read_bytes(Path(path))
        return SettingsFile("standard input" if path == STDIN else path, data.decode("utf-8-sig"))
    except UnreadableFile as error:
        raise click.BadParameter(str(error), param_hint="--mesh-config") from error
    except UnicodeDecodeError as error:
        reason = f"{path}: not UTF-8 text"
        raise click.BadParameter(reason, param_hint="--mesh-config") from error


def _environment(pairs: tuple[str, ...]) -> dict[str, str] | None:
    """istiod's switches; None: none were given.

    Raises:
        click.BadParameter: One is not `NAME=VALUE`.
    """
    switches: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise click.BadParameter(
                f"{pair!r} is not NAME=VALUE, such as PILOT_ENABLE_ALPN_FILTER=false",
                param_hint="--istiod-env",
            )
        switches[name] = value
    return switches or None
