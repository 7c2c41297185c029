"""How far readers are behind."""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from confluent_kafka import OFFSET_END, Consumer, ConsumerGroupTopicPartitions, TopicPartition
from confluent_kafka.admin import AdminClient

ASK_SECONDS = 3.0
PATIENCE_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Lag:
    """Records of a topic that a group has not worked on yet."""

    group: str
    topic: str
    records: int


def lag_of(
    group: str, committed: Mapping[tuple[str, int], int], ends: Mapping[tuple[str, int], int]
) -> tuple[Lag, ...]:
    """Lag per topic: ends of the log less committed offsets, where both are known."""
    by_topic: dict[str, int] = {}
    for (topic, partition), offset in committed.items():
        if offset >= 0 and (topic, partition) in ends:
            behind = max(0, ends[topic, partition] - offset)
            by_topic[topic] = by_topic.get(topic, 0) + behind
    return tuple(Lag(group, topic, records) for topic, records in sorted(by_topic.items()))


def lags(brokers: str, groups: Iterable[str]) -> tuple[Lag, ...]:
    """Lag of all groups.

    Raises:
        KafkaException: The broker does not answer.
        TimeoutError: It does not answer in time.
    """
    admin = AdminClient({"bootstrap.servers": brokers, "log_level": 0})
    admin.list_topics(timeout=PATIENCE_SECONDS)  # whether it is there is told sooner than a lag
    found: list[Lag] = []
    for group in groups:
        request = [ConsumerGroupTopicPartitions(group)]
        answer = admin.list_consumer_group_offsets(request, request_timeout=ASK_SECONDS)
        partitions = answer[group].result(ASK_SECONDS + 1).topic_partitions
        committed = {(p.topic, p.partition): p.offset for p in partitions}
        found += lag_of(group, committed, ends_of_log(brokers, committed))
    return tuple(found)


def ends_of_log(brokers: str, places: Iterable[tuple[str, int]]) -> dict[tuple[str, int], int]:
    """Where partitions end: the offset after their last record.

    Taken from what a fetch tells: asked for its latest offset, the embedded broker answers with
    the first offset of the last batch, plus one.

    Raises:
        KafkaException: The broker does not answer.
        TimeoutError: It does not answer in time.
    """
    consumer = Consumer(
        {
            "bootstrap.servers": brokers,
            "group.id": "meshscope-status",
            "enable.auto.commit": False,
            "allow.auto.create.topics": False,
            "fetch.wait.max.ms": 50,
            "log_level": 0,
        }
    )
    ends: dict[tuple[str, int], int] = {}
    waiting = [TopicPartition(topic, partition, OFFSET_END) for topic, partition in places]
    until = time.monotonic() + ASK_SECONDS
    try:
        consumer.assign(waiting)
        while waiting:
            if time.monotonic() > until:
                raise TimeoutError(f"no end of {waiting[0].topic} within {ASK_SECONDS:.0f} s")
            consumer.poll(0.02)
            for place in list(waiting):
                _, end = consumer.get_watermark_offsets(place, cached=True)
                if end >= 0:
                    ends[place.topic, place.partition] = end
                    waiting.remove(place)
    finally:
        consumer.close()
    return ends
