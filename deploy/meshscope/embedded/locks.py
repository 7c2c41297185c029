"""One process at a time: an advisory lock that the kernel drops when its holder dies, however."""

from __future__ import annotations

import fcntl
import os
import time
from dataclasses import dataclass
from pathlib import Path

LOOK_SECONDS = 0.2


class LockHeld(Exception):
    """Another process holds the lock; the text says which, and what to do."""


@dataclass(frozen=True, slots=True)
class FileLock:
    """A held lock."""

    descriptor: int

    def release(self) -> None:
        """Give the lock back; the file stays, since removing it would race with the next holder."""
        os.close(self.descriptor)


def hold_lock(path: Path, what: str) -> FileLock:
    """Lock a file for this process, and note its pid inside.

    Args:
        path: The lock file, created if absent.
        what: What the lock protects, for the message: "the store in /home/me/store".

    Raises:
        LockHeld: another process holds it.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    until = time.monotonic() + LOOK_SECONDS
    while not _lock(descriptor, fcntl.LOCK_EX):
        # Somebody may only be looking who holds it.
        if time.monotonic() > until:
            holder = _pid(descriptor) or "unknown"
            os.close(descriptor)
            raise LockHeld(
                f"{what} is in use by the process with pid {holder}: stop it (meshscope down), or "
                "set MESHSCOPE_HOME to another directory"
            )
        time.sleep(LOOK_SECONDS / 10)
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return FileLock(descriptor)


def lock_holder(path: Path) -> int | None:
    """The pid of the process that holds a lock; None: nobody does."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        return None if _lock(descriptor, fcntl.LOCK_SH) else _pid(descriptor)
    finally:
        os.close(descriptor)


def _lock(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _pid(descriptor: int) -> int | None:
    text = os.pread(descriptor, 32, 0).decode(errors="replace").strip()
    return int(text) if text.isdecimal() else None
