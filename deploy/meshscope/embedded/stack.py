"""The embedded stack as one process: lock, settings, supervisor."""

import asyncio
import contextlib
import json
import os
import platform
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from meshscope.embedded.children import end_survivors
from meshscope.embedded.locks import LockHeld, hold_lock, lock_holder
from meshscope.embedded.platforms import check_platform
from meshscope.embedded.services import services
from meshscope.embedded.settings import SettingsError, StackSettings, check_ports
from meshscope.embedded.supervision import recorded_processes
from meshscope.embedded.supervisor import Supervisor
from meshscope.sandbox.model import load_index

LOCK: Final = "stack.lock"
ENDPOINTS: Final = "endpoints.json"
STATUS: Final = "status.json"


@contextmanager
def locked(home: Path) -> Iterator[None]:
    """One stack per home. The kernel holds the lock, so a killed stack leaves none behind.

    Raises:
        SettingsError: Another stack runs there, or nothing can be written there.
    """
    try:
        for folder in (home, home / "logs", home / "agents", home / "worker"):
            folder.mkdir(parents=True, exist_ok=True)
        lock = hold_lock(home / LOCK, f"the stack in {home}")
    except LockHeld as error:
        raise SettingsError(str(error)) from error
    except OSError as error:
        raise SettingsError(
            f"{home} cannot be used ({error.strerror}): set MESHSCOPE_HOME to a directory that you "
            "may write"
        ) from error
    try:
        yield
    finally:
        lock.release()


async def run(settings: StackSettings, tell: Callable[[str], None]) -> None:
    """Run the stack until SIGTERM, SIGINT, or the end of the terminal.

    Raises:
        NotStarted: A process cannot be started.
    """
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    (settings.home / ENDPOINTS).write_text(
        json.dumps(
            {
                "brokers": settings.brokers,
                "clickhouse_host": "127.0.0.1",
                "clickhouse_port": settings.store_port,
                "console": settings.console,
            }
        )
    )
    index = load_index()
    facts: dict[str, object] = {
        "started_at": time.time(),
        "brokers": settings.brokers,
        "console": settings.console,
    }
    await Supervisor(settings.home, services(settings, index), facts, tell).run(stopped)


def start(settings: StackSettings, tell: Callable[[str], None]) -> None:
    """Run the stack in the foreground.

    Raises:
        SettingsError: Another stack runs here, a port is in use, or something is missing.
        NotStarted: A process cannot be started.
    """
    with locked(settings.home):
        check_platform(sys.platform, platform.machine())
        survivors = end_survivors(recorded_processes(standing(settings.home).document))
        if survivors:
            tell(f"ended what an earlier run left behind: {', '.join(survivors)}")
        check_ports(settings)
        asyncio.run(run(settings, tell))


@dataclass(frozen=True, slots=True)
class Standing:
    """How the stack of a home is.

    Attributes:
        pid: Its supervisor; None: no stack runs.
        document: What the status file says, of the stack that runs, else of the one before.
    """

    pid: int | None
    document: dict[str, Any]


def standing(home: Path) -> Standing:
    """How the stack of a home is.

    Raises:
        SettingsError: The status file cannot be read.
    """
    pid = lock_holder(home / LOCK)
    try:
        document = json.loads((home / STATUS).read_text())
    except FileNotFoundError:
        document = {}
    except (OSError, ValueError) as error:
        raise SettingsError(f"{home / STATUS} cannot be read ({error}); remove it") from error
    if pid is not None and document.get("pid") != pid:
        document = {}  # of the stack before; this one has only begun
    return Standing(pid, document)


def stop(home: Path, seconds: float) -> bool:
    """End the stack of a home; False: none runs.

    Raises:
        SettingsError: It does not end in time.
    """
    pid = lock_holder(home / LOCK)
    if pid is None:
        return False
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
    until = time.monotonic() + seconds
    while lock_holder(home / LOCK) is not None:
        if time.monotonic() > until:
            raise SettingsError(f"the stack in {home} has not ended after {seconds:.0f} s")
        time.sleep(0.05)
    return True
