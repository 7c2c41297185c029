"""Batches on their way into ClickHouse."""

from collections import deque
from dataclasses import dataclass, field
from typing import Final
from uuid import uuid4

from meshscope.history.batch import Batch, Chunk
from meshscope.history.dead_letters import DeadLetters
from meshscope.history.errors import BrokerAway, RowsRejected
from meshscope.history.fault_points import reach
from meshscope.history.positions import Partition
from meshscope.history.store import Store

DEAD_LETTER_SECONDS: Final = 5.0


@dataclass(slots=True)
class Writer:
    """Chunks in line, and the offsets that may be committed when all of them are written.

    Attributes:
        offsets: Per partition; they count once nothing waits.
        written: Rows written by this process.
    """

    store: Store
    dead_letters: DeadLetters
    offsets: dict[Partition, int] = field(default_factory=dict)
    written: int = 0
    _waiting: deque[Chunk] = field(default_factory=deque)
    _open_token: str = ""
    """Of the first chunk, if it was sent and its outcome is not known."""

    @property
    def waits(self) -> bool:
        """Whether there is something to write."""
        return bool(self._waiting)

    def take(self, batch: Batch) -> None:
        """Put a batch in line."""
        self._waiting.extend(batch.chunks())
        self.offsets |= batch.next_offsets

    def drop(self) -> None:
        """Forget everything in line, and its offsets."""
        self._waiting.clear()
        self._open_token = ""
        self.offsets = {}

    def write(self) -> None:
        """Write the first chunk, or put its halves in its place if ClickHouse rejects it.

        One insert at a time, so that the owner can poll in between.

        A chunk whose outcome is not known is sent again with its token, so that it is not doubled
        should ClickHouse still be at the first one. Whether the token came with the rows is asked
        afterwards; if not, the chunk stays in line and gets another one.

        No row is written before the dead letters of the rows before it are safe: it would raise the
        highest offset, below which a refused row counts as written.

        Raises:
            StoreAway, BrokerAway: It waits on.
        """
        self.require_safe_letters()
        chunk = self._waiting[0]
        repeated = self._open_token
        self._open_token = repeated or uuid4().hex
        reach("before_insert")
        try:
            self.store.insert(chunk, self._open_token)
        except RowsRejected as error:
            self._open_token = ""
            self._waiting.popleft()
            self._bisect(chunk, str(error))
        else:
            is_there = not repeated or self.store.holds(chunk)
            self._open_token = ""
            if not is_there:
                return
            self._waiting.popleft()
            self.written += len(chunk.rows)
            for kept in chunk.rows:
                self.dead_letters.good(kept.place, "rejected")
            reach("between_inserts")
        if not self._waiting:
            reach("after_insert")

    def require_safe_letters(self) -> None:
        """Wait for a moment until the broker has all dead letters.

        Raises:
            BrokerAway: It has not taken all of them yet, so nothing goes past them.
        """
        if not self.dead_letters.settled(DEAD_LETTER_SECONDS):
            raise BrokerAway("it has not taken all dead letters yet")

    def _bisect(self, chunk: Chunk, error: str) -> None:
        """Put the halves in line, or give the one row that is wrong up."""
        if len(chunk.rows) > 1:
            self._waiting.extendleft(reversed(chunk.halves()))
        else:
            kept = chunk.rows[0]
            self.dead_letters.send(
                kept.place, kept.key, kept.value, kept.headers, "rejected", error
            )
