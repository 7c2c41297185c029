"""Starts the processes of the stack, keeps them running, and ends them all."""

import asyncio
import contextlib
import json
import os
import signal
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final

from meshscope.embedded.children import created_at, dies_with_parent, signal_group
from meshscope.embedded.process_log import LOG_BYTES, Lines, RotatingLog, tail
from meshscope.embedded.services import Service
from meshscope.embedded.supervision import (
    ServiceState,
    became_ready,
    ended,
    hopeless,
    pause_before_restart,
    started,
    stop_waves,
    stopped,
)

STOP_SECONDS: Final = 8.0
"""For each wave of processes that end together; what still runs then is killed."""

READY_SECONDS: Final = 90.0
STILL_SECONDS: Final = 5.0
SETTLED_SECONDS: Final = 1.5
"""A process that says nothing about its readiness counts as ready when it ran so long."""

DRAIN_SECONDS: Final = 1.0
PIECE_BYTES: Final = 64 * 1024
TAIL_LINES: Final = 12


class NotStarted(Exception):
    """A process did not come up; the message names it and where its log is."""


class Supervisor:
    """All processes of one stack.

    Args:
        home: Logs go to `logs/`, the state to `status.json`.
        services: In the order of their start.
        facts: What else stands in the status file.
        tell: Is told of progress, one line each.
        log_bytes: Size at which a log is rotated.
    """

    def __init__(
        self,
        home: Path,
        services: Sequence[Service],
        facts: Mapping[str, object],
        tell: Callable[[str], None],
        log_bytes: int = LOG_BYTES,
    ) -> None:
        self._home = home
        self._services = {service.name: service for service in services}
        self._waves = stop_waves({service.name: service.after for service in services})
        self._facts = facts
        self._tell = tell
        self._log_bytes = log_bytes
        self._states = {service.name: ServiceState(service.name) for service in services}
        self._up = {service.name: asyncio.Event() for service in services}
        self._processes: dict[str, asyncio.subprocess.Process] = {}
        self._stopping = False
        self._began = time.monotonic()
        (home / "logs").mkdir(exist_ok=True)

    async def run(self, stop: asyncio.Event) -> None:
        """Start all, keep them running until `stop`, end them all.

        Raises:
            NotStarted: One cannot be started at all.
        """
        self._write()
        keepers = {
            name: asyncio.create_task(self._keep(service), name=name)
            for name, service in self._services.items()
        }
        end = asyncio.create_task(stop.wait())
        start = asyncio.create_task(self._all_up())
        running = {end, start, *keepers.values()}
        try:
            while not end.done():
                done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()  # what it raised ends the stack
        finally:
            end.cancel()
            start.cancel()
            await self._stop(keepers)
            await asyncio.gather(end, start, return_exceptions=True)

    async def _all_up(self) -> bool:
        """Wait until each was ready once."""
        for name, up in self._up.items():
            waited = time.monotonic()
            while not up.is_set():
                if hopeless(self._states[name]):
                    raise NotStarted(self._not_started(name, self._states[name].last_exit))
                if time.monotonic() - self._began > READY_SECONDS:
                    raise NotStarted(self._not_started(name, f"not in {READY_SECONDS:.0f} s"))
                if time.monotonic() - waited > STILL_SECONDS:
                    waited = time.monotonic()
                    self._tell(f"still waiting for {name} ({self._elapsed()})")
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(up.wait(), 0.1)
        self._tell(f"everything runs ({self._elapsed()})")
        return True

    async def _keep(self, service: Service) -> bool:
        """Keep one process running; ends when it will not be started again."""
        for other in service.after:
            await self._up[other].wait()
        while True:
            began = time.monotonic()
            code = await self._once(service)
            if self._stopping:
                return False
            state = ended(self._states[service.name], code, time.monotonic() - began, time.time())
            self._set(state)
            if state.state == "failed":
                self._tell(
                    f"{service.name} ended for good ({state.last_exit}); its log: "
                    f"{self._log(service.name)}"
                )
                return False
            pause = pause_before_restart(state.failures)
            self._tell(f"{service.name} ended ({state.last_exit}), again in {pause:.1f} s")
            await asyncio.sleep(pause)

    async def _once(self, service: Service) -> int:
        """Run a process until it ends; its exit code."""
        # A pipe of our own: asyncio would wait for its end even where a grandchild holds it open.
        output, write = os.pipe()
        try:
            process = await asyncio.create_subprocess_exec(
                *service.argv,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=write,
                stderr=write,
                env={**os.environ, **service.environ, "PYTHONUNBUFFERED": "1"},
                start_new_session=True,
                preexec_fn=dies_with_parent(),
            )
        except BaseException:
            os.close(output)
            raise
        finally:
            os.close(write)
        self._processes[service.name] = process
        if self._stopping:
            process.kill()
        self._set(
            started(self._states[service.name], process.pid, created_at(process.pid), time.time())
        )
        tasks = [asyncio.create_task(self._read(service, output))]
        if not service.ready_line:
            tasks.append(asyncio.create_task(self._settle(service)))
        try:
            return await process.wait()
        finally:
            # What it started must not outlive it, nor be in the way of its next start.
            signal_group(process.pid, signal.SIGKILL)
            del self._processes[service.name]
            await self._end_of(tasks)

    async def _read(self, service: Service, output: int) -> None:
        """Put what a process prints into its log, and look for the line that says it is ready."""
        reader = asyncio.StreamReader()
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(output, "rb", 0)
        )
        log = RotatingLog(self._log(service.name), self._log_bytes)
        lines = Lines()
        mark = service.ready_line.encode()
        try:
            while data := await reader.read(PIECE_BYTES):
                for line in lines.feed(data):
                    log.write(line)
                    if mark and line.startswith(mark):
                        self._ready(service)
        finally:
            for line in lines.end():
                log.write(line)
            log.close()
            transport.close()

    async def _settle(self, service: Service) -> None:
        await asyncio.sleep(SETTLED_SECONDS)
        self._ready(service)

    async def _end_of(self, tasks: Sequence[asyncio.Task[None]]) -> None:
        """Let the reader come to the end of the output, then end the tasks of a process."""
        reader, *others = tasks
        for task in others:
            task.cancel()
        await asyncio.wait([reader], timeout=DRAIN_SECONDS)
        reader.cancel()
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(result, Exception):
                raise result

    def _ready(self, service: Service) -> None:
        self._set(became_ready(self._states[service.name], time.time()))
        if not self._up[service.name].is_set():
            self._up[service.name].set()
            self._tell(f"{service.name} runs ({self._elapsed()})")

    async def _stop(self, keepers: Mapping[str, asyncio.Task[bool]]) -> None:
        """End everything, readers and writers before what they need; kill what does not end."""
        self._stopping = True
        for name, keeper in keepers.items():
            if name not in self._processes:
                keeper.cancel()
        for wave in self._waves:
            running = [self._processes[name] for name in wave if name in self._processes]
            for process in running:
                with contextlib.suppress(ProcessLookupError):
                    process.terminate()
            await self._gone(running)
        await asyncio.gather(*keepers.values(), return_exceptions=True)
        for state in self._states.values():
            self._states[state.name] = stopped(state, time.time())
        self._write()

    async def _gone(self, processes: Iterable[asyncio.subprocess.Process]) -> None:
        waits = [asyncio.create_task(process.wait()) for process in processes]
        if not waits:
            return
        _, late = await asyncio.wait(waits, timeout=STOP_SECONDS)
        if late:
            for name, process in self._processes.items():
                if process in processes:
                    self._tell(f"{name} does not end by itself, killing process {process.pid}")
                    signal_group(process.pid, signal.SIGKILL)
            await asyncio.wait(late)

    def _set(self, state: ServiceState) -> None:
        self._states[state.name] = state
        self._write()

    def _write(self) -> None:
        document = {
            **self._facts,
            "pid": os.getpid(),
            "services": [asdict(each) for each in self._states.values()],
        }
        temporary = self._home / "status.json.new"
        temporary.write_text(json.dumps(document))
        temporary.replace(self._home / "status.json")

    def _elapsed(self) -> str:
        return f"{time.monotonic() - self._began:.1f} s"

    def _log(self, name: str) -> Path:
        return self._home / "logs" / f"{name}.log"

    def _not_started(self, name: str, why: str) -> str:
        printed = "".join(f"\n  {line}" for line in tail(self._log(name), TAIL_LINES))
        return f"{name} cannot be started ({why}). The end of {self._log(name)}:{printed}"
