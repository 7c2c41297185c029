"""What `meshscope check` reads: files, directories, archives and standard input."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from meshscope.cli.report import Finding, unreadable
from meshscope.watcher.files import SUFFIXES, UnreadableFile, find_files, read_bytes, unpack
from meshscope.watcher.manifests import MAX_FILE_BYTES

STDIN: Final = "-"
STDIN_NAME: Final = "standard input"
DUMP_SUFFIXES: Final = (".json", ".json.gz")
MAX_DUMP_BYTES: Final = 1 << 30

_TAR_MAGIC: Final = slice(257, 262)


def manifests(paths: tuple[str, ...], lost: list[Finding]) -> Iterator[tuple[str, bytes]]:
    """Files of resources; those that cannot be read are added to `lost`."""
    for path in paths:
        for name, data in _read(path, SUFFIXES, MAX_FILE_BYTES, lost):
            if isinstance(data, Finding):
                lost.append(data)
            else:
                yield name, data


def dumps(
    paths: tuple[str, ...], lost: list[Finding]
) -> tuple[int, Iterator[tuple[str, bytes | Finding]]]:
    """How many config dumps there are, and each of them; one is in memory at a time.

    What holds no dump at all is added to `lost`.
    """
    found = [(path, _files(path, DUMP_SUFFIXES, lost)) for path in paths]
    count = sum(len(files) for _, files in found)
    return count, (_file(file, MAX_DUMP_BYTES) for _, files in found for file in files)


def _read(
    path: str, suffixes: tuple[str, ...], limit: int, lost: list[Finding]
) -> Iterator[tuple[str, bytes | Finding]]:
    for file in _files(path, suffixes, lost):
        yield _file(file, limit)


def _files(path: str, suffixes: tuple[str, ...], lost: list[Finding]) -> tuple[Path | None, ...]:
    """A file, or all files of a directory; None: standard input."""
    if path == STDIN:
        return (None,)
    try:
        found = find_files(Path(path), suffixes)
    except UnreadableFile as error:
        lost.append(unreadable(error.path, error.reason))
        return ()
    if not found:
        reason = f"this directory holds no file whose name ends in {', '.join(suffixes)}"
        lost.append(unreadable(path, reason))
    return found


def _file(file: Path | None, limit: int) -> tuple[str, bytes | Finding]:
    try:
        data = unpack(STDIN_NAME, read_stdin(), limit) if file is None else read_bytes(file, limit)
    except UnreadableFile as error:
        return error.path, unreadable(error.path, error.reason)
    name = STDIN_NAME if file is None else str(file)
    if data[_TAR_MAGIC] == b"ustar":
        reason = "this is an archive; give one of `istioctl bug-report` with --bug-report"
        return name, unreadable(name, f"{reason}, or unpack it")
    return name, data


def read_stdin() -> bytes:
    """Everything that is piped in."""
    return sys.stdin.buffer.read()
