"""Decision diagrams: functions of requests.

A node asks for the atom of one level (a slot of the space); every set of atoms leads to another
node or to an outcome. Levels are asked in order and only where the answer matters, and equal nodes
are one object: two diagrams of one space mean the same if and only if they are the same object.
"""

from collections.abc import Callable, Hashable, Iterator
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

    def _ways(self, diagram: Diagram, level: int) -> tuple[tuple[int, Diagram], ...]:
        if isinstance(diagram, Node) and diagram.level == level:
            return diagram.branches
        return ((self.widths[level], diagram),)


def outcomes(diagram: Diagram) -> set[Any]:
    """Every outcome that some request has."""
    return {leaf.outcome for leaf in _parts(diagram) if isinstance(leaf, Leaf)}


def _parts(diagram: Diagram) -> list[Diagram]:
    seen = {id(diagram): diagram}
    waiting = [diagram]
    while waiting:
        current = waiting.pop()
        if isinstance(current, Node):
            for _, child in current.branches:
                if id(child) not in seen:
                    seen[id(child)] = child
                    waiting.append(child)
    return list(seen.values())


def cheapest(
    diagram: Diagram, wanted: Callable[[Any], bool], cost: Callable[[int, int], tuple[int, int]]
) -> dict[int, int] | None:
    """One request with a wanted outcome: its atom by level, for the levels that matter.

    Args:
        diagram: Where to look.
        wanted: Which outcomes will do.
        cost: The cheapest atom of a set at a level: its cost and the atom.
    """
    memo: dict[int, tuple[int, tuple[tuple[int, int], ...]] | None] = {}

    def run(diagram: Diagram) -> tuple[int, tuple[tuple[int, int], ...]] | None:
        if isinstance(diagram, Leaf):
            return (0, ()) if wanted(diagram.outcome) else None
        if id(diagram) not in memo:
            best = None
            for atoms, child in diagram.branches:
                rest = run(child)
                if rest is None:
                    continue
                price, atom = cost(diagram.level, atoms)
                found = (price + rest[0], ((diagram.level, atom), *rest[1]))
                if best is None or found < best:
                    best = found
            memo[id(diagram)] = best
        return memo[id(diagram)]

    found = run(diagram)
    return None if found is None else dict(found[1])
