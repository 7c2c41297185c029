"""What a process prints: cut into lines, kept in a file of bounded size."""

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, Final

LOG_BYTES: Final = 5 * 1024 * 1024
LONGEST_LINE: Final = 256 * 1024
READ_BYTES: Final = 64 * 1024
FOLLOW_SECONDS: Final = 0.2


class Lines:
    """Cuts a stream of bytes into lines, whatever pieces it arrives in.

    A line that is longer than `longest` comes in several, so that memory stays bounded.
    """

    def __init__(self, longest: int = LONGEST_LINE) -> None:
        self._longest = longest
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The lines that are complete now, without their ends."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            yield from self._pieces(line)
        while len(self._rest) > self._longest:
            yield self._rest[: self._longest]
            self._rest = self._rest[self._longest :]

    def end(self) -> Iterator[bytes]:
        """What stands after the last line end, if anything."""
        if self._rest:
            yield self._rest
            self._rest = b""

    def _pieces(self, line: bytes) -> Iterator[bytes]:
        yield line[: self._longest]
        for start in range(self._longest, len(line), self._longest):
            yield line[start : start + self._longest]


class RotatingLog:
    """A log file and one older one beside it (`<name>.1`), each of at most about `limit` bytes."""

    def __init__(self, path: Path, limit: int = LOG_BYTES) -> None:
        self._path = path
        self._limit = limit
        self._file = path.open("ab")

    def write(self, line: bytes) -> None:
        """Add a line; whoever reads the file sees it at once."""
        if self._file.tell() + len(line) >= self._limit and self._file.tell() > 0:
            self._file.close()
            self._path.replace(older(self._path))
            self._file = self._path.open("ab")
        self._file.write(line + b"\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def older(path: Path) -> Path:
    """Where a log's earlier part is."""
    return path.with_name(f"{path.name}.1")


def tail(path: Path, lines: int) -> list[str]:
    """The last lines of a log, from the older file too; none where nothing was printed."""
    found: list[str] = []
    for file in (older(path), path):
        if file.exists():
            found += file.read_text(errors="replace").splitlines()
    return found[max(0, len(found) - lines) :]


def followed(path: Path, stopped: Callable[[], bool] = lambda: False) -> Iterator[str]:
    """Lines that are added to a log from now on, also after it was rotated."""
    lines = Lines()
    log = path.open("rb")
    try:
        log.seek(0, os.SEEK_END)
        while not stopped():
            while data := log.read(READ_BYTES):
                yield from (line.decode(errors="replace") for line in lines.feed(data))
            if _was_rotated(path, log):
                # What was added to the old file before it was rotated comes first.
                yield from (each.decode(errors="replace") for each in lines.feed(log.read()))
                log.close()
                log = path.open("rb")
            else:
                time.sleep(FOLLOW_SECONDS)
    finally:
        log.close()


def _was_rotated(path: Path, log: BinaryIO) -> bool:
    try:
        return not os.path.samestat(path.stat(), os.fstat(log.fileno()))
    except FileNotFoundError:  # it is being rotated
        return False
