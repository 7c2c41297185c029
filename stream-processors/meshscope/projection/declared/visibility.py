"""Who may see a resource: `exportTo`, its default, and its special values.

Source: https://istio.io/latest/docs/reference/config/networking/service-entry/#ServiceEntry-export_to.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

PUBLIC = "*"
PRIVATE = "."
NOBODY = "~"


class Exported(Protocol):
    """Something that says who may see it."""

    @property
    def namespace(self) -> str:
        """Where it lies."""
        ...

    @property
    def export_to(self) -> frozenset[str]:
        """Who may see it; empty: the mesh's default."""
        ...


T = TypeVar("T", bound=Exported)


@dataclass(frozen=True, slots=True, eq=False)
class Visible(Generic[T]):
    """Resources by who may see them, each list in canonical order.

    Attributes:
        private: Seen in their own namespace alone, by namespace.
        exported: Exported to a namespace by name, by that namespace; their own is not among them.
        public: Seen everywhere.
    """

    private: Mapping[str, tuple[T, ...]]
    exported: Mapping[str, tuple[T, ...]]
    public: tuple[T, ...]

    def all(self) -> Iterator[T]:
        """All of them; one that is exported to several namespaces comes several times."""
        yield from self.public
        for pool in (*self.private.values(), *self.exported.values()):
            yield from pool


def by_visibility(resources: Iterable[T], default: frozenset[str]) -> Visible[T]:
    """Sort resources, given in canonical order, by who may see them."""
    private: dict[str, list[T]] = defaultdict(list)
    exported: dict[str, list[T]] = defaultdict(list)
    public: list[T] = []
    for resource in resources:
        export_to = resource.export_to or default
        if PUBLIC in export_to:
            public.append(resource)
        elif NOBODY not in export_to:
            targets = {resource.namespace if name == PRIVATE else name for name in export_to}
            for namespace in targets:
                pool = private if namespace == resource.namespace else exported
                pool[namespace].append(resource)
    return Visible(
        {namespace: tuple(found) for namespace, found in private.items()},
        {namespace: tuple(found) for namespace, found in exported.items()},
        tuple(public),
    )


def sees(namespace: str, resource: Exported, default: frozenset[str]) -> bool:
    """Whether a resource is visible in a namespace."""
    export_to = resource.export_to or default
    return (
        PUBLIC in export_to
        or (PRIVATE in export_to and resource.namespace == namespace)
        or namespace in export_to
    )
