"""What a directory of manifests holds at one time, read anew only where it changed."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from meshscope.events.resource import Resource
from meshscope.policy.canonical import digest_bytes
from meshscope.watcher.files import UnreadableFile, find_files, read_bytes
from meshscope.watcher.manifests import Manifests, read_file, without_duplicates
from meshscope.watcher.problem import Problem, ProblemCode

Mark = tuple[int, int, int, int]
"""Device, inode, time of the last change and size of a file: it changes with the file.

The time is that of the inode (ctime). That of the content (mtime) is set back by programs that copy
files with their times, and says nothing of a file that can be read since its mode was changed."""


@dataclass(frozen=True, slots=True)
class DirectorySnapshot:
    """The content of a directory.

    Attributes:
        marks: Signs of change of each file.
        resources, problems: As in `Manifests`.
        revision: Digest of the content of all files.
    """

    marks: Mapping[str, Mark]
    resources: tuple[Resource, ...]
    problems: tuple[Problem, ...]
    revision: str


@dataclass(slots=True)
class _File:
    mark: Mark
    digest: str
    manifests: Manifests


@dataclass(slots=True)
class DirectoryReader:
    """Reads a directory, and remembers what it parsed.

    Places of resources are given relative to the directory, so that they do not depend on where a
    checkout lies.
    """

    directory: Path
    _files: dict[str, _File] = field(default_factory=dict)

    def marks(self) -> Mapping[str, Mark]:
        """The signs of change of every file, cheap to get.

        Raises:
            UnreadableFile: The directory is not there, or cannot be listed.
        """
        marks: dict[str, Mark] = {}
        for path in self._paths():
            try:
                status = path.stat()
            except FileNotFoundError:
                # Replaced or deleted since the directory was listed.
                continue
            except OSError as error:
                raise UnreadableFile(str(path), str(error)) from error
            name = path.relative_to(self.directory).as_posix()
            marks[name] = (status.st_dev, status.st_ino, status.st_ctime_ns, status.st_size)
        return marks

    def read(self, marks: Mapping[str, Mark]) -> DirectorySnapshot:
        """Parse the files that changed; a file that cannot be read is a problem of the snapshot."""
        files: dict[str, _File] = {}
        for name, mark in marks.items():
            known = self._files.get(name)
            files[name] = known if known and known.mark == mark else self._parse(name, mark)
        self._files = files
        resources, duplicates = without_duplicates(
            resource for file in files.values() for resource in file.manifests.resources
        )
        problems = [problem for file in files.values() for problem in file.manifests.problems]
        contents = "\n".join(f"{name} {file.digest}" for name, file in files.items())
        return DirectorySnapshot(
            marks, resources, (*problems, *duplicates), digest_bytes("files", contents.encode())
        )

    def _parse(self, name: str, mark: Mark) -> _File:
        try:
            data = read_bytes(self.directory / name)
        except UnreadableFile as error:
            problem = Problem(name, 0, error.reason, "error", ProblemCode.UNREADABLE)
            return _File(mark, f"unreadable: {error.reason}", Manifests(problems=(problem,)))
        return _File(mark, digest_bytes("file", data), read_file(name, data))

    def _paths(self) -> tuple[Path, ...]:
        if not self.directory.is_dir():
            raise UnreadableFile(os.fspath(self.directory), "there is no such directory")
        return find_files(self.directory)
