"""What waits to be written, and how a repeated record is recognised: pure bookkeeping.

Delivery, in plain words: a record is read, becomes a row, the row is written, then its offset is
committed. After a crash Kafka gives the records since the last commit again. Each table is asked,
at every assignment, for the highest offset that it holds per log epoch, topic and partition, and
rows at or below it are left out.

That is exact, because rows of one partition reach a table in the order of their offsets, and an
insert is one part, which is there or not: a table that holds an offset holds all of its rows up to
it. An insert whose answer got lost is repeated with the same token, by which ClickHouse recognises
it. Where two writers overlap for a moment after a rebalance, the same row has the same event_id,
and `FINAL` shows it once.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from meshscope.events.dead_letter import Headers
from meshscope.history.rows import Place, Row
from meshscope.policy.canonical import digest_bytes

Partition = tuple[str, int]
"""Topic and partition."""


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


def is_ready(batch: Batch, limits: BatchLimits, now: float) -> bool:
    """Whether it is time to write."""
    return batch.began is not None and (
        batch.count >= limits.rows
        or batch.bytes >= limits.bytes
        or now - batch.began >= limits.seconds
    )


Highest = Mapping[tuple[str, str, str, int], int]
"""Per table, log epoch, topic and partition the highest offset that is written."""


def is_written(highest: Highest, place: Place, table: str) -> bool:
    """Whether the table holds the row of this place already."""
    known = highest.get((table, place.log_epoch, place.topic, place.partition))
    return known is not None and place.offset <= known


def is_known(highest: Highest, log_epoch: str, topic: str, partition: int) -> bool:
    """Whether any table holds a row of this partition.

    If none does, a committed offset says nothing: it belongs to an earlier log of the same name,
    or the history was emptied since. Reading begins with the oldest record then.
    """
    return any(key[1:] == (log_epoch, topic, partition) for key in highest)


def insert_token(table: str, places: Iterable[Place]) -> str:
    """Token by which ClickHouse recognises a repeated insert: the same for exactly these rows."""
    text = "|".join(f"{p.log_epoch}/{p.topic}/{p.partition}/{p.offset}" for p in places)
    return digest_bytes("insert", f"{table}|{text}".encode())
