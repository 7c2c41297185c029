"""Numbered migrations of the ClickHouse schema, with a ledger."""

import hashlib
import re
from dataclasses import dataclass
from importlib.resources import files
from typing import Final

from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError, DatabaseError

from meshscope.history.errors import HistoryError, StoreAway, meaning

LEDGER: Final = """
CREATE TABLE IF NOT EXISTS schema_migrations
(
    number UInt32,
    name String,
    digest String,
    applied_at DateTime64(3, 'UTC') DEFAULT now64(3, 'UTC')
)
ENGINE = MergeTree
ORDER BY number
"""
UNKNOWN_TABLE: Final = 60
UNKNOWN_DATABASE: Final = 81
_FILE = re.compile(r"^(\d{4})_([a-z0-9_]+)\.sql$")


class MigrationError(HistoryError):
    """The schema cannot be brought up to date; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One file in `migrations/`.

    Attributes:
        number: Its number; migrations are applied in this order, without gaps.
        name: What it does, from the file's name.
        statements: SQL, separated in the file by lines that hold `;` alone.
        digest: Hash of the file, so that an applied migration that was changed is noticed.
    """

    number: int
    name: str
    statements: tuple[str, ...]
    digest: str


@dataclass(frozen=True, slots=True)
class Applied:
    """A line of the ledger."""

    number: int
    name: str
    digest: str


def migrations() -> tuple[Migration, ...]:
    """All migrations that this version knows, in order.

    Raises:
        MigrationError: A file has an unexpected name, or a number is missing or doubled.
    """
    found = []
    for entry in files("meshscope.history").joinpath("migrations").iterdir():
        if not entry.name.endswith(".sql"):
            continue
        match = _FILE.match(entry.name)
        if match is None:
            raise MigrationError(f"the migration {entry.name} is not named NNNN_words.sql")
        text = entry.read_text("utf-8")
        statements = tuple(
            part.strip() for part in re.split(r"(?m)^;$", text) if _has_statement(part)
        )
        digest = hashlib.sha256(text.encode()).hexdigest()
        found.append(Migration(int(match[1]), match[2], statements, digest))
    found.sort(key=lambda migration: migration.number)
    numbers = [migration.number for migration in found]
    if numbers != list(range(1, len(found) + 1)):
        raise MigrationError(f"the migrations are numbered {numbers}, not 1 to {len(found)}")
    return tuple(found)


def _has_statement(text: str) -> bool:
    return any(line.strip() and not line.startswith("--") for line in text.splitlines())


def pending(known: tuple[Migration, ...], applied: tuple[Applied, ...]) -> tuple[Migration, ...]:
    """Migrations that are still to be applied.

    Raises:
        MigrationError: The ledger holds migrations that this version does not know, or other ones
            under the same number.
    """
    by_number = {migration.number: migration for migration in known}
    for line in sorted(applied, key=lambda line: line.number):
        migration = by_number.get(line.number)
        if migration is None:
            raise MigrationError(
                f"the database has migration {line.number:04} ({line.name}), which this version of "
                "MeshScope does not know: use the version that applied it, or a newer one"
            )
        if migration.digest != line.digest:
            raise MigrationError(
                f"migration {line.number:04} ({line.name}) was changed after it had been applied: "
                "put the file back as it was and add a new migration"
            )
    done = {line.number for line in applied}
    return tuple(migration for migration in known if migration.number not in done)


def migrate(client: Client, database: str) -> tuple[Migration, ...]:
    """Bring the schema up to date; returns what was applied.

    Statements are applied one by one and noted in the ledger when all of a migration are through.
    ClickHouse has no transactions over them, so each is written to be repeatable: after a crash in
    the middle the tables, columns and projections that exist are left as they are.

    Raises:
        MigrationError: See `pending`; or ClickHouse refuses a statement.
        StoreAway: It does not answer.
    """
    try:
        return _migrate(client, database)
    except (ClickHouseError, OSError) as error:
        meant = meaning(error)
        if isinstance(meant, StoreAway):
            raise meant from error
        raise MigrationError(f"the schema of {database} cannot be changed: {meant}") from error


def _migrate(client: Client, database: str) -> tuple[Migration, ...]:
    quoted = _quoted(database)
    client.database = database
    applied = _applied(client)
    if applied is None:
        client.database = ""
        client.command(f"CREATE DATABASE IF NOT EXISTS {quoted}")
        client.database = database
        client.command(LEDGER)
    todo = pending(migrations(), applied or ())
    for migration in todo:
        for statement in migration.statements:
            client.command(_repeatable(statement))
        client.insert(
            "schema_migrations",
            [[migration.number, migration.name, migration.digest]],
            column_names=["number", "name", "digest"],
        )
    return todo


def _applied(client: Client) -> tuple[Applied, ...] | None:
    """The ledger; None: there is none yet.

    It is read before anything is created, so that a sink whose schema is up to date needs no right
    to change it.
    """
    try:
        rows = client.query("SELECT number, name, digest FROM schema_migrations").result_rows
    except DatabaseError as error:
        if error.code in (UNKNOWN_TABLE, UNKNOWN_DATABASE):
            return None
        raise
    return tuple(Applied(*row) for row in rows)


def _repeatable(statement: str) -> str:
    return re.sub(
        r"(?m)^(CREATE (?:TABLE|VIEW|MATERIALIZED VIEW)|\s*ADD COLUMN) (?!IF NOT EXISTS)",
        r"\1 IF NOT EXISTS ",
        statement,
    )


def _quoted(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        raise MigrationError(
            f"the database name {name!r} is not made of letters, digits and underscores"
        )
    return f"`{name}`"
