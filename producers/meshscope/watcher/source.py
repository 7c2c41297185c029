"""Where declared resources come from: one interface for files and for the Kubernetes API."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol

from meshscope.events.resource import Resource
from meshscope.watcher.problem import Problem

Identity = tuple[str, str, str, str]
"""Group, kind, namespace and name of a resource; two versions of an API hold the same one."""


def identity(resource: Resource) -> Identity:
    """What tells a resource from the others of its source."""
    return (resource.group, resource.kind, resource.namespace, resource.name)


@dataclass(frozen=True, slots=True)
class Listed:
    """The full list, at the start and whenever the source had to begin anew.

    Attributes:
        resources: All of them; whatever was there before and is not among them is gone.
        revision: `resourceVersion` of the list, or a digest of the files.
        problems: What is wrong with it.
    """

    resources: tuple[Resource, ...]
    revision: str
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True)
class Changed:
    """What changed since the event before, at once.

    Attributes:
        resources: New ones, and old ones as they are now.
        deleted: What is gone.
        revision: As in `Listed`.
        problems: Everything that is wrong now.
    """

    resources: tuple[Resource, ...]
    deleted: tuple[Identity, ...]
    revision: str
    problems: tuple[Problem, ...] = ()


class ResourceSource(Protocol):
    """A source of declared resources."""

    @property
    def origin(self) -> str:
        """`kubernetes` or `directory`; part of the keys of its records."""
        ...

    def events(self) -> AsyncIterator[Listed | Changed]:
        """A list first, then changes, for ever; the source waits for what is not there yet."""
        ...
