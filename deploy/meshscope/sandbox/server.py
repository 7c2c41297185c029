"""The sandbox as a process: start, serve commands until a signal, end every child."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from collections.abc import Callable, Coroutine
from pathlib import Path

from meshscope.sandbox.control import control_server
from meshscope.sandbox.model import load_index
from meshscope.sandbox.paths import SandboxPaths
from meshscope.sandbox.recording import Recording, Variant
from meshscope.sandbox.runtime import Sandbox

log = logging.getLogger(__name__)


async def serve(
    directory: Path,
    state: str,
    variant: Variant,
    traffic: bool,
    ready: Callable[[str], None],
) -> None:
    """Runs a sandbox until SIGTERM or SIGINT. `ready` is told once when commands are served.

    Raises:
        SandboxError: it cannot start; nothing is left behind.
    """
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    index = load_index()
    paths = SandboxPaths(directory)
    sandbox = Sandbox(index, Recording(index, variant), paths, state)
    try:
        if await _unless(stopped, sandbox.start(traffic)):
            async with control_server(sandbox, paths):
                ready(
                    f"sandbox ready: {len(index.proxies)} proxies LIVE in state {state},"
                    f" directory {paths.directory}"
                )
                await stopped.wait()
    finally:
        await sandbox.stop()


async def _unless(stopped: asyncio.Event, work: Coroutine[None, None, None]) -> bool:
    """Does the work unless the process is told to stop meanwhile; whether it was done."""
    task = asyncio.ensure_future(work)
    stop = asyncio.ensure_future(stopped.wait())
    await asyncio.wait({task, stop}, return_when=asyncio.FIRST_COMPLETED)
    if not task.done():
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        return False
    stop.cancel()
    task.result()
    return True
