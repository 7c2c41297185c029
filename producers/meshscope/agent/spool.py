"""What the broker has not acknowledged, on disk.

Records are written here first and deleted when the broker has them, so neither a broker that is
away nor a killed agent loses one. The file is bounded: where it is full, the oldest snapshots go
first, since a later snapshot says what holds now; the loss is counted and reported.
"""

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import msgspec


@dataclass(frozen=True, slots=True)
class Record:
    """A record on its way to a topic. `value` None is a tombstone; headers are text and bytes."""

    topic: str
    key: bytes
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()


@dataclass(frozen=True, slots=True)
class Spooled:
    """A record in the spool, by its number there."""

    number: int
    record: Record


class SpoolError(Exception):
    """The spool cannot be used; the message names the file and says what to do."""


class Spool:
    """A bounded queue of records in one file.

    Args:
        path: The file; it is created.
        max_bytes: Most that keys and values may take together.
        droppable: Topic whose oldest records give way when the file is full.

    Raises:
        SpoolError: The file is not a spool, or cannot be written.
    """

    def __init__(self, path: Path, max_bytes: int, droppable: str) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._droppable = droppable
        self.dropped = 0
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(path, isolation_level=None)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=FULL")
            self._db.execute(
                "CREATE TABLE IF NOT EXISTS record ("
                " number INTEGER PRIMARY KEY AUTOINCREMENT,"
                " topic TEXT NOT NULL, key BLOB NOT NULL, value BLOB, headers BLOB NOT NULL,"
                " size INTEGER NOT NULL)"
            )
            self._db.execute("CREATE TABLE IF NOT EXISTS life (started_at INTEGER NOT NULL)")
            row = self._db.execute("SELECT coalesce(sum(size), 0) FROM record").fetchone()
        except (OSError, sqlite3.Error) as error:
            raise SpoolError(
                f"the spool {path} cannot be used ({error}); free or repair it, or remove the file "
                "and lose what it holds"
            ) from error
        self.bytes: int = row[0]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._db.close()

    def begin_life(self, now_ms: int) -> int:
        """The beginning of a new life of the agent: now, but later than that of every earlier one.

        Readers order lives by their beginning, so a clock that was set back must not make the new
        one look like the past.

        Raises:
            SpoolError: The file cannot be written.
        """
        row = self._db.execute("SELECT max(started_at) FROM life").fetchone()
        started_at = now_ms if row[0] is None else max(now_ms, int(row[0]) + 1)
        with self._transaction():
            self._db.execute("DELETE FROM life")
            self._db.execute("INSERT INTO life VALUES (?)", (started_at,))
        return started_at

    def put(self, records: Iterable[Record]) -> None:
        """Keep records, all or none.

        Raises:
            SpoolError: The disk is full, or one record is larger than the whole spool.
        """
        sized = [(record, _size(record)) for record in records]
        needed = sum(size for _, size in sized)
        with self._transaction():
            freed, dropped = self._make_room(needed)
            self._db.executemany(
                "INSERT INTO record (topic, key, value, headers, size) VALUES (?, ?, ?, ?, ?)",
                [
                    (r.topic, r.key, r.value, msgspec.msgpack.encode(r.headers), size)
                    for r, size in sized
                ],
            )
        self.bytes += needed - freed
        self.dropped += dropped

    def _make_room(self, needed: int) -> tuple[int, int]:
        freed = dropped = 0
        while self.bytes - freed + needed > self._max_bytes:
            row = self._db.execute(
                "SELECT number, size FROM record WHERE topic = ? ORDER BY number LIMIT 1",
                (self._droppable,),
            ).fetchone()
            if row is None:
                raise SpoolError(
                    f"the spool {self._path} is full: {self.bytes} of {self._max_bytes} bytes hold "
                    f"policies that the broker has not taken, and {needed} more are to be kept; "
                    "see why the broker is away, or raise MESHSCOPE_AGENT_SPOOL_BYTES"
                )
            self._db.execute("DELETE FROM record WHERE number = ?", (row[0],))
            freed += row[1]
            dropped += 1
        return freed, dropped

    def after(self, number: int, limit: int) -> list[Spooled]:
        """The oldest records behind `number`, in the order they were put."""
        rows = self._db.execute(
            "SELECT number, topic, key, value, headers FROM record WHERE number > ?"
            " ORDER BY number LIMIT ?",
            (number, limit),
        )
        return [Spooled(row[0], Record(row[1], row[2], row[3], _headers(row[4]))) for row in rows]

    def acknowledge(self, numbers: Iterable[int]) -> None:
        """Forget records that the broker has.

        Raises:
            SpoolError: The file cannot be written; they are still in it.
        """
        done = [(number,) for number in numbers]
        if not done:
            return
        with self._transaction():
            self._db.executemany("DELETE FROM record WHERE number = ?", done)
        row = self._db.execute("SELECT coalesce(sum(size), 0) FROM record").fetchone()
        self.bytes = row[0]

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """All that is written inside, or nothing."""
        try:
            self._db.execute("BEGIN IMMEDIATE")
            yield
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            raise SpoolError(
                f"the spool {self._path} cannot be written ({error}): see whether its disk is full"
            ) from error
        finally:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")

    def __len__(self) -> int:
        row = self._db.execute("SELECT count(*) FROM record").fetchone()
        return int(row[0])


_headers = msgspec.msgpack.Decoder(tuple[tuple[str, bytes], ...]).decode


def _size(record: Record) -> int:
    headers = sum(len(name) + len(text) for name, text in record.headers)
    return len(record.key) + len(record.value or b"") + headers
