"""From records to rows, the ledger of migrations, and settings."""

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshscope.events import facts
from meshscope.events.codec import FACTS, PoisonValue, encode
from meshscope.events.topics import RESOURCES, SNAPSHOTS, TOPICS, Topic
from meshscope.history.migrate import Applied, MigrationError, migrations, pending
from meshscope.history.rows import TABLES, Place, instant, row_of
from meshscope.history.settings import SettingsError, from_environment
from meshscope.history.sink import KEPT


def place(topic: Topic, offset: int = 7, epoch: str = "log") -> Place:
    return Place(epoch, topic.name, 2, offset, 1_790_000_000_000)


def columns_in_schema() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for migration in migrations():
        for statement in migration.statements:
            table = re.search(r"CREATE TABLE (\w+)", statement)
            if table is not None:
                body = statement[statement.index("(\n") : statement.index("\n)\n")]
                found[table[1]] = re.findall(r"(?m)^    (\w+) ", body)
            altered = re.search(r"ALTER TABLE (\w+)", statement)
            if altered is not None:
                found[altered[1]] += re.findall(r"ADD COLUMN (\w+) ", statement)
    return found


SET_BY_CLICKHOUSE = {"recorded_at"}


def facts_with_topics() -> list[tuple[Topic, type]]:
    return [(topic, fact) for topic in KEPT.values() for fact in topic.facts]


@pytest.mark.parametrize(("topic", "fact"), facts_with_topics(), ids=lambda each: str(each)[:60])
@given(st.data())
def test_every_fact_fills_every_column_of_its_table(
    topic: Topic, fact: type, data: st.DataObject
) -> None:
    value = encode(_plain(data.draw(st.from_type(fact))))
    row = row_of(topic, place(topic), b"key", value)
    assert row is not None
    assert set(row.row) == set(columns_in_schema()[row.table]) - SET_BY_CLICKHOUSE


def _plain(fact: Any) -> Any:
    """Bodies are JSON in UTF-8; others are poison and tested below."""
    for name in ("body", "mesh_config", "mesh_networks", "content", "metadata"):
        if hasattr(fact, name):
            object.__setattr__(fact, name, b"{}")
    return fact


def test_every_table_has_a_fact() -> None:
    assert sorted(columns_in_schema()) == sorted(TABLES)


def test_every_fact_is_kept_or_its_topic_says_that_it_is_not() -> None:
    kept = {fact for topic in TOPICS if topic.kept for fact in topic.facts}
    assert kept == set(FACTS) - {facts.PolicyRequest}


def test_a_resource_that_is_gone_becomes_a_row() -> None:
    key = b"directory/lab/security.istio.io/AuthorizationPolicy/shop/cart-callers"
    row = row_of(RESOURCES, place(RESOURCES), key, None)
    assert row is not None
    assert row.row["deleted"] is True
    assert (row.row["namespace"], row.row["name"]) == ("shop", "cart-callers")
    assert set(row.row) == set(columns_in_schema()["resources"]) - SET_BY_CLICKHOUSE


def test_a_proxy_that_is_gone_becomes_a_row() -> None:
    row = row_of(SNAPSHOTS, place(SNAPSHOTS), b"lab/cart-1.shop", None)
    assert row is not None
    assert (row.row["cluster"], row.row["proxy"], row.row["deleted"]) == (
        "lab",
        "cart-1.shop",
        True,
    )
    assert set(row.row) == set(columns_in_schema()["snapshots"]) - SET_BY_CLICKHOUSE


def test_a_cluster_may_have_slashes_in_its_name() -> None:
    row = row_of(RESOURCES, place(RESOURCES), b"kubernetes/projects/x/apps/Pod/shop/cart", None)
    assert row is not None
    assert (row.row["cluster"], row.row["api_group"], row.row["name"]) == (
        "projects/x",
        "apps",
        "cart",
    )


def test_a_tombstone_with_a_broken_key_is_poison() -> None:
    with pytest.raises(PoisonValue, match="'nonsense' is not origin/cluster"):
        row_of(RESOURCES, place(RESOURCES), b"nonsense", None)


def test_a_redelivered_record_has_the_same_event_id() -> None:
    value = encode(facts.Verdict("", "p", "c", "in-sync", "s", "d", 1))
    topic = next(t for t in TOPICS if facts.Verdict in t.facts)
    first, again = (row_of(topic, place(topic, offset), b"k", value) for offset in (1, 2))
    assert first is not None
    assert again is not None
    assert first.row["event_id"] == again.row["event_id"]


@given(st.integers(-(2**62), 2**62))
def test_a_clock_that_is_wrong_by_years_gives_a_row(milliseconds: int) -> None:
    assert 1970 <= instant(milliseconds).year <= 2300


class TestLedger:
    def test_all_is_pending_at_first(self) -> None:
        assert pending(migrations(), ()) == migrations()

    def test_nothing_is_pending_at_the_end(self) -> None:
        done = tuple(Applied(m.number, m.name, m.digest) for m in migrations())
        assert pending(migrations(), done) == ()

    def test_a_changed_migration_is_refused(self) -> None:
        first = migrations()[0]
        with pytest.raises(MigrationError, match="was changed after it had been applied"):
            pending(migrations(), (Applied(1, first.name, "other"),))

    def test_a_newer_database_is_refused(self) -> None:
        with pytest.raises(MigrationError, match="use the version that applied it"):
            pending(migrations(), (Applied(9999, "future", ""),))


class TestSettings:
    def test_a_number_is_asked_for(self) -> None:
        with pytest.raises(SettingsError, match="MESHSCOPE_CLICKHOUSE_PORT is 'x': give a number"):
            from_environment({"MESHSCOPE_CLICKHOUSE_PORT": "x"})

    def test_zero_rows_make_no_batch(self) -> None:
        with pytest.raises(SettingsError, match="MESHSCOPE_HISTORY_BATCH_ROWS is 0"):
            from_environment({"MESHSCOPE_HISTORY_BATCH_ROWS": "0"})

    def test_values_are_taken(self) -> None:
        settings = from_environment({"MESHSCOPE_CLICKHOUSE_SECURE": "true"})
        assert settings.clickhouse_secure


def test_migrations_ship_with_the_package() -> None:
    folder = Path(__file__).parents[2] / "sinks/meshscope/history/migrations"
    assert len(migrations()) == len(list(folder.glob("*.sql")))
