"""What stands on the compacted topics already."""

import time
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition

from meshscope.watcher.declaration import Scope

DEADLINE_SECONDS: Final = 60.0


class BrokerAway(Exception):
    """The broker did not answer in time; `str()` says what was asked."""


@dataclass(frozen=True, slots=True)
class Standing:
    """Records of a scope on some topics.

    Attributes:
        places: Topic and key of each one that is not deleted.
        ends: End of each partition of each topic.
    """

    places: frozenset[tuple[str, str]]
    ends: dict[str, dict[int, int]]


def read_standing(brokers: str, topics: Iterable[str], scope: Scope) -> Standing:
    """Read topics from their beginning to their end.

    Raises:
        BrokerAway: There is no answer in time, or not from every partition.
    """
    consumer = Consumer(
        {
            "bootstrap.servers": brokers,
            # The client demands a group; nothing is committed in it.
            "group.id": f"meshscope-watcher-{uuid.uuid4().hex}",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "allow.auto.create.topics": False,
            "log.connection.close": False,
            "log_level": 2,
        }
    )
    try:
        return _read(consumer, tuple(topics), scope)
    except KafkaException as error:
        raise BrokerAway(f"the topics could not be read: {error}") from error
    finally:
        consumer.close()


def _read(consumer: Consumer, topics: tuple[str, ...], scope: Scope) -> Standing:
    deadline = time.monotonic() + DEADLINE_SECONDS
    ends: dict[str, dict[int, int]] = {topic: {} for topic in topics}
    for topic in topics:
        described = consumer.list_topics(topic, timeout=5.0).topics[topic]
        if described.error is not None:
            raise BrokerAway(f"topic {topic}: {described.error}")
        ends[topic] = dict.fromkeys(described.partitions, 0)
    assigned = [
        TopicPartition(topic, partition, OFFSET_BEGINNING)
        for topic, partitions in ends.items()
        for partition in partitions
    ]
    consumer.assign(assigned)
    unread = {(each.topic, each.partition) for each in assigned}
    places: set[tuple[str, str]] = set()
    while unread:
        if time.monotonic() > deadline:
            raise BrokerAway(f"{len(unread)} partitions were not read to their end in time")
        message = consumer.poll(0.5)
        if message is None:
            continue
        topic, partition = message.topic() or "", message.partition() or 0
        error = message.error()
        if error is not None:
            if error.code() == KafkaError._PARTITION_EOF:
                unread.discard((topic, partition))
            elif error.fatal():
                raise KafkaException(error)
            continue
        ends[topic][partition] = (message.offset() or 0) + 1
        key = (message.key() or b"").decode("utf-8", "replace")
        if scope.owns(topic, key):
            if message.value() is None:
                places.discard((topic, key))
            else:
                places.add((topic, key))
    return Standing(frozenset(places), ends)
