"""ClickHouse's HTTP interface over the embedded engine, on loopback.

Enough of https://clickhouse.com/docs/interfaces/http for `clickhouse-connect`, curl and Grafana's
ClickHouse data source: statements in the URL or the body, parameters, settings, every format of
the engine, compressed request bodies, `X-ClickHouse-Summary`, error codes. Not offered: sessions,
external data, users, progress headers, the native protocol's compression.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from aiohttp import hdrs, web

from meshscope.embedded.clickhouse_errors import (
    QueryRefused,
    error_code,
    error_text,
    http_status,
)
from meshscope.embedded.content_encoding import decompressed
from meshscope.embedded.store_engine import QueryFailed, StoreEngine, StoreResult
from meshscope.embedded.store_request import StoreRequest, parse_request

MAX_BODY_BYTES = 256 << 20

ENGINE = web.AppKey("engine", StoreEngine)

_LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
_CONTENT_TYPES = {
    "JSON": "application/json; charset=UTF-8",
    "JSONCompact": "application/json; charset=UTF-8",
    "JSONEachRow": "application/x-ndjson; charset=UTF-8",
    "CSV": "text/csv; charset=UTF-8; header=absent",
    "CSVWithNames": "text/csv; charset=UTF-8; header=present",
    "Native": "application/octet-stream",
    "RowBinary": "application/octet-stream",
}
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def build_store_app(
    engine: StoreEngine, *, max_body_bytes: int = MAX_BODY_BYTES
) -> web.Application:
    """The HTTP application over an open engine."""
    app = web.Application(client_max_size=max_body_bytes, middlewares=[_errors_as_clickhouse])
    app[ENGINE] = engine
    app.router.add_get("/ping", _ok)
    app.router.add_get("/replicas_status", _ok)
    app.router.add_route("*", "/", _query)
    return app


async def _ok(_: web.Request) -> web.Response:
    return web.Response(text="Ok.\n")


async def _query(request: web.Request) -> web.Response:
    engine = request.app[ENGINE]
    if request.method == hdrs.METH_GET and "query" not in request.query:
        return await _ok(request)
    if request.method not in (hdrs.METH_GET, hdrs.METH_HEAD, hdrs.METH_POST):
        raise QueryRefused(48, f"Method {request.method} is not supported; use GET or POST")
    statement = await _statement(request)
    result = await engine.execute(statement)
    return web.Response(body=result.body, headers=_headers(request, engine, result))


async def _statement(request: web.Request) -> StoreRequest:
    fields = dict(request.query)
    get = request.method != hdrs.METH_POST
    _refuse_other_users(request, fields)
    if request.content_type == "multipart/form-data":
        for name, value in (await request.post()).items():
            if not isinstance(value, str):
                raise QueryRefused(48, f"External data ({name}) is not supported by this store")
            fields[name] = value
        return parse_request(fields, b"", get=get)
    encoding = request.headers.get(hdrs.CONTENT_ENCODING, "identity")
    body = decompressed(await request.read(), encoding, request.client_max_size)
    return parse_request(fields, body, get=get)


def _refuse_other_users(request: web.Request, fields: dict[str, str]) -> None:
    user = request.headers.get("X-ClickHouse-User") or fields.get("user") or "default"
    if user != "default":
        raise QueryRefused(
            516, f"{user}: the embedded store has one user, default, without a password"
        )


def _headers(request: web.Request, engine: StoreEngine, result: StoreResult) -> dict[str, str]:
    summary = {
        "read_rows": str(result.read_rows),
        "read_bytes": str(result.read_bytes),
        "written_rows": str(result.written_rows),
        "written_bytes": str(result.written_bytes),
        "elapsed_ns": str(result.elapsed_ns),
    }
    headers = {
        "X-ClickHouse-Summary": json.dumps(summary),
        "X-ClickHouse-Query-Id": request.query.get("query_id") or str(uuid.uuid4()),
        "X-ClickHouse-Server-Display-Name": "meshscope-embedded",
        "X-ClickHouse-Timezone": engine.timezone,
    }
    content_type = "text/plain; charset=UTF-8"
    if result.format is not None:
        headers["X-ClickHouse-Format"] = result.format
        content_type = _CONTENT_TYPES.get(result.format, "text/tab-separated-values; charset=UTF-8")
    headers[hdrs.CONTENT_TYPE] = content_type
    return headers


@web.middleware
async def _errors_as_clickhouse(request: web.Request, handler: _Handler) -> web.StreamResponse:
    version = request.app[ENGINE].version
    try:
        _refuse_web_pages(request)
        return await handler(request)
    except (QueryRefused, QueryFailed) as error:
        message = str(error)
    except web.HTTPRequestEntityTooLarge:
        limit = request.client_max_size
        message = str(
            QueryRefused(307, f"The body is larger than {limit} bytes; send less at once")
        )
    code = error_code(message)
    return web.Response(
        status=http_status(code),
        text=error_text(message, version),
        headers={"X-ClickHouse-Exception-Code": str(code)},
    )


def _refuse_web_pages(request: web.Request) -> None:
    """A page from elsewhere must not reach the store through a browser on this machine."""
    origin = request.headers.get(hdrs.ORIGIN)
    host = urlsplit(f"//{request.host}").hostname
    if host not in _LOOPBACK_NAMES:
        raise QueryRefused(516, f"Host {request.host!r} is not this machine's loopback")
    if origin is not None and urlsplit(origin).hostname not in _LOOPBACK_NAMES:
        raise QueryRefused(516, f"Requests from pages of {origin} are not served")
