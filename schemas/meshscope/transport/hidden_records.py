"""Records that a broker shows only after those behind them.

Apache Kafka never does that. The embedded broker does for some milliseconds if several producers
write to one partition at once: it gives a batch its offsets before it stores it. A consumer that
goes on would never see what it was not shown.
"""

from typing import Final

FRESH_SECONDS: Final = 2.0


def may_have_been_hidden(expected: int, offset: int, age_seconds: float) -> bool:
    """Whether the records between the expected and this offset may still appear.

    Older gaps are those of compaction and retention.

    Args:
        expected: Offset after the last one that was read.
        offset: The one that came.
        age_seconds: How long ago the broker took it, by a clock that may be wrong.
    """
    return offset > expected and abs(age_seconds) < FRESH_SECONDS
