"""Envoy's admin interface, read over loopback."""

from typing import Final

import aiohttp

MAX_ANSWER_BYTES: Final = 256 * 1024 * 1024


class AdminError(Exception):
    """The admin interface gave no usable answer; the message says what was asked and what came."""


class AdminUnreachable(AdminError):
    """Nobody answers, or not in time."""


class AdminRefused(AdminError):
    """It answered with an error status."""


class Admin:
    """Reads from one Envoy. Use as an asynchronous context manager.

    Args:
        address: Such as `http://127.0.0.1:15000`.
        timeout_seconds: For one answer, body included.
    """

    def __init__(self, address: str, timeout_seconds: float) -> None:
        self._address = address.rstrip("/")
        self._timeout = aiohttp.ClientTimeout(total=timeout_seconds)
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> "Admin":
        # No proxy settings of the environment, no cookies: one host, one connection.
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=1),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=self._timeout,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def get(self, path: str) -> bytes:
        """The body of the answer to `GET path`.

        Raises:
            AdminUnreachable: There was no answer in time.
            AdminRefused: The status was not 200.
            AdminError: The answer was too large or broke off.
        """
        if self._session is None:
            raise RuntimeError("Admin is used outside its context")
        url = self._address + path
        try:
            async with self._session.get(url, allow_redirects=False) as answer:
                body = await answer.content.read(MAX_ANSWER_BYTES + 1)
                while not answer.content.at_eof() and len(body) <= MAX_ANSWER_BYTES:
                    body += await answer.content.read(MAX_ANSWER_BYTES + 1 - len(body))
                if answer.status != 200:
                    text = body[:200].decode(errors="replace").strip()
                    raise AdminRefused(f"GET {url} answered {answer.status}: {text}")
        except TimeoutError as error:
            raise AdminUnreachable(
                f"GET {url} was not answered within {self._timeout.total} s"
            ) from error
        except aiohttp.ClientPayloadError as error:
            raise AdminError(f"GET {url} broke off: {error}") from error
        except aiohttp.ClientError as error:
            raise AdminUnreachable(f"GET {url} failed: {error}") from error
        if len(body) > MAX_ANSWER_BYTES:
            raise AdminError(f"GET {url} answered more than {MAX_ANSWER_BYTES} bytes")
        return body
