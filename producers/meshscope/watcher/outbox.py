"""What the broker has yet to acknowledge, latest value of each key."""

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from meshscope.events.topics import RESOURCES
from meshscope.transport.fatal_errors import is_fatal
from meshscope.watcher.declaration import Record

log = logging.getLogger(__name__)

MAX_IN_FLIGHT: Final = 500
PAUSE_AFTER_FAILURE_SECONDS: Final = 1.0

Place = tuple[str, str]
"""Topic and key."""


def producer_config(brokers: str, client_id: str) -> dict[str, Any]:
    """Settings of the producer: idempotent, acknowledged by all replicas.

    A record that is given up after the delivery timeout stays in the outbox and is sent again.
    """
    return {
        "bootstrap.servers": brokers,
        "client.id": client_id,
        "enable.idempotence": True,
        "acks": "all",
        "linger.ms": 5,
        "compression.type": "zstd",
        "delivery.timeout.ms": 30_000,
        "reconnect.backoff.max.ms": 5_000,
        "statistics.interval.ms": 0,
        "log.connection.close": False,
    }


@dataclass(frozen=True, slots=True)
class _Entry:
    number: int
    record: Record


class Outbox:
    """Sends records until they are acknowledged.

    A later record of a key replaces an earlier one that was not sent, and waits for one that was,
    so that a failed delivery never overtakes its successor. Nothing is kept on disk: what was not
    acknowledged is found again by comparing the source with the topics.

    Args:
        make_producer: A new producer, at the start, on a new log and after a fatal error.
    """

    def __init__(self, make_producer: Callable[[], Producer]) -> None:
        self._make_producer = make_producer
        self._producer = make_producer()
        self._generation = 0
        self._number = 0
        self._waiting: dict[Place, _Entry] = {}
        self._in_flight: set[Place] = set()
        self._not_before = 0.0
        self._last_error = ""
        self.ends: dict[int, int] = {}

    @property
    def is_empty(self) -> bool:
        """Whether everything was acknowledged."""
        return not self._waiting

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, records: Iterable[Record]) -> None:
        """Send these too."""
        for record in records:
            self._number += 1
            self._waiting[record.topic, record.key] = _Entry(self._number, record)

    def begin(self, ends: Mapping[int, int]) -> None:
        """Forget everything, for a new log in which the topic of resources ends at `ends`."""
        self._waiting.clear()
        self.ends = dict(ends)
        self._renew()

    def step(self) -> None:
        """Take in delivery reports and hand over what may be sent; never blocks."""
        try:
            self._step()
        except KafkaException as error:
            if not is_fatal(error.args[0]):
                raise
            log.warning("another producer takes the place of this one: %s", error)
            self._renew()

    def _step(self) -> None:
        self._producer.poll(0)
        if time.monotonic() < self._not_before:
            return
        for place, entry in self._waiting.items():
            if len(self._in_flight) >= MAX_IN_FLIGHT:
                break
            if place in self._in_flight:
                continue
            try:
                self._producer.produce(
                    entry.record.topic,
                    key=entry.record.key,
                    value=entry.record.value,
                    on_delivery=self._report(place, entry.number),
                )
            except BufferError:
                break
            self._in_flight.add(place)
        self._producer.poll(0)

    def close(self, timeout_seconds: float) -> int:
        """Give what is in flight a last chance; returns how many records were not acknowledged."""
        try:
            self._producer.flush(timeout_seconds)
        except KafkaException as error:
            log.warning("the broker may not have all that was sent: %s", error)
        return len(self)

    def _renew(self) -> None:
        """A new producer; reports of the old one mean nothing any more."""
        self._generation += 1
        self._in_flight.clear()
        self._producer.purge()
        self._producer = self._make_producer()

    def _report(self, place: Place, number: int) -> Callable[[KafkaError | None, Message], None]:
        generation = self._generation

        def delivered(error: KafkaError | None, message: Message) -> None:
            if generation != self._generation:
                return
            self._in_flight.discard(place)
            if error is not None:
                self._failed(error)
                return
            self._last_error = ""
            if (entry := self._waiting.get(place)) is not None and entry.number == number:
                del self._waiting[place]
            offset = message.offset()
            partition = message.partition()
            if place[0] == RESOURCES.name and offset is not None and partition is not None:
                self.ends[partition] = max(self.ends.get(partition, 0), offset + 1)

        return delivered

    def _failed(self, error: KafkaError) -> None:
        if error.str() != self._last_error:
            log.warning("the broker did not take a record, it is sent again: %s", error.str())
        self._last_error = error.str()
        self._not_before = time.monotonic() + PAUSE_AFTER_FAILURE_SECONDS
