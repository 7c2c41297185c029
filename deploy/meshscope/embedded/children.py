"""Child processes that end with their parent."""

import contextlib
import ctypes
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable

import psutil

PR_SET_PDEATHSIG = 1
END_SECONDS = 5.0


def dies_with_parent() -> Callable[[], None] | None:
    """For `preexec_fn`: the kernel ends the child if its parent is killed (Linux alone).

    The library is loaded before the fork, since a child between fork and exec must do little.
    The kernel counts the end of the thread that forked as the parent's end, hence:

    Raises:
        RuntimeError: This is not the main thread.
    """
    if sys.platform != "linux":
        return None
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError("start children that end with their parent from the main thread")
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    parent = os.getpid()

    def ask() -> None:
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os.kill(os.getpid(), signal.SIGKILL)

    return ask


def signal_group(pid: int, number: int) -> None:
    """Send a signal to a child and all its children; one that is gone is gone."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, number)


def created_at(pid: int) -> float:
    """When the system made a process; 0: it is gone, or ended and nobody has taken notice."""
    try:
        process = psutil.Process(pid)
        ended = process.status() == psutil.STATUS_ZOMBIE
        return 0.0 if ended else float(process.create_time())
    except psutil.NoSuchProcess:
        return 0.0


def end_survivors(recorded: Iterable[tuple[str, int, float]]) -> tuple[str, ...]:
    """Kill what an earlier run left behind; the names of what there was.

    Args:
        recorded: Name, pid and time of creation. A pid that belongs to another process by now has
            another time of creation, and is left alone.
    """
    names = []
    for name, pid, created in recorded:
        if created == 0.0 or created_at(pid) != created:
            continue
        names.append(name)
        signal_group(pid, signal.SIGKILL)
        with contextlib.suppress(psutil.NoSuchProcess):
            psutil.Process(pid).wait(END_SECONDS)
    return tuple(names)
