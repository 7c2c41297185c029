"""Reads all partitions of the broadcast topics from their beginning, in every worker.

No consumer group: nothing is committed and nothing is shared out. Records that cannot be read are
passed over here; one worker of the group, which reads the same topics with committed offsets, puts
them aside (see `app.py`), so that each becomes a dead letter once and not once per worker and
start.
"""

import asyncio
import logging
import time
from collections.abc import Iterable, Mapping
from typing import Final

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from meshscope.events.codec import PoisonValue
from meshscope.events.topics import CONTROL_PLANE_STATE, POLICIES, RESOURCES
from meshscope.stream.decoding import broadcast_event
from meshscope.stream.join import Join
from meshscope.stream.watchdog import Place
from meshscope.transport.hidden_records import may_have_been_hidden

log = logging.getLogger(__name__)

Offsets = dict[Place, int]

TOPICS: Final = (RESOURCES.name, CONTROL_PLANE_STATE.name, POLICIES.name)


class BroadcastReader:
    """Feeds a join.

    Args:
        broker: Bootstrap servers.
        join: What is fed.
    """

    def __init__(self, broker: str, join: Join) -> None:
        self._broker = broker
        self._join = join
        self._next: dict[TopicPartition, int] = {}
        self.poison = 0
        self.caught_up = False
        self._consumer: AIOKafkaConsumer | None = None

    async def bounds(self, places: Iterable[Place]) -> tuple[Offsets, Offsets]:
        """The first offsets that any partitions hold, and their ends.

        Both empty: the reader has not started.
        """
        if self._consumer is None:
            return {}, {}
        partitions = [TopicPartition(*place) for place in places]
        begins = await self._consumer.beginning_offsets(partitions)
        ends = await self._consumer.end_offsets(partitions)
        return _by_place(begins), _by_place(ends)

    async def run(self) -> None:
        """Read until cancelled; errors of the broker end it."""
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self._broker,
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            client_id="meshscope-broadcast",
            fetch_max_wait_ms=100,
        )
        await consumer.start()
        self._consumer = consumer
        try:
            partitions = await self._partitions(consumer)
            consumer.assign(partitions)
            ends = await consumer.end_offsets(partitions)
            await consumer.seek_to_beginning(*partitions)
            while True:
                batches = await consumer.getmany(timeout_ms=100, max_records=2_000)
                for partition, messages in batches.items():
                    self._take_all(consumer, partition, messages)
                for partition in partitions:
                    if partition.topic == RESOURCES.name:
                        position = await consumer.position(partition)
                        self._join.read_up_to(partition.partition, position)
                if not self.caught_up and await self._reached(consumer, ends):
                    self.caught_up = True
                    log.info("the broadcast topics were read to their end")
                    self._join.caught_up()
        finally:
            self._consumer = None
            await consumer.stop()

    def _take_all(
        self,
        consumer: AIOKafkaConsumer,
        partition: TopicPartition,
        messages: Iterable[ConsumerRecord],
    ) -> None:
        """Take records up to one in front of which others may still appear, and go back there."""
        for message in messages:
            expected = self._next.get(partition, message.offset)
            age_seconds = time.time() - message.timestamp / 1000
            if may_have_been_hidden(expected, message.offset, age_seconds):
                consumer.seek(partition, expected)
                return
            self._take(message.topic, message.key, message.value)
            self._next[partition] = message.offset + 1

    def _take(self, topic: str, key: bytes | None, value: bytes | None) -> None:
        try:
            event = broadcast_event(topic, key, value)
        except PoisonValue:
            self.poison += 1
        else:
            self._join.broadcast(event)

    async def _partitions(self, consumer: AIOKafkaConsumer) -> list[TopicPartition]:
        """All partitions of all topics; waits for topics that are not there yet."""
        told = False
        while True:
            found = {topic: consumer.partitions_for_topic(topic) for topic in TOPICS}
            if all(found.values()):
                return [
                    TopicPartition(topic, number)
                    for topic, numbers in found.items()
                    for number in sorted(numbers or ())
                ]
            if not told:
                missing = ", ".join(topic for topic, numbers in found.items() if not numbers)
                log.warning("waiting for topics: %s", missing)
                told = True
            await asyncio.sleep(0.5)
            # Asking for all topics refreshes what is known of them.
            await consumer.topics()

    async def _reached(self, consumer: AIOKafkaConsumer, ends: dict[TopicPartition, int]) -> bool:
        for partition, end in ends.items():
            if await consumer.position(partition) < end:
                return False
        return True


def _by_place(offsets: Mapping[TopicPartition, int]) -> Offsets:
    return {(place.topic, place.partition): offset for place, offset in offsets.items()}
