"""What a worker remembers of one proxy, and how that is stored."""

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

import msgspec

from meshscope.events.codec import decode, encode
from meshscope.events.facts import Cause, Drift, Finding, Snapshot, Source, Verdict

Statement = Drift | Finding | Verdict
"""A fact about a proxy."""


@dataclass(frozen=True, slots=True)
class Window:
    """Time in which a proxy may still take in what is expected of it.

    Attributes:
        expected: Digest of what is expected in this lane.
        until: End, in milliseconds of this process's monotonic clock; stored as the rest of it.
        since: When that became expected, likewise.
    """

    expected: str
    until: int
    since: int = 0


@dataclass(frozen=True, slots=True)
class OpenDrift:
    """A drift that was opened and not closed.

    Attributes:
        episode … opened_at: See `Drift`.
        looks: Digest of everything else that the last fact about it said.
        said_at: Time of that fact.
        cause: As in `Drift`.
    """

    episode: str
    key: str
    kind: str
    code: str
    change: str
    effect: str
    sources: tuple[Source, ...]
    opened_at: int
    looks: str
    said_at: int
    cause: Cause | None = None


@dataclass(frozen=True, slots=True)
class OpenFinding:
    """A finding that was opened and not closed; fields as in `OpenDrift`."""

    episode: str
    key: str
    cause: Cause
    opened_at: int
    looks: str
    said_at: int


@dataclass(frozen=True, slots=True)
class Accepted:
    """The last version of a type of discovery that a proxy accepted.

    Attributes:
        at: When that was seen, in milliseconds of this process's monotonic clock.
    """

    version: str
    at: int


@dataclass(frozen=True, slots=True)
class Said:
    """The last verdict that was published.

    Attributes:
        looks: Digest of what it said.
        at: When.
    """

    verdict: str
    looks: str
    at: int


@dataclass(frozen=True, slots=True)
class ProxyRecord:
    """Everything that is remembered of one proxy.

    Facts are put into `outbox` together with the state that follows from having published them,
    the record is stored, then they are published, then the outbox is emptied. A worker that dies
    in between leaves either nothing or facts that its successor publishes again, with equal ids;
    it cannot leave a drift opened that nobody remembers and nobody would close.

    Attributes:
        partition: Of the topic of snapshots; outputs and stored state have the same.
        life: Unique name of this record. A proxy whose record was removed gets another, also if the
            same snapshots are read once more, so that no two facts have one id.
        snapshot: The newest one.
        heard_at: When it came, in milliseconds of this process's monotonic clock.
        pending_since: Since when shards or bodies of it have been missing, likewise; None: none is.
        past: Epochs of the agent's earlier lives, the latest first.
        clock_skew: See `clock_skew.skew`.
        revision: Number of facts published about this proxy.
        windows: By lane.
        open: Drifts that are open, by policy key.
        conditions: Since when something about its delivery is so, by key; times as in `Accepted`.
        findings: Findings that are open, by key.
        accepted: By type of discovery.
        said: None: there was no verdict yet.
        outbox: Facts that follow from this state and may not be published yet.
        gone: The proxy left; the record goes with its last facts.
    """

    partition: int
    life: str
    snapshot: Snapshot
    heard_at: int = 0
    pending_since: int | None = None
    past: tuple[str, ...] = ()
    clock_skew: int = 0
    revision: int = 0
    windows: Mapping[str, Window] = field(default_factory=dict, hash=False)
    open: Mapping[str, OpenDrift] = field(default_factory=dict, hash=False)
    conditions: Mapping[str, int] = field(default_factory=dict, hash=False)
    findings: Mapping[str, OpenFinding] = field(default_factory=dict, hash=False)
    accepted: Mapping[str, Accepted] = field(default_factory=dict, hash=False)
    said: Said | None = None
    outbox: tuple[Statement, ...] = ()
    gone: bool = False


@dataclass(frozen=True, slots=True)
class _Stored:
    partition: int
    life: str
    snapshot: bytes
    revision: int
    windows: dict[str, Window]
    open: dict[str, OpenDrift]
    said: Said | None
    outbox: list[bytes]
    heard_at: int = 0
    pending_since: int | None = None
    past: tuple[str, ...] = ()
    clock_skew: int = 0
    conditions: dict[str, int] = field(default_factory=dict)
    findings: dict[str, OpenFinding] = field(default_factory=dict)
    accepted: dict[str, Accepted] = field(default_factory=dict)
    gone: bool = False


FORMAT: Final = b"\x02"
_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Stored)


def dump(record: ProxyRecord, now: int) -> bytes:
    """The bytes of a record; `now` is the monotonic time.

    Compressed, since a proxy may have a thousand drifts that are open, and a record of Kafka has
    room for about a megabyte.
    """
    stored = _encoder.encode(
        _Stored(
            partition=record.partition,
            life=record.life,
            snapshot=encode(record.snapshot),
            revision=record.revision,
            windows={
                lane: replace(window, until=window.until - now, since=window.since - now)
                for lane, window in record.windows.items()
            },
            open=dict(record.open),
            said=record.said,
            outbox=[encode(fact) for fact in record.outbox],
            heard_at=record.heard_at - now,
            pending_since=None if record.pending_since is None else record.pending_since - now,
            past=record.past,
            clock_skew=record.clock_skew,
            conditions={key: since - now for key, since in record.conditions.items()},
            findings=dict(record.findings),
            accepted={
                name: replace(each, at=each.at - now) for name, each in record.accepted.items()
            },
            gone=record.gone,
        )
    )
    return FORMAT + zlib.compress(stored, 1)


def load(data: bytes, now: int) -> ProxyRecord:
    """The record that `dump` wrote; windows go on from `now` for what was left of them.

    Raises:
        ValueError: The bytes hold no record of this format.
    """
    if data[:1] != FORMAT:
        raise ValueError(f"a proxy's record of format {data[:1].hex()}, expected {FORMAT.hex()}")
    stored = _decoder.decode(zlib.decompress(data[1:]))
    return ProxyRecord(
        partition=stored.partition,
        life=stored.life,
        snapshot=decode(stored.snapshot, Snapshot),
        heard_at=now + stored.heard_at,
        pending_since=None if stored.pending_since is None else now + stored.pending_since,
        past=stored.past,
        clock_skew=stored.clock_skew,
        revision=stored.revision,
        windows={
            lane: replace(window, until=now + window.until, since=now + window.since)
            for lane, window in stored.windows.items()
        },
        open=stored.open,
        conditions={key: now + since for key, since in stored.conditions.items()},
        findings=stored.findings,
        accepted={name: replace(each, at=now + each.at) for name, each in stored.accepted.items()},
        said=stored.said,
        outbox=tuple(decode(fact, Drift, Finding, Verdict) for fact in stored.outbox),
        gone=stored.gone,
    )
