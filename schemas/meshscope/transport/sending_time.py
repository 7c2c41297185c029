"""When a record was sent, by its sender's clock.

Kafka's own timestamp cannot say it: topics bear the broker's time (`LogAppendTime`), so that a
producer whose clock is wrong neither has its records refused nor deleted early.
"""

from collections.abc import Iterable
from typing import Final

SENT_AT: Final = "ms-sent-at"
"""Name of the header; its value is UTC in milliseconds, as decimal digits."""


def sent_at_header(now_ms: int) -> tuple[str, bytes]:
    """The header of a record that is sent now."""
    return SENT_AT, str(now_ms).encode()


def sent_at(headers: Iterable[tuple[str, str | bytes | None]]) -> int | None:
    """When a record was sent; None: it does not say so in a way that can be read."""
    text = dict(headers).get(SENT_AT) or ""
    return int(text) if text.isdigit() and len(text) < 16 else None
