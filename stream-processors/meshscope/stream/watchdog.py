"""Notices a consumer that lives but does not consume, which Kafka clients cannot tell themselves.

Per partition: there is something to read, nothing was read for a while, and it is not the turn of
others. A consumer hands out one partition's records after another's: behind a long backlog of one
the others may stand still for minutes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

Place = tuple[str, int]
"""Topic and partition."""


def still_there(done: Mapping[Place, int], begins: Mapping[Place, int]) -> dict[Place, int]:
    """Next offset to be processed, of what retention has left.

    Of a partition whose records are all gone, and of which nothing was ever committed, there is
    nothing to read, although its end is not 0.
    """
    return {place: max(offset, begins.get(place, 0)) for place, offset in done.items()}


@dataclass(frozen=True, slots=True)
class _Halt:
    """Where a partition stands.

    Attributes:
        since: From when on its patience is counted.
        ends: Ends of all partitions when it came to stand: what may be ahead of it in the line.
    """

    offset: int
    since: float
    ends: Mapping[Place, int]


@dataclass(slots=True)
class Watchdog:
    """Remembers when each partition moved last.

    Attributes:
        patience: How long a partition may stand still with something to read, in seconds, once
            nothing moves any more that was ahead of it.
    """

    patience: float
    _halts: dict[Place, _Halt] = field(default_factory=dict)

    def stuck(
        self, done: Mapping[Place, int], ends: Mapping[Place, int], now: float
    ) -> list[Place]:
        """The partitions that have stood still for too long.

        Args:
            done: Next offset to be processed, of each partition that this worker has.
            ends: End of each of these partitions.
            now: Monotonic seconds.
        """
        before = {place: halt.offset for place, halt in self._halts.items() if place in done}
        moved = {place for place, offset in done.items() if before.get(place, -1) != offset}
        halts: dict[Place, _Halt] = {}
        ends = dict(ends)
        for place, offset in done.items():
            halt = self._halts.get(place)
            if halt is None or place in moved or offset >= ends.get(place, 0):
                halts[place] = _Halt(offset, now, ends)
            elif any(before.get(other, 0) < halt.ends.get(other, 0) for other in moved):
                halts[place] = _Halt(offset, now, halt.ends)
            else:
                halts[place] = halt
        self._halts = halts
        return [place for place, halt in halts.items() if now - halt.since > self.patience]
