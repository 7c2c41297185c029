"""Gentle traffic through the sidecars, so that the mesh is alive: permitted and refused requests.

Requests go to the outbound listeners, as those of the workloads would, one after the other at a
bounded rate.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass

import aiohttp

from meshscope.sandbox.errors import SandboxDataError
from meshscope.sandbox.model import MeshIndex

PAUSE = 0.5
"""Seconds between two requests: two a second for the whole mesh."""

TIMEOUT = aiohttp.ClientTimeout(total=3)


@dataclass(frozen=True, slots=True)
class Call:
    """A request that a workload makes."""

    sender: str
    host: str
    path: str
    method: str = "GET"
    headers: tuple[tuple[str, str], ...] = ()


CART = "cart.shop.svc.cluster.local"
CATALOG = "catalog.shop.svc.cluster.local"
FRONTEND = "frontend.shop.svc.cluster.local"
PAYMENTS = "payments.payments.svc.cluster.local"

LEDGER_SENDERS = ("cart-1.shop", "intruder-1.guest")
"""Who talks to the ledger: one is allowed, one is not."""


def calls(token: str) -> tuple[Call, ...]:
    """One round of HTTP requests; some are refused in state 00-base (the intruder's, mostly)."""
    bearer = (("authorization", f"Bearer {token}"),)
    return (
        Call("frontend-1.shop", CART, "/cart"),
        Call("frontend-1.shop", CATALOG, "/items"),
        Call("cart-1.shop", PAYMENTS, "/charge", "POST", bearer),
        Call("intruder-1.guest", FRONTEND, "/"),
        Call("intruder-1.guest", CART, "/cart"),
        Call("frontend-1.shop", CART, "/cart", "POST"),
        Call("frontend-1.shop", CATALOG, "/search"),
        Call("cart-2.shop", PAYMENTS, "/health"),
        Call("intruder-1.guest", FRONTEND, "/beta", headers=(("x-user", "bob"),)),
        Call("intruder-1.guest", PAYMENTS, "/charge", "POST", bearer),
        Call("catalog-v1-1.shop", FRONTEND, "/"),
        Call("catalog-v2-1.shop", FRONTEND, "/"),
        Call("payments-1.payments", CART, "/cart/receipt", "POST"),
        Call("payments-1.payments", "api.bank.example", "/transfer", "POST"),
        Call("intruder-1.guest", FRONTEND, "/admin"),
        Call("cart-1.shop", FRONTEND, "/admin"),
    )


class Traffic:
    """Sends one request after the other until it is stopped; counts what came back."""

    def __init__(self, index: MeshIndex, token: str, http: aiohttp.ClientSession) -> None:
        self._index = index
        self._calls = calls(token)
        self._http = http
        self.outcomes: Counter[str] = Counter()
        """How often each outcome was seen: an HTTP status, `tcp answered`, `tcp closed` or
        `no answer`."""

    async def run(self) -> None:
        """Endless; cancel it."""
        while True:
            for call in self._calls:
                self.outcomes[await self._http_call(call)] += 1
                await asyncio.sleep(PAUSE)
            for sender in LEDGER_SENDERS:
                self.outcomes[await self._ledger_call(sender)] += 1
                await asyncio.sleep(PAUSE)

    async def _http_call(self, call: Call) -> str:
        address = self._index.proxy(call.sender).outbound_address()
        headers = {"host": call.host, **dict(call.headers)}
        try:
            async with self._http.request(
                call.method, f"http://{address}{call.path}", headers=headers, timeout=TIMEOUT
            ) as response:
                return str(response.status)
        except (aiohttp.ClientError, TimeoutError):
            return "no answer"  # a proxy that is down or restarting; its state says so

    async def _ledger_call(self, sender: str) -> str:
        address = self._index.proxy(sender).outbound_address("TCP")
        try:
            async with asyncio.timeout(TIMEOUT.total):
                reader, writer = await asyncio.open_connection(address.host, address.port)
                try:
                    writer.write(b"balance\n")
                    answer = await reader.readline()
                finally:
                    writer.close()
        except (OSError, TimeoutError):
            return "no answer"
        return "tcp answered" if answer else "tcp closed"


def charge_token(tokens: dict[str, str]) -> str:
    """The recorded token that may charge."""
    try:
        return tokens["valid"]
    except KeyError as error:
        raise SandboxDataError("keys/tokens.json holds no token named 'valid'") from error
