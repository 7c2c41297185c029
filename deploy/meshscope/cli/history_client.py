"""Questions to the history, for commands."""

from collections.abc import Mapping, Sequence
from typing import Any

import click
import clickhouse_connect
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError

from meshscope.cli.endpoints import Endpoints
from meshscope.history.library import library


def connect(where: Endpoints) -> Client:
    """A client.

    Raises:
        click.ClickException: Nobody answers.
    """
    try:
        return clickhouse_connect.get_client(
            host=where.clickhouse_host,
            port=where.clickhouse_port,
            username=where.clickhouse_user,
            password=where.clickhouse_password,
            database=where.database,
            autogenerate_session_id=False,
        )
    except (ClickHouseError, OSError) as error:
        raise click.ClickException(
            f"the history at {where.clickhouse_host}:{where.clickhouse_port} does not answer. Is "
            "the stack running (meshscope status)? Else set MESHSCOPE_CLICKHOUSE_HOST and "
            f"MESHSCOPE_CLICKHOUSE_PORT. ({_first_line(error)})"
        ) from error


def ask(client: Client, sql: str, parameters: Mapping[str, object]) -> list[dict[str, Any]]:
    """Rows of a query.

    Raises:
        click.ClickException: The store refuses it, or is away.
    """
    try:
        result = client.query(sql, parameters=dict(parameters))
    except (ClickHouseError, OSError) as error:
        raise click.ClickException(_first_line(error)) from error
    names: Sequence[str] = result.column_names
    return [dict(zip(names, row, strict=True)) for row in result.result_rows]


def ask_library(client: Client, name: str, values: Mapping[str, object]) -> list[dict[str, Any]]:
    """Rows of a query of the library.

    Raises:
        click.UsageError: There is no such query, or its parameters are not as it wants them.
        click.ClickException: See `ask`.
    """
    query = library().get(name)
    if query is None:
        raise click.UsageError(f"there is no query {name!r}; there are {', '.join(library())}")
    try:
        bound = query.bound(values)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    return ask(client, query.sql, bound)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
