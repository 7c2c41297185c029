"""Atoms: the parts into which several sets cut a dimension.

Two values are in the same atom if no set tells them apart. There are as many atoms as there are
combinations of sets that some value really belongs to, usually not many more than sets, and on them
every set is a set of atoms.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from meshscope.algebra.automata import TOP, readable, step
from meshscope.algebra.intervals import Intervals
from meshscope.algebra.limits import TooLargeError
from meshscope.algebra.strings import Language


def atoms_of_numbers(
    sets: Sequence[Intervals], top: int, samples: Sequence[int] = ()
) -> dict[int, int]:
    """The atoms of the numbers from 0 to `top`.

    Returns:
        One number of each atom, by the sets it is in (bit i: `sets[i]`); the first of `samples`
        that belongs to it, else its smallest.
    """
    events: dict[int, int] = {0: 0}
    for index, numbers in enumerate(sets):
        for first, last in numbers:
            events[first] = events.get(first, 0) ^ (1 << index)
            events[last + 1] = events.get(last + 1, 0) ^ (1 << index)
    pieces: list[tuple[int, int]] = []
    members = 0
    for first in sorted(events):
        members ^= events[first]
        if first <= top:
            pieces.append((first, members))
    atoms: dict[int, int] = {}
    for sample in samples:
        atoms.setdefault(next(m for first, m in reversed(pieces) if first <= sample), sample)
    for first, members in pieces:
        atoms.setdefault(members, first)
    return atoms


def atoms_of_strings(
    languages: Sequence[Language], universe: Language, samples: Sequence[str], steps: int
) -> dict[int, str]:
    """The atoms of the strings of `universe`.

    Returns:
        One string of each atom, by the languages it is in (bit i: `languages[i]`): the first of
        `samples` that belongs to it, else one of the shortest.

    Raises:
        TooLargeError: More than `steps` transitions had to be followed.
    """
    atoms: dict[int, str] = {}
    for sample in samples:
        if sample in universe:
            members = sum(1 << i for i, language in enumerate(languages) if sample in language)
            atoms.setdefault(members, sample)
    search = _Search(languages, universe, steps)
    for members, example in search.run().items():
        atoms.setdefault(members, example)
    return atoms


_Live = tuple[tuple[int, int], ...]
"""Languages that may still accept or refuse, each with the state of its automaton."""


@dataclass(slots=True)
class _Search:
    """All automata side by side, breadth first, so that the first word of an atom is a shortest.

    An automaton that has made up its mind (it accepts or refuses whatever follows) is left out of
    the state. Most literals do so after a few characters; where one automaton is left, it is
    followed alone.
    """

    languages: Sequence[Language]
    universe: Language
    steps: int
    _followed: int = 0
    _found: dict[int, str] = field(default_factory=dict)
    _settled: list[list[bool | None]] = field(default_factory=list)
    _endings: dict[tuple[int, int, int], tuple[str | None, str | None]] = field(
        default_factory=dict
    )

    def run(self) -> dict[int, str]:
        """The atoms, see `atoms_of_strings`."""
        self._settled = [_settled(language) for language in self.languages]
        live: dict[int, int] = {}
        accepted = 0
        for index, settled in enumerate(self._settled):
            if settled[0] is None:
                live[index] = 0
            elif settled[0]:
                accepted |= 1 << index
        start = (0, accepted, tuple(live.items()))
        seen = {start}
        waiting = deque([(start, "")])
        dead = [settled is False for settled in _settled(self.universe)]
        while waiting:
            (place, accepted, pairs), word = waiting.popleft()
            if len(pairs) <= 1:
                self._follow(place, accepted, pairs, word)
                continue
            if self.universe.accepting[place]:
                self._note(accepted | self._accepting(pairs), word)
            for _, character, state in self._ways_out(place, accepted, pairs):
                if state in seen or dead[state[0]]:
                    continue
                seen.add(state)
                waiting.append((state, word + character))
        return self._found

    def _note(self, members: int, word: str) -> None:
        known = self._found.get(members)
        if known is None or len(word) < len(known):
            self._found[members] = word

    def _accepting(self, pairs: _Live) -> int:
        return sum(1 << i for i, state in pairs if self.languages[i].accepting[state])

    def _follow(self, place: int, accepted: int, pairs: _Live, word: str) -> None:
        """Note how the word may go on where at most one automaton is undecided."""
        index, state = pairs[0] if pairs else (-1, 0)
        key = (place, index, state)
        endings = self._endings.get(key)
        if endings is None:
            endings = self._endings[key] = self._endings_of(*key)
        refused_by, accepted_by = endings
        if refused_by is not None:
            self._note(accepted, word + refused_by)
        if accepted_by is not None:
            self._note(accepted | 1 << index, word + accepted_by)

    def _endings_of(self, place: int, index: int, state: int) -> tuple[str | None, str | None]:
        """The shortest continuations that language `index` refuses and accepts; -1: refuses all."""
        endings: dict[bool, str] = {}
        seen = {(place, state)}
        waiting = deque([(place, state, "")])
        while waiting and len(endings) < 1 + (index >= 0):
            place, state, word = waiting.popleft()
            if self.universe.accepting[place]:
                accepts = index >= 0 and self.languages[index].accepting[state]
                endings.setdefault(accepts, word)
            for character, next_place, next_state in self._beside(place, index, state):
                if (next_place, next_state) not in seen:
                    seen.add((next_place, next_state))
                    waiting.append((next_place, next_state, word + character))
        return endings.get(False), endings.get(True)

    def _beside(self, place: int, index: int, state: int) -> list[tuple[str, int, int]]:
        """Characters that lead on in the universe and in one automaton, and where they lead."""
        row = self.universe.rows[place]
        other = self.languages[index].rows[state] if index >= 0 else ((0,), (0,))
        starts = sorted({*row[0], *other[0]})
        ways = []
        for number, start in enumerate(starts):
            last = starts[number + 1] - 1 if number + 1 < len(starts) else TOP
            rank, character = readable(start, last)
            ways.append((rank, character, step(row, start), step(other, start)))
        return [way[1:] for way in sorted(ways)]

    def _ways_out(
        self, place: int, accepted: int, pairs: _Live
    ) -> list[tuple[int, str, tuple[int, int, _Live]]]:
        """Rank, character and next state for every interval of characters."""
        events: dict[int, list[tuple[int, int]]] = {}
        for start, target in zip(*self.universe.rows[place], strict=True):
            events.setdefault(start, []).append((-1, target))
        for index, state in pairs:
            for start, target in zip(*self.languages[index].rows[state], strict=True):
                events.setdefault(start, []).append((index, target))
        live: dict[int, int] = {}
        ways = []
        self._followed += sum(map(len, events.values()))
        if self._followed > self.steps:
            raise TooLargeError(
                f"{len(self.languages)} patterns cut their dimension into too many parts"
            )
        starts = sorted(events)
        for number, start in enumerate(starts):
            for index, target in events[start]:
                if index < 0:
                    place = target
                    continue
                settled = self._settled[index][target]
                accepted &= ~(1 << index)
                if settled is None:
                    live[index] = target
                    continue
                live.pop(index, None)
                if settled:
                    accepted |= 1 << index
            last = starts[number + 1] - 1 if number + 1 < len(starts) else TOP
            rank, character = readable(start, last)
            ways.append((rank, character, (place, accepted, tuple(sorted(live.items())))))
        return sorted(ways, key=lambda way: way[0])


def _settled(language: Language) -> list[bool | None]:
    """Per state: True if every continuation is accepted, False if none is, else None.

    In a minimal automaton only a state that leads to itself alone is settled.
    """
    return [
        language.accepting[state] if row[1] == (state,) else None
        for state, row in enumerate(language.rows)
    ]
