"""What readers ask this agent to publish again."""

import logging
from dataclasses import dataclass
from typing import Any, cast

from confluent_kafka import OFFSET_END, Consumer, KafkaError, Message, TopicPartition

from meshscope.agent.spool import Record
from meshscope.events.codec import PoisonValue, decode
from meshscope.events.dead_letter import Headers, dead_letter_headers
from meshscope.events.facts import PolicyRequest
from meshscope.events.proxy import ProxyInputs
from meshscope.events.topics import DEAD_LETTER, REQUESTS

log = logging.getLogger(__name__)

MOST_PER_LOOK = 200


@dataclass(frozen=True, slots=True)
class Asked:
    """What one look at the requests gave.

    Attributes:
        digests: Shards and bodies that a reader lacks.
        unreadable: Dead letters for requests that cannot be read.
    """

    digests: frozenset[str]
    unreadable: tuple[Record, ...] = ()


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

    def read(self, proxy: ProxyInputs, now_ms: int) -> Asked:
        """What was asked of this proxy since the last look.

        Every agent reads every request; one that cannot be read is put aside by the agent whose
        proxy its key names, so that it becomes one dead letter.
        """
        digests: set[str] = set()
        unreadable: list[Record] = []
        for message in self._consumer.consume(MOST_PER_LOOK, timeout=0):
            if (error := message.error()) is not None:
                if error.code() not in (KafkaError._PARTITION_EOF, KafkaError._ALL_BROKERS_DOWN):
                    log.debug("requests cannot be read now: %s", error)
                continue
            key, value = message.key() or b"", message.value()
            if key != proxy.id.encode():
                continue
            try:
                request: PolicyRequest = decode(value or b"", PolicyRequest)
            except PoisonValue as poison:
                log.warning("a request went to %s: %s", DEAD_LETTER.name, poison)
                unreadable.append(_dead_letter(message, key, value, str(poison), now_ms))
            else:
                digests.update(request.digests)
        return Asked(frozenset(digests), tuple(unreadable))

    def close(self) -> None:
        """Leave the broker."""
        self._consumer.close()


def _dead_letter(
    message: Message, key: bytes, value: bytes | None, error: str, now_ms: int
) -> Record:
    # The client's types allow a mapping, which it takes and never gives.
    own = cast("Headers | None", message.headers())
    headers = dead_letter_headers(
        topic=REQUESTS.name,
        partition=message.partition() or 0,
        offset=message.offset() or 0,
        value=value,
        headers=own,
        stage="agent.requests",
        code="poison",
        error=error,
        now_ms=now_ms,
    )
    plain = tuple((name, _bytes(text)) for name, text in headers)
    return Record(DEAD_LETTER.name, key, value, plain)


def _bytes(text: str | bytes | None) -> bytes:
    return text.encode() if isinstance(text, str) else text or b""
