"""Decision diagrams: functions of requests.

A node asks for the atom of one level (a slot of the space); every set of atoms leads to another
node or to an outcome. Levels are asked in order and only where the answer matters, and equal nodes
are one object: two diagrams of one space mean the same if and only if they are the same object.
"""

from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from meshscope.algebra.limits import TooLargeError


@dataclass(frozen=True, slots=True, eq=False)
class Leaf:
    """An outcome."""

    outcome: Any


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """A question.

    Attributes:
        level: Whose atom is asked for.
        branches: Sets of atoms (bit i: atom i) and where they lead; they cover all atoms, and no
            two lead to the same diagram.
    """

    level: int
    branches: tuple[tuple[int, "Diagram"], ...]


Diagram: TypeAlias = Leaf | Node


class Store:
    """Keeps diagrams unique.

    Attributes:
        widths: Per level the set of all its atoms.
    """

    def __init__(self, widths: tuple[int, ...], limit: int) -> None:
        self.widths = widths
        self._limit = limit
        self._nodes: dict[Any, Node] = {}
        self._leaves: dict[Hashable, Leaf] = {}

    def leaf(self, outcome: Hashable) -> Leaf:
        """The diagram that always says `outcome`."""
        found = self._leaves.get(outcome)
        if found is None:
            found = self._leaves[outcome] = Leaf(outcome)
        return found

    def node(self, level: int, branches: Iterator[tuple[int, Diagram]]) -> Diagram:
        """The diagram that asks for the atom of a level.

        Raises:
            TooLargeError: There are more nodes than the limit allows.
        """
        merged: dict[int, tuple[int, Diagram]] = {}
        for atoms, diagram in branches:
            if atoms:
                known = merged.get(id(diagram))
                merged[id(diagram)] = (atoms | known[0], diagram) if known else (atoms, diagram)
        ways = tuple(sorted(merged.values(), key=lambda way: way[0]))
        if len(ways) == 1:
            return ways[0][1]
        key = (level, tuple((atoms, id(diagram)) for atoms, diagram in ways))
        found = self._nodes.get(key)
        if found is None:
            if len(self._nodes) >= self._limit:
                raise TooLargeError(f"the answer needs more than {self._limit} decisions")
            found = self._nodes[key] = Node(level, ways)
        return found

    def mapped(self, diagram: Diagram, outcome: Callable[[Any], Hashable]) -> Diagram:
        """The diagram that says what `outcome` makes of each outcome."""
        memo: dict[int, Diagram] = {}

        def run(diagram: Diagram) -> Diagram:
            if isinstance(diagram, Leaf):
                return self.leaf(outcome(diagram.outcome))
            found = memo.get(id(diagram))
            if found is None:
                ways = ((atoms, run(child)) for atoms, child in diagram.branches)
                found = memo[id(diagram)] = self.node(diagram.level, ways)
            return found

        return run(diagram)

    def combine(
        self, one: Diagram, other: Diagram, outcome: Callable[[Any, Any], Hashable]
    ) -> Diagram:
        """The diagram that says what `outcome` makes of both outcomes."""
        memo: dict[tuple[int, int], Diagram] = {}

        def run(one: Diagram, other: Diagram) -> Diagram:
            if isinstance(one, Leaf) and isinstance(other, Leaf):
                return self.leaf(outcome(one.outcome, other.outcome))
            key = (id(one), id(other))
            found = memo.get(key)
            if found is None:
                level = min(d.level for d in (one, other) if isinstance(d, Node))
                found = memo[key] = self.node(
                    level,
                    (
                        (mine & theirs, run(my_child, their_child))
                        for mine, my_child in self._ways(one, level)
                        for theirs, their_child in self._ways(other, level)
                        if mine & theirs
                    ),
                )
            return found

        return run(one, other)

    def restrict(self, diagram: Diagram, where: Diagram) -> Diagram:
        """The diagram with the outcome None for requests of which `where` says False."""
        memo: dict[tuple[int, int], Diagram] = {}

        def run(diagram: Diagram, where: Diagram) -> Diagram:
            if isinstance(where, Leaf):
                return diagram if where.outcome else self.leaf(None)
            key = (id(diagram), id(where))
            found = memo.get(key)
            if found is None:
                level = min(d.level for d in (diagram, where) if isinstance(d, Node))
                found = memo[key] = self.node(
                    level,
                    (
                        (mine & theirs, run(my_child, their_child))
                        for theirs, their_child in self._ways(where, level)
                        for mine, my_child in self._ways(diagram, level)
                        if mine & theirs
                    ),
                )
            return found

        return run(diagram, where)

    def _ways(self, diagram: Diagram, level: int) -> tuple[tuple[int, Diagram], ...]:
        if isinstance(diagram, Node) and diagram.level == level:
            return diagram.branches
        return ((self.widths[level], diagram),)


def follow(diagram: Diagram, atoms: Mapping[int, int]) -> Any:
    """The outcome for one request, given by its atom at every level."""
    while isinstance(diagram, Node):
        chosen = 1 << atoms[diagram.level]
        diagram = next(child for branch, child in diagram.branches if branch & chosen)
    return diagram.outcome


Way: TypeAlias = tuple[int, tuple[tuple[int, int], ...]]
"""A cost, and level and atom for every question on the way to an outcome."""


def cheapest(diagram: Diagram, cost: Callable[[int, int], tuple[int, int]]) -> dict[Any, Way]:
    """For every outcome the simplest request that has it: atoms of the levels that matter.

    `cost` gives the cheapest atom of a set at a level: its cost and the atom.
    """
    memo: dict[int, dict[Any, Way]] = {}

    def run(diagram: Diagram) -> dict[Any, Way]:
        if isinstance(diagram, Leaf):
            return {diagram.outcome: (0, ())}
        best = memo.get(id(diagram))
        if best is None:
            best = memo[id(diagram)] = {}
            for atoms, child in diagram.branches:
                price, atom = cost(diagram.level, atoms)
                for outcome, (rest, way) in run(child).items():
                    known = best.get(outcome)
                    if known is None or price + rest < known[0]:
                        best[outcome] = (price + rest, ((diagram.level, atom), *way))
        return best

    return run(diagram)
