"""From the spool to the broker: at least once, in order, acknowledged."""

import logging
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer

from meshscope.agent.spool import Spool

log = logging.getLogger(__name__)

MAX_IN_FLIGHT = 500


def producer_config(brokers: str, client_id: str) -> dict[str, Any]:
    """Settings of the producer.

    Idempotent and acknowledged by all replicas; the delivery timeout is short, because a record
    that is given up stays in the spool and is sent again.
    """
    return {
        "bootstrap.servers": brokers,
        "client.id": client_id,
        "enable.idempotence": True,
        "acks": "all",
        "linger.ms": 20,
        "compression.type": "zstd",
        "delivery.timeout.ms": 30_000,
        "queue.buffering.max.kbytes": 16 * 1024,
        "reconnect.backoff.max.ms": 5_000,
        "statistics.interval.ms": 0,
        "log.connection.close": False,
    }


@dataclass(slots=True)
class Delivery:
    """Sends what the spool holds; call `step` often.

    Attributes:
        sent_up_to: Number of the last record that was handed to the producer.
        failed: Deliveries that the broker did not acknowledge, so far.
        last_error: Why; empty: the last one was acknowledged.
    """

    producer: Producer
    spool: Spool
    sent_up_to: int = 0
    failed: int = 0
    last_error: str = ""
    _in_flight: set[int] = field(default_factory=set)
    _acknowledged: list[int] = field(default_factory=list)
    _given_up: bool = False
    _generation: int = 0

    def renew(self, producer: Producer) -> None:
        """Go on with another producer, from the first record of the spool.

        For a new log: its broker does not know the id of an idempotent producer from before, and
        refuses its records for ever, or takes them for those of whoever got that id since.
        """
        self._generation += 1
        self.producer.purge()
        self.producer = producer
        self._in_flight.clear()
        self._given_up = False
        self.sent_up_to = 0

    def step(self) -> None:
        """Hand over what fits, take in delivery reports, forget what was acknowledged.

        Raises:
            KafkaException: The producer cannot go on (fatal errors); start the process again.
        """
        self.producer.poll(0)
        self.spool.acknowledge(self._acknowledged)
        self._acknowledged.clear()
        if self._given_up:
            # Order matters: nothing new until all that is in flight came back, then from the start.
            if self._in_flight:
                return
            self._given_up = False
            self.sent_up_to = 0
        room = MAX_IN_FLIGHT - len(self._in_flight)
        for spooled in self.spool.after(self.sent_up_to, room) if room > 0 else []:
            record = spooled.record
            try:
                self.producer.produce(
                    record.topic,
                    key=record.key,
                    value=record.value,
                    on_delivery=self._report(spooled.number),
                )
            except BufferError:
                break
            self._in_flight.add(spooled.number)
            self.sent_up_to = spooled.number
        self.producer.poll(0)

    def _report(self, number: int) -> Any:
        generation = self._generation

        def delivered(error: KafkaError | None, _: object) -> None:
            if generation != self._generation:
                return
            self._in_flight.discard(number)
            if error is None:
                self._acknowledged.append(number)
                self.last_error = ""
                return
            self.failed += 1
            self._given_up = True
            if error.fatal():
                raise KafkaException(error)
            if error.str() != self.last_error:
                log.warning("the broker did not take a record, it stays in the spool: %s", error)
            self.last_error = error.str()

        return delivered

    @property
    def idle(self) -> bool:
        """Whether everything that was put was acknowledged."""
        return not self._in_flight and not self._acknowledged and len(self.spool) == 0

    def close(self, timeout_seconds: float) -> int:
        """Give what is in flight a last chance; returns how many records stay in the spool."""
        self.producer.flush(timeout_seconds)
        self.spool.acknowledge(self._acknowledged)
        self._acknowledged.clear()
        return len(self.spool)
