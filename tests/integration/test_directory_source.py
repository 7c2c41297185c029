"""A directory of manifests, watched on a real file system."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from meshscope.watcher import directory as source
from meshscope.watcher.directory import DirectorySource
from meshscope.watcher.source import Changed, Listed

pytestmark = pytest.mark.integration

DEADLINE = 20.0


def manifest(name: str, host: str = "cart") -> str:
    return (
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\n"
        f"metadata: {{name: {name}, namespace: shop}}\nspec: {{hosts: [{host}]}}\n"
    )


class Watched:
    """The events of a source, one after the other."""

    def __init__(self, directory: Path) -> None:
        self._events = DirectorySource(directory).events()

    async def next(self) -> Listed | Changed:
        return await asyncio.wait_for(anext(self._events), DEADLINE)

    async def changed(self) -> tuple[list[str], list[str]]:
        """Names of what changed and of what is gone."""
        event = await self.next()
        assert isinstance(event, Changed)
        return [r.name for r in event.resources], [name for *_, name in event.deleted]

    async def close(self) -> None:
        await self._events.aclose()  # type: ignore[attr-defined]


Watch = Callable[[Path], Awaitable[Watched]]


@pytest.fixture
async def watch() -> AsyncIterator[Watch]:
    opened: list[Watched] = []

    async def start(directory: Path) -> Watched:
        opened.append(Watched(directory))
        return opened[-1]

    yield start
    for watched in opened:
        await watched.close()


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    path = tmp_path / "mesh"
    path.mkdir()
    (path / "a.yaml").write_text(manifest("a"))
    return path


async def test_the_list_comes_first_then_what_changes(directory: Path, watch: Watch) -> None:
    watched = await watch(directory)
    listed = await watched.next()
    assert isinstance(listed, Listed)
    assert [(r.name, r.origin, r.line) for r in listed.resources] == [("a", "a.yaml#1", 1)]

    (directory / "deep").mkdir()
    (directory / "deep" / "b.yaml").write_text(manifest("b"))
    assert await watched.changed() == (["b"], [])

    (directory / "a.yaml").write_text(manifest("a", "other"))
    assert await watched.changed() == (["a"], [])

    (directory / "a.yaml").unlink()
    assert await watched.changed() == ([], ["a"])


async def test_a_file_is_replaced_by_rename(directory: Path, watch: Watch) -> None:
    watched = await watch(directory)
    await watched.next()
    temporary = directory / ".a.yaml.tmp"
    temporary.write_text(manifest("a", "other"))
    temporary.replace(directory / "a.yaml")
    assert await watched.changed() == (["a"], [])


async def test_the_directory_is_replaced_as_a_whole(directory: Path, watch: Watch) -> None:
    watched = await watch(directory)
    await watched.next()
    for generation in ("b", "c"):
        new = directory.with_name(f"new-{generation}")
        new.mkdir()
        (new / "a.yaml").write_text(manifest("a"))
        (new / f"{generation}.yaml").write_text(manifest(generation))
        directory.rename(directory.with_name(f"old-{generation}"))
        new.rename(directory)
        changed, deleted = await watched.changed()
        assert changed == [generation]
        assert deleted == ([] if generation == "b" else ["b"])
    # The new directory is watched as the old one was.
    (directory / "d.yaml").write_text(manifest("d"))
    assert await watched.changed() == (["d"], [])


async def test_a_link_is_pointed_elsewhere(directory: Path, watch: Watch) -> None:
    link = directory.with_name("current")
    link.symlink_to(directory)
    watched = await watch(link)
    await watched.next()
    other = directory.with_name("other")
    other.mkdir()
    (other / "b.yaml").write_text(manifest("b"))
    temporary = directory.with_name("next")
    temporary.symlink_to(other)
    temporary.replace(link)
    assert await watched.changed() == (["b"], ["a"])


async def test_a_directory_that_vanishes_stands_until_it_is_back(
    directory: Path, watch: Watch, caplog: pytest.LogCaptureFixture
) -> None:
    watched = await watch(directory)
    await watched.next()
    away = directory.with_name("away")
    directory.rename(away)
    pending = asyncio.create_task(watched.changed())
    while "there is no such directory" not in caplog.text:
        await asyncio.sleep(0.01)
    assert not pending.done()
    (away / "b.yaml").write_text(manifest("b"))
    away.rename(directory)
    assert await pending == (["b"], [])


async def test_a_directory_that_is_not_there_yet_is_waited_for(
    tmp_path: Path, watch: Watch, caplog: pytest.LogCaptureFixture
) -> None:
    directory = tmp_path / "later"
    watched = await watch(directory)
    pending = asyncio.create_task(watched.next())
    while "there is no such directory" not in caplog.text:
        await asyncio.sleep(0.01)
    directory.mkdir()
    (directory / "a.yaml").write_text(manifest("a"))
    listed = await pending
    assert isinstance(listed, Listed)
    assert {resource.name for resource in listed.resources} <= {"a"}


async def test_a_broken_document_is_told_and_does_not_stop_the_others(
    directory: Path, watch: Watch, caplog: pytest.LogCaptureFixture
) -> None:
    watched = await watch(directory)
    await watched.next()
    (directory / "b.yaml").write_text("a: [\n---\n" + manifest("b"))
    event = await watched.next()
    assert isinstance(event, Changed)
    assert [resource.name for resource in event.resources] == ["b"]
    assert [str(problem).split(": not")[0] for problem in event.problems] == [
        "b.yaml:1: document 1"
    ]
    assert "b.yaml:1: document 1: not valid YAML" in caplog.text


async def test_touching_a_file_is_no_change(directory: Path, watch: Watch) -> None:
    watched = await watch(directory)
    await watched.next()
    os.utime(directory / "a.yaml")
    (directory / "notes.txt").write_text("x")
    (directory / "b.yaml").write_text(manifest("b"))
    # Had touching counted, the first change would name "a", alone or beside "b".
    assert await watched.changed() == (["b"], [])


async def test_a_file_that_is_replaced_with_its_old_time_and_size_is_read_again(
    directory: Path, watch: Watch
) -> None:
    """As by `rsync --times --inplace`, or a restore from an archive."""
    watched = await watch(directory)
    await watched.next()
    file = directory / "a.yaml"
    times = file.stat().st_atime_ns, file.stat().st_mtime_ns
    file.write_text(manifest("a", "wish"))
    os.utime(file, ns=times)
    assert await watched.changed() == (["a"], [])


@pytest.mark.parametrize("error", [OSError("limit"), RuntimeError("too many files")])
async def test_without_events_of_the_file_system_changes_are_found_by_looking(
    directory: Path,
    watch: Watch,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
) -> None:
    """Watches of the file system are few on some machines."""

    async def refuse(*_: object, **__: object) -> AsyncIterator[None]:
        raise error
        yield

    monkeypatch.setattr(source, "awatch", refuse)
    monkeypatch.setattr(source, "RESCAN_SECONDS", 0.05)
    monkeypatch.setattr(source, "LOOK_SECONDS", 0.01)
    watched = await watch(directory)
    await watched.next()
    (directory / "b.yaml").write_text(manifest("b"))
    assert await watched.changed() == (["b"], [])
    told = [each.getMessage() for each in caplog.records if "cannot be watched" in each.message]
    assert len(told) == 2, "once for the directory and once for its parent"
    assert f"{error}), so changes are found by looking" in told[0]
