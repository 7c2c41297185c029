"""Reads what Faust's consumer was not shown, see `meshscope.transport.hidden_records`.

By a consumer of its own, since Faust keeps its place in private: a seek would have to get past its
queues, its read offsets and its flow control. What Faust notes as a gap it commits with the record
behind the gap, and that one waits until the records of the gap are processed, so a worker that dies
meanwhile reads all of them again.
"""

import asyncio
import logging
import time
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from meshscope.transport.hidden_records import may_have_been_hidden

log = logging.getLogger(__name__)

PAUSE_SECONDS: Final = 0.05
DEADLINE_SECONDS: Final = 30.0


class PassedOver:
    """Reads gaps of partitions.

    Args:
        broker: Bootstrap servers.
    """

    def __init__(self, broker: str) -> None:
        self._broker = broker

    async def before(self, message: Any, expected: int) -> list[ConsumerRecord]:
        """The records in front of one that were not shown before it, as far as they appear.

        Args:
            message: The record that came, as Faust gives it.
            expected: Offset after the last one that was processed of its partition.

        Raises:
            KafkaError, TimeoutError: The broker does not answer.
        """
        appended_at: float = message.timestamp or 0.0

        def may_appear() -> bool:
            return may_have_been_hidden(expected, message.offset, time.time() - appended_at)

        if not may_appear():
            return []
        log.warning(
            "%s[%s]: %s came before %s; reading what is between",
            message.topic,
            message.partition,
            message.offset,
            expected,
        )
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self._broker,
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            client_id="meshscope-passed-over",
            fetch_max_wait_ms=100,
        )
        place = TopicPartition(message.topic, message.partition)
        async with asyncio.timeout(DEADLINE_SECONDS):
            await consumer.start()
            try:
                consumer.assign([place])
                while True:
                    found = await _between(consumer, place, expected, message.offset)
                    if len(found) == message.offset - expected or not may_appear():
                        return found
                    await asyncio.sleep(PAUSE_SECONDS)
            finally:
                await consumer.stop()


async def _between(
    consumer: AIOKafkaConsumer, place: TopicPartition, first: int, end: int
) -> list[ConsumerRecord]:
    consumer.seek(place, first)
    found: list[ConsumerRecord] = []
    # The record at `end` was seen, so there is something to read.
    while await consumer.position(place) <= end:
        for messages in (await consumer.getmany(place, timeout_ms=100)).values():
            found += [message for message in messages if message.offset < end]
    return found
