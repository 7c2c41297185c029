"""From Kafka to ClickHouse: read, turn into rows, write, commit. `positions.py` has the promise.

The sink is always in one of three states, and in each of them it goes on polling, so that it stays
in its group:

* *placing*: it has partitions, but does not know yet on which log they stand or what the tables
  hold of it. They are paused.
* *reading*: records become rows of a batch, and batches are written one insert at a time.
* *holding*: ClickHouse or the broker is away, or the batch is full while another one is written.
  The partitions are paused, so that memory stays bounded.
"""

import logging
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any, Final, cast

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from meshscope.events.codec import PoisonValue
from meshscope.events.dead_letter import Headers
from meshscope.events.topics import TOPICS, Topic
from meshscope.history.backoff import Backoff
from meshscope.history.batch import Batch, BatchLimits, Kept, is_full, is_ready
from meshscope.history.errors import Away, BrokerAway
from meshscope.history.fault_points import reach
from meshscope.history.positions import (
    Highest,
    Partition,
    first_offset,
    is_written,
)
from meshscope.history.rows import Place, row_of
from meshscope.history.settings import HistorySettings
from meshscope.history.writer import Writer
from meshscope.transport.fatal_errors import is_fatal
from meshscope.transport.hidden_records import may_have_been_hidden

log = logging.getLogger(__name__)

KEPT: Final = {topic.name: topic for topic in TOPICS if topic.kept}
"""Topics whose facts go into the history, by name."""

MOST_PER_READ: Final = 20
"""Records of the largest size make a read of some twenty megabytes, which memory has to hold."""
BROKER_SECONDS: Final = 5.0
WATCH_SECONDS: Final = 5.0


