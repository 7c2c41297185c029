"""What must hold before a sandbox starts: the machine is free, the directory is ours.

The recording fixes every address, so one network namespace holds one sandbox at a time.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import signal
import socket
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from meshscope.sandbox.errors import CannotStart
from meshscope.sandbox.model import Address
from meshscope.sandbox.paths import SandboxPaths

LOCK_NAME = "\0meshscope-sandbox"
"""An abstract socket: one holder per network namespace, let go by the kernel when it dies."""


class MachineLock:
    """Held by the one sandbox of this network namespace, whatever its directory.

    The holder's pid and directory are not asked for: the addresses in use tell who it is.
    """

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._socket.bind(LOCK_NAME)
        except OSError as error:
            self._socket.close()
            if error.errno != errno.EADDRINUSE:
                raise
            raise CannotStart(
                "another sandbox runs on this machine, and its addresses are fixed: stop it first"
            ) from error

    def release(self) -> None:
        self._socket.close()


def check_platform(platform: str = sys.platform) -> None:
    """Raises `CannotStart` where the whole of 127.0.0.0/8 is not loopback."""
    if not platform.startswith("linux"):
        raise CannotStart(
            f"the sandbox needs Linux, this is {platform}: it uses addresses in 127.0.0.0/8 that"
            " only Linux has without configuration"
        )


def check_addresses(addresses: Iterable[Address]) -> None:
    """Raises `CannotStart` if something already listens at one of the addresses."""
    taken = [address for address in addresses if _is_taken(address)]
    if not taken:
        return
    holders = sorted({pid for address in taken if (pid := listening_process(address))})
    message = f"{taken[0]} is already in use" + (
        f" (and {len(taken) - 1} more of the sandbox's addresses)" if len(taken) > 1 else ""
    )
    if not holders:
        raise CannotStart(
            f"{message} by a process of another user: end it, or ask them to (as root,"
            f" 'ss -ltnp' names it)"
        )
    described = ", ".join(f"{pid} ({command_name(pid)})" for pid in holders)
    raise CannotStart(
        f"{message} by process {described}. If that was left behind by a sandbox that was killed,"
        f" end it with: kill {' '.join(map(str, holders))}"
    )


def _is_taken(address: Address) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # Without SO_REUSEPORT, so that an Envoy (which sets it) is noticed too.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address.host, address.port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return True
            raise CannotStart(f"cannot listen at {address}: {error.strerror}") from error
        return False


def listening_process(address: Address, proc: Path = Path("/proc")) -> int | None:
    """The process that listens at an address, as far as this user may see."""
    try:
        inodes = set(listening_inodes((proc / "net/tcp").read_text("ascii"), address))
    except OSError:
        return None
    if not inodes:
        return None
    targets = {f"socket:[{inode}]" for inode in inodes}
    for process in proc.iterdir():
        if process.name.isdigit():
            # Processes end, and those of others are closed to us.
            with contextlib.suppress(OSError):
                for descriptor in (process / "fd").iterdir():
                    with contextlib.suppress(OSError):
                        if os.readlink(descriptor) in targets:
                            return int(process.name)
    return None


def listening_inodes(table: str, address: Address) -> Iterator[str]:
    """Socket inodes of the listeners at an address in the text of `/proc/net/tcp`."""
    raw = int.from_bytes(socket.inet_aton(address.host), sys.byteorder)
    wanted = f"{raw:08X}:{address.port:04X}"
    for line in table.splitlines()[1:]:
        fields = line.split()
        if fields[1] == wanted and fields[3] == "0A":
            yield fields[9]


def command_name(pid: int) -> str:
    """The command line of a process, or `?`."""
    with contextlib.suppress(OSError):
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        return words[0].decode(errors="replace") or "?"
    return "?"


def prepare_directory(paths: SandboxPaths) -> None:
    """Makes an empty, private sandbox directory; clears up after a run that was killed.

    Call it with the machine's lock held.

    Raises:
        CannotStart: the directory is something else's, or cannot be written.
    """
    directory = paths.directory
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if any(directory.iterdir()) and not paths.marker.is_file():
            raise CannotStart(
                f"{directory} is not empty and not a sandbox's: give an empty directory with --dir"
            )
        directory.chmod(0o700)
        end_forgotten(paths)
        shutil.rmtree(paths.proxies, ignore_errors=True)
        paths.control_socket.unlink(missing_ok=True)
        paths.marker.write_text(json.dumps({"pid": os.getpid()}) + "\n", "utf-8")
        paths.proxies.mkdir(mode=0o700)
    except OSError as error:
        raise CannotStart(f"cannot use {directory}: {error}") from error


def end_forgotten(paths: SandboxPaths, deadline: float = 5.0) -> list[int]:
    """Kills the Envoys that an earlier sandbox left in this directory; their pids.

    A recorded pid is believed only if that process works in the Envoy's directory: numbers are
    used again.
    """
    forgotten = []
    for file in paths.proxies.glob("*/envoy.pid"):
        with contextlib.suppress(OSError, ValueError):
            pid = int(file.read_text("ascii"))
            if Path(os.readlink(f"/proc/{pid}/cwd")).samefile(file.parent):
                os.kill(pid, signal.SIGKILL)
                forgotten.append(pid)
    end = time.monotonic() + deadline
    while any(_runs(pid) for pid in forgotten) and time.monotonic() < end:
        time.sleep(0.02)
    return forgotten


def _runs(pid: int) -> bool:
    """Whether a process exists and is not a zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text("ascii", errors="replace")
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"
