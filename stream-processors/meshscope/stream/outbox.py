"""The facts that follow from one look at a proxy, numbered, before they are published."""

from typing import Final

from meshscope.events.codec import encode
from meshscope.policy.canonical import digest_bytes
from meshscope.stream.record import ProxyRecord, Statement

MAX_FACTS: Final = 100
MAX_BYTES: Final = 300_000
"""A record is one value on a topic; what does not fit is published in the next step."""


def fact_id(log_epoch: str, life: str, revision: int) -> str:
    """Id of the fact of this number about a proxy."""
    return digest_bytes("fact", f"{log_epoch}:{life}:{revision}".encode())


class Outbox:
    """Facts in the order in which they will be published.

    Args:
        record: The proxy's record, whose own outbox is empty.
        log_epoch: Id of the broker's log.

    Attributes:
        revision: Number of facts about the proxy, these included.
    """

    def __init__(self, record: ProxyRecord, log_epoch: str) -> None:
        self.revision = record.revision
        self._life = record.life
        self._log_epoch = log_epoch
        self._facts: list[Statement] = []
        self._bytes = 0

    @property
    def facts(self) -> tuple[Statement, ...]:
        """What was put into it."""
        return tuple(self._facts)

    @property
    def is_full(self) -> bool:
        """Whether the rest has to wait for the next step."""
        return len(self._facts) >= MAX_FACTS or self._bytes >= MAX_BYTES

    def next_id(self) -> str:
        """The id of the next fact, whose number is `revision` from now on."""
        self.revision += 1
        return fact_id(self._log_epoch, self._life, self.revision)

    def put(self, fact: Statement) -> None:
        """Publish a fact, after those before it."""
        self._facts.append(fact)
        self._bytes += len(encode(fact))
