"""From Kafka to ClickHouse: read, turn into rows, write, commit; see `batch.py` for the promise.

The sink is always in one of three states, and in each of them it goes on polling, so that it stays
in its group:

* *placing*: it has partitions, but does not know yet on which log they stand or what the tables
  hold of it. They are paused.
* *reading*: records become rows of a batch.
* *holding*: a batch is to be written and ClickHouse is away. The partitions are paused.
"""

import logging
import time
from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any, Final, cast

from confluent_kafka import (
    OFFSET_BEGINNING,
    OFFSET_INVALID,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)

from meshscope.events.codec import PoisonValue
from meshscope.events.dead_letter import Headers
from meshscope.events.topics import TOPICS, Topic
from meshscope.history.backoff import Backoff
from meshscope.history.batch import (
    Batch,
    BatchLimits,
    Chunk,
    Highest,
    Kept,
    Partition,
    is_known,
    is_ready,
    is_written,
)
from meshscope.history.dead_letters import DeadLetters
from meshscope.history.errors import RowsRejected, StoreAway
from meshscope.history.fault_points import reach
from meshscope.history.rows import Place, row_of
from meshscope.history.settings import HistorySettings
from meshscope.history.store import Store

log = logging.getLogger(__name__)

KEPT: Final = {topic.name: topic for topic in TOPICS if topic.kept}
"""Topics whose facts go into the history, by name."""

MOST_PER_READ: Final = 20
"""Records of the largest size make a read of some twenty megabytes, which memory has to hold."""
DEAD_LETTER_SECONDS: Final = 5.0
WATCH_SECONDS: Final = 5.0


