"""Whatever happens in whatever order: every record is in its table once, or among dead letters.

The sink is the real one; Kafka and ClickHouse are simulated, so that each seam between reading,
writing and committing can be hit by a crash, a rebalance, an outage, an emptied history or a topic
that is made anew. `MESHSCOPE_SINK_RUNS` sets the number of runs.
"""

import contextlib
import itertools
import os
from collections import Counter
from typing import Any, cast

import pytest
from history_mesh import drift, verdict
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from simulated_history import (
    NOON,
    SimulatedBroker,
    SimulatedConsumer,
    SimulatedLetters,
    SimulatedStore,
)

from meshscope.events import facts
from meshscope.events.codec import encode
from meshscope.events.topics import DRIFT, POLICIES
from meshscope.history import sink as sink_module
from meshscope.history import writer as writer_module
from meshscope.history.batch import BatchLimits
from meshscope.history.fault_points import POINTS, Point
from meshscope.history.positions import Partition
from meshscope.history.rows import Place
from meshscope.history.sink import Sink
from meshscope.history.writer import Writer

PARTITIONS = ((DRIFT.name, 0), (POLICIES.name, 0))
KINDS = {
    "drift": encode(drift(1)),
    "verdict": encode(verdict(1)),
    "body": encode(facts.PolicyBody("digest", "authorization", 1, b"{}")),
    "rejected": encode(drift(1, revision=-1)),
    "poison": b"poison",
    "tombstone": None,
}
TABLES = {KINDS["drift"]: "drift", KINDS["verdict"]: "verdicts", KINDS["body"]: "policies"}
HOLDS = {
    DRIFT.name: ("drift", "verdict", "rejected", "poison"),
    POLICIES.name: ("body", "tombstone"),
}
MOST_STEPS = 3_000
RUNS = int(os.environ.get("MESHSCOPE_SINK_RUNS", "100"))


class Crash(BaseException):
    """As if the process were killed."""


TROUBLES = (
    "crash_soon",
    "crash",
    "rebalance",
    "take_over",
    "store_goes_or_comes",
    "broker_goes_or_comes",
    "answers_get_lost",
    "store_dies_in_inserts",
    "broker_passes_over",
    "broker_sends_back",
    "topic_is_made_anew",
    "history_is_emptied",
)


def happens(trouble: str) -> Any:
    """In each run only some troubles happen: all of them at once would hide each other."""
    return precondition(lambda self: trouble in self.troubles)


