"""A ClickHouse that is killed when it has noted an insert's token and not yet its rows."""

import shutil
from pathlib import Path
from typing import Any, cast

import pytest
from embedded import Store as StoreProcess
from history_mesh import NOON, History, drift
from simulated_history import SimulatedBroker, SimulatedLetters

from meshscope.events.codec import encode
from meshscope.events.topics import DRIFT
from meshscope.history.batch import Batch, Chunk, Kept
from meshscope.history.errors import StoreAway
from meshscope.history.rows import Place, row_of
from meshscope.history.store import Store
from meshscope.history.writer import Writer

pytestmark = [pytest.mark.integration, pytest.mark.faults]

ROWS = 20


class HalfInserts(Store):
    """A real store. Its first insert leaves on disk what a kill between the two steps leaves."""

    def __init__(self, history: History, process: StoreProcess) -> None:
        super().__init__(history.client, history.database)
        self._history, self._process = history, process
        self.tokens: list[str] = []

    def insert(self, chunk: Chunk, token: str) -> None:
        super().insert(chunk, token)
        self.tokens.append(token)
        if len(self.tokens) == 1:
            (part,) = self._history.client.query(
                "SELECT path FROM system.parts WHERE table = 'drift'"
            ).first_row
            self._process.kill()
            shutil.rmtree(part)
            raise StoreAway("it was killed")


def test_a_noted_token_is_not_taken_for_rows(tmp_path: Path) -> None:
    process = StoreProcess(tmp_path / "store")
    try:
        process.start()
        history = History("127.0.0.1", process.port).migrate()
        batch = Batch()
        for offset in range(ROWS):
            place = Place("log", DRIFT.name, 0, offset, NOON)
            row = row_of(DRIFT, place, b"key", encode(drift(offset)))
            assert row is not None
            batch.add(row.table, Kept(place, row.row, None, None, None), 0.0)
        letters = SimulatedLetters(SimulatedBroker({}))
        store = HalfInserts(history, process)
        writer = Writer(store, cast("Any", letters))
        writer.take(batch)
        with pytest.raises(StoreAway):
            writer.write()

        process = StoreProcess(process.directory, "--port", str(process.port))
        process.start()
        while writer.waits:
            writer.write()
        assert history.counts() == {"drift": ROWS}
        first, again, fresh = store.tokens
        assert first == again != fresh
    finally:
        process.stop()
