"""Starts the processes of the stack, keeps them running, and ends them all."""

import asyncio
import contextlib
import json
import logging
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Final

from meshscope.embedded.children import dies_with_parent, signal_group
from meshscope.embedded.services import Service
from meshscope.embedded.supervision import ServiceState, ended, pause_before_restart

STOP_SECONDS: Final = 10.0
LOG_BYTES: Final = 5 * 1024 * 1024
READY_SECONDS: Final = 60.0


class NotStarted(Exception):
    """A process did not come up; the message names it and where its log is."""


class Supervisor:
    """All processes of one stack.

    Args:
        home: Logs go to `logs/`, the state to `status.json`.
        services: In the order of their start.
        facts: What else stands in the status file.
        tell: Is told of progress, one line each.
    """

    def __init__(
        self,
        home: Path,
        services: Sequence[Service],
        facts: Mapping[str, object],
        tell: Callable[[str], None],
    ) -> None:
        self._home = home
        self._services = services
        self._facts = facts
        self._tell = tell
        self._states = {service.name: ServiceState(service.name) for service in services}
        self._up = {service.name: asyncio.Event() for service in services}
        self._processes: dict[str, asyncio.subprocess.Process] = {}
        self._stopping = False
        self._began = time.monotonic()

    async def run(self, stopped: asyncio.Event) -> None:
        """Start all, keep them running until `stopped`, end them all.

        Raises:
            NotStarted: One cannot be started at all.
        """
        tasks = [asyncio.create_task(self._keep(service)) for service in self._services]
        started = asyncio.create_task(self._all_up())
        end = asyncio.create_task(stopped.wait())
        try:
            await asyncio.wait([started, end], return_when=asyncio.FIRST_COMPLETED)
            if started.done():
                started.result()
                self._tell(f"everything runs ({time.monotonic() - self._began:.1f} s)")
                await end
        finally:
            started.cancel()
            end.cancel()
            await self._stop(tasks)

    async def _all_up(self) -> None:
        for service in self._services:
            while not self._up[service.name].is_set():
                state = self._states[service.name]
                if state.state == "failed" or (state.failures > 3 and state.restarts > 3):
                    raise NotStarted(
                        f"{service.name} cannot be started ({state.last_exit}). The end of "
                        f"{self._log(service.name)}:\n{self._tail(service.name)}"
                    )
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._up[service.name].wait(), 0.1)

    async def _keep(self, service: Service) -> None:
        for other in service.after:
            await self._up[other].wait()
        while not self._stopping:
            began = time.monotonic()
            code = await self._once(service)
            if self._stopping:
                return
            state = ended(
                self._states[service.name],
                code,
                time.monotonic() - began,
                service.once,
                time.time(),
            )
            self._set(state)
            if state.state != "restarting":
                if state.state == "failed":
                    self._tell(f"{service.name} ended for good: {state.last_exit}")
                return
            pause = pause_before_restart(state.failures)
            if self._up[service.name].is_set():
                self._tell(f"{service.name} ended ({state.last_exit}), again in {pause:.1f} s")
            await asyncio.sleep(pause)

    async def _once(self, service: Service) -> int:
        """Run a process until it ends; its exit code."""
        process = await asyncio.create_subprocess_exec(
            *service.argv,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env={**os.environ, **service.environ, "PYTHONUNBUFFERED": "1"},
            start_new_session=True,
            preexec_fn=dies_with_parent(),
        )
        self._processes[service.name] = process
        self._change(service.name, state="starting", pid=process.pid)
        if not service.ready_line and not service.once:
            self._ready(service)
        try:
            await self._read(service, process)
            code = await process.wait()
        finally:
            del self._processes[service.name]
        if service.once and code == 0:
            self._up[service.name].set()
        return code

    async def _read(self, service: Service, process: asyncio.subprocess.Process) -> None:
        """Put what a process prints into its log, and look for the line that says it is ready."""
        log = RotatingFileHandler(self._log(service.name), maxBytes=LOG_BYTES, backupCount=1)
        log.setFormatter(logging.Formatter("%(message)s"))
        try:
            if process.stdout is None:
                raise RuntimeError("the process was started without a pipe")
            while line := await process.stdout.readline():
                text = line.decode(errors="replace").rstrip("\n")
                log.emit(logging.LogRecord(service.name, logging.INFO, "", 0, text, None, None))
                if service.ready_line and text.startswith(service.ready_line):
                    self._ready(service)
        finally:
            log.close()

    def _ready(self, service: Service) -> None:
        self._change(service.name, state="ready")
        if not self._up[service.name].is_set():
            self._up[service.name].set()
            self._tell(f"{service.name} runs ({time.monotonic() - self._began:.1f} s)")

    async def _stop(self, tasks: Sequence[asyncio.Task[None]]) -> None:
        """End everything, what was started last first; kill what does not end."""
        self._stopping = True
        for service in reversed(self._services):
            if process := self._processes.get(service.name):
                signal_group(process.pid, signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STOP_SECONDS):
                for process in list(self._processes.values()):
                    await process.wait()
        for process in self._processes.values():
            signal_group(process.pid, signal.SIGKILL)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for name in self._states:
            self._change(name, state="stopped", pid=0)

    def _change(self, name: str, **fields: object) -> None:
        self._set(replace(self._states[name], since=time.time(), **fields))  # type: ignore[arg-type]

    def _set(self, state: ServiceState) -> None:
        self._states[state.name] = state
        document = {
            **self._facts,
            "pid": os.getpid(),
            "services": [asdict(each) for each in self._states.values()],
        }
        temporary = self._home / "status.json.new"
        temporary.write_text(json.dumps(document))
        temporary.replace(self._home / "status.json")

    def _log(self, name: str) -> Path:
        return self._home / "logs" / f"{name}.log"

    def _tail(self, name: str) -> str:
        lines = self._log(name).read_text(errors="replace").splitlines()
        return "\n".join(f"  {line}" for line in lines[-15:])
