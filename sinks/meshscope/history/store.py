"""ClickHouse: inserts with an answer that says what to do next, see `errors.py`."""

from collections.abc import Collection, Sequence
from typing import Any, Final

import clickhouse_connect
from clickhouse_connect.datatypes.base import ClickHouseType
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError

from meshscope.history.batch import Chunk
from meshscope.history.errors import HistoryError, RowsRejected, StoreAway, meaning
from meshscope.history.positions import Highest
from meshscope.history.rows import TABLES
from meshscope.history.settings import HistorySettings

ONE_BLOCK_BYTES: Final = 1 << 40
"""More than any insert has."""

HIGHEST_OFFSETS: Final = """
SELECT log_epoch, kafka_topic, kafka_partition, max(kafka_offset)
FROM {table:Identifier}
WHERE log_epoch IN {epochs:Array(String)}
GROUP BY log_epoch, kafka_topic, kafka_partition
"""
"""Answered from the projection `places` of the tables."""

HOLDS: Final = """
SELECT count() > 0
FROM {table:Identifier}
WHERE log_epoch = {log_epoch:String}
    AND kafka_topic = {topic:String}
    AND kafka_partition = {partition:UInt16}
    AND kafka_offset = {offset:UInt64}
"""

_ERRORS: Final = (ClickHouseError, OSError, TypeError, ValueError, AttributeError, OverflowError)
"""What the client raises, some of it where a value does not fit its column."""


def connect(settings: HistorySettings) -> Client:
    """A client for the store.

    Raises:
        StoreAway: Nobody answers.
        StoreMisconfigured: It answers that this user may not come in.
    """
    try:
        return clickhouse_connect.get_client(
            host=settings.clickhouse_host,
            port=settings.clickhouse_port,
            username=settings.clickhouse_user,
            password=settings.clickhouse_password,
            secure=settings.clickhouse_secure,
            connect_timeout=settings.clickhouse_seconds,
            send_receive_timeout=settings.clickhouse_seconds,
            # Sessions would make statements wait for each other.
            autogenerate_session_id=False,
        )
    except _ERRORS as error:
        raise _without_rows(error) from error


class Store:
    """The tables of the history, as the sink sees them."""

    def __init__(self, client: Client, database: str) -> None:
        self._client = client
        self._client.database = database
        self._types: dict[str, Sequence[ClickHouseType]] = {}

    def highest_offsets(self, log_epochs: Collection[str]) -> Highest:
        """What the tables hold of these logs, see `positions.Highest`.

        Raises:
            StoreAway, StoreMisconfigured: It cannot be asked now, or never.
        """
        highest: dict[tuple[str, str, str, int], int] = {}
        for table in TABLES:
            try:
                rows = self._client.query(
                    HIGHEST_OFFSETS,
                    parameters={"table": table, "epochs": sorted(log_epochs)},
                ).result_rows
            except _ERRORS as error:
                raise _without_rows(error) from error
            for epoch, topic, partition, offset in rows:
                highest[table, epoch, topic, partition] = offset
        return highest

    def holds(self, chunk: Chunk) -> bool:
        """Whether the rows are there: asked for the last one of each partition.

        Raises:
            StoreAway, StoreMisconfigured: It cannot be asked now, or never.
        """
        places = (kept.place for kept in chunk.rows)
        last = {(place.log_epoch, place.topic, place.partition): place.offset for place in places}
        return all(self._has(chunk.table, *log, offset) for log, offset in last.items())

    def _has(self, table: str, log_epoch: str, topic: str, partition: int, offset: int) -> bool:
        parameters = {
            "table": table,
            "log_epoch": log_epoch,
            "topic": topic,
            "partition": partition,
            "offset": offset,
        }
        try:
            rows = self._client.query(HOLDS, parameters=parameters).result_rows
        except _ERRORS as error:
            raise _without_rows(error) from error
        return bool(rows[0][0])

    def insert(self, chunk: Chunk, token: str) -> None:
        """Write rows in one block, which becomes one part: all of them or none.

        Args:
            chunk: The rows.
            token: An insert with a token that ClickHouse noted before is taken as done, even if it
                was killed after it had noted the token and before the rows were there: where a
                token is used again, ask whether it `holds` them.

        Raises:
            StoreAway, RowsRejected, StoreMisconfigured: Nothing was written, or, where the answer
                was lost, all of it; the same chunk may be sent again.
        """
        names = list(chunk.rows[0].row)
        types = self._types_of(chunk.table, names)
        columns: list[list[Any]] = [[kept.row[name] for kept in chunk.rows] for name in names]
        settings = {
            "insert_deduplication_token": token,
            # The client sends blocks of a few megabytes. ClickHouse joins them until it has one of
            # so many rows or bytes, so only these settings keep a large batch in one part.
            "min_insert_block_size_rows": len(chunk.rows),
            "min_insert_block_size_bytes": ONE_BLOCK_BYTES,
        }
        try:
            self._client.insert(
                chunk.table,
                columns,
                column_names=names,
                column_types=types,
                column_oriented=True,
                settings=settings,
            )
        except _ERRORS as error:
            raise meaning(error) from error
        finally:
            # The client's context refers to itself and holds the rows until a late garbage
            # collection: hundreds of megabytes where records are large.
            columns.clear()

    def _types_of(self, table: str, names: Sequence[str]) -> Sequence[ClickHouseType]:
        """Types of the columns, asked for once."""
        if table not in self._types:
            try:
                context = self._client.create_insert_context(table, list(names))
            except _ERRORS as error:
                raise _without_rows(error) from error
            self._types[table] = context.column_types
        return self._types[table]


def _without_rows(error: Exception) -> HistoryError:
    """What an error means where no rows were sent: an answer that cannot be read is none."""
    meant = meaning(error)
    return StoreAway(str(meant)) if isinstance(meant, RowsRejected) else meant
