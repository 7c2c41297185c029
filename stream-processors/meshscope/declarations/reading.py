"""Fields of manifests, which may be of any type before Kubernetes has seen them."""

from collections.abc import Iterator, Mapping
from typing import Any

Json = Mapping[str, Any]


def mapping(holder: Any, *path: str) -> Json:
    """The mapping under a path of keys; empty where there is none."""
    found = holder
    for name in path:
        found = found.get(name) if isinstance(found, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def mappings(holder: Any, name: str) -> Iterator[tuple[int, Json]]:
    """The mappings of a list, with their places in it."""
    found = holder.get(name) if isinstance(holder, Mapping) else None
    for place, item in enumerate(found if isinstance(found, list | tuple) else ()):
        if isinstance(item, Mapping):
            yield place, item


def texts(holder: Any, name: str) -> tuple[str, ...]:
    """The strings of a list."""
    found = holder.get(name) if isinstance(holder, Mapping) else None
    return tuple(
        str(item) for item in (found if isinstance(found, list | tuple) else ()) if item is not None
    )


def text(holder: Any, name: str) -> str:
    """A string; empty where there is none."""
    found = holder.get(name) if isinstance(holder, Mapping) else None
    return found if isinstance(found, str) else ""


def number(holder: Any, name: str) -> int:
    """A whole number; 0 where there is none."""
    found = holder.get(name) if isinstance(holder, Mapping) else None
    return found if isinstance(found, int) and not isinstance(found, bool) else 0


def labels(holder: Any, *path: str) -> Mapping[str, str]:
    """Labels under a path of keys, as text."""
    return {str(name): str(value) for name, value in mapping(holder, *path).items()}
