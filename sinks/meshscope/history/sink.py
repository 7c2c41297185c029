"""From Kafka to ClickHouse: read, turn into rows, write, commit; see `batch.py` for the promise."""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, cast

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from meshscope.events.codec import PoisonValue
from meshscope.events.dead_letter import Headers, dead_letter_headers
from meshscope.events.topics import DEAD_LETTER, TOPICS, Topic
from meshscope.history.batch import Batch, BatchLimits, Highest, Kept, is_ready, is_written
from meshscope.history.fault_points import reach
from meshscope.history.rows import Place, row_of
from meshscope.history.store import RowsRejected, Store, StoreAway

log = logging.getLogger(__name__)

KEPT: Final = tuple(topic for topic in TOPICS if topic.kept)
"""Topics whose facts go into the history."""

MOST_PER_READ: Final = 500
FIRST_PAUSE_SECONDS: Final = 0.2
LONGEST_PAUSE_SECONDS: Final = 10.0


class TooManyDeadLetters(Exception):
    """So many records in a row could not be read that something else must be wrong."""


class DeadLetterRefused(Exception):
    """The broker did not take a dead letter; nothing is committed."""


@dataclass(slots=True)
class Sink:
    """One sink process at work.

    Attributes:
        log_epoch: Says the id of the log a topic stands on; asked at every assignment.
        now_ms, monotonic: Clocks.
    """

    consumer: Consumer
    producer: Producer
    store: Store
    log_epoch: Callable[[str], str]
    limits: BatchLimits
    dead_letter_limit: int
    now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000
    monotonic: Callable[[], float] = time.monotonic
    batch: Batch = field(default_factory=Batch)
    written: int = 0
    dead_letters: int = 0
    _highest: Highest = field(default_factory=dict)
    _epochs: dict[str, str] = field(default_factory=dict)
    _dead_in_a_row: int = 0
    _topics: dict[str, Topic] = field(default_factory=lambda: {t.name: t for t in KEPT})

    def run(self, stopped: Callable[[], bool]) -> None:
        """Work until told to stop; what was read by then is written and committed.

        Raises:
            TooManyDeadLetters, DeadLetterRefused, StoreMisconfigured: Nothing is committed.
            KafkaException: The consumer cannot go on.
        """
        self.consumer.subscribe(
            list(self._topics), on_assign=self._assigned, on_revoke=self._revoked
        )
        while not stopped():
            self.step(0.2)
        self.flush(stopped)

    def step(self, wait_seconds: float) -> None:
        """Read what is there, at most for `wait_seconds`, and write if it is time."""
        for message in self.consumer.consume(MOST_PER_READ, timeout=wait_seconds):
            if (error := message.error()) is not None:
                _check(error)
            else:
                self._take(message)
        if is_ready(self.batch, self.limits, self.monotonic()):
            self.flush()

    def _take(self, message: Message) -> None:
        topic = self._topics[message.topic() or ""]
        place = Place(
            log_epoch=self._epochs.get(topic.name, ""),
            topic=topic.name,
            partition=message.partition() or 0,
            offset=message.offset() or 0,
            broker_at=message.timestamp()[1],
        )
        value: bytes | None = message.value()
        key: bytes | None = message.key()
        # The client's types allow a mapping, which it takes and never gives.
        headers = cast("Headers | None", message.headers())
        try:
            row = row_of(topic, place, key, value)
        except (PoisonValue, UnicodeDecodeError) as error:
            self._dead_in_a_row += 1
            if self._dead_in_a_row > self.dead_letter_limit:
                raise TooManyDeadLetters(
                    f"{self._dead_in_a_row} records in a row cannot be read, the last one at "
                    f"{place.topic}[{place.partition}]@{place.offset}: {error}. Nothing more is "
                    "committed. Check that all processes have the same version"
                ) from error
            self._dead_letter(place, key, value, headers, "poison", str(error))
            row = None
        else:
            self._dead_in_a_row = 0
        size, now = len(value or b""), self.monotonic()
        if row is None or is_written(self._highest, place, row.table):
            self.batch.add(place, size, now)
        else:
            kept = Kept(row.row, key, value, headers)
            self.batch.add(place, size, now, row.table, kept)

    def _dead_letter(
        self,
        place: Place,
        key: bytes | None,
        value: bytes | None,
        headers: Headers | None,
        code: str,
        error: str,
    ) -> None:
        """Put a record on the dead-letter topic; `flush` waits for the broker before it commits."""
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
                stage=f"history.{code}",
                code=code,
                error=error,
                now_ms=self.now_ms(),
            ),
        )
        self.dead_letters += 1
        log.warning(
            "%s[%s]@%s went to %s: %s",
            place.topic,
            place.partition,
            place.offset,
            DEAD_LETTER.name,
            error,
        )

    def flush(self, stopped: Callable[[], bool] = lambda: False) -> None:
        """Write the batch and commit its offsets; waits while ClickHouse is away.

        Args:
            stopped: Ends the waiting; then the batch is given up and nothing is committed.
        """
        if self.batch.began is None:
            return
        reach("before_insert")
        for table, rows in self.batch.rows.items():
            if not self._insert(table, rows, stopped):
                return
            self.written += len(rows)
            reach("between_inserts")
        reach("after_insert")
        if self.producer.flush(30):
            raise DeadLetterRefused(
                f"the broker has not taken {len(self.producer)} dead letters within 30 s"
            )
        reach("after_dead_letter")
        offsets = [
            TopicPartition(topic, partition, offset)
            for (topic, partition), offset in self.batch.next_offsets.items()
        ]
        reach("before_commit")
        self.consumer.commit(offsets=offsets, asynchronous=False)
        reach("after_commit")
        self.batch = Batch()

    def _insert(self, table: str, rows: Sequence[Kept], stopped: Callable[[], bool]) -> bool:
        pause = FIRST_PAUSE_SECONDS
        while True:
            try:
                self.store.insert(table, [kept.row for kept in rows])
            except StoreAway as error:
                log.warning("ClickHouse is away, trying again in %.1f s: %s", pause, error)
                if not self._wait(pause, stopped):
                    return False
                pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
            except RowsRejected as error:
                return self._bisect(table, rows, str(error), stopped)
            else:
                return True

    def _bisect(
        self, table: str, rows: Sequence[Kept], error: str, stopped: Callable[[], bool]
    ) -> bool:
        """Write the rows that ClickHouse takes and dead-letter the one that it does not."""
        if len(rows) > 1:
            middle = len(rows) // 2
            return self._insert(table, rows[:middle], stopped) and self._insert(
                table, rows[middle:], stopped
            )
        kept = rows[0]
        place = Place(
            kept.row["log_epoch"],
            kept.row["kafka_topic"],
            kept.row["kafka_partition"],
            kept.row["kafka_offset"],
            0,
        )
        self._dead_letter(place, kept.key, kept.value, kept.headers, "rejected", error)
        return True

    def _wait(self, seconds: float, stopped: Callable[[], bool]) -> bool:
        """Wait without reading on, but stay in the group; False: told to stop."""
        assigned = self.consumer.assignment()
        self.consumer.pause(assigned)
        until = self.monotonic() + seconds
        try:
            while (left := until - self.monotonic()) > 0:
                if stopped():
                    return False
                self.consumer.poll(min(left, 0.2))
        finally:
            self.consumer.resume(self.consumer.assignment())
        return True

    def _assigned(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._highest = self.store.highest_offsets()
        self._epochs = {name: self.log_epoch(name) for name in {p.topic for p in partitions}}
        consumer.assign(partitions)
        log.info("assigned %s partitions", len(partitions))

    def _revoked(self, _: Consumer, partitions: list[TopicPartition]) -> None:
        # One try: what cannot be written now is read again by whoever gets the partitions.
        if partitions:
            self.flush(stopped=lambda: True)
            self.batch = Batch()


def _check(error: KafkaError) -> None:
    if error.fatal():
        raise KafkaException(error)
    if error.code() != KafkaError._PARTITION_EOF:
        log.warning("the broker says: %s", error)


def consumer_config(brokers: str, group: str, instance: str) -> dict[str, Any]:
    """Settings of the consumer: offsets are committed by hand, after the rows are written."""
    config: dict[str, Any] = {
        "bootstrap.servers": brokers,
        "group.id": group,
        "enable.auto.commit": False,
        "auto.offset.reset": "earliest",
        "partition.assignment.strategy": "range",
        "session.timeout.ms": 10_000,
        "max.poll.interval.ms": 300_000,
        "queued.max.messages.kbytes": 32 * 1024,
        "allow.auto.create.topics": False,
    }
    if instance:
        config["group.instance.id"] = instance
    return config
