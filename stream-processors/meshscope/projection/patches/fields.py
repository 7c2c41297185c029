"""Reading the value of a patch so that nothing in it is overlooked.

A value is JSON of an Envoy message, with field names in either of the two ways in which protobuf
writes them. What nobody asks for makes the whole value unmodelled.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from meshscope.projection.durations import milliseconds

T = TypeVar("T")


class Unmodelled(Exception):
    """A patch does something that is not modelled; the text says what."""


class Fields:
    """The fields of a message of which each is handed out once; see `read`."""

    def __init__(self, given: object, of: str) -> None:
        if not isinstance(given, Mapping):
            raise Unmodelled(f"{of} is no message")
        self._of = of
        # A null is a field that is not set.
        self._rest = {snake(name): value for name, value in given.items() if value is not None}

    def done(self) -> None:
        """Check that every field was asked for.

        Raises:
            Unmodelled: One was not.
        """
        for name in self._rest:
            raise Unmodelled(f"{self._of}.{name}")

    def names(self) -> frozenset[str]:
        """Names of the fields that were not asked for yet."""
        return frozenset(self._rest)

    def text(self, name: str) -> str | None:
        """A text or enum field; None where it is not set, or empty, which is the same."""
        return self._typed(name, str) or None

    def flag(self, name: str) -> bool | None:
        """A bool or `BoolValue` field; None where it is not set."""
        return self._typed(name, bool)

    def number(self, name: str) -> int | None:
        """An integer or integer wrapper field, which may be written as text."""
        value = self._rest.pop(name, None)
        if value is None:
            return None
        if isinstance(value, str) and value.isdecimal():
            return int(value)
        if isinstance(value, bool) or not isinstance(value, int | float) or value != int(value):
            raise self._odd(name)
        return int(value)

    def duration(self, name: str) -> int | None:
        """A `Duration` field in milliseconds; None where it is not set."""
        text = self._typed(name, str)
        if text is None:
            return None
        if not re.fullmatch(r"\d+(\.\d{1,3}0*)?s", text):
            raise self._odd(name)
        return milliseconds(text)

    def texts(self, name: str) -> tuple[str, ...]:
        """A repeated text field."""
        value = self._typed(name, list) or []
        if not all(isinstance(item, str) for item in value):
            raise self._odd(name)
        return tuple(value)

    def numbers(self, name: str) -> tuple[int, ...]:
        """A repeated integer field."""
        value = self._typed(name, list) or []
        if not all(isinstance(item, int | float) and item == int(item) for item in value):
            raise self._odd(name)
        return tuple(map(int, value))

    def word(self, name: str, words: Mapping[str, T], default: str = "") -> T | None:
        """An enum field by the meaning of its values; None where it is not set, or the default."""
        text = self.text(name)
        if text is None or text == default:
            return None
        if text not in words:
            raise self._odd(name)
        return words[text]

    def empty(self, name: str) -> bool:
        """Read a message without fields; whether it is there."""
        return self.message(name, lambda _: True) or False

    def message(self, name: str, reader: "Callable[[Fields], T]") -> T | None:
        """A nested message; None where it is not set."""
        if name not in self._rest:
            return None
        return read(self._rest.pop(name), f"{self._of}.{name}", reader)

    def messages(self, name: str, reader: "Callable[[Fields], T]") -> tuple[T, ...]:
        """A repeated message field."""
        value = self._typed(name, list) or []
        return tuple(read(item, f"{self._of}.{name}", reader) for item in value)

    def json(self, name: str) -> Any:
        """A field as it is; None where it is not set."""
        return self._rest.pop(name, None)

    def _typed(self, name: str, kind: type[T]) -> T | None:
        value = self._rest.pop(name, None)
        if value is None or isinstance(value, kind):
            return value
        raise self._odd(name)

    def _odd(self, name: str) -> Unmodelled:
        return Unmodelled(f"the value of {self._of}.{name}")


def read(value: object, of: str, reader: Callable[[Fields], T]) -> T:
    """Read a message.

    Args:
        value: Its JSON.
        of: How it is called.
        reader: Asks for its fields.

    Raises:
        Unmodelled: The reader left something of it, or cannot use what is there.
    """
    fields = Fields(value, of)
    found = reader(fields)
    fields.done()
    return found


def snake(name: str) -> str:
    """A field's name as Envoy writes it; manifests may write it in camel case."""
    return re.sub(r"(?<!^)([A-Z])", r"_\1", name).lower() if name.lower() != name else name
