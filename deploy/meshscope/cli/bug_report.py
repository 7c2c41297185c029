"""Archives of `istioctl bug-report`.

Layout (istio/istio, `tools/bug-report`): `[bug-report/]cluster/k8s-resources`,
`cluster/k8s-cluster-resources`, `cluster/crs`, … hold what `kubectl get -o yaml` prints;
`proxies/NAMESPACE/POD/config_dump?include_eds` is the configuration of a sidecar, gateway or
waypoint, `config_dump` that of a ztunnel.
"""

import io
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final, Protocol

from meshscope.cli.codes import NO_DUMP
from meshscope.cli.inputs import MAX_DUMP_BYTES, STDIN, STDIN_NAME, read_stdin
from meshscope.cli.report import Finding, unreadable
from meshscope.watcher.manifests import MAX_FILE_BYTES

_RESOURCES: Final = ("nodes", "pods", "k8s-cluster-resources", "k8s-resources", "crs")
"""Files of `cluster/` with resources; what stands in several of them is the same."""
_DEMANDED: Final = ("k8s-resources", "crs")
_DUMPS: Final = ("config_dump?include_eds", "config_dump")


class _Tree(Protocol):
    """The files of a bug report, by path."""

    name: str

    def paths(self) -> Iterable[str]:
        """Paths of all files."""

    def read(self, path: str, limit: int) -> bytes:
        """The content of a file, at most one byte more than the limit."""


@dataclass(frozen=True, slots=True)
class BugReport:
    """What a bug report holds.

    Attributes:
        manifests: Files of resources.
        count: Number of proxies.
        dumps: Config dumps, read one by one; findings for those that the report lacks.
        lost: What it lacks besides.
    """

    manifests: tuple[tuple[str, bytes], ...]
    count: int
    dumps: Iterator[tuple[str, bytes | Finding]]
    lost: tuple[Finding, ...]

    @property
    def is_of_proxies_alone(self) -> bool:
        """Whether it was made without resources (`--skip-cluster-dump`)."""
        return self.count > 0 and not self.manifests


def read_bug_report(path: str, data: bytes | None = None) -> BugReport:
    """Read an archive, an unpacked directory, or an archive from standard input (`-`).

    `data` is what stands there, where somebody has read it already.
    """
    name = STDIN_NAME if path == STDIN else path
    try:
        return _read(_tree(path, data))
    except tarfile.ReadError:
        return _nothing(name, "this is no tar archive, or its beginning is damaged")
    except (OSError, EOFError, tarfile.TarError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        return _nothing(name, f"the archive cannot be read: {reason.lower()}")


def is_bug_report(directory: Path) -> bool:
    """Whether an archive was unpacked here."""
    tops = (directory, *(one for one in directory.iterdir() if one.is_dir()))
    return any((top / "cluster").is_dir() or (top / "proxies").is_dir() for top in tops)


def _tree(path: str, data: bytes | None) -> _Tree:
    if path == STDIN:
        archive = io.BytesIO(read_stdin() if data is None else data)
        return _Archive(STDIN_NAME, tarfile.open(fileobj=archive))
    if Path(path).is_dir():
        return _Directory(path)
    return _Archive(path, tarfile.open(path))


def _nothing(name: str, reason: str) -> BugReport:
    return BugReport((), 0, iter(()), (unreadable(name, reason),))


def _read(tree: _Tree) -> BugReport:
    """Sort the files: the whole archive is listed, and a truncated one noticed, before any use."""
    cluster: dict[str, str] = {}
    dumps: dict[tuple[str, str], str] = {}
    pods: set[tuple[str, str]] = set()
    for path in sorted(tree.paths()):
        parts = PurePosixPath(path).parts
        if parts[-2:-1] == ("cluster",) and parts[-1] in _RESOURCES:
            cluster[parts[-1]] = path
        elif parts[-4:-3] == ("proxies",):
            pods.add(pod := (parts[-3], parts[-2]))
            if parts[-1] in _DUMPS:
                dumps[pod] = path
    if not cluster and not pods:
        return _nothing(tree.name, "nothing in it looks like the output of `istioctl bug-report`")
    lost = [
        unreadable(f"{tree.name}:cluster/{name}", "the bug report lacks these resources")
        for name in _DEMANDED
        if name not in cluster
    ]
    manifests = []
    for name in _RESOURCES:
        if name in cluster:
            manifests.append((f"{tree.name}:{cluster[name]}", tree.read(cluster[name], _LIMIT)))
    return BugReport(tuple(manifests), len(pods), _dumps(tree, pods, dumps), tuple(lost))


_LIMIT: Final = MAX_FILE_BYTES + 1


def _dumps(
    tree: _Tree, pods: Iterable[tuple[str, str]], dumps: dict[tuple[str, str], str]
) -> Iterator[tuple[str, bytes | Finding]]:
    for namespace, pod in sorted(pods):
        path = dumps.get((namespace, pod))
        if path is None:
            place, proxy = f"{tree.name}:proxies/{namespace}/{pod}", f"{pod}.{namespace}"
            reason = "the bug report holds no configuration dump of this proxy"
            lost = Finding(NO_DUMP, "error", reason, file=place, proxy=proxy, loses_input=True)
            yield place, lost
            continue
        place = f"{tree.name}:{path}"
        try:
            data = tree.read(path, MAX_DUMP_BYTES + 1)
        except (OSError, EOFError, tarfile.TarError) as error:
            yield place, unreadable(place, str(error).lower())
            continue
        yield place, data


class _Archive:
    """A tar archive, compressed or not. Nothing is unpacked to disk."""

    def __init__(self, name: str, archive: tarfile.TarFile) -> None:
        self.name = name
        self._archive = archive
        self._members = {m.name: m for m in archive.getmembers() if m.isfile()}

    def paths(self) -> Iterable[str]:
        return self._members

    def read(self, path: str, limit: int) -> bytes:
        file = self._archive.extractfile(self._members[path])
        return b"" if file is None else file.read(limit)


class _Directory:
    """An archive that was unpacked."""

    def __init__(self, path: str) -> None:
        self.name = path
        self._top = Path(path)

    def paths(self) -> Iterable[str]:
        files = (path for path in self._top.rglob("*") if path.is_file())
        return [path.relative_to(self._top).as_posix() for path in files]

    def read(self, path: str, limit: int) -> bytes:
        with (self._top / path).open("rb") as file:
            return file.read(limit)
