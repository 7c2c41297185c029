"""Sets of strings: regular languages over Unicode characters.

Envoy compares strings as `StringMatcher` says: exact, prefix, suffix, contains, or RE2 over the
whole string. Each of these is a language here, exactly, and so is what union, intersection and
difference make of them. A language is its minimal automaton, so equality is the comparison.
"""

from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from string import ascii_lowercase, ascii_uppercase
from typing import Final

from meshscope.algebra.automata import (
    TOP,
    Row,
    Table,
    compact,
    minimal,
    numbered,
    product,
    ways_out,
)


@dataclass(frozen=True, slots=True)
class Language:
    """A set of strings.

    Attributes:
        rows, accepting: Its minimal automaton in canonical numbering, see `automata`.
    """

    rows: tuple[Row, ...]
    accepting: tuple[bool, ...]

    @classmethod
    def of(cls, table: Table) -> "Language":
        """The language of any automaton."""
        return cls(*minimal(table))

    def __contains__(self, text: str) -> bool:
        state = 0
        for character in text:
            starts, targets = self.rows[state]
            state = targets[bisect_right(starts, ord(character)) - 1]
        return self.accepting[state]

    def __or__(self, other: "Language") -> "Language":
        return self._with(other, lambda one, two: one or two)

    def __and__(self, other: "Language") -> "Language":
        return self._with(other, lambda one, two: one and two)

    def __sub__(self, other: "Language") -> "Language":
        return self._with(other, lambda one, two: one and not two)

    def __invert__(self) -> "Language":
        return Language(self.rows, tuple(not found for found in self.accepting))

    def __le__(self, other: "Language") -> bool:
        return not self - other

    def __bool__(self) -> bool:
        """Whether there is any string in it."""
        return any(self.accepting)

    def _with(self, other: "Language", accepts: Callable[[bool, bool], bool]) -> "Language":
        return Language(
            *product(Table(self.rows, self.accepting), Table(other.rows, other.accepting), accepts)
        )

    def shortest(self) -> str | None:
        """The shortest string, of several the most readable one; None: there is none."""
        return next(self.shortest_from(0), None)

    def shortest_from(self, state: int, accepted: bool = True) -> Iterator[str]:
        """What leads from a state to one that accepts, or refuses: the shortest way, if any."""
        waiting = deque([(state, "")])
        seen = {state}
        while waiting:
            state, word = waiting.popleft()
            if self.accepting[state] == accepted:
                yield word
                return
            for _, character, target in ways_out(self.rows[state]):
                if target not in seen:
                    seen.add(target)
                    waiting.append((target, word + character))


NOTHING = Language((((0,), (0,)),), (False,))
ANYTHING = Language((((0,), (0,)),), (True,))


_LOWER: Final = str.maketrans(ascii_uppercase, ascii_lowercase)
"""Envoy folds ASCII letters and no others."""


@lru_cache(maxsize=8192)
def exact(text: str, ignore_case: bool = False) -> Language:
    """The one string; with `ignore_case` in any mixture of ASCII cases."""
    return _chain(text, ignore_case, last_row=len(text) + 1)


@lru_cache(maxsize=8192)
def prefix(text: str, ignore_case: bool = False) -> Language:
    """Strings that begin with `text`."""
    return _chain(text, ignore_case, last_row=len(text))


def _chain(text: str, ignore_case: bool, last_row: int) -> Language:
    """`text`, and after it what is read in state `last_row`, for ever."""
    dead = len(text) + 1
    rows = [_row(character, ignore_case, i + 1, dead) for i, character in enumerate(text)]
    rows += [((0,), (last_row,)), ((0,), (dead,))]
    accepting = [False] * len(text) + [True, False]
    return Language(*numbered(Table(tuple(rows), tuple(accepting))))


@lru_cache(maxsize=8192)
def suffix(text: str, ignore_case: bool = False) -> Language:
    """Strings that end with `text`."""
    return _search(text, ignore_case, stays=False)


@lru_cache(maxsize=8192)
def containing(text: str, ignore_case: bool = False) -> Language:
    """Strings in which `text` occurs."""
    return _search(text, ignore_case, stays=True)


def _search(text: str, ignore_case: bool, stays: bool) -> Language:
    """The automaton of Knuth, Morris and Pratt: its state is how much of `text` was just read."""
    folded = text.translate(_LOWER) if ignore_case else text
    length = len(folded)

    def next_length(read: int, character: str) -> int:
        seen = folded[:read] + character
        return next(k for k in range(min(length, len(seen)), -1, -1) if seen.endswith(folded[:k]))

    rows: list[Row] = []
    for read in range(length + 1):
        if stays and read == length:
            rows.append(((0,), (length,)))
            continue
        leads = {character: next_length(read, character) for character in set(folded)}
        targets = {
            ord(variant): target
            for character, target in leads.items()
            for variant in _variants(character, ignore_case)
        }
        pieces = [(0, 0)]
        for code in sorted(targets):
            pieces += [(code, targets[code]), (code + 1, 0)]
        rows.append(_last_of_each(pieces))
    accepting = [False] * length + [True]
    return Language(*numbered(Table(tuple(rows), tuple(accepting))))


def _last_of_each(pieces: list[tuple[int, int]]) -> Row:
    """A row; where two pieces begin with the same character the later one counts."""
    kept = {start: target for start, target in pieces if start <= TOP}
    return compact(sorted(kept.items()))


def _row(character: str, ignore_case: bool, target: int, other: int) -> Row:
    pieces = [(0, other)]
    for code in sorted(ord(variant) for variant in _variants(character, ignore_case)):
        pieces += [(code, target), (code + 1, other)]
    return _last_of_each(pieces)


def _variants(character: str, ignore_case: bool) -> set[str]:
    if ignore_case and character.isascii():
        return {character.lower(), character.upper()}
    return {character}
