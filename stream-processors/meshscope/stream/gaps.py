"""Notices offsets that were skipped: a message that an agent never saw (`ms_offset_gaps_total`).

What the broker shows late is read after all (`passed_over.py`), and is none. Compaction removes
records and leaves holes too, but not near the end of a log, where a worker that keeps up reads. So
a growing count on a worker that keeps up means lost messages.
"""


class GapDetector:
    """Counts skipped offsets per partition, within one assignment."""

    def __init__(self) -> None:
        self.total = 0
        self._next: dict[tuple[str, int], int] = {}

    def saw(self, topic: str, partition: int, offset: int) -> int:
        """A message is being processed; returns the number of offsets skipped before it."""
        place = (topic, partition)
        skipped = max(0, offset - self._next.get(place, offset))
        self._next[place] = max(offset + 1, self._next.get(place, 0))
        self.total += skipped
        return skipped

    def next_offset(self, topic: str, partition: int) -> int | None:
        """The offset after the last one that was seen; None: none was seen."""
        return self._next.get((topic, partition))

    def forget(self) -> None:
        """Partitions were assigned anew, and reading goes on from committed offsets."""
        self._next.clear()
