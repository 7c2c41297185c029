"""Records that cannot be processed: their bytes untouched, the reason in headers.

Key, value and headers of the record stay as they were; these headers are added, so that the record
can be looked at, mended and sent again. The names are the same for every process.
"""

from collections.abc import Sequence
from typing import Final

from meshscope.events.codec import HEADER_BYTES, MAGIC

Headers = Sequence[tuple[str, str | bytes | None]]
"""Headers of a record, as Kafka clients give and take them."""

ERROR: Final = "ms-error"
ERROR_CODE: Final = "ms-error-code"
TOPIC: Final = "ms-topic"
PARTITION: Final = "ms-partition"
OFFSET: Final = "ms-offset"
SCHEMA: Final = "ms-schema-fp"
STAGE: Final = "ms-stage"
FIRST_SEEN: Final = "ms-first-seen"

MAX_ERROR_CHARACTERS: Final = 2_000


def dead_letter_headers(
    *,
    topic: str,
    partition: int,
    offset: int,
    value: bytes | None,
    headers: Headers | None,
    stage: str,
    code: str,
    error: str,
    now_ms: int,
) -> list[tuple[str, str | bytes | None]]:
    """Headers of the dead letter for a record.

    Args:
        topic, partition, offset: Where the record stands.
        value, headers: Its own.
        stage: Process and step that gave up, such as `history.decode`.
        code: Short word for the kind of error, such as `poison`.
        error: What is wrong, for people.
        now_ms: When it was seen first.
    """
    known = value is not None and value[: len(MAGIC)] == MAGIC and len(value) >= HEADER_BYTES
    schema = value[len(MAGIC) : HEADER_BYTES].hex() if known and value is not None else ""
    added = {
        ERROR: error[:MAX_ERROR_CHARACTERS],
        ERROR_CODE: code,
        TOPIC: topic,
        PARTITION: str(partition),
        OFFSET: str(offset),
        SCHEMA: schema,
        STAGE: stage,
        FIRST_SEEN: str(now_ms),
    }
    return [*(headers or ()), *((name, text.encode()) for name, text in added.items())]
