"""The guard does what it is for, and somebody looks at it again when Faust changes."""

import hashlib
import inspect
from collections import defaultdict
from typing import Any

import faust
import pytest
from faust.tables.recovery import Recovery
from faust.transport.consumer import Consumer
from faust.types import TP
from intervaltree import IntervalTree
from mode.utils.queues import FlowControlEvent, FlowControlQueue

from meshscope.stream import faust_guard
from meshscope.stream.faust_guard import UnguardedVersion, guard

PARTITION = TP("topic", 0)
ORIGINAL_NEW_OFFSET = Consumer._new_offset
ORIGINAL_PERFORM_SEEK = Consumer.perform_seek


class App:
    def __init__(self) -> None:
        self.flow_control = FlowControlEvent(initially_suspended=True)


class Acknowledged:
    """The part of a consumer that `_new_offset` works on."""

    def __init__(self, acked: list[int], committed: int | None) -> None:
        self._acked = defaultdict(list, {PARTITION: acked})
        self._acked_index: dict[TP, set[int]] = defaultdict(set, {PARTITION: set(acked)})
        self._gap = defaultdict(IntervalTree)
        self._committed_offset = defaultdict(lambda: None, {PARTITION: committed})


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch) -> App:
    monkeypatch.setattr(Consumer, "_new_offset", ORIGINAL_NEW_OFFSET)
    monkeypatch.setattr(Consumer, "perform_seek", ORIGINAL_PERFORM_SEEK)
    guarded = App()
    guard(guarded)
    return guarded


def queue_of(app: App) -> Any:
    return FlowControlQueue(flow_control=app.flow_control, clear_on_resume=True)


def test_resuming_an_active_flow_keeps_what_is_queued(app: App) -> None:
    queue = queue_of(app)
    app.flow_control.resume()
    queue.put_nowait("message")
    app.flow_control.resume()
    assert queue.qsize() == 1


def test_without_the_guard_it_would_be_lost() -> None:
    app = App()
    queue = queue_of(app)
    app.flow_control.resume()
    queue.put_nowait("message")
    app.flow_control.resume()
    assert queue.qsize() == 0


def test_resuming_a_suspended_flow_still_clears(app: App) -> None:
    queue = queue_of(app)
    queue.put_nowait("from before the rebalance")
    app.flow_control.resume()
    assert queue.qsize() == 0


@pytest.mark.parametrize(
    ("acked", "committed", "offset"),
    [
        ([261, 262, 262, 263], 261, 264),
        ([259, 260, 261, 262], 261, 263),
        ([263, 261, 262], 261, 264),
        ([261, 263], 261, 262),
        ([260], 261, None),
        ([], 261, None),
        ([0, 1, 1, 2], None, 3),
    ],
)
def test_commits_go_on_past_repetitions(
    app: App, acked: list[int], committed: int | None, offset: int | None
) -> None:
    assert Consumer._new_offset(Acknowledged(acked, committed), PARTITION) == offset


def test_without_the_guard_commits_stop_at_a_repetition() -> None:
    consumer = Acknowledged([261, 262, 262, 263], 261)
    assert ORIGINAL_NEW_OFFSET(consumer, PARTITION) == 263


class Seeking:
    """The part of a consumer that `perform_seek` works on."""

    def __init__(self, committed: dict[TP, int | None]) -> None:
        self._committed = committed
        self._read_offset: dict[TP, int | None] = {}
        self._committed_offset: dict[TP, int | None] = {}
        self.at_beginning: list[TP] = []
        self._thread = self

    def assignment(self) -> set[TP]:
        return set(self._committed)

    def _is_changelog_tp(self, tp: TP) -> bool:
        return tp.topic.endswith("-changelog")

    async def seek_to_committed(self) -> dict[TP, int | None]:
        return self._committed

    async def seek_to_beginning(self, *tps: TP) -> None:
        self.at_beginning += tps


async def test_a_partition_without_commits_is_read_from_its_beginning(app: App) -> None:
    consumer = Seeking(
        {TP("t", 0): None, TP("t", 1): 7, TP("t", 2): 0, TP("table-changelog", 0): None}
    )
    await Consumer.perform_seek(consumer)
    assert consumer.at_beginning == [TP("t", 0), TP("t", 2)]
    assert consumer._committed_offset == {TP("t", 1): 7, TP("t", 2): None}


def test_guarding_twice_changes_nothing(app: App) -> None:
    before = Consumer._new_offset
    guard(App())
    assert Consumer._new_offset is before


def test_another_version_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faust_guard, "GUARDED_VERSION", "0.15.2")
    with pytest.raises(UnguardedVersion, match=r"0\.15\.3 is installed"):
        guard(App())


@pytest.mark.parametrize(
    ("method", "digest"),
    [
        (ORIGINAL_NEW_OFFSET, "1d2c7ea89a7ad4f1"),
        (Recovery.on_recovery_completed, "6ef567acf072e46d"),
        (Recovery.on_rebalance, "aa4d997a1795ceae"),
        (Recovery.revoke, "779302ebfab0b2db"),
        (faust.App.on_rebalance_end, "b7ff69e1e3772f30"),
        (FlowControlEvent.resume, "4dcdc1253fd0dcb4"),
        (ORIGINAL_PERFORM_SEEK, "0e8c130ff4b0afd8"),
        (Consumer.getmany, "4b168d84882a70d6"),
        (Consumer.on_partitions_assigned, "29ce96596f05a18c"),
        (Consumer.ack, "5fcf41cf45153475"),
    ],
    ids=lambda value: getattr(value, "__qualname__", ""),
)
def test_upstream_is_as_the_guard_knows_it(method: Any, digest: str) -> None:
    source = inspect.getsource(method).encode()
    assert hashlib.sha256(source).hexdigest()[:16] == digest, (
        f"{method.__qualname__} of faust {faust.__version__} has changed: read it, and see whether "
        "faust_guard.py still fits or is no longer needed"
    )