class Delivery(RuleBasedStateMachine):
    """One sink in its group, perhaps another one that has not heard yet that it is out."""

    def __init__(self) -> None:
        super().__init__()
        self.epochs = (f"log-{number}" for number in itertools.count())
        self.broker = SimulatedBroker({partition: [] for partition in PARTITIONS})
        for topic in HOLDS:
            self.broker.make_anew(topic, next(self.epochs))
        self.store = SimulatedStore()
        self.now = 0.0
        self.sink: Sink | None = None
        self.outcast: Sink | None = None
        self.overlapped = False
        self.crash_at: Point | None = None
        self.patches = pytest.MonkeyPatch()
        self.patches.setattr(sink_module, "reach", self._reach)
        self.patches.setattr(writer_module, "reach", self._reach)
        # So that seams lie in the middle of partitions.
        self.patches.setattr(sink_module, "MOST_PER_READ", 4)
        self.troubles: set[str] = set()
        self.start()

    @initialize(troubles=st.sets(st.sampled_from(TROUBLES), min_size=3))
    def choose(self, troubles: set[str]) -> None:
        self.troubles = troubles

    def _reach(self, point: Point) -> None:
        if point == self.crash_at:
            self.crash_at = None
            raise Crash

    def _step(self, sink: Sink) -> bool:
        """False: it crashed."""
        self.now += 0.3
        try:
            sink.step(0.0)
        except Crash:
            return False
        return True

    # What the world does

    @rule(where=st.sampled_from(PARTITIONS), what=st.data(), count=st.integers(1, 15))
    def write(self, where: Partition, what: st.DataObject, count: int) -> None:
        kinds = st.lists(st.sampled_from(HOLDS[where[0]]), min_size=count, max_size=count)
        self.broker.records[where].extend(KINDS[kind] for kind in what.draw(kinds))

    @rule(count=st.integers(1, 12))
    def work(self, count: int) -> None:
        for _ in range(count):
            if self.sink is not None and not self._step(self.sink):
                self.sink = None

    @happens("crash_soon")
    @rule(point=st.sampled_from(POINTS))
    def crash_soon(self, point: Point) -> None:
        self.crash_at = point

    @happens("crash")
    @rule()
    def crash(self) -> None:
        self.sink = None

    @precondition(lambda self: self.sink is not None)
    @rule()
    def stop(self) -> None:
        assert self.sink is not None
        with contextlib.suppress(Crash):
            self.sink._settle()
        self.sink = None

    @precondition(lambda self: self.sink is None)
    @rule()
    def start(self) -> None:
        consumer = SimulatedConsumer(self.broker)
        self.broker.owner = consumer
        letters: Any = SimulatedLetters(self.broker)
        self.sink = Sink(
            consumer=cast("Any", consumer),
            writer=Writer(cast("Any", self.store), letters),
            log_epoch=self.broker.epoch,
            limits=BatchLimits(rows=5, seconds=1.0),
            monotonic=lambda: self.now,
            wall=lambda: NOON / 1000,
        )
        consumer.subscribe(
            [],
            on_assign=self.sink._assigned,
            on_revoke=self.sink._revoked,
            on_lost=self.sink._lost,
        )

    @happens("rebalance")
    @precondition(lambda self: self.sink is not None)
    @rule(how=st.sampled_from(["on_revoke", "on_lost"]))
    def rebalance(self, how: str) -> None:
        cast("Any", self.sink).consumer.news.extend([how, "on_assign"])

    @happens("take_over")
    @precondition(lambda self: self.sink is not None and self.outcast is None)
    @rule()
    def take_over(self) -> None:
        """Another sink has the partitions; this one goes on until it hears of it."""
        self.outcast, self.sink, self.overlapped = self.sink, None, True
        self.start()

    @precondition(lambda self: self.outcast is not None)
    @rule(count=st.integers(1, 12), hears=st.booleans())
    def outcast_works(self, count: int, hears: bool) -> None:
        assert self.outcast is not None
        if hears:
            cast("Any", self.outcast).consumer.news.append("on_lost")
        for _ in range(count):
            if not self._step(self.outcast):
                hears = True
                break
        if hears:
            self.outcast = None

    @happens("store_goes_or_comes")
    @rule(away=st.booleans())
    def store_goes_or_comes(self, away: bool) -> None:
        self.store.away = away

    @happens("broker_goes_or_comes")
    @rule(away=st.booleans())
    def broker_goes_or_comes(self, away: bool) -> None:
        self.broker.away = away

    @happens("answers_get_lost")
    @rule(count=st.integers(1, 3))
    def answers_get_lost(self, count: int) -> None:
        self.store.loses = count

    @happens("store_dies_in_inserts")
    @rule(count=st.integers(1, 3))
    def store_dies_in_inserts(self, count: int) -> None:
        self.store.dies = count

    @happens("broker_passes_over")
    @precondition(lambda self: self.sink is not None)
    @rule(where=st.sampled_from(PARTITIONS))
    def broker_passes_over(self, where: Partition) -> None:
        cast("Any", self.sink).consumer.hides.add(where)

    @happens("broker_sends_back")
    @precondition(lambda self: self.sink is not None)
    @rule(where=st.sampled_from(PARTITIONS))
    def broker_sends_back(self, where: Partition) -> None:
        positions = cast("Any", self.sink).consumer.positions
        if where in positions:
            positions[where] = 0

    @happens("topic_is_made_anew")
    @rule(topic=st.sampled_from(sorted(HOLDS)))
    def topic_is_made_anew(self, topic: str) -> None:
        self.broker.make_anew(topic, next(self.epochs))

    @happens("history_is_emptied")
    @precondition(lambda self: self.sink is None and self.outcast is None)
    @rule()
    def history_is_emptied(self) -> None:
        self.store.empty()

    # What must hold

    @invariant()
    def no_row_is_doubled(self) -> None:
        if not self.overlapped:
            for table in self.store.tables.values():
                assert not table or max(table.values()) == 1

    def teardown(self) -> None:
        """All troubles end; then everything must arrive."""
        try:
            self._heal()
            self._check()
        finally:
            self.patches.undo()

    def _heal(self) -> None:
        self.crash_at = None
        self.broker.away = self.store.away = False
        self.store.loses = self.store.dies = 0
        if self.sink is None:
            self.start()
        assert self.sink is not None
        cast("Any", self.sink).consumer.hides.clear()
        for number in range(MOST_STEPS):
            # At first it has to notice what changed.
            if number > 40 and all(self._lag(partition) == 0 for partition in PARTITIONS):
                return
            self._step(self.sink)
        raise AssertionError(f"it does not come to an end: {self.broker.committed}")

    def _lag(self, partition: Partition) -> int:
        return len(self.broker.records[partition]) - self.broker.committed.get(partition, 0)

    def _check(self) -> None:
        rows: Counter[tuple[str, Place]] = Counter()
        letters: set[Place] = set()
        for (topic, partition), records in self.broker.records.items():
            for offset, value in enumerate(records):
                place = Place(self.broker.epochs[topic], topic, partition, offset, NOON)
                if value in TABLES:
                    rows[TABLES[value], place] = 1
                elif value is not None:
                    letters.add(place)
        current = set(self.broker.epochs.values())
        found = {
            (table, place): count
            for table, places in self.store.tables.items()
            for place, count in places.items()
            if place.log_epoch in current
        }
        assert found.keys() == rows.keys()
        assert self.overlapped or found == rows
        assert letters <= self.broker.letters


Delivery.TestCase.settings = settings(max_examples=RUNS, stateful_step_count=40)
TestDelivery = Delivery.TestCase
