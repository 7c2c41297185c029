"""How commands print: tables for people, JSON for programs."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

Format = Literal["table", "json"]

format_option = click.option(
    "-o",
    "--output",
    "output",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="Table for people, JSON for programs.",
)

COLOURS = {
    "in-sync": "green",
    "drift": "bold red",
    "unverifiable": "yellow",
    "unknown": "yellow",
    "converging": "cyan",
    "critical": "bold red",
    "warning": "yellow",
    "exposes": "bold red",
    "opened": "bold red",
    "resolved": "green",
}


def plain(value: Any) -> Any:
    """A value as JSON shows it: times in RFC 3339, UTC."""
    if isinstance(value, datetime):
        return value.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return str(value)


def as_json(value: object) -> str:
    """JSON, one line."""
    return json.dumps(value, default=plain, ensure_ascii=False)


def cell(value: Any) -> Text:
    """A value in a table."""
    if value is None:
        return Text("")
    if isinstance(value, list | tuple):
        return Text(", ".join(map(str, value)))
    text = plain(value) if isinstance(value, datetime | bytes) else str(value)
    return Text(text, style=COLOURS.get(text, ""))


def table(
    rows: Sequence[Mapping[str, Any]],
    columns: Sequence[str],
    titles: Mapping[str, str] | None = None,
) -> Table:
    """Rows as a table; long values wrap instead of being cut."""
    shown = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        title = (titles or {}).get(column, column.replace("_", " "))
        shown.add_column(title, overflow="fold")
    for row in rows:
        shown.add_row(*(cell(row[column]) for column in columns))
    return shown


def console() -> Console:
    """Where tables go: coloured only on a terminal, not cut where the output is a file."""
    terminal = Console(highlight=False)
    return terminal if terminal.is_terminal else Console(highlight=False, width=200)
