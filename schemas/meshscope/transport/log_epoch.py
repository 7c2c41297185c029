"""Which log the offsets belong to.

A broker in memory begins again at offset 0 after a restart, and so does a topic that was deleted
and made again. Kafka gives each topic an id when it is created (KIP-516), which both Apache Kafka
and the embedded broker tell; that id is the *log epoch* of the topic.
"""

import logging
import time
from collections.abc import Callable

from confluent_kafka import KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient

log = logging.getLogger(__name__)

ASK_SECONDS = 5.0
PAUSE_SECONDS = 0.5


class LogEpochReader:
    """Asks a broker for the log epochs of topics.

    Args:
        brokers: Kafka bootstrap servers.
        client_id: Shown in the broker's logs.
    """

    def __init__(self, brokers: str, client_id: str) -> None:
        self._brokers = brokers
        self._admin = AdminClient(
            {
                "bootstrap.servers": brokers,
                "client.id": client_id,
                "reconnect.backoff.max.ms": 5_000,
                "log.connection.close": False,
                # Failures are told by the callers, once and in words.
                "log_level": 2,
            }
        )

    def current(self, topic: str, timeout_seconds: float = ASK_SECONDS) -> str | None:
        """The epoch of a topic; None: the broker or the topic is away, so nothing is known."""
        try:
            described = self._admin.describe_topics(
                TopicCollection([topic]), request_timeout=timeout_seconds
            )
            return str(described[topic].result(timeout_seconds + 1).topic_id)
        except (KafkaException, TimeoutError) as error:
            log.debug("no epoch of %s: %s", topic, error)
            return None

    def wait(self, topic: str, stopped: Callable[[], bool] = lambda: False) -> str | None:
        """The epoch of a topic as soon as it is there; None: told to stop before."""
        told = False
        while not stopped():
            if (epoch := self.current(topic)) is not None:
                return epoch
            if not told:
                log.warning("waiting for topic %s on the broker at %s", topic, self._brokers)
                told = True
            time.sleep(PAUSE_SECONDS)
        return None
