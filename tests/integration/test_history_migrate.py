"""Migrations on the real engine."""

import re
from collections.abc import Iterator

import clickhouse_connect
import pytest
from clickhouse_connect.driver.client import Client

from meshscope.history.errors import StoreAway, StoreMisconfigured
from meshscope.history.migrate import MigrationError, migrate, migrations
from meshscope.history.rows import TABLES
from meshscope.history.settings import HistorySettings
from meshscope.history.store import HIGHEST_OFFSETS, Store, connect

pytestmark = pytest.mark.integration

DATABASE = "migrations"


@pytest.fixture
def client(store: tuple[str, int]) -> Iterator[Client]:
    made = clickhouse_connect.get_client(
        host=store[0], port=store[1], autogenerate_session_id=False
    )
    yield made
    made.database = ""
    made.command(f"DROP DATABASE IF EXISTS {DATABASE} SYNC")
    made.close()


def tables(client: Client) -> set[str]:
    return {name for (name,) in client.query(f"SHOW TABLES FROM {DATABASE}").result_rows}


def test_an_empty_server_gets_everything_once(client: Client) -> None:
    assert migrate(client, DATABASE) == migrations()
    assert tables(client) >= {*TABLES, "schema_migrations"}
    assert migrate(client, DATABASE) == ()
    ledger = client.query("SELECT number, name FROM schema_migrations ORDER BY number").result_rows
    assert [tuple(row) for row in ledger] == [(m.number, m.name) for m in migrations()]


def test_a_migration_that_broke_off_is_finished(client: Client) -> None:
    migrate(client, DATABASE)
    before = tables(client)
    client.command("DROP TABLE anomalies")
    client.command("TRUNCATE TABLE schema_migrations")
    assert migrate(client, DATABASE) == migrations()
    assert tables(client) == before


@pytest.mark.parametrize("table", TABLES)
def test_where_a_table_ends_is_known_without_reading_its_rows(client: Client, table: str) -> None:
    """Else a sink could not find its place in a long history before its time is over."""
    migrate(client, DATABASE)
    client.command(
        f"INSERT INTO {table} (log_epoch, kafka_topic, kafka_partition, kafka_offset) "  # noqa: S608
        "SELECT 'log', 'topic', number % 2, number FROM numbers(100000)"
    )
    client.command(f"OPTIMIZE TABLE {table} FINAL")
    asked = {"table": table, "epochs": ["log"]}
    assert "places" in str(client.query("EXPLAIN " + HIGHEST_OFFSETS, parameters=asked).result_rows)
    found = client.query(HIGHEST_OFFSETS, parameters=asked).result_rows
    assert ("log", "topic", 1, 99_999) in [tuple(row) for row in found]


def test_a_name_that_is_no_name_is_refused(client: Client) -> None:
    with pytest.raises(MigrationError, match="is not made of letters, digits and underscores"):
        migrate(client, "a`; DROP")


def test_the_schema_of_a_newer_version_is_left_alone(client: Client) -> None:
    migrate(client, DATABASE)
    client.command("INSERT INTO schema_migrations (number, name, digest) VALUES (9999, 'x', 'y')")
    with pytest.raises(MigrationError, match="9999"):
        migrate(client, DATABASE)


def test_nobody_answers() -> None:
    with pytest.raises(StoreAway):
        connect(HistorySettings(clickhouse_port=1))


def test_a_table_that_is_not_there_will_never_work(client: Client) -> None:
    migrate(client, DATABASE)
    client.command("DROP TABLE drift")
    with pytest.raises(StoreMisconfigured, match=re.escape("UNKNOWN_TABLE")):
        Store(client, DATABASE).highest_offsets(["log"])
