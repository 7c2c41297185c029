"""What could not be explained, as `extension` policies."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from meshscope.inference.reader import Reading, leaves
from meshscope.inference.result import Coverage
from meshscope.policy import key
from meshscope.policy.canonical import canonical_json
from meshscope.policy.extension import leaf_paths, opaque, opaque_part
from meshscope.policy.policy import Policy


@dataclass(slots=True)
class _Unexplained:
    """What is left at one place under one name.

    Attributes:
        contents: Canonical JSON of every part of it.
        paths: Leaf paths, without indices of lists.
        type: Envoy's message name, where there is one.
    """

    contents: list[str] = field(default_factory=list)
    paths: set[str] = field(default_factory=set)
    type: str = ""


@dataclass(slots=True)
class Leftovers:
    """Collects what the readings of a dump left.

    Attributes:
        unexplained_at: Number of unexplained leaves per path.
        ignored: Number of ignored leaves per entry of the table.
        texts: Texts among the unexplained leaves, which may name clusters.
    """

    unexplained_at: dict[str, int] = field(default_factory=dict)
    ignored: dict[str, int] = field(default_factory=dict)
    texts: set[str] = field(default_factory=set)
    _found: dict[tuple[str, str], _Unexplained] = field(default_factory=dict)

    def add(self, reading: Reading) -> None:
        """Add what a finished reading left."""
        for left in reading.left():
            message = left.message
            for name, value in left.ignored.items():
                entry = f"{message.kind}.{name}"
                self.ignored[entry] = self.ignored.get(entry, 0) + leaves(value)
            if left.fields:
                place, label = message.where()
                path = message.path()
                self._unexplained(place, label or path, left.fields, path, message.kind)
        for place, name, text in reading.remarks:
            self._at(place, name).contents.append(canonical_json([name, text]))

    def join(self, other: "Leftovers") -> None:
        """Add what others have, which stay as they are."""
        for entry, count in other.ignored.items():
            self.ignored[entry] = self.ignored.get(entry, 0) + count
        for path, count in other.unexplained_at.items():
            self.unexplained_at[path] = self.unexplained_at.get(path, 0) + count
        self.texts |= other.texts
        for (place, name), part in other._found.items():
            found = self._at(place, name)
            found.type = found.type or part.type
            found.contents += part.contents
            found.paths |= part.paths

    def whole(self, place: str, name: str, value: Any, reason: str) -> None:
        """Add a part of the dump that could not be read at all."""
        self._unexplained(place, name, value, place, reason)

    def disagreement(self, place: str, what: str, variants: Iterable[str]) -> None:
        """Add what things that belong to one policy do not agree on."""
        contents = self._at(place, f"different {what}").contents
        contents.extend(text for text in variants if text not in contents)

    def _unexplained(self, place: str, name: str, value: Any, path: str, kind: str) -> None:
        found = self._at(place, name)
        found.type = found.type or kind
        found.contents.append(opaque_part(path, value))
        self.texts.update(_texts(value))
        for leaf in leaf_paths(value, path):
            self.unexplained_at[leaf] = self.unexplained_at.get(leaf, 0) + 1
            found.paths.add(leaf)

    def _at(self, place: str, name: str) -> _Unexplained:
        return self._found.setdefault((place, name), _Unexplained())

    def coverage(self, total: int) -> Coverage:
        """How much is explained of a dump with a total number of leaves."""
        ignored = sum(self.ignored.values())
        unexplained = sum(self.unexplained_at.values())
        return Coverage(
            total - ignored - unexplained,
            ignored,
            unexplained,
            dict(sorted(self.ignored.items())),
            dict(sorted(self.unexplained_at.items())),
        )

    def policies(self) -> list[Policy]:
        """One policy per place and name."""
        return [
            Policy(key.extension(place, name), opaque(found.contents, found.type, found.paths))
            for (place, name), found in self._found.items()
        ]


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
