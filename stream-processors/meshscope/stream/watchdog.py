"""Notices a consumer that lives but does not consume, which Kafka clients cannot tell themselves.

Per partition: there is something to read, and nothing was read for a while.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

Place = tuple[str, int]
"""Topic and partition."""


@dataclass(slots=True)
class Watchdog:
    """Remembers when each partition moved last.

    Attributes:
        patience: How long a partition may stand still with something to read, in seconds.
    """

    patience: float
    _moved: dict[Place, tuple[int, float]] = field(default_factory=dict)

    def stuck(
        self, done: Mapping[Place, int], ends: Mapping[Place, int], now: float
    ) -> list[Place]:
        """The partitions that have stood still for too long.

        Args:
            done: Next offset to be processed, of each partition that this worker has.
            ends: End of each of these partitions.
            now: Monotonic seconds.
        """
        self._moved = {place: self._moved.get(place, (-1, now)) for place in done}
        for place, offset in done.items():
            if offset != self._moved[place][0] or offset >= ends.get(place, 0):
                self._moved[place] = (offset, now)
        return [place for place, (_, since) in self._moved.items() if now - since > self.patience]
