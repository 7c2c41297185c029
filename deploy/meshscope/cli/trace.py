"""`meshscope trace`: one request through both sidecars."""

import json
from dataclasses import replace

import click

from meshscope.cli.dialled import CannotDial
from meshscope.cli.inputs import STDIN
from meshscope.cli.loading import inferring, mesh_settings, project, switches
from meshscope.cli.output import Format, console, format_option
from meshscope.cli.sorting import sort_inputs
from meshscope.cli.trace_text import trace_text
from meshscope.cli.tracing import Asked, UnknownWorkload, follow


@click.command()
@click.option(
    "--from",
    "source",
    required=True,
    metavar="WORKLOAD",
    help="Who sends it: a Pod `NAME.NAMESPACE`, or a workload such as a Deployment; the namespace "
    "may be left out.",
)
@click.option(
    "--to",
    required=True,
    metavar="HOST[:PORT]",
    help="What the application dials, as it calls it; the port is the service's only one, or 80.",
)
@click.option("--method", metavar="METHOD", help="Of HTTP.  [default: GET]")
@click.option("--path", "target", metavar="PATH", help="Path, with query.  [default: /]")
@click.option(
    "--header",
    "headers",
    multiple=True,
    metavar="NAME:VALUE",
    help="A header; `host` replaces that which clients send. May be given several times.",
)
@click.option(
    "--mesh-config",
    metavar="FILE",
    help="MeshConfig, or the ConfigMap that holds it; else ConfigMap `istio` of the resources.",
)
@click.option(
    "--istiod-env",
    multiple=True,
    metavar="NAME=VALUE",
    help="A switch of istiod; else those of its Deployment. May be given several times.",
)
@format_option
@click.argument("files", nargs=-1, required=True)
def trace(
    source: str,
    to: str,
    method: str | None,
    target: str | None,
    headers: tuple[str, ...],
    mesh_config: str | None,
    istiod_env: tuple[str, ...],
    output: Format,
    files: tuple[str, ...],
) -> None:
    """Follow one request through both sidecars, as declared and as held, and show where they part.

    FILES are resources, config dumps and bug reports: files, directories, archives, or `-` for
    standard input. What each is, its content tells.

    Exit code: 0 both accounts agree, 1 they part, 2 wrong usage or input that cannot be read, 3
    something could not be said, such as what a sidecar holds of which there is no dump.
    """
    if [*files, mesh_config].count(STDIN) > 1:
        raise click.UsageError("standard input (`-`) can be read once only")
    asked = Asked(
        source,
        to,
        method or "GET",
        target or "/",
        tuple(map(_header, headers)),
        says_http=bool(method or target or headers),
    )
    settings = mesh_settings(mesh_config) if mesh_config else None
    inputs = replace(sort_inputs(files), mesh_config=settings, environment=switches(istiod_env))
    try:
        report = follow(inputs, asked, inferring(), project)
    except UnknownWorkload as error:
        raise click.BadParameter(str(error), param_hint="--from") from error
    except CannotDial as error:
        raise click.BadParameter(str(error), param_hint="--to") from error
    if output == "json":
        click.echo(json.dumps(report.to_json(), indent=2, ensure_ascii=False))
    else:
        console().print(trace_text(report))
    raise SystemExit(report.exit_code)


def _header(text: str) -> tuple[str, str]:
    """Name and value.

    Raises:
        click.BadParameter: It is not `NAME:VALUE`.
    """
    name, colon, value = text.partition(":")
    if not colon or not name.strip():
        raise click.BadParameter(
            f"{text!r} is not NAME:VALUE, such as x-user:ann", param_hint="--header"
        )
    return name.strip().lower(), value.strip()
