"""What the commands that read files hand to the functions that decide."""

from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from meshscope.cli.inputs import STDIN, STDIN_NAME, read_stdin
from meshscope.events.control_plane import ControlPlane
from meshscope.events.proxy import ProxyInputs
from meshscope.events.resource import Resource
from meshscope.inference.result import Inference
from meshscope.projection.result import Projection
from meshscope.watcher.control_plane import SettingsFile
from meshscope.watcher.files import UnreadableFile, read_bytes

if TYPE_CHECKING:
    from meshscope.inference.readings import Readings


def inferring() -> Callable[[Mapping[str, Any]], Inference]:
    """`infer`, loaded when there is a dump; resources that several dumps have are read once."""

    @cache
    def known() -> "Readings":
        from meshscope.inference.readings import Readings

        return Readings()

    def found(dump: Mapping[str, Any]) -> Inference:
        from meshscope.inference.infer import infer

        return infer(dump, known())

    return found


def project(
    control_plane: ControlPlane, resources: tuple[Resource, ...], proxy: ProxyInputs
) -> Projection:
    """`project`, loaded when it is asked."""
    from meshscope.projection import project as projection

    return projection.project(control_plane, resources, proxy)


def mesh_settings(path: str) -> SettingsFile:
    """The file of --mesh-config.

    Raises:
        click.BadParameter: It cannot be read.
    """
    try:
        data = read_stdin() if path == STDIN else read_bytes(Path(path))
        return SettingsFile(STDIN_NAME if path == STDIN else path, data.decode("utf-8-sig"))
    except UnreadableFile as error:
        raise click.BadParameter(str(error), param_hint="--mesh-config") from error
    except UnicodeDecodeError as error:
        reason = f"{path}: not UTF-8 text"
        raise click.BadParameter(reason, param_hint="--mesh-config") from error


def switches(pairs: tuple[str, ...]) -> dict[str, str] | None:
    """istiod's switches; None: none were given.

    Raises:
        click.BadParameter: One is not `NAME=VALUE`.
    """
    found: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise click.BadParameter(
                f"{pair!r} is not NAME=VALUE, such as PILOT_ENABLE_ALPN_FILTER=false",
                param_hint="--istiod-env",
            )
        found[name] = value
    return found or None
