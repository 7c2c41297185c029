"""The embedded stack as one process: lock, settings, supervisor."""

import asyncio
import fcntl
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
from typing import Final

from meshscope.embedded.children import end_survivors
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
        SettingsError: Another stack runs there.
    """
    for folder in (home, home / "logs", home / "agents", home / "worker"):
        folder.mkdir(parents=True, exist_ok=True)
    with (home / LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SettingsError(
                f"a stack already runs in {home}: look at it with `meshscope status`, end it with "
                "`meshscope down`, or set MESHSCOPE_HOME to another directory"
            ) from None
        yield


def is_running(home: Path) -> bool:
    """Whether a stack holds the lock of this home."""
    try:
        with (home / LOCK).open("r+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


async def run(settings: StackSettings, tell: Callable[[str], None]) -> None:
    """Run the stack until SIGTERM or SIGINT.

    Raises:
        NotStarted: A process cannot be started.
    """
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
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
    facts: dict[str, object] = {"started_at": time.time(), "console": settings.console}
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
    """What the status file of a home says, and whether its stack runs."""

    running: bool
    document: dict[str, object]


def standing(home: Path) -> Standing:
    """How the stack of a home is.

    Raises:
        SettingsError: The status file cannot be read.
    """
    try:
        document = json.loads((home / STATUS).read_text())
    except FileNotFoundError:
        document = {}
    except (OSError, ValueError) as error:
        raise SettingsError(f"{home / STATUS} cannot be read ({error}); remove it") from error
    return Standing(is_running(home), document)


def stop(home: Path, seconds: float) -> bool:
    """End the stack of a home; False: none runs.

    Raises:
        SettingsError: It does not end in time.
    """
    found = standing(home)
    if not found.running:
        return False
    os.kill(int(str(found.document["pid"])), signal.SIGTERM)
    until = time.monotonic() + seconds
    while is_running(home):
        if time.monotonic() > until:
            raise SettingsError(f"the stack in {home} has not ended after {seconds:.0f} s")
        time.sleep(0.05)
    return True
