"""The directory of declared resources, as a GitOps checkout would look."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

TEMPORARY_SUFFIX = ".tmp"


def publish(directory: Path, files: Mapping[str, str]) -> None:
    """Makes the directory hold exactly these files (name → text).

    Each file is replaced atomically and only if its text differs; files that are no longer declared
    go last. The directory itself stays, so that those who watch it keep watching. A reader sees
    either text of a file, never a part of one; a name that ends in `.tmp` is never read.
    """
    directory.mkdir(mode=0o700, exist_ok=True)
    for name, text in sorted(files.items()):
        target = directory / name
        if target.is_file() and target.read_text("utf-8") == text:
            continue
        temporary = directory / f".{name}{TEMPORARY_SUFFIX}"
        temporary.write_text(text, "utf-8")
        os.replace(temporary, target)
    for path in directory.iterdir():
        if path.name not in files:
            path.unlink()