@dataclass(slots=True)
class Sink:
    """One sink process at work.

    Attributes:
        log_epoch: Says the id of the log a topic stands on; None: the broker does not tell now.
        monotonic: Clock for pauses, in seconds.
        wall: Clock to compare with the broker's, in seconds since 1970.
    """

    consumer: Consumer
    writer: Writer
    log_epoch: Callable[[str], str | None]
    limits: BatchLimits
    monotonic: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time
    _partitions: list[TopicPartition] = field(default_factory=list)
    _epochs: dict[str, str] = field(default_factory=dict)
    _highest: Highest = field(default_factory=dict)
    _next: dict[Partition, int] = field(default_factory=dict)
    _gaps: dict[Partition, int] = field(default_factory=dict)
    _batch: Batch = field(default_factory=Batch)
    _holding: bool = False
    _watch_at: float = 0.0
    _away: Backoff = field(default_factory=Backoff)

    def run(self, stopped: Callable[[], bool]) -> None:
        """Work until told to stop; what was read by then is written and committed.

        Raises:
            HistoryError: See `errors.py`; what one can wait for is dealt with here.
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
        """Read what is there, at most for `wait_seconds`, and do one piece of work."""
        busy = not self._away.failing and (self.writer.waits or self.writer.offsets)
        self._read(0.0 if busy else wait_seconds)
        now = self.monotonic()
        if self._away.is_over(now):
            try:
                self._work(now)
            except Away as away:
                pause = self._away.failed(now)
                log.warning("%s is away, trying again in %.1f s: %s", away.who, pause, away)
            else:
                if self._away.failing:
                    log.info("going on")
                self._away.succeeded()
        self._hold(not self._epochs or self._away.failing or is_full(self._batch, self.limits))

    def _work(self, now: float) -> None:
        """Whatever comes next. What fails is still to be done and comes again.

        Raises:
            Away: It cannot be done now.
        """
        if not self._epochs:
            if self._partitions:
                self._place()
        elif self.writer.waits:
            self.writer.write()
        elif self.writer.offsets:
            self._commit()
        elif is_ready(self._batch, self.limits, now):
            self._seal()
        elif now >= self._watch_at:
            # A consumer may wait for ever at an offset that a new log has not reached.
            self._same_logs(self._epochs)
            self._watch_at = now + WATCH_SECONDS

    # Placing

    def _assigned(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._partitions = partitions
        consumer.assign(partitions)
        self._holding = False
        self._hold(True)
        log.info("assigned %s partitions", len(partitions))

    def _place(self) -> None:
        """Find out which logs these are and what the tables hold of them, then read on.

        What the group committed of another log or for a history that was emptied is taken back
        before anything is written. After the first insert it could not be told from a good one.

        Raises:
            Away: One of them does not tell.
        """
        topics = {partition.topic for partition in self._partitions}
        epochs = {topic: self._epoch(topic) for topic in sorted(topics)}
        highest = self.writer.store.highest_offsets(epochs.values())
        committed = self._committed()
        starts = {
            at: first_offset(highest, epochs[at[0]], at, offset) for at, offset in committed.items()
        }
        self._commit_offsets({at: start for at, start in starts.items() if start < committed[at]})
        self.consumer.assign([TopicPartition(*at, start) for at, start in starts.items()])
        self._epochs, self._highest, self._next = epochs, highest, starts

    def _committed(self) -> dict[Partition, int]:
        try:
            found = self.consumer.committed(self._partitions, timeout=BROKER_SECONDS)
        except KafkaException as error:
            raise BrokerAway(f"it does not tell where the group stands: {error}") from error
        for at in found:
            if at.error is not None:
                raise BrokerAway(f"it does not tell where the group stands in {at}: {at.error}")
        return {(at.topic, at.partition): at.offset for at in found}

    def _epoch(self, topic: str) -> str:
        epoch = self.log_epoch(topic)
        if epoch is None:
            raise BrokerAway(f"it does not tell of {topic}")
        return epoch

    # Reading

    def _read(self, wait_seconds: float) -> None:
        for message in self.consumer.consume(MOST_PER_READ, timeout=wait_seconds):
            if (error := message.error()) is not None:
                _check(error)
            # Where it is not known what the tables hold, reading begins again later.
            elif message.topic() in self._epochs:
                self._take(message)

    def _take(self, message: Message) -> None:
        topic: Topic = KEPT[message.topic() or ""]
        place = Place(
            log_epoch=self._epochs[topic.name],
            topic=topic.name,
            partition=message.partition() or 0,
            offset=message.offset() or 0,
            broker_at=message.timestamp()[1],
        )
        if not self._is_next(place):
            return
        value: bytes | None = message.value()
        key: bytes | None = message.key()
        # The client's types allow a mapping, which it takes and never gives.
        headers = cast("Headers | None", message.headers())
        now = self.monotonic()
        try:
            row = row_of(topic, place, key, value)
        except (PoisonValue, UnicodeDecodeError) as error:
            self.writer.dead_letters.send(place, key, value, headers, "poison", str(error))
            self._batch.skip(place, len(value or b""), now)
            return
        self.writer.dead_letters.good(place, "poison")
        if row is None or is_written(self._highest, place, row.table):
            self._batch.skip(place, len(value or b""), now)
        else:
            self._batch.add(row.table, Kept(place, row.row, key, value, headers), now)

    def _is_next(self, place: Place) -> bool:
        """Whether a record is to be taken.

        Not if it was taken already: a consumer that a broker sends back to the beginning reads
        again. And not if the broker may have passed others over: then all that is not committed is
        read again, once.
        """
        partition = (place.topic, place.partition)
        expected = self._next[partition]
        age_seconds = self.wall() - place.broker_at / 1000
        if (
            may_have_been_hidden(expected, place.offset, age_seconds)
            and self._gaps.get(partition) != expected
        ):
            self._gaps[partition] = expected
            log.warning(
                "%s[%s]: %s came before %s; reading again", *partition, place.offset, expected
            )
            self._forget()
            return False
        self._next[partition] = max(expected, place.offset + 1)
        return place.offset >= expected

    # Writing

    def _seal(self) -> None:
        """Put the batch in line if it is sure which logs it was read from; the next one begins.

        A log never gets its id again. A topic that has the id with which it was placed has had it
        all the time since, so what was read meanwhile stands on that log.
        """
        if self._same_logs({topic for topic, _ in self._batch.next_offsets}):
            self.writer.take(self._batch)
            self._batch = Batch()

    def _commit(self) -> None:
        """Commit what is written, if it still belongs to the log on which the topics stand."""
        self.writer.require_safe_letters()
        reach("after_dead_letter")
        if self._same_logs({topic for topic, _ in self.writer.offsets}):
            reach("before_commit")
            # If it fails nothing is lost: a later commit says more, or the rows are recognised when
            # they are read again.
            self._commit_offsets(self.writer.offsets)
            self.writer.offsets = {}
            reach("after_commit")

    def _commit_offsets(self, offsets: dict[Partition, int]) -> None:
        if not offsets:
            return
        try:
            self.consumer.commit(
                offsets=[TopicPartition(*at, offset) for at, offset in offsets.items()],
                asynchronous=False,
            )
        except KafkaException as error:
            if is_fatal(error.args[0]):
                raise
            raise BrokerAway(f"it does not take offsets: {error}") from error

    def _same_logs(self, topics: Collection[str]) -> bool:
        """Whether these topics still stand on the logs on which they were placed.

        If not, what was read of them may be of either log. It is dropped, and the new log is read
        from its beginning.

        Raises:
            BrokerAway: It does not tell.
        """
        for topic in sorted(topics):
            if self._epoch(topic) != self._epochs[topic]:
                log.warning("%s was made anew: reading it from its beginning", topic)
                self._forget()
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
        if self.writer.waits and any(
            self.log_epoch(topic) != epoch for topic, epoch in self._epochs.items()
        ):
            self._try(self._write_all)
        self._forget()
        self._partitions = []

    def _settle(self) -> None:
        """One try to write and commit all that was read; what cannot be is read again by others."""
        if self._epochs and not self._away.failing:
            self._try(self._finish)

    def _try(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Away as away:
            log.warning("%s is away, so what is not committed stays: %s", away.who, away)

    def _finish(self) -> None:
        self._write_all()
        self._seal()
        self._write_all()
        if self.writer.offsets:
            self._commit()

    def _write_all(self) -> None:
        while self.writer.waits:
            self.writer.write()

    def _forget(self) -> None:
        """Drop what is neither written nor committed, and find out again where to go on."""
        self._batch = Batch()
        self.writer.drop()
        self._epochs = {}

    def _hold(self, hold: bool) -> None:
        """Pause the partitions, or read on."""
        if hold and not self._holding:
            self.consumer.pause(self._partitions)
        elif self._holding and not hold:
            self.consumer.resume(self._partitions)
        self._holding = hold


def _check(error: KafkaError) -> None:
    if is_fatal(error):
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
