"""Kind `extension`: what the vocabulary does not model."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from meshscope.policy.canonical import canonical_json, digest_bytes

SHOWN_PATHS: Final = 20
"""Leaf paths that an extension keeps for its readers."""


@dataclass(frozen=True, slots=True)
class Extension:
    """An opaque part of the configuration.

    Attributes:
        digest: Hash of its canonical JSON.
        type: Envoy's type URL or message name, for readers.
        paths: Leaf paths that it covers, for readers; at most `SHOWN_PATHS`.
    """

    digest: str
    type: str = ""
    paths: tuple[str, ...] = ()

    def without_names(self) -> "Extension":
        """Itself: what is unknown may matter."""
        return self


def opaque(contents: Iterable[str], kind: str, paths: Iterable[str]) -> Extension:
    """The extension of everything that belongs together, in whatever order it was found.

    Args:
        contents: Canonical JSON of each part, as `opaque_part` writes it; what occurs twice counts
            twice.
        kind: Envoy's message name.
        paths: Its leaf paths.
    """
    digest = digest_bytes("extension", "\n".join(sorted(contents)).encode())
    return Extension(digest, kind, tuple(sorted(set(paths))[:SHOWN_PATHS]))


def opaque_part(path: str, value: object) -> str:
    """Canonical JSON of a part that stands at a path and has a value, as Envoy prints it."""
    return canonical_json([path, value])


def leaf_paths(value: object, path: str) -> Iterator[str]:
    """Paths of the leaves of parsed JSON, without indices of lists."""
    inner: Any = value
    if isinstance(value, dict) and value:
        for name, item in inner.items():
            yield from leaf_paths(item, f"{path}.{name}" if path else name)
    elif isinstance(value, list) and value:
        for item in inner:
            yield from leaf_paths(item, path)
    else:
        yield path
