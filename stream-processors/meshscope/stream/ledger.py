"""The anomalies of a worker: evidence in, anomalies out, in the order output before state."""

import zlib
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Final, Protocol

import msgspec

from meshscope.analysis.anomaly import fingerprint
from meshscope.analysis.lifecycle import (
    COALESCE_MS,
    AnomalyState,
    coalesces,
    is_over,
    speak,
    take,
    unsaid,
)
from meshscope.events.facts import Anomaly, Drift, Finding
from meshscope.events.topics import DAY_MS
from meshscope.stream.step import Now

FORGET_MS: Final = 8 * DAY_MS
"""What was resolved is forgotten after that time, in which Kafka has forgotten its evidence. Names
of proxies are in many fingerprints, and proxies come and go."""

FORGET_EVERY_MS: Final = 60 * 60 * 1000


@dataclass(frozen=True, slots=True)
class AnomalyRecord:
    """What is remembered of an anomaly, and the partition of the evidence that it belongs to."""

    partition: int
    state: AnomalyState


FORMAT: Final = b"\x01"
_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(AnomalyRecord)


def dump(record: AnomalyRecord) -> bytes:
    """The bytes of a record; compressed, since a mesh-wide anomaly has evidence per proxy."""
    return FORMAT + zlib.compress(_encoder.encode(record), 1)


def load(data: bytes) -> AnomalyRecord:
    """The record that `dump` wrote.

    Raises:
        ValueError: The bytes hold no record of this format.
    """
    if data[:1] != FORMAT:
        raise ValueError(f"an anomaly's record of format {data[:1].hex()}, expected {FORMAT.hex()}")
    return _decoder.decode(zlib.decompress(data[1:]))


class AnomalyRecords(Protocol):
    """Where anomalies are kept."""

    def get(self, key: str) -> AnomalyRecord | None:
        """The record of a fingerprint."""

    def items(self) -> Iterator[tuple[str, AnomalyRecord]]:
        """All records by fingerprint."""

    async def put(self, key: str, value: AnomalyRecord, *, durable: bool) -> None:
        """Keep a record."""

    async def remove(self, key: str, partition: int) -> None:
        """Forget a record."""


class Ledger:
    """Folds evidence into anomalies and publishes them.

    Args:
        records: Storage.
        publish: Sends an anomaly; returns when the broker has it.
        clock: The time.
    """

    def __init__(
        self,
        records: AnomalyRecords,
        publish: Callable[[Anomaly], Awaitable[None]],
        clock: Callable[[], Now],
    ) -> None:
        self._records = records
        self._publish = publish
        self._clock = clock
        self._unsaid: dict[str, int] = {}
        self._forget_at = 0

    def own(self, records: dict[str, AnomalyRecord]) -> None:
        """Look after these anomalies from now on, and after no others."""
        self._unsaid = {name: 0 for name, record in records.items() if unsaid(record.state)}

    async def evidence(self, fact: Drift | Finding, partition: int) -> None:
        """A drift or finding was read."""
        name = fingerprint(fact)
        known = self._records.get(name)
        state = take(known.state if known else None, fact)
        if known is None or state is not known.state:
            await self._settle(name, AnomalyRecord(partition, state))

    async def work(self) -> None:
        """Publish the updates that waited long enough, and forget what is long over."""
        now = self._clock()
        for name in [name for name, at in self._unsaid.items() if at <= now.monotonic]:
            record = self._records.get(name)
            if record is None:
                del self._unsaid[name]
            else:
                await self._settle(name, record)
        if now.monotonic >= self._forget_at:
            self._forget_at = now.monotonic + FORGET_EVERY_MS
            await self._forget(now)

    async def _forget(self, now: Now) -> None:
        for name, record in list(self._records.items()):
            if is_over(record.state) and now.utc - record.state.updated_at > FORGET_MS:
                await self._records.remove(name, record.partition)

    async def _settle(self, name: str, record: AnomalyRecord) -> None:
        now = self._clock()
        state, anomaly = speak(record.state, now.utc)
        if anomaly is not None:
            await self._publish(anomaly)
        if state is not record.state or self._records.get(name) is not record:
            await self._records.put(name, AnomalyRecord(record.partition, state), durable=False)
        if anomaly is None and coalesces(state, now.utc):
            # Whether it is news is worked out then, once for all that came meanwhile.
            self._unsaid[name] = now.monotonic + COALESCE_MS
        else:
            self._unsaid.pop(name, None)
