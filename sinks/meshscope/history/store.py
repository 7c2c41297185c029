"""ClickHouse: inserts with an answer that says what to do next."""

from collections.abc import Sequence
from typing import Any, Final

import clickhouse_connect
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import (
    ClickHouseError,
    DatabaseError,
    DataError,
    OperationalError,
    ProgrammingError,
)

from meshscope.history.batch import Highest, insert_token
from meshscope.history.rows import TABLES, Row
from meshscope.history.settings import HistorySettings

SERVER_CODES_OF_BAD_ROWS: Final = frozenset(
    {
        6,  # CANNOT_PARSE_TEXT
        26,  # CANNOT_PARSE_QUOTED_STRING
        27,  # CANNOT_PARSE_INPUT_ASSERTION_FAILED
        33,  # CANNOT_READ_ALL_DATA
        38,  # CANNOT_PARSE_DATE
        41,  # CANNOT_PARSE_DATETIME
        53,  # TYPE_MISMATCH
        69,  # ARGUMENT_OUT_OF_BOUND
        70,  # CANNOT_CONVERT_TYPE
        72,  # CANNOT_PARSE_NUMBER
        117,  # INCORRECT_DATA
        131,  # TOO_LARGE_STRING_SIZE
        321,  # VALUE_IS_OUT_OF_RANGE_OF_DATA_TYPE
        469,  # VIOLATED_CONSTRAINT
    }
)


class StoreAway(Exception):
    """ClickHouse does not answer, or cannot take rows now: wait and try again."""


class RowsRejected(Exception):
    """ClickHouse does not take these rows: at least one of them is wrong."""


class StoreMisconfigured(Exception):
    """ClickHouse answers that this will never work (no such table, no right): stop."""


def connect(settings: HistorySettings) -> Client:
    """A client for the store.

    Raises:
        StoreAway: Nobody answers.
    """
    try:
        return clickhouse_connect.get_client(
            host=settings.clickhouse_host,
            port=settings.clickhouse_port,
            username=settings.clickhouse_user,
            password=settings.clickhouse_password,
            secure=settings.clickhouse_secure,
            connect_timeout=10,
            send_receive_timeout=60,
            autogenerate_session_id=False,
        )
    except (ClickHouseError, OSError) as error:
        raise StoreAway(_first_line(error)) from error


class Store:
    """The tables of the history, as the sink sees them."""

    def __init__(self, client: Client, database: str) -> None:
        self._client = client
        self._client.database = database

    def highest_offsets(self) -> Highest:
        """See `batch.Highest`.

        Raises:
            StoreAway: It cannot be asked now.
        """
        highest: dict[tuple[str, str, str, int], int] = {}
        for table in TABLES:
            try:
                rows = self._client.query(
                    "SELECT log_epoch, kafka_topic, kafka_partition, max(kafka_offset) "
                    "FROM {table:Identifier} GROUP BY ALL",
                    parameters={"table": table},
                ).result_rows
            except (ClickHouseError, OSError) as error:
                raise _meaning(error) from error
            for epoch, topic, partition, offset in rows:
                highest[table, epoch, topic, partition] = offset
        return highest

    def insert(self, table: str, rows: Sequence[Row]) -> None:
        """Write rows in one block.

        Raises:
            StoreAway, RowsRejected, StoreMisconfigured: See there.
        """
        names = list(rows[0])
        columns: list[list[Any]] = [[row[name] for row in rows] for name in names]
        settings = {
            "insert_deduplication_token": insert_token(table, rows),
            "max_insert_block_size": len(rows),
        }
        try:
            self._client.insert(
                table, columns, column_names=names, column_oriented=True, settings=settings
            )
        except (ClickHouseError, OSError, TypeError, ValueError, AttributeError) as error:
            raise _meaning(error) from error


def _meaning(error: Exception) -> Exception:
    text = _first_line(error)
    if isinstance(error, DataError | TypeError | ValueError | AttributeError):
        # The client could not serialise a value: no server was asked.
        return RowsRejected(text)
    code = getattr(error, "code", None)
    if isinstance(error, DatabaseError) and not isinstance(error, OperationalError):
        if code in SERVER_CODES_OF_BAD_ROWS:
            return RowsRejected(text)
        if code in {60, 16, 47, 81, 497, 516}:
            # UNKNOWN_TABLE, NO_SUCH_COLUMN_IN_TABLE, UNKNOWN_IDENTIFIER, UNKNOWN_DATABASE,
            # ACCESS_DENIED, AUTHENTICATION_FAILED
            return StoreMisconfigured(text)
    if isinstance(error, ProgrammingError):
        return StoreMisconfigured(text)
    return StoreAway(text)


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error) else ''}"
