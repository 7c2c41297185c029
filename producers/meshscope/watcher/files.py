"""Files of manifests on disk."""

import gzip
import io
import os
import zlib
from collections.abc import Iterator
from pathlib import Path

from meshscope.watcher.manifests import MAX_FILE_BYTES

SUFFIXES = (".yaml", ".yml", ".json", ".yaml.gz", ".yml.gz", ".json.gz")
"""Names of the files that count in a directory; a file that is named itself may be called anything.
"""

_GZIP_MAGIC = b"\x1f\x8b"


class UnreadableFile(Exception):
    """A file or directory cannot be read.

    Attributes:
        path: Which.
        reason: Why, and what to do.
    """

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason


def find_files(path: Path, suffixes: tuple[str, ...] = SUFFIXES) -> tuple[Path, ...]:
    """A file itself, or all files below a directory, sorted, hidden ones left out.

    Links are followed; a directory that was seen already is not walked again.

    Raises:
        UnreadableFile: There is no such path, or a directory cannot be listed.
    """
    if not path.is_dir():
        if not path.exists():
            raise UnreadableFile(str(path), "there is no such file or directory")
        return (path,)
    return tuple(sorted(_walk(path, suffixes)))


def _walk(top: Path, suffixes: tuple[str, ...]) -> Iterator[Path]:
    def refuse(error: OSError) -> None:
        raise UnreadableFile(str(error.filename), _reason(error)) from error

    seen: set[str] = set()
    for directory, names, files in os.walk(top, followlinks=True, onerror=refuse):
        here = os.path.realpath(directory)
        if here in seen:
            names.clear()
            continue
        seen.add(here)
        names[:] = [name for name in names if not name.startswith(".")]
        for name in files:
            if not name.startswith(".") and name.lower().endswith(suffixes):
                yield Path(directory, name)


def read_bytes(path: Path, limit: int = MAX_FILE_BYTES) -> bytes:
    """The content of a file, unpacked if it is gzip.

    Raises:
        UnreadableFile: It cannot be read, is damaged, or has more than `limit` bytes.
    """
    try:
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except OSError as error:
        raise UnreadableFile(str(path), _reason(error)) from error
    return unpack(str(path), data, limit)


def unpack(path: str, data: bytes, limit: int = MAX_FILE_BYTES) -> bytes:
    """Bytes as they are, or unpacked if they are gzip.

    Raises:
        UnreadableFile: They are damaged, or more than `limit` bytes.
    """
    if data.startswith(_GZIP_MAGIC) and len(data) <= limit:
        try:
            with gzip.GzipFile(fileobj=io.BytesIO(data)) as packed:
                data = packed.read(limit + 1)
        except (OSError, EOFError, zlib.error) as error:
            raise UnreadableFile(path, f"damaged gzip: {error}") from error
    if len(data) > limit:
        raise UnreadableFile(path, f"larger than {limit // (1024 * 1024)} MiB: split it")
    return data


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
