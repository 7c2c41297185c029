"""Rows that are to be written together: pure bookkeeping."""

from dataclasses import dataclass, field

from meshscope.events.dead_letter import Headers
from meshscope.history.positions import Partition
from meshscope.history.rows import Place, Row


@dataclass(frozen=True, slots=True)
class Kept:
    """A row and the record it came from, whose bytes a dead letter would need."""

    place: Place
    row: Row
    key: bytes | None
    value: bytes | None
    headers: Headers | None


@dataclass(frozen=True, slots=True)
class Chunk:
    """Rows of one table, in the order of their offsets, for one insert."""

    table: str
    rows: tuple[Kept, ...]

    def halves(self) -> tuple["Chunk", "Chunk"]:
        """The same rows in two chunks."""
        middle = len(self.rows) // 2
        return Chunk(self.table, self.rows[:middle]), Chunk(self.table, self.rows[middle:])


@dataclass(slots=True)
class Batch:
    """Rows by table, and the offsets up to which everything is in it.

    Attributes:
        next_offsets: Per partition the offset to commit once the rows are written.
        count: Rows of all tables.
        bytes: Roughly, values as they came from Kafka.
        began: Monotonic time of the first record; None: empty.
    """

    next_offsets: dict[Partition, int] = field(default_factory=dict)
    count: int = 0
    bytes: int = 0
    began: float | None = None
    _rows: dict[str, list[Kept]] = field(default_factory=dict)

    def skip(self, place: Place, size: int, now: float) -> None:
        """Take in a record that needs no row: only its offset counts."""
        if self.began is None:
            self.began = now
        partition = (place.topic, place.partition)
        self.next_offsets[partition] = max(place.offset + 1, self.next_offsets.get(partition, 0))
        self.bytes += size

    def add(self, table: str, kept: Kept, now: float) -> None:
        """Take in a record with its row."""
        self.skip(kept.place, len(kept.value or b""), now)
        self._rows.setdefault(table, []).append(kept)
        self.count += 1

    def chunks(self) -> list[Chunk]:
        """What is to be inserted, one chunk per table."""
        return [Chunk(table, tuple(rows)) for table, rows in self._rows.items()]


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """When a batch is written: whichever comes first."""

    rows: int = 10_000
    bytes: int = 16 * 1024 * 1024
    seconds: float = 1.0


def is_full(batch: Batch, limits: BatchLimits) -> bool:
    """Whether it holds as much as it may."""
    return batch.count >= limits.rows or batch.bytes >= limits.bytes


def is_ready(batch: Batch, limits: BatchLimits, now: float) -> bool:
    """Whether it is time to write."""
    return batch.began is not None and (
        is_full(batch, limits) or now - batch.began >= limits.seconds
    )
