"""`python -m meshscope.embedded.store`: the ClickHouse engine behind ClickHouse's HTTP interface.

Sink, console and commands are processes of their own and share one store, while chDB lives inside
of one process; hence this server. It speaks as much of the HTTP interface as `clickhouse-connect`,
`curl` and a Grafana data source need: queries and inserts by URL or body, parameters, settings, a
default database, compressed bodies, and errors with ClickHouse's code. One request is worked on at
a time. Listens on loopback only; there is no authentication.
"""

import argparse
import asyncio
import fcntl
import gzip
import logging
import re
import signal
import sys
import zlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TextIO

import chdb
import lz4.frame
from aiohttp import web

log = logging.getLogger("meshscope.store")

MAX_BODY_BYTES: Final = 256 * 1024 * 1024
MAX_QUERY_SECONDS: Final = 60
DATABASE_ERROR: Final = 500
NO_CODE: Final = "1002"  # UNKNOWN_EXCEPTION

_FORMAT = re.compile(rb"\s+FORMAT\s+([A-Za-z]\w*)\s*;?\s*$", re.IGNORECASE)
_INSERT = re.compile(
    rb"^\s*(INSERT\s+INTO\s.*?)\s+FORMAT\s+([A-Za-z]\w*)[ \t]*\n?(.*)$", re.IGNORECASE | re.DOTALL
)
_CODE = re.compile(r"Code: (\d+)")
_NOT_SETTINGS: Final = frozenset(
    {
        "query",
        "database",
        "default_format",
        "user",
        "password",
        "compress",
        "decompress",
        "query_id",
        "session_id",
        "session_timeout",
        "session_check",
        "client_protocol_version",
        "role",
        "quota_key",
        "stacktrace",
        "buffer_size",
        "wait_end_of_query",
        "http_response_headers",
        "enable_http_compression",
        "http_headers_progress_interval_ms",
        "send_progress_in_http_headers",
        "cancel_http_readonly_queries_on_client_close",
    }
)
"""Parameters of the URL that are no settings, and settings of ClickHouse's own HTTP server."""


class StoreInUse(Exception):
    """Another process works on the directory; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement and how it is to be run.

    Attributes:
        sql: The text, for inserts without `FORMAT`.
        format: Of the answer, or of `data`.
        data: Rows of an insert; None: no insert with data.
        database: Default database; empty: `default`.
        parameters: Values of `{name:Type}`.
        settings: For this statement alone.
    """

    sql: bytes
    format: str
    data: bytes | None
    database: str
    parameters: Mapping[str, str]
    settings: Mapping[str, str]


def statement(url: Mapping[str, str], body: bytes) -> Statement:
    """The statement of a request: the `query` of the URL and the body make one text.

    As in ClickHouse, the body is appended to the query of the URL, which is how rows of an insert
    come.
    """
    query = url.get("query", "").encode()
    parameters = {
        name.removeprefix("param_"): value
        for name, value in url.items()
        if name.startswith("param_")
    }
    settings = {
        name: value
        for name, value in url.items()
        if name not in _NOT_SETTINGS and not name.startswith("param_")
    }
    database = url.get("database", "")
    text = query + (b"\n" + body if query and body else body)
    insert = _INSERT.match(query if query else text)
    if insert is not None:
        data = body if query else insert[3]
        return Statement(insert[1], insert[2].decode(), data, database, parameters, settings)
    wanted = url.get("default_format", "TabSeparated")
    if (named := _FORMAT.search(text)) is not None:
        wanted, text = named[1].decode(), text[: named.start()]
    return Statement(text.rstrip(b"; \n"), wanted, None, database, parameters, settings)


def quoted(value: str) -> str:
    """A string literal of SQL."""
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def plain_body(body: bytes, encoding: str) -> bytes:
    """Undo the content encoding of a request.

    Raises:
        ValueError: It is not known, or the body is broken.
    """
    try:
        match encoding:
            case "" | "identity":
                return body
            case "gzip":
                return gzip.decompress(body)
            case "deflate":
                return zlib.decompress(body)
            case "lz4":
                return bytes(lz4.frame.decompress(body))
            case "zstd":
                from backports import zstd

                return bytes(zstd.decompress(body))
    except (OSError, EOFError, zlib.error, RuntimeError) as error:
        raise ValueError(f"the body is no {encoding}: {error}") from error
    raise ValueError(f"content encoding {encoding!r} is not known")


