"""What is remembered from one projection to the next.

Names are made of everything that a result depends on, most of it by identity, so what is found
under a name is right whatever was declared meanwhile. What has not been asked for while as much
again was made is forgotten.
"""

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field, fields
from operator import attrgetter, is_
from typing import Any, Final, Generic, TypeVar, cast

T = TypeVar("T")
V = TypeVar("V")


class Memory(Generic[V]):
    """Results by what they depend on.

    Args:
        size: After this number of new results those are forgotten that nobody asked for since the
            last time.
    """

    def __init__(self, size: int = 20_000) -> None:
        self._size = size
        self._young: dict[Hashable, V] = {}
        self._old: dict[Hashable, V] = {}

    def get(self, name: Hashable) -> V | None:
        """What is remembered under a name."""
        found = self._young.get(name)
        if found is None and (found := self._old.get(name)) is not None:
            self.put(name, found)
        return found

    def put(self, name: Hashable, value: V) -> V:
        """Remember a value."""
        if len(self._young) >= self._size:
            self._old, self._young = self._young, {}
        self._young[name] = value
        return value

    def of(self, name: Hashable, make: Callable[[], V]) -> V:
        """What is remembered under a name, made if nothing is."""
        found = self.get(name)
        return self.put(name, make()) if found is None else found


@dataclass(slots=True)
class Kept:
    """What meshes with the same settings keep of each other.

    Attributes:
        results: Results by all that they depend on.
        parts: What parts of a projection remember, by what made it.
    """

    results: Memory[Any] = field(default_factory=lambda: Memory(2_000))
    parts: dict[object, object] = field(default_factory=dict)
    _latest: dict[str, tuple[tuple[Any, ...], Any]] = field(default_factory=dict)

    def while_same(
        self, name: str, inputs: tuple[T, ...], make: Callable[[tuple[T, ...], V | None], V]
    ) -> V:
        """A value that is the same while all of its inputs are.

        Args:
            name: What it is.
            inputs: All that it depends on; they are compared by identity.
            make: Makes it from the inputs, given what it was before.
        """
        known = self._latest.get(name)
        if known is not None and same_objects(known[0], inputs):
            return cast(V, known[1])
        made = make(inputs, None if known is None else known[1])
        self._latest[name] = (inputs, made)
        return made


def same_objects(one: Sequence[object], other: Sequence[object]) -> bool:
    """Whether two sequences hold the same objects in the same order."""
    return one is other or (len(one) == len(other) and all(map(is_, one, other)))


class Alike(Generic[V]):
    """Values of a dataclass whose equality is identity, by what they say.

    So a value stays the same, and all that was made of it, while nothing that it says has changed.

    Args:
        kind: The dataclass.
        known: Earlier values.
    """

    def __init__(self, kind: type[V], known: Iterable[V] = ()) -> None:
        self._everything = attrgetter(*(each.name for each in fields(cast(Any, kind))))
        self._name = attrgetter(*(name for name in _NAMES if name in kind.__annotations__))
        self._known: dict[Hashable, list[V]] = {}
        for one in known:
            self._known.setdefault(self._name(one), []).append(one)

    def same(self, one: V) -> V:
        """The known value that is alike in all fields, else the given one."""
        everything = self._everything(one)
        known = self._known.get(self._name(one), ())
        return next((old for old in known if self._everything(old) == everything), one)


_NAMES: Final = ("namespace", "name", "host")
"""Fields by which values are looked up before they are compared."""
