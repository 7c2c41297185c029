"""The ClickHouse engine (chDB) in this process: one directory, a lane for reads, one for writes.

Each statement gets a handle of its own (0.3 ms), so `SET` and `USE` of one request are never seen
by another. The engine itself allows concurrent statements; reads and writes have separate threads
so that slow dashboards cannot hold up the sink.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import chdb

from meshscope.embedded.clickhouse_errors import QueryRefused
from meshscope.embedded.locks import FileLock, hold_lock
from meshscope.embedded.store_request import StoreRequest, result_format

QUERY_SECONDS = 60.0
READ_THREADS = 3
MAX_WAITING = 256

# Data is handed to the engine in pieces: it parses while the next piece is copied.
_CHUNK_BYTES = 1 << 20


class QueryFailed(Exception):
    """The engine refused or failed a statement; the text is ClickHouse's."""


@dataclass(frozen=True, slots=True)
class StoreResult:
    """What a statement gave.

    Attributes:
        body: The result in `format`; empty for statements without one.
        format: Format of the body, None where the statement has no result.
        read_rows, read_bytes, written_rows, written_bytes: As in `X-ClickHouse-Summary`.
        elapsed_ns: Time in the engine.
    """

    body: bytes
    format: str | None
    read_rows: int
    read_bytes: int
    written_rows: int
    written_bytes: int
    elapsed_ns: int


class StoreEngine:
    """A ClickHouse engine over one directory, for the threads of one process.

    Args:
        path: Directory of the store; made if absent. One process at a time.
        query_seconds: `max_execution_time` of statements that set none.
        max_waiting: Statements that may run and wait at once; more are refused.

    Raises:
        LockHeld: another process has the directory open.
    """

    def __init__(
        self, path: Path, *, query_seconds: float = QUERY_SECONDS, max_waiting: int = MAX_WAITING
    ) -> None:
        path.mkdir(parents=True, exist_ok=True)
        self._lock: FileLock = hold_lock(path / "lock", f"the store in {path}")
        self._path = str(path / "data")
        self._defaults = {"max_execution_time": f"{query_seconds:g}"}
        self._max_waiting = max_waiting
        self._unfinished = 0
        # The engine lives as long as some handle is open; this one keeps it.
        self._keeper = chdb.connect(self._path)
        answer = self._keeper.query("SELECT version(), timezone()", "TabSeparated").data()
        version, timezone = answer.split()
        self.version: str = version
        self.timezone: str = timezone
        self._reads = ThreadPoolExecutor(READ_THREADS, thread_name_prefix="store-read")
        self._writes = ThreadPoolExecutor(1, thread_name_prefix="store-write")

    @property
    def unfinished(self) -> int:
        """Statements that run or wait."""
        return self._unfinished

    async def execute(self, request: StoreRequest) -> StoreResult:
        """Run one statement; awaits its turn.

        Raises:
            QueryFailed: the engine's error.
            QueryRefused: too many statements wait already.
        """
        if self._unfinished >= self._max_waiting:
            raise QueryRefused(
                202, f"Too many simultaneous queries for the embedded store: {self._unfinished}"
            )
        lane = self._reads if request.reads_only else self._writes
        self._unfinished += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(lane, self._run, request)
        finally:
            self._unfinished -= 1

    def close(self) -> None:
        """Let running statements end, drop waiting ones, release the directory."""
        self._reads.shutdown(cancel_futures=True)
        self._writes.shutdown(cancel_futures=True)
        self._keeper.close()
        self._lock.release()

    def _run(self, request: StoreRequest) -> StoreResult:
        handle = chdb.connect(self._path)
        try:
            with _engine_errors():
                if request.database is not None:
                    handle.query(f"USE {_identifier(request.database)}", "TabSeparated")
                settings = {**self._defaults, **request.settings}
                # readonly comes last: after it no other setting may be changed.
                for name in sorted(settings, key=lambda name: name == "readonly"):
                    handle.query(f"SET {name} = {_literal(settings[name])}", "TabSeparated")
                run = _select if request.data is None else _insert
                return run(handle, request)
        finally:
            handle.close()


def _select(handle: chdb.state.sqlitelike.Connection, request: StoreRequest) -> StoreResult:
    result = handle.query(request.sql, request.format, params=dict(request.parameters))
    body: bytes = result.bytes()
    has_result = bool(body) or request.reads_only
    return StoreResult(
        body=body,
        format=(result_format(request.sql) or request.format) if has_result else None,
        read_rows=result.rows_read(),
        read_bytes=result.bytes_read(),
        written_rows=result.rows_written(),
        written_bytes=result.bytes_written(),
        elapsed_ns=int(result.elapsed() * 1e9),
    )


def _insert(handle: chdb.state.sqlitelike.Connection, request: StoreRequest) -> StoreResult:
    data = memoryview(request.data or b"")
    started = time.monotonic_ns()
    # Not as text inside the statement: there the engine takes an empty line for the end of data.
    with handle.send_insert(request.sql, request.format) as insert:
        for start in range(0, len(data), _CHUNK_BYTES):
            insert.append(data[start : start + _CHUNK_BYTES])
        written = insert.finish()
    return StoreResult(
        body=b"",
        format=None,
        read_rows=written.rows_written,
        read_bytes=written.bytes_written,
        written_rows=written.rows_written,
        written_bytes=written.bytes_written,
        elapsed_ns=time.monotonic_ns() - started,
    )


@contextmanager
def _engine_errors() -> Iterator[None]:
    try:
        yield
    except (chdb.ChdbError, RuntimeError) as error:
        raise QueryFailed(str(error)) from error


def _literal(value: str) -> str:
    # Quoted whatever it is: the engine converts, and a bare number breaks settings that are texts.
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _identifier(name: str) -> str:
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"
