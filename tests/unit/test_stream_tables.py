"""State over rebalances: what a worker takes over, what it keeps, what it must read again."""

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Any

import faust
import pytest

from meshscope.stream.faust_guard import read_again, when_recovered
from meshscope.stream.outlet import Headers
from meshscope.stream.tables import StateTable


@dataclass(frozen=True)
class Value:
    partition: int
    text: str
    loaded: bool = False


def dump(value: Value) -> bytes:
    return f"{value.partition}:{value.text}".encode()


def load(data: bytes) -> Value:
    partition, _, text = data.decode().partition(":")
    return Value(int(partition), text, loaded=True)


async def send(
    topic: str,
    key: bytes | None,
    value: bytes | None,
    partition: int | None,
    headers: Headers | None,
) -> Awaitable[Any]:
    acknowledged: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    acknowledged.set_result(None)
    return acknowledged


@pytest.fixture
def table() -> Any:
    app = faust.App("test", store="memory://", autodiscover=False)
    return app.Table("values", key_type=bytes, value_type=bytes, partitions=4)


@pytest.fixture
def restarted() -> list[tuple[str, set[int]]]:
    return []


@pytest.fixture
def state(table: Any, restarted: list[tuple[str, set[int]]]) -> StateTable[Value]:
    return StateTable(
        table,
        send,
        dump,
        load,
        lambda error: pytest.fail(str(error)),
        lambda changelog, partitions: restarted.append((changelog, partitions)),
    )


async def test_what_it_wrote_itself_it_goes_on_with(table: Any, state: StateTable[Value]) -> None:
    await state.put("a", Value(1, "own"), durable=True)
    state.recover({1})
    assert state.get("a") == Value(1, "own"), "not as it was loaded: its windows are running"


async def test_what_another_worker_wrote_meanwhile_counts(
    table: Any, state: StateTable[Value]
) -> None:
    await state.put("a", Value(1, "own"), durable=True)
    await state.put("b", Value(1, "gone meanwhile"), durable=True)
    table.data[b"a"] = b"1:another's"
    del table.data[b"b"]
    state.recover({1})
    assert state.get("a") == Value(1, "another's", loaded=True)
    assert state.get("b") is None


async def test_a_recovery_that_came_too_early_is_made_good(
    table: Any, state: StateTable[Value]
) -> None:
    state.recover({1, 3})
    table.data[b"c"] = b"3:late"
    state.recover({1, 3})
    assert state.get("c") == Value(3, "late", loaded=True)


async def test_what_is_not_its_own_is_let_go_and_read_anew(
    table: Any, state: StateTable[Value], restarted: list[tuple[str, set[int]]]
) -> None:
    table.data[b"theirs"] = b"2:recovered and never taken over"
    await state.put("a", Value(1, "own"), durable=True)
    await state.put("b", Value(2, "theirs now"), durable=True)
    state.release({2, 3})
    state.recover({1})
    assert dict(state.items()) == {"a": Value(1, "own")}
    assert set(table.data.keys()) == {b"a"}
    assert restarted == [("test-values-changelog", {2, 3})]


async def test_a_changelog_that_is_read_again_begins_at_its_beginning(table: Any) -> None:
    changelog = table.changelog_topic.get_topic_name()
    recovery = table.app.tables.recovery
    place = faust.types.TP(changelog, 2)
    recovery.add_active(table, place)
    recovery.active_offsets[place] = 17
    read_again(table.app, changelog, {2})
    recovery.add_active(table, place)
    assert recovery.active_offsets[place] is None


def test_the_end_of_a_recovery_is_told(table: Any) -> None:
    told: list[bool] = []
    app = table.app
    when_recovered(app, lambda: told.append(app.rebalancing))
    app.rebalancing = True
    app.on_rebalance_end()
    assert told == [False]
