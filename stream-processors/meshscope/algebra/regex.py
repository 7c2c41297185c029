"""From RE2 patterns to languages.

The pattern is matched against the whole string, as Envoy's `safe_regex` does.
"""

from functools import lru_cache
from typing import Final

from meshscope.algebra.automata import explore
from meshscope.algebra.intervals import Intervals
from meshscope.algebra.limits import TooLargeError
from meshscope.algebra.strings import Language
from meshscope.algebra.syntax import (
    Anchor,
    Characters,
    Choice,
    Node,
    Repeat,
    Sequence,
    parse,
)

_MAX_FRAGMENTS: Final = 20_000
"""Nodes of one pattern, with counted repetition written out."""

_States = frozenset[int]


@lru_cache(maxsize=8192)
def regex(pattern: str) -> Language:
    """The strings that RE2 matches as a whole.

    Raises:
        InvalidPatternError: RE2 refuses the pattern.
        UnmodelledError: RE2 takes it, but its meaning is not modelled; see `syntax`.
        TooLargeError: Its automaton is too large.
    """
    network = _Network()
    start, end = network.node(), network.node()
    network.add(parse(pattern), start, end)

    def pieces_of(states: _States) -> list[tuple[int, _States]]:
        events: dict[int, list[tuple[int, int]]] = {0: []}
        for state in states:
            for members, target in network.reads[state]:
                for first, last in members:
                    events.setdefault(first, []).append((target, 1))
                    events.setdefault(last + 1, []).append((target, -1))
        open_targets: dict[int, int] = {}
        pieces = []
        for first in sorted(events):
            for target, change in events[first]:
                open_targets[target] = open_targets.get(target, 0) + change
            here = frozenset(target for target, count in open_targets.items() if count)
            pieces.append((first, network.closure(here, at_start=False)))
        return [piece for piece in pieces if piece[0] <= 0x10FFFF]

    first = network.closure(frozenset((start,)), at_start=True)
    # The beginning of the text is told apart from all other places, where ^ holds no more.
    table = explore(
        (True, first),
        lambda key: [(start, (False, states)) for start, states in pieces_of(key[1])],
        lambda key: end in network.closure(key[1], at_start=key[0], at_end=True),
    )
    return Language.of(table)


class _Network:
    """A nondeterministic automaton (Thompson) whose empty steps may be anchored."""

    def __init__(self) -> None:
        self.reads: list[list[tuple[Intervals, int]]] = []
        self._free: list[list[int]] = []
        self._anchored: list[list[tuple[bool, int]]] = []

    def node(self) -> int:
        """A new state."""
        if len(self.reads) >= _MAX_FRAGMENTS:
            raise TooLargeError(f"a pattern has more than {_MAX_FRAGMENTS} parts")
        self.reads.append([])
        self._free.append([])
        self._anchored.append([])
        return len(self.reads) - 1

    def closure(self, states: _States, at_start: bool, at_end: bool = False) -> _States:
        """What can be reached without reading."""
        seen = set(states)
        waiting = list(states)
        while waiting:
            state = waiting.pop()
            reached = self._free[state] + [
                target
                for is_end, target in self._anchored[state]
                if (at_end if is_end else at_start)
            ]
            for target in reached:
                if target not in seen:
                    seen.add(target)
                    waiting.append(target)
        return frozenset(seen)

    def add(self, node: Node, start: int, end: int) -> None:
        """Lay a syntax tree between two states."""
        match node:
            case Characters(members):
                self.reads[start].append((members, end))
            case Anchor(at_end):
                self._anchored[start].append((at_end, end))
            case Sequence(items):
                for item in items[:-1]:
                    following = self.node()
                    self.add(item, start, following)
                    start = following
                if items:
                    self.add(items[-1], start, end)
                else:
                    self._free[start].append(end)
            case Choice(items):
                for item in items:
                    self.add(item, start, end)
            case Repeat(item, least, most):
                self._repeat(item, least, most, start, end)

    def _repeat(self, item: Node, least: int, most: int | None, start: int, end: int) -> None:
        for _ in range(least):
            start = self._after(item, start)
        if most is None:
            loop = self.node()
            self._free[start].append(loop)
            self.add(item, loop, loop)
            self._free[loop].append(end)
            return
        self._free[start].append(end)
        for _ in range(most - least):
            start = self._after(item, start)
            self._free[start].append(end)

    def _after(self, item: Node, start: int) -> int:
        following = self.node()
        self.add(item, start, following)
        return following
