"""One process at a time: an advisory lock that the kernel drops when its holder dies, however."""

from __future__ import annotations

import fcntl
import os
from dataclasses import dataclass
from pathlib import Path


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
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = os.read(descriptor, 32).decode(errors="replace").strip() or "unknown"
        os.close(descriptor)
        raise LockHeld(
            f"{what} is in use by the process with pid {holder}: stop it (meshscope down), or set "
            "MESHSCOPE_HOME to another directory"
        ) from error
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return FileLock(descriptor)
