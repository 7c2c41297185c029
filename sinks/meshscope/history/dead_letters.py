"""Records that cannot be kept go to the dead-letter topic, up to a limit."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from meshscope.events.dead_letter import Headers, dead_letter_headers
from meshscope.events.topics import DEAD_LETTER
from meshscope.history.errors import DeadLetterRefused, TooManyDeadLetters
from meshscope.history.rows import Place

log = logging.getLogger(__name__)

Reason = Literal["poison", "rejected"]
"""The record cannot be decoded, or ClickHouse does not take its row."""

STAGES: Final[dict[Reason, str]] = {"poison": "history.decode", "rejected": "history.insert"}


@dataclass(slots=True)
class DeadLetters:
    """Sends dead letters and knows whether the broker has them.

    Attributes:
        limit: So many dead letters in a row of one partition and for one reason are let pass; one
            more stops the sink.
        now_ms: Clock.
        sent: Number of dead letters of this process.
    """

    producer: Producer
    limit: int
    now_ms: Callable[[], int]
    sent: int = 0
    _in_a_row: dict[tuple[Reason, str, int], int] = field(default_factory=dict)
    _refused: list[str] = field(default_factory=list)

    def good(self, place: Place, reason: Reason) -> None:
        """A record has passed, so the next one that does not is the first in a row."""
        if self._in_a_row:
            self._in_a_row.pop((reason, place.topic, place.partition), None)

    def send(
        self,
        place: Place,
        key: bytes | None,
        value: bytes | None,
        headers: Headers | None,
        reason: Reason,
        error: str,
    ) -> None:
        """Hand a record over to the producer; `settled` says whether the broker has it.

        Raises:
            TooManyDeadLetters, DeadLetterRefused: See there.
        """
        series = (reason, place.topic, place.partition)
        self._in_a_row[series] = count = self._in_a_row.get(series, 0) + 1
        where = f"{place.topic}[{place.partition}]@{place.offset}"
        if count > self.limit:
            raise TooManyDeadLetters(
                f"{count} records in a row cannot be kept, the last one at {where}: {error}. "
                "Nothing more is committed. Check that all processes have the same version"
            )
        try:
            self.producer.produce(
                DEAD_LETTER.name,
                key=key,
                value=value,
                headers=dead_letter_headers(
                    topic=place.topic,
                    partition=place.partition,
                    offset=place.offset,
                    value=value,
                    headers=headers,
                    stage=STAGES[reason],
                    code=reason,
                    error=error,
                    now_ms=self.now_ms(),
                ),
                on_delivery=self._delivered,
            )
        except (BufferError, KafkaException) as refusal:
            raise DeadLetterRefused(f"the dead letter of {where}: {refusal}") from refusal
        self.sent += 1
        log.warning("%s goes to %s: %s", where, DEAD_LETTER.name, error)

    def settled(self, seconds: float) -> bool:
        """Whether the broker has all dead letters, after waiting at most so long.

        Raises:
            DeadLetterRefused: It will never have one of them.
        """
        waiting = self.producer.flush(seconds)
        if self._refused:
            raise DeadLetterRefused(
                f"{len(self._refused)} dead letters were not taken, the first one: "
                f"{self._refused[0]}"
            )
        return waiting == 0

    def _delivered(self, error: KafkaError | None, _: Message) -> None:
        if error is not None:
            self._refused.append(str(error))


def producer_config(brokers: str) -> dict[str, Any]:
    """Settings of the producer of dead letters.

    Not idempotent: a dead letter may come twice, but a producer id that outlives a broker in memory
    can be given to another producer, whose records would then be taken for repetitions.
    """
    return {
        "bootstrap.servers": brokers,
        "acks": "all",
        "allow.auto.create.topics": False,
        "delivery.timeout.ms": 120_000,
        "message.max.bytes": DEAD_LETTER.max_message_bytes,
    }
