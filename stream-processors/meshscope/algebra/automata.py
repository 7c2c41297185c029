"""Deterministic automata over intervals of characters, as tables.

A row holds where each character leads: `starts` are the first characters of consecutive intervals
that cover all of Unicode, `targets` the states they lead to. Tables are complete (there is a state
that nothing leads out of, where needed) and begin in state 0.
"""

from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Hashable, Iterable
from functools import lru_cache
from typing import Final, NamedTuple, TypeAlias, TypeVar

from meshscope.algebra.limits import MAX_STATES, TooLargeError

Row: TypeAlias = tuple[tuple[int, ...], tuple[int, ...]]
State = TypeVar("State", bound=Hashable)

TOP: Final = 0x10FFFF
"""The last character."""
_FAR: Final = 1 << 30

_READABLE: Final = "abcdefghijklmnopqrstuvwxyz0123456789/-._ABCDEFGHIJKLMNOPQRSTUVWXYZ"
"""Characters for examples, the most readable first."""


class Table(NamedTuple):
    """An automaton; `accepting[state]` says whether a word may end there."""

    rows: tuple[Row, ...]
    accepting: tuple[bool, ...]


def step(row: Row, character: int) -> int:
    """Where a character leads."""
    return row[1][bisect_right(row[0], character) - 1]


def compact(pieces: Iterable[tuple[int, int]]) -> Row:
    """A row from pieces (first character, target) in ascending order."""
    starts: list[int] = []
    targets: list[int] = []
    for start, target in pieces:
        if not targets or targets[-1] != target:
            starts.append(start)
            targets.append(target)
    return tuple(starts), tuple(targets)


def explore(
    start: State,
    pieces_of: Callable[[State], list[tuple[int, State]]],
    accepts: Callable[[State], bool],
) -> Table:
    """The table of an automaton that is given by what leads out of its states.

    Raises:
        TooLargeError: It has more than `MAX_STATES` states.
    """
    numbers: dict[State, int] = {start: 0}
    waiting = deque([start])
    rows: list[Row] = []
    accepting: list[bool] = []
    while waiting:
        state = waiting.popleft()
        pieces = []
        for first, target in pieces_of(state):
            number = numbers.get(target)
            if number is None:
                number = numbers[target] = len(numbers)
                if number >= MAX_STATES:
                    raise TooLargeError(f"a pattern needs more than {MAX_STATES} states")
                waiting.append(target)
            pieces.append((first, number))
        rows.append(compact(pieces))
        accepting.append(accepts(state))
    return Table(tuple(rows), tuple(accepting))


def product(one: Table, other: Table, accepts: Callable[[bool, bool], bool]) -> Table:
    """Both automata side by side, minimal."""

    def pieces_of(pair: tuple[int, int]) -> list[tuple[int, tuple[int, int]]]:
        left, right = one.rows[pair[0]], other.rows[pair[1]]
        return [
            (first, (step(left, first), step(right, first)))
            for first in sorted({*left[0], *right[0]})
        ]

    return minimal(
        explore(
            (0, 0),
            pieces_of,
            lambda pair: accepts(one.accepting[pair[0]], other.accepting[pair[1]]),
        )
    )


def minimal(table: Table) -> Table:
    """The canonical automaton of the same language: equal languages have equal tables.

    Partition refinement (Moore). It begins with what the distances to the next accepting and the
    next refusing state already tell apart, so that long literals need few rounds.
    """
    classes = _numbered(
        zip(table.accepting, _distances(table, True), _distances(table, False), strict=True)
    )
    count = len(set(classes))
    while True:
        classes = _numbered(
            (classes[state], compact(zip(row[0], (classes[t] for t in row[1]), strict=True)))
            for state, row in enumerate(table.rows)
        )
        if len(set(classes)) == count:
            break
        count = len(set(classes))
    members = {number: state for state, number in enumerate(classes)}
    return numbered(
        Table(
            tuple(
                compact(zip(row[0], (classes[t] for t in row[1]), strict=True))
                for row in (table.rows[members[number]] for number in range(count))
            ),
            tuple(table.accepting[members[number]] for number in range(count)),
        ),
        classes[0],
    )


def numbered(table: Table, start: int = 0) -> Table:
    """The same automaton with its states in the order in which characters reach them."""
    order = {start: 0}
    waiting = deque([start])
    while waiting:
        for target in table.rows[waiting.popleft()][1]:
            if target not in order:
                order[target] = len(order)
                waiting.append(target)
    return Table(
        tuple(
            (starts, tuple(order[t] for t in targets))
            for starts, targets in (table.rows[state] for state in order)
        ),
        tuple(table.accepting[state] for state in order),
    )


def _numbered(keys: Iterable[Hashable]) -> list[int]:
    known: dict[Hashable, int] = {}
    return [known.setdefault(key, len(known)) for key in keys]


def _distances(table: Table, accepting: bool) -> list[int]:
    """How many characters lead from each state to the next one that accepts, or refuses."""
    sources: list[list[int]] = [[] for _ in table.rows]
    for state, row in enumerate(table.rows):
        for target in set(row[1]):
            sources[target].append(state)
    distances = [0 if found == accepting else _FAR for found in table.accepting]
    waiting = deque(state for state, distance in enumerate(distances) if distance == 0)
    while waiting:
        state = waiting.popleft()
        for source in sources[state]:
            if distances[source] == _FAR:
                distances[source] = distances[state] + 1
                waiting.append(source)
    return distances


@lru_cache(maxsize=4096)
def readable(first: int, last: int) -> tuple[int, str]:
    """The most readable character of an interval, after its rank: less is better."""
    for rank, character in enumerate(_READABLE):
        if first <= ord(character) <= last:
            return rank, character
    for low, high in ((0x21, 0x7E), (0xA1, 0xD7FF), (0x20, TOP)):
        if max(first, low) <= min(last, high):
            return len(_READABLE), chr(max(first, low))
    return len(_READABLE) + 1, chr(first)


def ways_out(row: Row) -> list[tuple[int, str, int]]:
    """Rank, character and target for every state that follows, the most readable first."""
    starts, targets = row
    best: dict[int, tuple[int, str]] = {}
    for index, target in enumerate(targets):
        last = starts[index + 1] - 1 if index + 1 < len(starts) else TOP
        found = readable(starts[index], last)
        if target not in best or found < best[target]:
            best[target] = found
    return sorted((rank, character, target) for target, (rank, character) in best.items())
