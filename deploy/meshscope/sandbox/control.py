"""The control socket of a running sandbox: `protocol` over a unix socket in its directory."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import AsyncIterator

import msgspec

from meshscope.sandbox.errors import SandboxError
from meshscope.sandbox.paths import SandboxPaths
from meshscope.sandbox.protocol import Command, Failure, Message, MutationDone, Status, StatusTold
from meshscope.sandbox.runtime import Sandbox

log = logging.getLogger(__name__)


@contextlib.asynccontextmanager
async def control_server(sandbox: Sandbox, paths: SandboxPaths) -> AsyncIterator[None]:
    """Serves commands while the context lasts; the socket's existence says that it does."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while line := await reader.readline():
                writer.write(msgspec.json.encode(await answer(sandbox, line)) + b"\n")
                await writer.drain()
        writer.close()

    directory = os.open(paths.directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        # Through a descriptor: the path of a socket may not be longer than 107 bytes.
        path = f"/proc/self/fd/{directory}/{paths.control_socket.name}"
        server = await asyncio.start_unix_server(serve, path)
        try:
            yield
        finally:
            server.close()
            paths.control_socket.unlink(missing_ok=True)
    finally:
        os.close(directory)


async def answer(sandbox: Sandbox, line: bytes) -> Message:
    """The answer to one request line."""
    try:
        command = msgspec.json.decode(line, type=Command)
    except msgspec.DecodeError as error:
        return Failure(f"not a command of the sandbox: {error}")
    try:
        result = await sandbox.execute(command)
    except SandboxError as error:
        return Failure(str(error))
    except Exception as error:
        log.exception("command %s failed", command)
        return Failure(f"the sandbox failed: {error!r}; its log says more")
    return StatusTold(result) if isinstance(result, Status) else MutationDone(result)
