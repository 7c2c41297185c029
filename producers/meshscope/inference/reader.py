"""Reading JSON messages once, so that nothing in them is overlooked.

A `Message` hands out each field once. What nobody asked for, and what has another shape than was
asked for, stays in the message, and the `Reading` that opened it reports it at the end: a field
that stands in the table of ignored fields is counted, everything else becomes an `extension`.
Accessors therefore do not fail on a value of an unexpected type; they give the default and leave
the field where it is. `Unexpected` is for messages that make no sense without a field.

Messages hold shallow copies of what they read; the dump itself is never changed.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, TypeVar

from meshscope.inference.ignored import IGNORED

T = TypeVar("T")
Fields = dict[str, Any]

ANY_PREFIX: Final = "type.googleapis.com/"
_TYPED_STRUCTS: Final = frozenset(("udpa.type.v1.TypedStruct", "xds.type.v3.TypedStruct"))
_NANOSECONDS_PER_MS: Final = 1_000_000
_STRINGS: Final = frozenset((str,))
_INTEGERS: Final = frozenset((int,))
_OBJECTS: Final = frozenset((dict,))
_NESTED: Final = frozenset((dict, list))


class Unexpected(Exception):
    """A message lacks what it cannot do without; the text says what and where."""


@dataclass(frozen=True, slots=True)
class Left:
    """Fields of one message that nobody asked for.

    Attributes:
        message: The message.
        fields: The fields that are left, without those that are ignored.
        ignored: The fields that are left and ignored.
    """

    message: "Message"
    fields: Fields
    ignored: Fields


class Reading:
    """One resource of a dump while it is read.

    Attributes:
        opened: Every message that was opened in it.
        remarks: What is odd although every leaf was read (something expected is missing), as
            (place, name, text).
    """

    __slots__ = ("opened", "remarks")

    def __init__(self) -> None:
        self.opened: list[Message] = []
        self.remarks: list[tuple[str, str, str]] = []

    def open(self, value: object, kind: str, name: str = "", place: str = "") -> "Message":
        """Open the outermost message of this reading.

        Args:
            value: The parsed JSON object.
            kind: Name of Envoy's message, for the table of ignored fields.
            name: First part of the paths below it.
            place: Policy key that what is left belongs to, or the path.

        Raises:
            Unexpected: The value is no JSON object.
        """
        if not isinstance(value, dict):
            raise Unexpected(f"{name or kind} is {_shape(value)}, not a JSON object")
        message = Message(self, value, kind, None, name)
        message.place = place or name
        return message

    def left(self) -> Iterator[Left]:
        """What is left in the messages, in the order in which they were opened."""
        for message in self.opened:
            rest = message.rest
            if rest:
                kind = message.kind
                ignored = {name: rest[name] for name in rest if (kind, name) in IGNORED}
                if len(ignored) == len(rest):
                    yield Left(message, {}, ignored)
                else:
                    fields = {name: rest[name] for name in rest if name not in ignored}
                    yield Left(message, fields, ignored)


class Message:
    """A JSON object of which each field is handed out once.

    Attributes:
        rest: Fields that were not read yet.
        kind: Name of Envoy's message; empty where no field of it is ignored.
        place: What the fields left in it and below it belong to; empty: as its parent.
        label: How they are called; empty: as its parent's, else by their path.
    """

    __slots__ = ("_parent", "kind", "label", "name", "place", "raw", "reading", "rest")

    def __init__(
        self,
        reading: Reading,
        value: Fields,
        kind: str,
        parent: "Message | None",
        name: str,
    ) -> None:
        self.reading = reading
        self.raw = value
        self.rest = value.copy()
        self.kind = kind
        self._parent = parent
        self.name = name
        self.place = ""
        self.label = ""
        reading.opened.append(self)

    # Where it stands.

    def path(self) -> str:
        """Path from the outermost message, without indices of lists."""
        parts: list[str] = []
        message: Message | None = self
        while message is not None:
            if message.name:
                parts.append(message.name)
            message = message._parent
        return ".".join(reversed(parts))

    def where(self) -> tuple[str, str]:
        """Place and label of what is left in this message."""
        place = label = ""
        message: Message | None = self
        while message is not None and not place:
            label = label or message.label
            place = message.place
            message = message._parent
        return place, label

    def unread(self) -> None:
        """Take back all that was read in this message and below it, so that all of it is left."""
        self.rest = self.raw.copy()
        if not self.raw:
            self.remark(self.path(), "empty, and not what is expected")
        opened = self.reading.opened
        start = opened.index(self) + 1
        opened[start:] = [message for message in opened[start:] if not message._is_below(self)]

    def _is_below(self, other: "Message") -> bool:
        parent = self._parent
        while parent is not None and parent is not other:
            parent = parent._parent
        return parent is other

    def remark(self, name: str, text: str) -> None:
        """Note something odd that is not in any leaf, such as a filter that is missing."""
        self.reading.remarks.append((self.where()[0], name, text))

    # Scalars.

    def string(self, name: str, default: str = "") -> str:
        """A text field."""
        value = self.rest.pop(name, default)
        if type(value) is str:
            return value
        self.rest[name] = value
        return default

    def boolean(self, name: str, default: bool = False) -> bool:
        """A bool or `BoolValue` field."""
        value = self.rest.pop(name, default)
        if type(value) is bool:
            return value
        self.rest[name] = value
        return default

    def optional_boolean(self, name: str) -> bool | None:
        """A `BoolValue` field; None where it is not set."""
        value = self.rest.pop(name, None)
        if value is None or type(value) is bool:
            return value
        self.rest[name] = value
        return None

    def integer(self, name: str, default: int = 0) -> int:
        """An integer or integer wrapper field; 64-bit integers are written as text."""
        found = self.optional_integer(name)
        return default if found is None else found

    def optional_integer(self, name: str) -> int | None:
        """An integer wrapper field; None where it is not set."""
        value = self.rest.pop(name, None)
        if value is None or type(value) is int:
            return value
        if type(value) is str and value.isdecimal():
            return int(value)
        self.rest[name] = value
        return None

    def number(self, name: str, default: float = 0.0) -> float:
        """A floating-point field."""
        value = self.rest.pop(name, default)
        if type(value) in (int, float):
            return float(value)
        self.rest[name] = value
        return default

    def percent(self, name: str) -> int | None:
        """A `Percent` message, whole; None where it is not set. Fractions are left."""
        message = self.message(name)
        if message is None:
            return None
        value = message.rest.pop("value", 0)
        if type(value) in (int, float) and value == int(value):
            return int(value)
        message.rest["value"] = value
        return None

    def decimal_percent(self, name: str) -> str | None:
        """A `Percent` message as a decimal number; None where it is not set."""
        message = self.message(name)
        return None if message is None else f"{message.number('value'):g}"

    def milliseconds(self, name: str) -> int | None:
        """A `Duration` field in milliseconds; None where it is not set.

        A duration that is no whole number of milliseconds is left.
        """
        value = self.rest.pop(name, None)
        if value is None:
            return None
        if type(value) is str and (found := duration_ms(value)) is not None:
            return found
        self.rest[name] = value
        return None

    def strings(self, name: str) -> tuple[str, ...]:
        """A repeated text field."""
        value = self.rest.pop(name, None)
        if value is None:
            return ()
        if type(value) is list and _STRINGS.issuperset(map(type, value)):
            return tuple(value)
        self.rest[name] = value
        return ()

    def integers(self, name: str) -> tuple[int, ...]:
        """A repeated integer field."""
        value = self.rest.pop(name, None)
        if value is None:
            return ()
        if type(value) is list and _INTEGERS.issuperset(map(type, value)):
            return tuple(value)
        self.rest[name] = value
        return ()

    def convert(self, name: str, conversion: Callable[[str], T | None], default: T) -> T:
        """A text field that means something; it is left if the conversion gives None."""
        value = self.rest.pop(name, None)
        if value is None:
            return default
        if type(value) is str and (found := conversion(value)) is not None:
            return found
        self.rest[name] = value
        return default

    def word(self, name: str, words: Mapping[str, T], default: T) -> T:
        """An enum field, by a table of its values; another value is left."""
        return self.convert(name, words.get, default)

    def json(self, name: str) -> Any:
        """A field of any shape as it is; None where it is not set."""
        return self.rest.pop(name, None)

    def peek(self, name: str) -> Any:
        """The value of a field without reading it."""
        return self.rest.get(name)

    # What must be as Istio always writes it.

    def constant(self, name: str, *expected: object) -> bool:
        """Read a field only if it has one of the expected values; whether it has."""
        if name not in self.rest:
            return False
        value = self.rest[name]
        if value in expected or (type(value) in _NESTED and plain_durations(value) in expected):
            del self.rest[name]
            return True
        return False

    def require(self, name: str, *expected: object) -> None:
        """Read a field that Istio always writes: another value is left, none is remarked."""
        if not self.constant(name, *expected) and name not in self.rest:
            self.remark(f"{self.path()}.{name}", "missing")

    # Messages.

    def message(self, name: str, kind: str = "") -> "Message | None":
        """A nested message; None where it is not set."""
        value = self.rest.pop(name, None)
        if value is None:
            return None
        if type(value) is dict:
            return Message(self.reading, value, kind, self, name)
        self.rest[name] = value
        return None

    def need(self, name: str, kind: str = "") -> "Message":
        """A nested message that must be there.

        Raises:
            Unexpected: It is not.
        """
        found = self.message(name, kind)
        if found is None:
            raise Unexpected(f"{self.path()} has no {name}")
        return found

    def messages(self, name: str, kind: str = "") -> "list[Message]":
        """The messages of a repeated field."""
        value = self.rest.pop(name, None)
        if value is None:
            return []
        if type(value) is list and _OBJECTS.issuperset(map(type, value)):
            reading = self.reading
            return [Message(reading, item, kind, self, name) for item in value]
        self.rest[name] = value
        return []

    def entries(self, name: str, kind: str = "") -> "dict[str, Message]":
        """The messages of a map field by their keys."""
        value = self.rest.pop(name, None)
        if value is None:
            return {}
        if type(value) is dict and _OBJECTS.issuperset(map(type, value.values())):
            return {
                key: Message(self.reading, item, kind, self, f"{name}.*")
                for key, item in value.items()
            }
        self.rest[name] = value
        return {}

    def any(self, name: str) -> "tuple[str, Message] | None":
        """An `Any` field: its message name and the message; None where it is not set.

        `TypedStruct` is looked through: the type is that of the message that it stands for.
        """
        message = self.message(name)
        return None if message is None else message.typed()

    def configured(self) -> "tuple[str, Message] | None":
        """The configuration of this message, which is an extension.

        None: it has none, which is remarked: its name alone does not say what it does.
        """
        found = self.any("typed_config")
        if found is None:
            self.remark(f"{self.path()}.typed_config", "missing")
        return found

    def typed(self) -> "tuple[str, Message]":
        """This message, which is an `Any`: its message name, and the message without its type."""
        url = self.string("@type")
        kind = url.removeprefix(ANY_PREFIX)
        if kind not in _TYPED_STRUCTS:
            self.kind = kind.rpartition(".")[2]
            return kind, self
        inner = self.string("type_url").removeprefix(ANY_PREFIX)
        value = self.message("value", inner.rpartition(".")[2])
        return inner, self if value is None else value


@lru_cache(maxsize=4096)
def duration_ms(text: str) -> int | None:
    """Milliseconds of a proto-JSON duration such as `0.250s`; None if it is none, or not whole."""
    whole, point, fraction = text.removesuffix("s").partition(".")
    digits = whole.removeprefix("-")
    if not text.endswith("s") or not digits.isdecimal() or (point and not fraction.isdecimal()):
        return None
    nanoseconds = int(fraction.ljust(9, "0")) if fraction else 0
    if len(fraction) > 9 or nanoseconds % _NANOSECONDS_PER_MS:
        return None
    total = int(digits) * 1000 + nanoseconds // _NANOSECONDS_PER_MS
    return -total if whole.startswith("-") else total


def plain_durations(value: Any) -> Any:
    """Parsed JSON with durations in their shortest form: `1.500s` as `1.5s`."""
    if isinstance(value, dict):
        return {name: plain_durations(item) for name, item in value.items()}
    if isinstance(value, list):
        return [plain_durations(item) for item in value]
    if isinstance(value, str) and "." in value and duration_ms(value) is not None:
        return f"{value.removesuffix('s').rstrip('0').removesuffix('.')}s"
    return value


def leaves(value: object, known: Mapping[int, int] | None = None) -> int:
    """Number of leaves of parsed JSON: scalars, and objects and lists without content.

    Args:
        value: The JSON.
        known: Number of leaves of objects in it that were counted before, by identity.
    """
    kind = type(value)
    items: Any = value
    if kind is dict:
        if known and (counted := known.get(id(value))) is not None:
            return counted
        items = items.values()
    elif kind is not list:
        return 1
    if not items:
        return 1
    count = 0
    for item in items:
        kind = type(item)
        count += leaves(item, known) if kind is dict or kind is list else 1
    return count


def _shape(value: object) -> str:
    return {list: "a list", str: "text", bool: "a bool", type(None): "null"}.get(
        type(value), "a number"
    )
