"""The web server: one page, its data as JSON, and a stream of changes."""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from importlib.resources import files
from typing import Any, Final

import clickhouse_connect
from aiohttp import web
from clickhouse_connect.driver.asyncclient import AsyncClient
from clickhouse_connect.driver.exceptions import ClickHouseError

from meshscope.console.overview import overview
from meshscope.console.settings import ConsoleSettings
from meshscope.history.library import library

log = logging.getLogger(__name__)

STATIC: Final = {
    "console.css": "text/css",
    "console.js": "text/javascript",
}
SECURITY_HEADERS: Final = {
    # Nothing is loaded from elsewhere, and no other page may frame this one.
    "Content-Security-Policy": (
        "default-src 'self'; img-src data:; frame-ancestors 'none'; base-uri 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
RESOLVED_SHOWN: Final = 20


class HistoryAway(Exception):
    """ClickHouse cannot be asked now; the message says why."""


class History:
    """Asks the query library. One connection, made when it is needed."""

    def __init__(self, settings: ConsoleSettings) -> None:
        self._settings = settings
        self._client: AsyncClient | None = None

    async def ask(self, name: str, **values: object) -> list[dict[str, Any]]:
        """Rows of a query of the library.

        Raises:
            HistoryAway: There is no answer.
        """
        query = library()[name]
        try:
            if self._client is None:
                self._client = await clickhouse_connect.get_async_client(
                    host=self._settings.clickhouse_host,
                    port=self._settings.clickhouse_port,
                    username=self._settings.clickhouse_user,
                    password=self._settings.clickhouse_password,
                    database=self._settings.database,
                    autogenerate_session_id=False,
                )
            result = await self._client.query(query.sql, parameters=query.bound(values))
        except (ClickHouseError, OSError) as error:
            first = (str(error).strip().splitlines() or [""])[0]
            raise HistoryAway(f"the history cannot be asked: {first}") from error
        return [dict(zip(result.column_names, row, strict=True)) for row in result.result_rows]

    async def close(self) -> None:
        """Give the connection back."""
        if self._client is not None:
            await self._client.close()


async def _overview(history: History) -> dict[str, Any]:
    return overview(
        await history.ask("proxies"),
        await history.ask("open_anomalies"),
        await history.ask("anomaly_history", limit=RESOLVED_SHOWN),
    ).as_json()


HISTORY: Final = web.AppKey("history", History)
SETTINGS: Final = web.AppKey("settings", ConsoleSettings)


async def _page(_: web.Request) -> web.Response:
    text = files("meshscope.console").joinpath("static", "index.html").read_text("utf-8")
    return web.Response(text=text, content_type="text/html")


async def _static(request: web.Request) -> web.Response:
    name = request.match_info["name"]
    if name not in STATIC:
        raise web.HTTPNotFound
    text = files("meshscope.console").joinpath("static", name).read_text("utf-8")
    return web.Response(text=text, content_type=STATIC[name])


async def _data(request: web.Request) -> web.Response:
    try:
        return web.json_response(await _overview(request.app[HISTORY]))
    except HistoryAway as error:
        return web.json_response({"error": str(error)}, status=503)


async def _drift(request: web.Request) -> web.Response:
    try:
        rows = await request.app[HISTORY].ask("open_drift", proxy=request.query.get("proxy", ""))
    except HistoryAway as error:
        return web.json_response({"error": str(error)}, status=503)
    return web.json_response(rows, dumps=lambda value: json.dumps(value, default=str))


async def _changes(request: web.Request) -> web.StreamResponse:
    """Server-sent events: the whole overview whenever it differs from the one before."""
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream", **SECURITY_HEADERS})
    await response.prepare(request)
    last = ""
    while True:
        try:
            message = json.dumps(await _overview(request.app[HISTORY]))
        except HistoryAway as error:
            message = json.dumps({"error": str(error)})
        try:
            if message != last:
                await response.write(f"data: {message}\n\n".encode())
                last = message
            else:
                # A comment keeps the connection and shows when the reader is gone.
                await response.write(b": still here\n\n")
        except ConnectionResetError:
            return response
        await asyncio.sleep(request.app[SETTINGS].refresh_seconds)


@web.middleware
async def _secured(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    response = await handler(request)
    if not response.prepared:
        response.headers.update(SECURITY_HEADERS)
    return response


async def _healthy(_: web.Request) -> web.Response:
    return web.Response(text="ok\n")


def build_app(settings: ConsoleSettings) -> web.Application:
    """The application; `GET /` is the page, `/api/overview` its data, `/api/changes` the stream."""
    app = web.Application(middlewares=[_secured])
    app[SETTINGS] = settings
    app[HISTORY] = History(settings)

    async def close(app: web.Application) -> None:
        await app[HISTORY].close()

    app.on_cleanup.append(close)
    app.router.add_get("/", _page)
    app.router.add_get("/static/{name}", _static)
    app.router.add_get("/api/overview", _data)
    app.router.add_get("/api/drift", _drift)
    app.router.add_get("/api/changes", _changes)
    app.router.add_get("/livez", _healthy)
    return app
