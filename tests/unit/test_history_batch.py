"""When rows are written, how repeated ones are recognised, and what errors mean."""

import ast
from pathlib import Path
from typing import Any

import pytest
from clickhouse_connect.driver import exceptions
from hypothesis import given
from hypothesis import strategies as st

from meshscope.events.topics import RESOURCES, Topic
from meshscope.history import errors, fault_points
from meshscope.history.backoff import Backoff
from meshscope.history.batch import (
    Batch,
    BatchLimits,
    Chunk,
    Kept,
    is_full,
    is_ready,
)
from meshscope.history.errors import RowsRejected, StoreAway, StoreMisconfigured, meaning
from meshscope.history.positions import first_offset, is_written
from meshscope.history.rows import Place
from meshscope.transport.hidden_records import may_have_been_hidden

ROOM = Path(errors.__file__).parent


def place(topic: Topic, offset: int = 7, epoch: str = "log") -> Place:
    return Place(epoch, topic.name, 2, offset, 1_790_000_000_000)


def kept(offset: int = 7, size: int = 1) -> Kept:
    return Kept(place(RESOURCES, offset), {}, None, b"x" * size, None)


class TestBatch:
    def test_offsets_count_without_rows(self) -> None:
        batch = Batch()
        batch.skip(place(RESOURCES, 4), 10, 1.0)
        assert batch.next_offsets == {(RESOURCES.name, 2): 5}
        assert batch.count == 0
        assert batch.chunks() == []

    def test_time_counts_from_the_first_record(self) -> None:
        batch, limits = Batch(), BatchLimits(rows=10, seconds=1.0)
        assert not is_ready(batch, limits, 100.0)
        batch.skip(place(RESOURCES, 4), 10, 5.0)
        batch.skip(place(RESOURCES, 5), 10, 5.9)
        assert not is_ready(batch, limits, 5.9)
        assert is_ready(batch, limits, 6.0)

    def test_rows_and_bytes_fill_it(self) -> None:
        by_rows, by_bytes = Batch(), Batch()
        by_rows.add("resources", kept(), 0.0)
        by_bytes.skip(place(RESOURCES), 100, 0.0)
        assert is_ready(by_rows, BatchLimits(rows=1, bytes=1000, seconds=9), 0.0)
        assert is_ready(by_bytes, BatchLimits(rows=9, bytes=100, seconds=9), 0.0)
        assert not is_full(by_bytes, BatchLimits(rows=9, bytes=101, seconds=0))

    def test_each_table_has_a_chunk_in_the_order_of_offsets(self) -> None:
        batch = Batch()
        rows = [kept(offset) for offset in range(4)]
        for number, row in enumerate(rows):
            batch.add("even" if number % 2 == 0 else "odd", row, 0.0)
        assert batch.chunks() == [Chunk("even", (rows[0], rows[2])), Chunk("odd", (*rows[1::2],))]

    @given(st.integers(2, 50))
    def test_halves_are_the_whole(self, count: int) -> None:
        chunk = Chunk("t", tuple(kept(offset) for offset in range(count)))
        first, second = chunk.halves()
        assert first.rows
        assert second.rows
        assert first.rows + second.rows == chunk.rows


class TestRepeatedRows:
    def test_rows_that_the_table_holds_are_left_out_within_their_log(self) -> None:
        highest = {("resources", "log", RESOURCES.name, 2): 7}
        assert is_written(highest, place(RESOURCES, 7), "resources")
        assert not is_written(highest, place(RESOURCES, 8), "resources")
        assert not is_written(highest, place(RESOURCES, 7), "other table")
        assert not is_written(highest, place(RESOURCES, 7, epoch="new log"), "resources")


class TestPositions:
    def test_a_commit_counts_if_a_table_holds_a_row_of_the_partition(self) -> None:
        highest = {("resources", "log", RESOURCES.name, 2): 7}
        assert first_offset(highest, "log", (RESOURCES.name, 2), 5) == 5
        assert first_offset(highest, "log", (RESOURCES.name, 2), -1001) == 0
        assert first_offset(highest, "log", (RESOURCES.name, 1), 5) == 0
        assert first_offset(highest, "new log", (RESOURCES.name, 2), 5) == 0

    def test_a_fresh_gap_may_close(self) -> None:
        assert may_have_been_hidden(3, 5, 0.1)
        assert may_have_been_hidden(3, 5, -0.1)
        assert not may_have_been_hidden(3, 3, 0.1)
        assert not may_have_been_hidden(3, 2, 0.1)
        assert not may_have_been_hidden(3, 5, 60.0)
        assert not may_have_been_hidden(3, 5, -60.0)


class TestBackoff:
    def test_pauses_double_up_to_the_longest(self) -> None:
        backoff = Backoff(first=1.0, longest=5.0)
        assert backoff.is_over(0.0)
        assert [backoff.failed(10.0) for _ in range(4)] == [1.0, 2.0, 4.0, 5.0]
        assert not backoff.is_over(14.9)
        assert backoff.is_over(15.0)

    def test_success_begins_anew(self) -> None:
        backoff = Backoff(first=1.0, longest=5.0)
        backoff.failed(10.0)
        backoff.failed(10.0)
        assert backoff.failing
        backoff.succeeded()
        assert not backoff.failing
        assert backoff.is_over(0.0)
        assert backoff.failed(10.0) == 1.0


def server_error(code: int) -> Exception:
    return exceptions.DatabaseError(f"Code: {code}.", code=code)


@pytest.mark.parametrize(
    ("error", "wanted"),
    [
        (exceptions.DataError("cannot serialise"), RowsRejected),
        (OverflowError("too large"), RowsRejected),
        (TypeError("None where a number is wanted"), RowsRejected),
        (server_error(53), RowsRejected),
        (server_error(60), StoreMisconfigured),
        (server_error(516), StoreMisconfigured),
        (exceptions.ProgrammingError("no such setting"), StoreMisconfigured),
        (server_error(241), StoreAway),  # MEMORY_LIMIT_EXCEEDED
        (server_error(243), StoreAway),  # NOT_ENOUGH_SPACE
        (server_error(252), StoreAway),  # TOO_MANY_PARTS
        (exceptions.OperationalError("connection refused"), StoreAway),
        (exceptions.StreamFailureError("broken off"), StoreAway),
        (exceptions.InternalError("what nobody knows"), StoreAway),
        (ConnectionResetError(), StoreAway),
        (TimeoutError(), StoreAway),
    ],
    ids=str,
)
def test_every_error_of_the_client_says_what_to_do(error: Exception, wanted: type) -> None:
    assert type(meaning(error)) is wanted


def test_every_class_of_error_of_the_client_has_a_meaning() -> None:
    classes: list[Any] = [exceptions.ClickHouseError]
    for each in classes:
        classes.extend(each.__subclasses__())
    assert len(classes) > 10
    for each in classes:
        error = each() if each is exceptions.StreamClosedError else each("text")
        assert isinstance(meaning(error), errors.HistoryError)


def test_every_fault_point_is_in_the_sink() -> None:
    reached = [
        node.args[0].value
        for file in ("sink.py", "writer.py")
        for node in ast.walk(ast.parse((ROOM / file).read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "reach"
        and isinstance(node.args[0], ast.Constant)
    ]
    assert sorted(reached) == sorted(fault_points.POINTS)
