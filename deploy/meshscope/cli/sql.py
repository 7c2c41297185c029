"""`meshscope sql`: ask the history."""

import click

from meshscope.cli.endpoints import endpoints
from meshscope.cli.history_client import ask, ask_library, connect
from meshscope.cli.output import Format, as_json, console, format_option, table
from meshscope.history.library import library


@click.command()
@click.argument("statement", required=False)
@click.option("--query", "name", help="A query of the library instead of a statement.")
@click.option("--list", "listing", is_flag=True, help="List the queries of the library.")
@click.option(
    "-p",
    "--param",
    "parameters",
    multiple=True,
    metavar="NAME=VALUE",
    help="Value of a parameter, {NAME:Type} in the statement.",
)
@format_option
def sql(
    statement: str | None,
    name: str | None,
    listing: bool,
    parameters: tuple[str, ...],
    output: Format,
) -> None:
    """Run a STATEMENT on the history (ClickHouse SQL), or a query of the library."""
    if listing:
        rows: list[dict[str, object]] = [
            {
                "name": query.name,
                "question": query.question,
                "parameters": ", ".join(
                    p.name + ("" if p.default is None else f"={p.default}")
                    for p in query.parameters
                ),
            }
            for query in library().values()
        ]
    elif (statement is None) == (name is None):
        raise click.UsageError("give either a statement or --query NAME (--list shows the names)")
    else:
        values = _values(parameters)
        client = connect(endpoints())
        if name is not None:
            rows = ask_library(client, name, values)
        else:
            rows = ask(client, statement or "", values)
    if output == "json":
        click.echo(as_json(rows))
    elif rows:
        console().print(table(rows, list(rows[0]), {column: column for column in rows[0]}))
    else:
        click.echo("no rows", err=True)


def _values(parameters: tuple[str, ...]) -> dict[str, object]:
    values: dict[str, object] = {}
    for parameter in parameters:
        name, separator, value = parameter.partition("=")
        if not separator:
            raise click.UsageError(f"--param {parameter!r} is not NAME=VALUE")
        values[name] = value
    return values
