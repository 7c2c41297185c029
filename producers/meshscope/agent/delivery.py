"""From the spool to the broker: at least once, in order, acknowledged."""

import logging
from collections.abc import Callable
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from meshscope.agent.spool import Spool, SpoolError
from meshscope.events.topics import DEAD_LETTER
from meshscope.transport.fatal_errors import is_fatal
from meshscope.transport.sending_time import sent_at_header

log = logging.getLogger(__name__)

MAX_IN_FLIGHT: Final = 500


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
        # See `meshscope.transport.partition`.
        "partitioner": "consistent",
        "linger.ms": 20,
        "compression.type": "zstd",
        "delivery.timeout.ms": 30_000,
        "queue.buffering.max.kbytes": 16 * 1024,
        # A dead letter may be a little larger than the largest record there can be.
        "message.max.bytes": DEAD_LETTER.max_message_bytes,
        "reconnect.backoff.max.ms": 5_000,
        "statistics.interval.ms": 0,
        "log.connection.close": False,
        # Deliveries that fail are told below, once and in words.
        "log_level": 2,
    }


class Delivery:
    """Sends what the spool holds; call `step` often.

    Args:
        make_producer: A new producer: at the start, on a new log, and after a fatal error. An
            idempotent producer numbers its records, and a broker that lost its log does not know
            where it stood.
        spool: What is to be sent.
        now_ms: The agent's clock, UTC in milliseconds.
    """

    def __init__(
        self, make_producer: Callable[[], Producer], spool: Spool, now_ms: Callable[[], int]
    ) -> None:
        self._make_producer = make_producer
        self._producer = make_producer()
        self._spool = spool
        self._now_ms = now_ms
        self._generation = 0
        self._sent_up_to = 0
        self._in_flight: set[int] = set()
        self._acknowledged: list[int] = []
        self._given_up = False
        self._last_error = ""
        self._spool_error = ""

    def step(self) -> None:
        """Hand over what fits, take in delivery reports, forget what was acknowledged."""
        try:
            self._step()
        except KafkaException as error:
            if not is_fatal(error.args[0]):
                raise
            log.warning("another producer takes the place of this one: %s", error)
            self.renew()

    def _step(self) -> None:
        self._producer.poll(0)
        self._forget_acknowledged()
        if self._given_up:
            # Order matters: nothing new until all that is in flight came back, then from the start.
            if self._in_flight:
                return
            self._given_up = False
            self._sent_up_to = 0
        room = MAX_IN_FLIGHT - len(self._in_flight)
        for spooled in self._spool.after(self._sent_up_to, room) if room > 0 else []:
            record = spooled.record
            try:
                self._producer.produce(
                    record.topic,
                    key=record.key,
                    value=record.value,
                    headers=[*record.headers, sent_at_header(self._now_ms())],
                    on_delivery=self._report(spooled.number),
                )
            except BufferError:
                break
            self._in_flight.add(spooled.number)
            self._sent_up_to = spooled.number
        self._producer.poll(0)

    def renew(self) -> None:
        """Go on with a new producer; what was in flight is sent again."""
        self._generation += 1
        self._in_flight.clear()
        self._sent_up_to = 0
        self._given_up = False
        self._producer.purge()
        self._producer = self._make_producer()

    @property
    def idle(self) -> bool:
        """Whether everything that was put was acknowledged."""
        return not self._in_flight and not self._acknowledged and len(self._spool) == 0

    def close(self, timeout_seconds: float) -> int:
        """Give what is in flight a last chance; returns how many records stay in the spool."""
        try:
            self._producer.flush(timeout_seconds)
        except KafkaException as error:
            log.warning("the broker may not have all that was sent: %s", error)
        self._forget_acknowledged()
        return len(self._spool)

    def _forget_acknowledged(self) -> None:
        """What cannot be taken out of the spool now is taken out later, or sent twice."""
        try:
            self._spool.acknowledge(self._acknowledged)
        except SpoolError as error:
            if str(error) != self._spool_error:
                log.error("%s", error)
            self._spool_error = str(error)
        else:
            self._acknowledged.clear()
            self._spool_error = ""

    def _report(self, number: int) -> Callable[[KafkaError | None, Message], None]:
        generation = self._generation

        def delivered(error: KafkaError | None, _: Message) -> None:
            if generation != self._generation:
                return
            self._in_flight.discard(number)
            if error is None:
                self._acknowledged.append(number)
                self._last_error = ""
                return
            self._given_up = True
            if error.str() != self._last_error:
                log.warning("the broker did not take a record, it stays in the spool: %s", error)
            self._last_error = error.str()

        return delivered
