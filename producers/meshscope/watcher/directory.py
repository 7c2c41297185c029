"""A directory of YAML as a source of resources."""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from watchfiles import awatch

from meshscope.watcher.files import UnreadableFile
from meshscope.watcher.problem import Problem
from meshscope.watcher.snapshot import DirectoryReader, DirectorySnapshot, Mark
from meshscope.watcher.source import Changed, Listed, identity

log = logging.getLogger(__name__)

RESCAN_SECONDS: Final = 2.0
"""How often the files are looked at without an event: network file systems send none."""

LOOK_SECONDS: Final = 0.3
"""How often it is looked whether the directory is still the one that is watched."""

SETTLE_SECONDS: Final = 0.05
"""How long the files must stay as they are before they are read: editors and checkouts write
several, one after the other."""

LONGEST_SETTLE_SECONDS: Final = 1.0


@dataclass(slots=True)
class DirectorySource:
    """Watches a directory, and says what changed in it.

    Events of the file system only wake it: what changed is found by looking, so that a lost event
    costs time and nothing else. A directory that vanishes is waited for, and what it held stands
    until it is back, because a checkout that replaces it must not look like the end of the mesh.
    """

    directory: Path
    origin: str = "directory"
    _reader: DirectoryReader = field(init=False)
    _wake: asyncio.Event = field(init=False)
    _told: set[Problem] = field(default_factory=set)
    _unwatched: set[Path] = field(default_factory=set)
    _absent: str = ""

    def __post_init__(self) -> None:
        self.directory = self.directory.absolute()
        self._reader = DirectoryReader(self.directory)
        self._wake = asyncio.Event()

    async def events(self) -> AsyncIterator[Listed | Changed]:
        """The list of all files, then what changes."""
        watchers = [
            asyncio.create_task(self._watch(self.directory, recursive=True)),
            # The directory itself may be replaced, which only its parent notices.
            asyncio.create_task(self._watch(self.directory.parent, recursive=False)),
        ]
        before: DirectorySnapshot | None = None
        try:
            while True:
                marks = await self._settled(before.marks if before else None)
                after = await asyncio.to_thread(self._reader.read, marks)
                self._tell(after.problems)
                if before is None:
                    yield Listed(after.resources, after.revision, after.problems)
                elif after.revision != before.revision:
                    yield changes(before, after)
                before = after
        finally:
            for watcher in watchers:
                watcher.cancel()
            await asyncio.gather(*watchers, return_exceptions=True)

    async def _settled(self, known: Mapping[str, Mark] | None) -> Mapping[str, Mark]:
        """The marks of the files, once they differ from `known` and stay the same for a while."""
        while True:
            self._wake.clear()
            marks = await self._look()
            if marks is not None and marks != known:
                deadline = asyncio.get_running_loop().time() + LONGEST_SETTLE_SECONDS
                while asyncio.get_running_loop().time() < deadline:
                    await asyncio.sleep(SETTLE_SECONDS)
                    later = await self._look()
                    if later is None or later == marks:
                        break
                    marks = later
                else:
                    later = marks
                if later is not None and later != known:
                    return later
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), RESCAN_SECONDS)

    async def _look(self) -> Mapping[str, Mark] | None:
        """The marks of the files; None: the directory is not there, or cannot be listed."""
        try:
            marks = await asyncio.to_thread(self._reader.marks)
        except UnreadableFile as error:
            if str(error) != self._absent:
                self._absent = str(error)
                log.warning("%s; it is waited for, and what it held stands until then", error)
            return None
        if self._absent:
            self._absent = ""
            log.info("%s is back", self.directory)
        return marks

    async def _watch(self, directory: Path, *, recursive: bool) -> None:
        """Wake whenever something happens to the files; begin anew when the directory is new."""
        while True:
            try:
                inode = _inode(directory)
                stop = asyncio.Event()
                replaced = asyncio.create_task(self._replaced(directory, inode, stop))
                try:
                    async for _ in awatch(
                        directory,
                        recursive=recursive,
                        stop_event=stop,
                        debounce=100,
                        step=20,
                        watch_filter=None,
                        ignore_permission_denied=True,
                    ):
                        self._wake.set()
                finally:
                    replaced.cancel()
            except (FileNotFoundError, PermissionError) as error:
                log.debug("%s is not watched now: %s", directory, error)
            except (OSError, RuntimeError) as error:
                self._tell_unwatched(directory, error)
            await asyncio.sleep(LOOK_SECONDS)

    def _tell_unwatched(self, directory: Path, error: Exception) -> None:
        if directory not in self._unwatched:
            self._unwatched.add(directory)
            log.warning(
                "%s cannot be watched (%s), so changes are found by looking every %g s; raise "
                "fs.inotify.max_user_watches and max_user_instances of this machine",
                directory,
                error,
                RESCAN_SECONDS,
            )

    async def _replaced(self, directory: Path, inode: int, stop: asyncio.Event) -> None:
        """Set `stop` when the path leads to another directory than the one that is watched."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                if _inode(directory) == inode:
                    continue
            except OSError:
                log.debug("%s is not there now", directory)
            self._wake.set()
            stop.set()
            return

    def _tell(self, problems: tuple[Problem, ...]) -> None:
        """Log each problem once, as long as it lasts."""
        for problem in problems:
            if problem not in self._told:
                level = logging.ERROR if problem.severity == "error" else logging.WARNING
                log.log(level, "%s", problem)
        self._told = set(problems)


def changes(before: DirectorySnapshot, after: DirectorySnapshot) -> Changed:
    """What differs between two snapshots."""
    old = {identity(resource): resource for resource in before.resources}
    new = {identity(resource): resource for resource in after.resources}
    return Changed(
        resources=tuple(resource for key, resource in new.items() if old.get(key) != resource),
        deleted=tuple(key for key in old if key not in new),
        revision=after.revision,
        problems=after.problems,
    )


def _inode(path: Path) -> int:
    return path.stat().st_ino
