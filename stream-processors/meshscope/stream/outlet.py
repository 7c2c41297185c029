"""What leaves the worker: every record is awaited until the broker has it."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final

from meshscope.analysis.anomaly import fingerprint
from meshscope.events.codec import encode
from meshscope.events.dead_letter import dead_letter_headers
from meshscope.events.facts import Anomaly, PolicyRequest, Verdict
from meshscope.events.topics import ANOMALIES, DEAD_LETTER, DRIFT, EVIDENCE, REQUESTS
from meshscope.stream import cloudevents
from meshscope.stream.record import ProxyRecord, Statement

DEADLINE_SECONDS: Final = 60.0
"""A broker that takes nothing for so long is treated as gone. Until then the client retries."""

Headers = list[tuple[str, str | bytes | None]]
Send = Callable[
    [str, bytes | None, bytes | None, int | None, Headers | None], Awaitable[Awaitable[Any]]
]
"""Hands a record (topic, key, value, partition, headers) to the producer; the inner awaitable ends
when the broker has it. Records of one partition stay in order."""


class Outlet:
    """Publishes facts; every method returns when the broker has them.

    Args:
        send: The producer.
    """

    def __init__(self, send: Send) -> None:
        self._send = send

    async def facts(self, record: ProxyRecord, facts: Iterable[Statement]) -> None:
        """Publish what was found about a proxy, in order, drifts and findings also as evidence."""
        key = f"{record.snapshot.cluster}/{record.snapshot.proxy}".encode()
        pending = []
        for fact in facts:
            value = encode(fact)
            pending.append(await self._send(DRIFT.name, key, value, record.partition, None))
            if not isinstance(fact, Verdict):
                cause = fingerprint(fact).encode()
                pending.append(await self._send(EVIDENCE.name, cause, value, None, None))
        await self._have(pending)

    async def request(self, request: PolicyRequest) -> None:
        """Ask an agent for shards and bodies."""
        key = f"{request.cluster}/{request.proxy}".encode()
        await self._have([await self._send(REQUESTS.name, key, encode(request), None, None)])

    async def anomaly(self, anomaly: Anomaly) -> None:
        """Publish an anomaly."""
        headers: Headers = [*cloudevents.headers(anomaly)]
        key = anomaly.fingerprint.encode()
        await self._have([await self._send(ANOMALIES.name, key, encode(anomaly), None, headers)])

    async def dead_letter(self, message: Any, stage: str, error: Exception, now_ms: int) -> None:
        """Put a record aside with the reason; it can be replayed from there as it was."""
        headers = dead_letter_headers(
            topic=message.topic,
            partition=message.partition,
            offset=message.offset,
            value=message.value,
            headers=own_headers(message.headers),
            stage=stage,
            code="poison",
            error=str(error),
            now_ms=now_ms,
        )
        value = message.value
        if message.key is None and value is None:
            # The producer refuses to write a record of nothing at all.
            value = b""
        await self._have([await self._send(DEAD_LETTER.name, message.key, value, None, headers)])

    async def _have(self, pending: Iterable[Awaitable[Any]]) -> None:
        await asyncio.wait_for(asyncio.gather(*pending), DEADLINE_SECONDS)


def own_headers(headers: Any) -> Headers:
    """The headers of a record that was read, which Faust gives in two shapes."""
    return list(headers.items() if hasattr(headers, "items") else headers or ())
