"""Sinks killed at every named point and at random while records flow: P2 of the promises.

`MESHSCOPE_SINK_ROUNDS` sets how often each point is taken, `MESHSCOPE_SINK_KILLS` the number of
random kills (5 and 20 are the promise), `MESHSCOPE_SINK_RATE` how many records flow per second,
`MESHSCOPE_FAULT_SEED` the seed.
"""

import os
import random
import time
from pathlib import Path

import pytest
from history_mesh import KINDS, History, SinkProcess, Writer, drift, sink_process, wait_for_rows
from stream_mesh import MeshBroker, until

from meshscope.events.codec import encode
from meshscope.events.topics import DEAD_LETTER, DRIFT
from meshscope.history.fault_points import POINTS

pytestmark = pytest.mark.faults

ROUNDS = int(os.environ.get("MESHSCOPE_SINK_ROUNDS", "1"))
KILLS = int(os.environ.get("MESHSCOPE_SINK_KILLS", "2"))
RATE = int(os.environ.get("MESHSCOPE_SINK_RATE", "400"))
SEED = int(os.environ.get("MESHSCOPE_FAULT_SEED", str(random.SystemRandom().randrange(1 << 30))))
PATIENCE = 60.0
SIGKILLED = -9


class Load:
    """Facts that flow, among them some that cannot be decoded or that ClickHouse rejects."""

    def __init__(self, broker: MeshBroker) -> None:
        self.writer = Writer(broker)
        self.bad = 0
        self._broker = broker

    def flow(self, seconds: float) -> None:
        """Write for so long."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.writer.facts(KINDS * 10)
            wrong = encode(drift(self.bad, revision=-1)) if self.bad % 4 == 0 else b"poison"
            self._broker.send(DRIFT, f"bad-{self.bad}".encode(), wrong)
            self.bad += 1
            time.sleep(KINDS * 10 / RATE)
        self._broker.flush()

    def flow_until_dead(self, sink: SinkProcess) -> None:
        """Write until the sink has come to the point where it is to be killed."""
        end = time.monotonic() + PATIENCE
        while sink.process.poll() is None:
            assert time.monotonic() < end, sink.story()
            self.flow(0.1)
        assert sink.process.returncode == SIGKILLED, sink.tail()

    def check(self, history: History, sink: SinkProcess, what: str) -> tuple[int, int]:
        """Wait until all has arrived; rows in the tables, and rows under FINAL."""
        self.flow(0.5)
        wait_for_rows(
            history, self.writer.sent, PATIENCE + self.writer.sent / 1_000, sink, final=True
        )
        until(lambda: _coordinates(self._broker) == self.bad, PATIENCE, sink.story)
        raw, final = history.total(), history.total(final=True)
        letters = len(self._broker.records(DEAD_LETTER))
        print(
            f"seed {SEED}, {what}: {self.writer.sent} records, {raw} rows, {final} under FINAL; "
            f"{self.bad} bad records, {letters} dead letters"
        )
        return raw, final


def test_no_row_is_lost_or_doubled_by_kills(
    mesh_broker: MeshBroker, history: History, tmp_path: Path
) -> None:
    chance, load = random.Random(SEED), Load(mesh_broker)  # noqa: S311
    settings = {"MESHSCOPE_HISTORY_BATCH_ROWS": "300"}
    with sink_process(mesh_broker, history, tmp_path / "sink.log", **settings) as sink:
        sink.kill()
        for point in POINTS * ROUNDS:
            sink.start(MESHSCOPE_FAULT=point)
            load.flow_until_dead(sink)
        for _ in range(KILLS):
            lives = sink.said("assigned")
            sink.start()
            until(lambda lives=lives: sink.said("assigned") > lives, PATIENCE, sink.tail)
            load.flow(chance.uniform(0.1, 1.5))
            sink.kill()
        sink.start()
        what = f"{len(POINTS) * ROUNDS} kills at points, {KILLS} at random"
        raw, final = load.check(history, sink, what)
        assert sink.stop() == 0
    assert raw == final == load.writer.sent


def test_sinks_that_take_over_from_each_other_lose_nothing(
    mesh_broker: MeshBroker, history: History, tmp_path: Path
) -> None:
    """Each kill, and each return, makes the group give its partitions out anew."""
    chance, load = random.Random(SEED), Load(mesh_broker)  # noqa: S311
    settings = {"MESHSCOPE_HISTORY_BATCH_ROWS": "300"}
    with (
        sink_process(mesh_broker, history, tmp_path / "one.log", **settings) as one,
        sink_process(mesh_broker, history, tmp_path / "two.log", **settings) as two,
    ):
        # Tansu may hand nothing out again when a member leaves while the group forms.
        until(lambda: one.said("assigned") and two.said("assigned"), PATIENCE, two.tail)
        for number in range(KILLS + ROUNDS):
            victim = (one, two)[number % 2]
            load.flow(chance.uniform(0.5, 1.5))
            if chance.random() < 0.3:
                # Or it has come to its point before.
                assert victim.stop() in (0, SIGKILLED)
            else:
                victim.kill()
            load.flow(chance.uniform(0.5, 2.5))
            lives = victim.said("assigned")
            victim.start(MESHSCOPE_FAULT=chance.choice(("", *POINTS)))
            until(
                lambda victim=victim, lives=lives: (
                    victim.said("assigned") > lives or victim.process.poll() is not None
                ),
                PATIENCE,
                victim.tail,
            )
        for sink in (one, two):
            if sink.process.poll() is None:
                sink.kill()
            sink.start()
        raw, final = load.check(history, one, f"{KILLS + ROUNDS} kills of one of two")
    assert final == load.writer.sent
    assert raw - final < max(0.01 * final, 600)


def _coordinates(broker: MeshBroker) -> int:
    """Number of records on the dead-letter topic, each counted once."""
    names = ("ms-topic", "ms-partition", "ms-offset")
    letters = broker.records(DEAD_LETTER)
    return len({tuple(each.headers[name] for name in names) for each in letters})