class Engine:
    """The engine on a directory, for one process at a time.

    Raises:
        StoreInUse: Another process has it open.
    """

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        # Locked by the kernel, so nothing is left behind by a process that was killed.
        self._lock: TextIO = (directory / "meshscope.lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StoreInUse(
                f"another process works on the store in {directory}: stop it (meshscope down), or "
                "choose another MESHSCOPE_HOME"
            ) from None
        self._path = str(directory / "data")
        # Held for good: the engine ends with its last connection.
        self._first = chdb.connect(self._path)

    def run(self, what: Statement) -> bytes:
        """Run a statement; the answer in its format.

        Raises:
            RuntimeError: The engine refuses it, with ClickHouse's text.
        """
        connection = chdb.connect(self._path)
        try:
            if what.database:
                connection.query(f"USE `{what.database.replace('`', '')}`", "TabSeparated")
            settings = {"max_execution_time": str(MAX_QUERY_SECONDS), **what.settings}
            assignments = ", ".join(
                f"`{name.replace('`', '')}` = {quoted(value)}" for name, value in settings.items()
            )
            connection.query(f"SET {assignments}", "TabSeparated")
            if what.data is None:
                answer = connection.query(
                    what.sql.decode(), what.format, params=dict(what.parameters)
                )
                return bytes(answer.bytes())
            insert = connection.send_insert(what.sql.decode(), what.format)
            if what.data:
                insert.append(what.data)  # type: ignore[no-untyped-call]
            insert.finish()
            return b""
        finally:
            connection.close()

    def close(self) -> None:
        """Write what is in memory and let go of the directory."""
        self._first.close()
        self._lock.close()


ENGINE: Final = web.AppKey("engine", Engine)
WORKER: Final = web.AppKey("worker", ThreadPoolExecutor)


async def _query(request: web.Request) -> web.Response:
    try:
        body = plain_body(await request.read(), request.headers.get("Content-Encoding", ""))
    except ValueError as error:
        return web.Response(status=400, text=f"{error}\n")
    what = statement(request.query, body)
    if not what.sql.strip():
        return web.Response(text="Ok.\n")
    loop = asyncio.get_running_loop()
    engine, worker = request.app[ENGINE], request.app[WORKER]
    try:
        answer = await loop.run_in_executor(worker, engine.run, what)
    except Exception as error:  # chDB raises its own classes, all of them with ClickHouse's text
        text = str(error)
        found = _CODE.search(text)
        code = found[1] if found else NO_CODE
        return web.Response(
            status=DATABASE_ERROR,
            text=text + "\n",
            headers={"X-ClickHouse-Exception-Code": code},
        )
    return web.Response(
        body=answer,
        headers={
            "X-ClickHouse-Format": what.format,
            "X-ClickHouse-Timezone": "UTC",
            "X-ClickHouse-Server-Display-Name": "meshscope",
            "X-ClickHouse-Summary": "{}",
        },
    )


async def _ping(_: web.Request) -> web.Response:
    return web.Response(text="Ok.\n")


def build_app(engine: Engine) -> web.Application:
    """The server over an engine; `/` takes statements, `/ping` says that it is there."""
    app = web.Application(client_max_size=MAX_BODY_BYTES)
    app[ENGINE] = engine
    # One at a time: writes through several connections of one engine are not promised to be safe.
    app[WORKER] = ThreadPoolExecutor(max_workers=1, thread_name_prefix="engine")

    async def close(app: web.Application) -> None:
        await asyncio.to_thread(app[WORKER].shutdown)
        app[ENGINE].close()

    app.on_cleanup.append(close)
    app.router.add_get("/ping", _ping)
    app.router.add_get("/", _query)
    app.router.add_post("/", _query)
    return app


async def serve(app: web.Application, port: int) -> None:
    """Serve on loopback until SIGTERM or SIGINT; prints the port that was opened."""
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=2.0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port)
    await site.start()
    print(f"store ready: http://127.0.0.1:{runner.addresses[0][1]}", flush=True)
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    await stopped.wait()
    await runner.cleanup()


def main(arguments: list[str] | None = None) -> int:
    """0: stopped; 2: the directory or the port is in use."""
    parser = argparse.ArgumentParser(prog="meshscope.embedded.store", description=__doc__)
    parser.add_argument("--path", type=Path, required=True)
    parser.add_argument("--port", type=int, default=8123)
    given = parser.parse_args(arguments)
    logging.basicConfig(
        level=logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s %(message)s",
        stream=sys.stderr,
    )
    try:
        asyncio.run(serve(build_app(Engine(given.path)), given.port))
    except StoreInUse as error:
        print(f"meshscope store: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(
            f"meshscope store: port {given.port} cannot be opened ({error}); set "
            "MESHSCOPE_STORE_PORT to another one",
            file=sys.stderr,
        )
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
