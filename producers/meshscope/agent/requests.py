"""What readers ask this agent to publish again."""

import logging
from typing import Any

from confluent_kafka import OFFSET_END, Consumer, KafkaError, TopicPartition

from meshscope.events.codec import PoisonValue, decode
from meshscope.events.facts import PolicyRequest
from meshscope.events.proxy import ProxyInputs
from meshscope.events.topics import REQUESTS

log = logging.getLogger(__name__)

MOST_PER_LOOK = 200


class Requests:
    """Reads the topic of requests from its end, without a group: an agent keeps no place in it.

    A request that is missed is asked again by the reader.
    """

    def __init__(self, brokers: str, client_id: str) -> None:
        config: dict[str, Any] = {
            "bootstrap.servers": brokers,
            "client.id": client_id,
            # The client wants a group id even where no group is joined.
            "group.id": client_id,
            "enable.auto.commit": False,
            "auto.offset.reset": "latest",
            "reconnect.backoff.max.ms": 5_000,
            "allow.auto.create.topics": False,
            "log.connection.close": False,
            "fetch.wait.max.ms": 2_000,
            "log_level": 2,
        }
        self._consumer = Consumer(config)
        self.renew()

    def renew(self) -> None:
        """Begin at the end of the topic, as at the start; for a new log."""
        self._consumer.assign(
            [
                TopicPartition(REQUESTS.name, number, OFFSET_END)
                for number in range(REQUESTS.partitions)
            ]
        )

    def wanted(self, proxy: ProxyInputs) -> frozenset[str]:
        """Digests that were asked of this proxy since the last look."""
        digests: set[str] = set()
        for message in self._consumer.consume(MOST_PER_LOOK, timeout=0):
            if (error := message.error()) is not None:
                if error.code() not in (KafkaError._PARTITION_EOF, KafkaError._ALL_BROKERS_DOWN):
                    log.debug("requests cannot be read now: %s", error)
                continue
            if message.key() != proxy.id.encode():
                continue
            try:
                request: PolicyRequest = decode(message.value() or b"", PolicyRequest)
            except PoisonValue as error:
                # The stream worker wrote it; another request follows, so nothing is lost.
                log.warning("a request at offset %s cannot be read: %s", message.offset(), error)
                continue
            digests.update(request.digests)
        return frozenset(digests)

    def close(self) -> None:
        """Leave the broker."""
        self._consumer.close()
