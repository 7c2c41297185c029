"""How much of what was found is said, so that a fact fits into a record, whatever was found."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import accumulate
from typing import Final

import msgspec

from meshscope.events.facts import EquivalentDifference, FieldDifference

MAX_TEXT: Final = 1_000
MAX_LINES: Final = 100
MAX_FIELDS: Final = 40
MAX_EQUIVALENTS: Final = 50
MAX_EQUIVALENT_BYTES: Final = 200_000
"""A verdict shows that many differences in form, or so many bytes of them; it counts all."""


def clipped(text: str) -> str:
    """A text, or its beginning and its length."""
    return text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]}… ({len(text)} characters)"


def first_lines(lines: Iterable[str]) -> tuple[str, ...]:
    """The first lines, and how many more there are."""
    listed = [clipped(line) for line in lines]
    rest = len(listed) - MAX_LINES
    return (*listed[:MAX_LINES], *([f"… and {rest} more"] if rest > 0 else []))


def first_fields(fields: Sequence[FieldDifference]) -> tuple[FieldDifference, ...]:
    """The first fields that differ."""
    return tuple(
        FieldDifference(each.path, clipped(each.expected), clipped(each.observed))
        for each in fields[:MAX_FIELDS]
    )


def first_equivalents(
    equivalents: Sequence[EquivalentDifference],
) -> tuple[EquivalentDifference, ...]:
    """The first differences in form."""
    first = [
        replace(
            each,
            expected=clipped(each.expected),
            observed=clipped(each.observed),
            fields=first_fields(each.fields),
        )
        for each in equivalents[:MAX_EQUIVALENTS]
    ]
    sizes = accumulate(len(msgspec.json.encode(each)) for each in first)
    return tuple(
        each for each, size in zip(first, sizes, strict=True) if size <= MAX_EQUIVALENT_BYTES
    )