@dataclass(slots=True)
class Sink:
    """One sink process at work.

    Attributes:
        log_epoch: Says the id of the log a topic stands on; None: the broker does not tell now.
        monotonic: Clock, in seconds.
        written: Rows written by this process.
    """

    consumer: Consumer
    dead_letters: DeadLetters
    store: Store
    log_epoch: Callable[[str], str | None]
    limits: BatchLimits
    monotonic: Callable[[], float] = time.monotonic
    written: int = 0
    _partitions: list[TopicPartition] = field(default_factory=list)
    _epochs: dict[str, str] = field(default_factory=dict)
    _highest: Highest = field(default_factory=dict)
    _batch: Batch = field(default_factory=Batch)
    _waiting: deque[Chunk] = field(default_factory=deque)
    _offsets: dict[Partition, int] = field(default_factory=dict)
    _paused: bool = False
    _watch_at: float = 0.0
    _store_backoff: Backoff = field(default_factory=Backoff)
    _broker_backoff: Backoff = field(default_factory=Backoff)

    def run(self, stopped: Callable[[], bool]) -> None:
        """Work until told to stop; what was read by then is written and committed.

        Raises:
            HistoryError: See `errors.py`; `StoreAway` and `RowsRejected` are dealt with here.
            KafkaException: The consumer cannot go on.
        """
        self.consumer.subscribe(
            list(KEPT), on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._lost
        )
        try:
            while not stopped():
                self.step(0.2)
            self._settle()
        finally:
            # The consumer revokes its partitions when it is closed: nothing is left to do then.
            self._forget()

    def step(self, wait_seconds: float) -> None:
        """Read what is there, at most for `wait_seconds`, and write if it is time."""
        for message in self.consumer.consume(MOST_PER_READ, timeout=wait_seconds):
            if (error := message.error()) is not None:
                _check(error)
            elif message.topic() in self._epochs:
                self._take(message)
        now = self.monotonic()
        if self._partitions and not self._epochs:
            if self._store_backoff.is_over(now) and self._broker_backoff.is_over(now):
                self._place()
            return
        if not self._waiting and is_ready(self._batch, self.limits, now):
            self._seal()
        if self._offsets and self._store_backoff.is_over(now) and self._write():
            self._commit()
        if not self._waiting and now >= self._watch_at and self._broker_backoff.is_over(now):
            self._watch_at = now + WATCH_SECONDS
            self._same_logs(self._epochs)

    # Placing

    def _assigned(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._partitions = partitions
        consumer.assign(partitions)
        self._pause()
        log.info("assigned %s partitions", len(partitions))

    def _place(self) -> None:
        """Find out which logs these are and what the tables hold of them, then read on."""
        epochs: dict[str, str] = {}
        for topic in sorted({partition.topic for partition in self._partitions}):
            epoch = self.log_epoch(topic)
            if epoch is None:
                pause = self._broker_backoff.failed(self.monotonic())
                log.warning("the broker does not tell of %s, again in %.1f s", topic, pause)
                return
            epochs[topic] = epoch
        self._broker_backoff.succeeded()
        try:
            highest = self.store.highest_offsets(epochs.values())
        except StoreAway as error:
            self._store_is_away(error)
            return
        self._store_backoff.succeeded()
        starts = [
            TopicPartition(
                at.topic,
                at.partition,
                OFFSET_INVALID  # where the group stands
                if is_known(highest, epochs[at.topic], at.topic, at.partition)
                else OFFSET_BEGINNING,
            )
            for at in self._partitions
        ]
        self._epochs, self._highest = epochs, highest
        self.consumer.assign(starts)
        self._resume()

    # Reading

    def _take(self, message: Message) -> None:
        topic: Topic = KEPT[message.topic() or ""]
        place = Place(
            log_epoch=self._epochs[topic.name],
            topic=topic.name,
            partition=message.partition() or 0,
            offset=message.offset() or 0,
            broker_at=message.timestamp()[1],
        )
        value: bytes | None = message.value()
        key: bytes | None = message.key()
        # The client's types allow a mapping, which it takes and never gives.
        headers = cast("Headers | None", message.headers())
        now = self.monotonic()
        try:
            row = row_of(topic, place, key, value)
        except (PoisonValue, UnicodeDecodeError) as error:
            self.dead_letters.send(place, key, value, headers, "poison", str(error))
            self._batch.skip(place, len(value or b""), now)
            return
        self.dead_letters.good(place, "poison")
        if row is None or is_written(self._highest, place, row.table):
            self._batch.skip(place, len(value or b""), now)
        else:
            self._batch.add(row.table, Kept(place, row.row, key, value, headers), now)

    # Writing

    def _seal(self) -> None:
        """Put the batch in line if it is sure which logs it was read from; the next one begins.

        A log never gets its id again. A topic that has the id with which it was placed has had it
        all the time since, so what was read meanwhile stands on that log.
        """
        if not self._broker_backoff.is_over(self.monotonic()):
            return
        if not self._same_logs({topic for topic, _ in self._batch.next_offsets}):
            return
        self._waiting.extend(self._batch.chunks())
        self._offsets |= self._batch.next_offsets
        self._batch = Batch()

    def _write(self) -> bool:
        """Write what waits; False: ClickHouse or the broker is away, and what is left waits on.

        No row is written before the dead letters of the rows before it are safe: it would raise the
        highest offset, below which a refused row counts as written.
        """
        while self._waiting:
            if not self._letters_are_safe():
                self._pause()
                return False
            chunk = self._waiting[0]
            reach("before_insert")
            try:
                self.store.insert(chunk)
            except StoreAway as error:
                self._store_is_away(error)
                self._pause()
                return False
            except RowsRejected as error:
                self._waiting.popleft()
                self._bisect(chunk, str(error))
            else:
                self._waiting.popleft()
                self.written += len(chunk.rows)
                for kept in chunk.rows:
                    self.dead_letters.good(kept.place, "rejected")
                reach("between_inserts")
        if self._paused:
            log.info("writing goes on")
            self._resume()
        self._store_backoff.succeeded()
        reach("after_insert")
        return True

    def _bisect(self, chunk: Chunk, error: str) -> None:
        """Put the halves in line, or give the one row that is wrong up."""
        if len(chunk.rows) > 1:
            self._waiting.extendleft(reversed(chunk.halves()))
        else:
            kept = chunk.rows[0]
            self.dead_letters.send(
                kept.place, kept.key, kept.value, kept.headers, "rejected", error
            )

    def _commit(self) -> None:
        """Commit what is written, if it still belongs to the log on which the topics stand."""
        if not self._letters_are_safe():
            return
        reach("after_dead_letter")
        now = self.monotonic()
        if not self._broker_backoff.is_over(now):
            return
        if not self._same_logs({topic for topic, _ in self._offsets}):
            return
        reach("before_commit")
        offsets = [TopicPartition(*place, offset) for place, offset in self._offsets.items()]
        try:
            self.consumer.commit(offsets=offsets, asynchronous=False)
        except KafkaException as error:
            if error.args[0].fatal():
                raise
            # Nothing is lost: a later commit says more, or the rows are recognised when read again.
            pause = self._broker_backoff.failed(now)
            log.warning("offsets are not committed, again in %.1f s: %s", pause, error)
            return
        self._broker_backoff.succeeded()
        self._offsets = {}
        reach("after_commit")

    def _letters_are_safe(self) -> bool:
        if self.dead_letters.settled(DEAD_LETTER_SECONDS):
            return True
        log.warning("the broker has not taken all dead letters yet, so nothing goes past them")
        return False

    def _same_logs(self, topics: Collection[str]) -> bool:
        """Whether these topics still stand on the logs on which they were placed.

        If not, what was read of them may be of either log. It is dropped, and the new log is read
        from its beginning. Asked also while nothing comes: a consumer may wait for ever at an
        offset of the old log that the new one has not reached.
        """
        for topic in sorted(topics):
            epoch = self.log_epoch(topic)
            if epoch is None:
                self._broker_backoff.failed(self.monotonic())
                return False
            if epoch != self._epochs[topic]:
                log.warning("%s was made anew: reading it from its beginning", topic)
                self._forget()
                self._pause()
                return False
        return True

    # Leaving

    def _revoked(self, _: Consumer, partitions: list[TopicPartition]) -> None:
        log.info("%s partitions are taken away", len(partitions))
        self._settle()
        self._forget()
        self._partitions = []

    def _lost(self, _: Consumer, partitions: list[TopicPartition]) -> None:
        """The group has gone on without us, and others may read these records again.

        Unless the log is gone: then nobody can, and what surely stood on it is written.
        """
        log.warning("%s partitions are lost", len(partitions))
        if self._waiting and any(
            self.log_epoch(topic) != epoch for topic, epoch in self._epochs.items()
        ):
            self._write()
        self._forget()
        self._partitions = []

    def _settle(self) -> None:
        """One try to write and commit all that was read; what cannot be is read again by others."""
        if not self._waiting or self._write():
            self._seal()
            if self._offsets and self._write():
                self._commit()

    def _forget(self) -> None:
        """Drop what is neither written nor committed, and find out again where to go on."""
        self._batch = Batch()
        self._waiting.clear()
        self._offsets = {}
        self._epochs = {}

    def _store_is_away(self, error: StoreAway) -> None:
        pause = self._store_backoff.failed(self.monotonic())
        log.warning("ClickHouse is away, trying again in %.1f s: %s", pause, error)

    def _pause(self) -> None:
        self.consumer.pause(self._partitions)
        self._paused = True

    def _resume(self) -> None:
        self.consumer.resume(self._partitions)
        self._paused = False


def _check(error: KafkaError) -> None:
    if error.fatal():
        raise KafkaException(error)
    log.warning("the broker says: %s", error)


def consumer_config(settings: HistorySettings) -> dict[str, Any]:
    """Settings of the consumer: offsets are committed by hand, after the rows are written."""
    config: dict[str, Any] = {
        "bootstrap.servers": settings.brokers,
        "group.id": settings.group,
        "enable.auto.commit": False,
        "auto.offset.reset": "earliest",
        "partition.assignment.strategy": "range",
        "session.timeout.ms": settings.session_seconds * 1_000,
        "heartbeat.interval.ms": settings.session_seconds * 300,
        "max.poll.interval.ms": 300_000,
        "queued.max.messages.kbytes": 16 * 1024,
        "allow.auto.create.topics": False,
        # Topics that are made after the sink has started are found within so long.
        "topic.metadata.refresh.interval.ms": 5_000,
    }
    if settings.instance:
        config["group.instance.id"] = settings.instance
    return config
