"""How far readers are behind."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

ASK_SECONDS = 3.0


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
    """
    from confluent_kafka import ConsumerGroupTopicPartitions

    admin = AdminClient({"bootstrap.servers": brokers, "log_level": 0})
    consumer = Consumer(
        {"bootstrap.servers": brokers, "group.id": "meshscope-status", "log_level": 0}
    )
    found: list[Lag] = []
    try:
        for group in groups:
            request = [ConsumerGroupTopicPartitions(group)]
            answer = admin.list_consumer_group_offsets(request, request_timeout=ASK_SECONDS)
            partitions = answer[group].result(ASK_SECONDS + 1).topic_partitions
            committed = {(p.topic, p.partition): p.offset for p in partitions}
            ends = {}
            for topic, partition in committed:
                _, end = consumer.get_watermark_offsets(
                    TopicPartition(topic, partition), timeout=ASK_SECONDS
                )
                ends[topic, partition] = end
            found += lag_of(group, committed, ends)
    finally:
        consumer.close()
    return tuple(found)


__all__ = ["KafkaException", "Lag", "lag_of", "lags"]
