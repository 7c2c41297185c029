"""Files of any sort, told apart by what they hold: resources, config dumps, bug reports."""

import io
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

import msgspec

from meshscope.cli.bug_report import BugReport, is_bug_report, read_bug_report
from meshscope.cli.given import Inputs
from meshscope.cli.inputs import MAX_DUMP_BYTES, STDIN, STDIN_NAME, read_stdin
from meshscope.cli.report import Finding, unreadable
from meshscope.watcher.files import UnreadableFile, find_files, read_bytes, unpack


class _Top(msgspec.Struct):
    """What tells a resource in JSON from a config dump; the rest is not looked at."""

    apiVersion: msgspec.Raw | None = None
    configs: msgspec.Raw | None = None


@dataclass(slots=True)
class _Sorted:
    """What was found, in order."""

    manifests: list[tuple[str, bytes]] = field(default_factory=list)
    dumps: list[tuple[str, Path | bytes]] = field(default_factory=list)
    reports: list[BugReport] = field(default_factory=list)
    lost: list[Finding] = field(default_factory=list)

    def file(self, name: str, data: bytes, again: Path | None = None) -> None:
        """Put a file where it belongs; of dumps only where to read them again is kept."""
        if is_dump(data):
            self.dumps.append((name, again or data))
        else:
            self.manifests.append((name, data))

    def read_dumps(self) -> Iterator[tuple[str, bytes | Finding]]:
        """The dumps, one in memory at a time."""
        for name, place in self.dumps:
            try:
                yield name, read_bytes(place, MAX_DUMP_BYTES) if isinstance(place, Path) else place
            except UnreadableFile as error:
                yield name, unreadable(error.path, error.reason)


def sort_inputs(paths: tuple[str, ...]) -> Inputs:
    """Everything that files, directories, archives and standard input (`-`) hold.

    Later resources win over earlier ones, and those of files over those of bug reports.
    """
    found = _Sorted()
    for path in paths:
        try:
            _sort(path, found)
        except UnreadableFile as error:
            found.lost.append(unreadable(error.path, error.reason))
    alone = all(report.is_of_proxies_alone for report in found.reports)
    lost = [] if found.manifests and alone else [one for r in found.reports for one in r.lost]
    return Inputs(
        tuple(found.manifests),
        chain(found.read_dumps(), *(report.dumps for report in found.reports)),
        unreadable=(*found.lost, *lost),
        cluster=tuple(one for report in found.reports for one in report.manifests),
        lacks="the bug report lacks resources" if lost else "",
    )


def _sort(path: str, found: _Sorted) -> None:
    if path == STDIN:
        data = read_stdin()
        if tarfile.is_tarfile(io.BytesIO(data)):
            found.reports.append(read_bug_report(path, data))
        else:
            found.file(STDIN_NAME, unpack(STDIN_NAME, data, MAX_DUMP_BYTES))
        return
    place = Path(path)
    if place.is_dir() and is_bug_report(place):
        found.reports.append(read_bug_report(path))
        return
    files = find_files(place)
    if not files:
        found.lost.append(unreadable(path, "this directory holds no YAML or JSON"))
    for file in files:
        if tarfile.is_tarfile(file):
            found.reports.append(read_bug_report(str(file)))
        else:
            found.file(str(file), read_bytes(file, MAX_DUMP_BYTES), file)


def is_dump(data: bytes) -> bool:
    """Whether these are the bytes of a config dump, however damaged, and not of resources."""
    if data.lstrip()[:1] != b"{":
        return False
    try:
        top = msgspec.json.decode(data, type=_Top)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return b'"configs"' in data[:200]
    return top.apiVersion is None or top.configs is not None
