"""How far the clock of a proxy's agent is off, as far as a record's way over the broker tells.

A record says when it was sent, by the agent's clock. It was sent before it was read here, and it
was appended after the end of its partition was last seen before it. Both bound what the agent's
clock may be off by, however long the record lay in a spool, and say nothing of a record that this
worker is late to read.
"""

from dataclasses import dataclass, field
from typing import Final

TOLERANCE_MS: Final = 60_000
"""Less is not worth a word: nothing that is decided depends on it."""

IN_FLIGHT_MS: Final = 30_000
"""A record may be with the agent's producer for so long before the broker has it."""


@dataclass(frozen=True, slots=True)
class SkewBounds:
    """What an agent's clock is ahead of this worker's, in milliseconds; behind is negative.

    Attributes:
        least: At least so much.
        most: At most so much; None: that cannot be told.
    """

    least: int
    most: int | None


@dataclass(slots=True)
class SeenEnds:
    """Ends of partitions, and when they were seen; times are monotonic milliseconds."""

    _ends: dict[tuple[str, int], tuple[int, int]] = field(default_factory=dict)

    def saw(self, topic: str, partition: int, end: int, now: int) -> None:
        """The next record of a partition gets the offset `end`."""
        self._ends[topic, partition] = (end, now)

    def age(self, topic: str, partition: int, offset: int, now: int) -> int | None:
        """A record was appended at most so long ago; None: that cannot be told."""
        end, seen = self._ends.get((topic, partition), (offset + 1, now))
        return now - seen if end <= offset else None


def skew_bounds(sent_at: int, now: int, age: int | None) -> SkewBounds:
    """What a record says of its sender's clock.

    Args:
        sent_at: When it was sent, by that clock.
        now: This worker's clock, UTC.
        age: See `SeenEnds.age`.
    """
    least = sent_at - now
    return SkewBounds(least, None if age is None else least + age + IN_FLIGHT_MS)


def skew(known: int, bounds: SkewBounds) -> int:
    """What the agent's clock is off by, at least; 0: nothing worth a word is known.

    Args:
        known: What was known before; it stays as long as it may still be so.
    """
    if bounds.least > TOLERANCE_MS:
        found = bounds.least
    elif bounds.most is None:
        return known
    else:
        found = min(0, bounds.most) if bounds.most < -TOLERANCE_MS else 0
    return known if known and abs(found - known) <= TOLERANCE_MS else found


def note(skew: int) -> str:
    """The word to the operator; empty: there is none to say."""
    if not skew:
        return ""
    minutes = abs(skew) // 60_000
    size = f"{minutes} min" if minutes < 120 else f"{minutes // 60} h"
    return (
        f"MSC-5010: the clock of this proxy's agent is at least {size} "
        f"{'ahead of' if skew > 0 else 'behind'} that of the stream processors, so the times of "
        "its snapshots are off; correct the clock of its node"
    )
