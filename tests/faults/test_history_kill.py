"""The sink killed at every named point and at random while records flow: P2 of the promises.

`MESHSCOPE_SINK_ROUNDS` sets how often each point is taken, `MESHSCOPE_SINK_KILLS` the number of
random kills (5 and 20 are the promise), `MESHSCOPE_FAULT_SEED` the seed.
"""

import os
import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from history_mesh import KINDS, History, SinkProcess, Writer, drift, sink_process, wait_for_rows
from stream_mesh import MeshBroker, until

from meshscope.events.codec import encode
from meshscope.events.topics import DEAD_LETTER, DRIFT
from meshscope.history.fault_points import POINTS

pytestmark = pytest.mark.faults

ROUNDS = int(os.environ.get("MESHSCOPE_SINK_ROUNDS", "1"))
KILLS = int(os.environ.get("MESHSCOPE_SINK_KILLS", "3"))
SEED = int(os.environ.get("MESHSCOPE_FAULT_SEED", str(random.SystemRandom().randrange(1 << 30))))
PATIENCE = 60.0
SIGKILLED = -9


@pytest.fixture
def mesh_broker(tmp_path: Path) -> Iterator[MeshBroker]:
    made = MeshBroker(tmp_path / "broker.log")
    yield made
    made.kill()


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
            time.sleep(0.05)
        self._broker.flush()


def flow_until_dead(load: Load, sink: SinkProcess) -> None:
    end = time.monotonic() + PATIENCE
    while sink.process.poll() is None:
        assert time.monotonic() < end, sink.tail()
        load.flow(0.1)
    assert sink.process.returncode == SIGKILLED, sink.tail()


def test_no_row_is_lost_or_doubled_by_kills(
    mesh_broker: MeshBroker, store: tuple[str, int], tmp_path: Path
) -> None:
    chance = random.Random(SEED)  # noqa: S311
    history, load = History(*store), Load(mesh_broker)
    settings = {"MESHSCOPE_HISTORY_BATCH_ROWS": "300"}
    with sink_process(mesh_broker, history, tmp_path / "sink.log", **settings) as sink:
        sink.kill()
        for point in POINTS * ROUNDS:
            sink.start(MESHSCOPE_FAULT=point)
            flow_until_dead(load, sink)
        for _ in range(KILLS):
            lives = sink.said("assigned")
            sink.start()
            until(lambda lives=lives: sink.said("assigned") > lives, PATIENCE, sink.tail)
            load.flow(chance.uniform(0.1, 1.5))
            sink.kill()
        sink.start()
        load.flow(0.5)
        wait_for_rows(history, load.writer.sent, PATIENCE + load.writer.sent / 1_000, sink)
        until(lambda: _coordinates(mesh_broker) == load.bad, PATIENCE, sink.tail)
        assert sink.stop() == 0
    raw, final = history.counts(), history.counts(final=True)
    letters = len(mesh_broker.records(DEAD_LETTER))
    history.client.close()
    print(
        f"seed {SEED}, {len(POINTS) * ROUNDS} kills at points, {KILLS} at random: "
        f"{load.writer.sent} records, {sum(raw.values())} rows, {sum(final.values())} under FINAL; "
        f"{load.bad} bad records, {letters} dead letters"
    )
    assert sum(final.values()) == load.writer.sent
    assert raw == final


def _coordinates(broker: MeshBroker) -> int:
    """Number of records on the dead-letter topic, each counted once."""
    names = ("ms-topic", "ms-partition", "ms-offset")
    letters = broker.records(DEAD_LETTER)
    return len({tuple(each.headers[name] for name in names) for each in letters})
