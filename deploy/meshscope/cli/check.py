"""`meshscope check`: verify files, without a broker."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from itertools import chain
from typing import Literal

import click

from meshscope.cli.against import against
from meshscope.cli.against_markdown import against_markdown
from meshscope.cli.against_report import AgainstReport
from meshscope.cli.against_table import against_table
from meshscope.cli.bug_report import read_bug_report
from meshscope.cli.examine import examine
from meshscope.cli.given import Inputs
from meshscope.cli.inputs import STDIN, dumps, manifests
from meshscope.cli.junit import junit
from meshscope.cli.loading import inferring, mesh_settings, project, switches
from meshscope.cli.output import console
from meshscope.cli.progress import progress
from meshscope.cli.report import CheckReport, Finding
from meshscope.cli.sarif import sarif
from meshscope.cli.table import report_table


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
    metavar="PATH…",
    help="Files or directories of YAML or JSON, plain or gzip, `-` for standard input; later ones "
    "win.",
)
@click.option(
    "--config-dump",
    "dump_paths",
    multiple=True,
    metavar="PATH…",
    help="Files or directories of Envoy's /config_dump?include_eds, of `istioctl proxy-config all "
    "-o json` or of istiod's /debug/config_dump, plain or gzip, `-` for standard input.",
)
@click.option(
    "--bug-report",
    metavar="PATH",
    help="Archive of `istioctl bug-report`, or a directory that it was unpacked to, `-` for "
    "standard input: configuration dumps and resources. Those of --resources win over its own.",
)
@click.option(
    "--against",
    "against_paths",
    multiple=True,
    metavar="OLD…",
    help="What was declared before, files or directories as for --resources: says what the change "
    "does to the behaviour of each sidecar, not to the text.",
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
    "--complete",
    is_flag=True,
    help="The resources are all that the cluster holds, so that what is not among them does not "
    "exist: then it is said of every selector and host that nothing answers to it. So it is with a "
    "complete --bug-report.",
)
@click.option(
    "--fail-on",
    type=click.Choice(["error", "warning"]),
    default="error",
    show_default=True,
    help="Severity from which findings make the exit code 1.",
)
@click.option(
    "-o",
    "--output",
    "output",
    type=click.Choice(["table", "json", "sarif", "junit", "markdown"]),
    default="table",
    show_default=True,
    help="Table for people, JSON for programs, SARIF for code scanning, JUnit XML for CI servers; "
    "with --against table, JSON, or Markdown for a review.",
)
def check(
    resources: tuple[str, ...],
    dump_paths: tuple[str, ...],
    bug_report: str | None,
    against_paths: tuple[str, ...],
    mesh_config: str | None,
    istiod_env: tuple[str, ...],
    complete: bool,
    fail_on: Literal["error", "warning"],
    output: str,
) -> None:
    """Verify configuration dumps of sidecars against the resources that are declared.

    Without dumps, only the declarations are examined; with --against, two declarations are
    compared by what sidecars do under each.

    Exit code: 0 clean, 1 drift, changed behaviour, or findings from --fail-on up (those about
    declarations are errors where requests fail for certain), 2 wrong usage or input that cannot be
    read, 3 something could not be verified.
    """
    sources = [*resources, *dump_paths, *against_paths, bug_report, mesh_config]
    if sources.count(STDIN) > 1:
        raise click.UsageError("standard input (`-`) can be read once only")
    if not (resources or bug_report):
        raise click.UsageError("give --resources, or --bug-report")
    if against_paths and not resources:
        raise click.UsageError("--against needs --resources, what is declared now")
    if output in (("sarif", "junit") if against_paths else ("markdown",)):
        raise click.UsageError(f"-o {output} is {'not for' if against_paths else 'for'} --against")
    settings = mesh_settings(mesh_config) if mesh_config else None
    environment = switches(istiod_env)
    inputs, count = _inputs(resources, dump_paths, bug_report)
    inputs = replace(
        inputs,
        mesh_config=settings,
        environment=environment,
        complete=complete or inputs.complete,
        today=datetime.now(UTC).date(),
    )
    if against_paths:
        changed = _against(inputs, against_paths, fail_on)
        _print_change(changed, output)
        raise SystemExit(changed.exit_code)
    with progress(inputs.dumps, count) as read:
        report = examine(replace(inputs, dumps=read), inferring(), project, fail_on)
    _print(report, output)
    raise SystemExit(report.exit_code)


def _inputs(
    resources: tuple[str, ...], dump_paths: tuple[str, ...], bug_report: str | None
) -> tuple[Inputs, int]:
    """Everything that is named on the command line, and the number of dumps."""
    lost: list[Finding] = []
    declared = tuple(manifests(resources, lost))
    count, read = dumps(dump_paths, lost)
    if bug_report is None:
        return Inputs(declared, read, unreadable=tuple(lost)), count
    reported = read_bug_report(bug_report)
    elsewhere = bool(declared) and reported.is_of_proxies_alone
    lacks = () if elsewhere else reported.lost
    return (
        Inputs(
            declared,
            chain(read, reported.dumps),
            unreadable=(*lost, *lacks),
            cluster=reported.manifests,
            lacks="the bug report lacks resources" if lacks else "",
            complete=not (lacks or reported.is_of_proxies_alone),
        ),
        count + reported.count,
    )


def _against(
    inputs: Inputs, paths: tuple[str, ...], fail_on: Literal["error", "warning"]
) -> AgainstReport:
    lost: list[Finding] = []
    before = tuple(manifests(paths, lost))
    inputs = replace(inputs, unreadable=(*lost, *inputs.unreadable))
    return against(inputs, before, inferring(), project, fail_on)


def _print_change(report: AgainstReport, output: str) -> None:
    match output:
        case "json":
            click.echo(json.dumps(report.to_json(), indent=2, ensure_ascii=False))
        case "markdown":
            click.echo(against_markdown(report), nl=False)
        case _:
            console().print(against_table(report))


def _print(report: CheckReport, output: str) -> None:
    match output:
        case "json":
            click.echo(json.dumps(report.to_json(), indent=2, ensure_ascii=False))
        case "sarif":
            click.echo(json.dumps(sarif(report), indent=2, ensure_ascii=False))
        case "junit":
            click.echo(junit(report), nl=False)
        case _:
            console().print(report_table(report))
