"""The applications behind the sidecars: all small, all in one process.

- HTTP workloads echo the request as JSON. Header `x-app-status` chooses the status of the answer,
  `x-app-delay` (seconds, at most 10) makes it late.
- The ledger (TCP) answers each line with `ledger:LINE`.
- The authorizer (ext_authz over HTTP) allows `x-user: bob` and refuses everybody else.
- The bank is an echo outside of the mesh.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from aiohttp import web

from meshscope.sandbox.model import Address, MeshIndex

MAX_DELAY = 10.0
ALLOWED_USER = "bob"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Applications:
    """All applications of the mesh. `start` raises `OSError` if an address is taken."""

    def __init__(self, index: MeshIndex) -> None:
        self._index = index
        self._runners: list[web.AppRunner] = []
        self._ledgers: list[asyncio.Server] = []

    async def start(self) -> None:
        for proxy in self._index.proxies:
            for inbound in proxy.inbound:
                if inbound.protocol == "HTTP":
                    await self._serve_http(echo(proxy.name), inbound.app)
                else:
                    await self._serve_ledger(inbound.app)
        await self._serve_http(authorize, self._index.others.authorizer)
        await self._serve_http(echo("bank"), self._index.others.bank)

    async def stop(self) -> None:
        for ledger in self._ledgers:
            ledger.close()
        for runner in self._runners:
            await runner.cleanup()

    async def _serve_http(self, handler: Handler, address: Address) -> None:
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", handler)
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        self._runners.append(runner)
        await web.TCPSite(runner, address.host, address.port).start()

    async def _serve_ledger(self, address: Address) -> None:
        self._ledgers.append(await asyncio.start_server(ledger, address.host, address.port))


def echo(name: str) -> Handler:
    """A handler that answers as workload `name`."""

    async def answer(request: web.Request) -> web.StreamResponse:
        try:
            status = int(request.headers.get("x-app-status", "200"))
            delay = float(request.headers.get("x-app-delay", "0"))
        except ValueError as error:
            return web.json_response({"by": name, "error": str(error)}, status=400)
        await asyncio.sleep(min(max(delay, 0.0), MAX_DELAY))
        return web.json_response(
            {
                "by": name,
                "method": request.method,
                "path": request.path_qs,
                "headers": {key.lower(): value for key, value in request.headers.items()},
            },
            status=status if 200 <= status <= 599 else 400,
        )

    return answer


async def authorize(request: web.Request) -> web.StreamResponse:
    """The external authorizer."""
    user = request.headers.get("x-user", "")
    if user == ALLOWED_USER:
        return web.Response(status=200, headers={"x-authz-user": user})
    reason = f"user {user!r} is not in the beta programme"
    return web.Response(status=403, headers={"x-authz-reason": reason})


async def ledger(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One connection of the ledger."""
    with contextlib.suppress(ConnectionError):
        while line := await reader.readline():
            writer.write(b"ledger:" + line)
            await writer.drain()
    writer.close()
