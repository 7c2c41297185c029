"""The line at which a field of a resource stands."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from meshscope.events.resource import Resource
from meshscope.watcher.manifests import CLUSTER_SCOPED, DEFAULT_NAMESPACE
from meshscope.watcher.yaml_text import Document, documents

_ANNOTATION: Final = re.compile(r"(metadata\.annotations)\.(.+)")
_STEP: Final = re.compile(r"([^.\[\]]+)|\[(\d+)\]")


class FieldLines:
    """Lines of fields in files, each of which is parsed when it is first asked for.

    Args:
        files: Content by path, as the resources' `origin` names them.
    """

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self._files = files
        self._documents: dict[str, tuple[Document, ...]] = {}

    def line(self, resource: Resource, field: str) -> int:
        """The line of a field, or of the part of its path that stands there; 0: not known.

        Args:
            resource: Read from one of the files.
            field: Such as `spec.rules[0].from`; empty: the resource itself.
        """
        path, _, index = resource.origin.rpartition("#")
        if not field or path not in self._files or not index.isdigit():
            return resource.line
        document = next((d for d in self._read(path) if d.index == int(index)), None)
        if document is None:
            return resource.line
        found = next((one for one in _resources(document.value) if _is(one, resource)), None)
        return resource.line if found is None else _line(document, found, field, resource.line)

    def _read(self, path: str) -> tuple[Document, ...]:
        if path not in self._documents:
            text = self._files[path].decode("utf-8-sig", errors="replace")
            self._documents[path] = tuple(documents(text))
        return self._documents[path]


def _resources(value: Any) -> Iterator[dict[str, Any]]:
    """The resources of a document, those inside of lists among them."""
    if isinstance(value, dict):
        items = value.get("items")
        if isinstance(items, list) and str(value.get("kind")).endswith("List"):
            for item in items:
                yield from _resources(item)
        else:
            yield value


def _is(value: dict[str, Any], resource: Resource) -> bool:
    metadata = value.get("metadata")
    if not isinstance(metadata, dict) or metadata.get("name") != resource.name:
        return False
    own = metadata.get("namespace") or DEFAULT_NAMESPACE
    scoped = (resource.group, resource.kind) in CLUSTER_SCOPED
    # Items of a typed list need not repeat their kind.
    return value.get("kind", resource.kind) == resource.kind and (
        scoped or own == resource.namespace
    )


def _line(document: Document, value: dict[str, Any], field: str, line: int) -> int:
    at: Any = value
    for step in _steps(field):
        if isinstance(at, dict) and step in at:
            line = document.line_of(at, str(step))
            at = at[step]
        elif isinstance(at, list) and isinstance(step, int) and step < len(at):
            at = at[step]
            if isinstance(at, dict) and at:
                line = document.line_of(at)
        else:
            break
    return line


def _steps(field: str) -> Iterator[str | int]:
    annotation = _ANNOTATION.fullmatch(field)
    if annotation:
        yield from annotation[1].split(".")
        yield annotation[2]
        return
    for name, place in _STEP.findall(field):
        yield name or int(place)
