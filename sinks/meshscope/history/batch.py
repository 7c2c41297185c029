"""What waits to be written: pure bookkeeping of offsets and rows.

Delivery, in plain words: a record is read, becomes a row, the row is written, then its offset is
committed. After a crash Kafka gives the records since the last commit again. Each table is asked
once, at assignment, for the highest offset that it holds per log epoch, topic and partition, and
rows at or below it are left out. An insert is one block and one table has one writer per
partition, so a table holds all rows up to that offset or none of the batch: nothing is lost and
nothing doubled. Where two writers overlap for a moment after a rebalance, the same row has the same
event_id and `FINAL` shows it once.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from meshscope.events.dead_letter import Headers
from meshscope.history.rows import Place, Row

Partition = tuple[str, int]
"""Topic and partition."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A row and the record it came from, whose bytes a dead letter would need."""

    row: Row
    key: bytes | None
    value: bytes | None
    headers: Headers | None


@dataclass(slots=True)
class Batch:
    """Rows by table, and the offsets up to which everything is in it.

    Attributes:
        rows: Per table, in the order they came.
        next_offsets: Per partition the offset to commit once the rows are written.
        count: Rows of all tables.
        bytes: Roughly, values as they came from Kafka.
        began: Monotonic time of the first record; None: empty.
    """

    rows: dict[str, list[Kept]] = field(default_factory=dict)
    next_offsets: dict[Partition, int] = field(default_factory=dict)
    count: int = 0
    bytes: int = 0
    began: float | None = None

    def add(
        self, place: Place, size: int, now: float, table: str = "", kept: Kept | None = None
    ) -> None:
        """Take in a record; `kept` None: it needs no row, only its offset counts."""
        if self.began is None:
            self.began = now
        partition = (place.topic, place.partition)
        self.next_offsets[partition] = max(place.offset + 1, self.next_offsets.get(partition, 0))
        self.bytes += size
        if kept is not None:
            self.rows.setdefault(table, []).append(kept)
            self.count += 1


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """When a batch is written: whichever comes first."""

    rows: int = 10_000
    bytes: int = 32 * 1024 * 1024
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


def insert_token(table: str, rows: Iterable[Row]) -> str:
    """Token by which ClickHouse recognises a repeated insert of the same rows."""
    ranges: dict[tuple[str, str, int], tuple[int, int]] = {}
    for row in rows:
        where = (row["log_epoch"], row["kafka_topic"], row["kafka_partition"])
        low, high = ranges.get(where, (row["kafka_offset"], row["kafka_offset"]))
        offset = row["kafka_offset"]
        ranges[where] = (min(low, offset), max(high, offset))
    spans = (
        f"{epoch}/{topic}/{partition}:{low}-{high}"
        for (epoch, topic, partition), (low, high) in sorted(ranges.items())
    )
    return f"{table}|{'|'.join(spans)}"
