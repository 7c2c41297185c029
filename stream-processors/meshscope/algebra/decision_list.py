"""Ordered rules of which the first that matches decides, as routes and access rules do.

Both questions about them are answered on one decision diagram, exactly: which rules ever decide,
and which requests two lists treat differently.
"""

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from meshscope.algebra.diagrams import Diagram, Way, cheapest, follow
from meshscope.algebra.dimensions import Cube
from meshscope.algebra.limits import LIMITS, Limits, TooLargeError, Undecided
from meshscope.algebra.request import Request
from meshscope.algebra.space import Product, Space, bits
from meshscope.algebra.witness import request_at


@dataclass(frozen=True, slots=True)
class Decision:
    """One rule.

    Attributes:
        cubes: The requests that it matches: a union of products. Empty: none.
        outcome: What it does with them; rules of equal outcomes can stand for each other.
    """

    cubes: tuple[Cube, ...]
    outcome: Hashable


@dataclass(frozen=True, slots=True)
class DecisionList:
    """Rules in order, and the outcome where none matches."""

    decisions: tuple[Decision, ...]
    otherwise: Hashable = None


_FEW: Final = 24
"""Up to so many products are split one by one, more of them by atom."""

Standing = Literal["decides", "redundant", "shadowed", "impossible"]


@dataclass(frozen=True, slots=True)
class RuleReview:
    """What a rule is good for.

    Attributes:
        standing: `decides`: without it some request would be treated otherwise. `redundant`: it is
            the first to match some request, but what comes after it would do the same.
            `shadowed`: every request that it matches is taken by earlier rules. `impossible`: it
            matches no request at all.
        example: A request that proves it: for `decides` one that would be treated otherwise
            without the rule, for `redundant` one that it is the first to match, for `shadowed` one
            that it matches.
        earlier: For `shadowed`: the rules that take its requests, by position.
    """

    standing: Standing
    example: Request | None = None
    earlier: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Change:
    """Requests that two lists treat differently, all in the same way.

    Attributes:
        before, after: The outcomes.
        example: One of the requests, the simplest; its `assumes` names what the answer depends on.
        rule_before, rule_after: Rules that decide the example, by position; None: none does.
    """

    before: Hashable
    after: Hashable
    example: Request
    rule_before: int | None
    rule_after: int | None


def review(
    rules: DecisionList, given: Sequence[Cube] = ((),), limits: Limits = LIMITS
) -> tuple[RuleReview, ...] | Undecided:
    """Say of every rule whether it ever decides.

    Args:
        rules: The rules.
        given: Requests that can arrive at all, such as those for the domains of a virtual host.
        limits: How much may be spent.
    """
    try:
        space = Space(all_cubes((rules,), given), limits)
        diagram = _restricted(space, _Build(space, rules).diagram(), given)
        ways = cheapest(diagram, space.cheapest)
        return tuple(
            _review_of(space, diagram, decision.cubes, ways.get((n, True)), ways.get((n, False)))
            for n, decision in enumerate(rules.decisions)
        )
    except TooLargeError as error:
        return Undecided(str(error))


def differences(
    one: DecisionList, other: DecisionList, given: Sequence[Cube] = ((),), limits: Limits = LIMITS
) -> tuple[Change, ...] | Undecided:
    """The requests that two lists treat differently; none: they mean the same.

    There is one change for each pair of outcomes, those that depend on nothing unmodelled first.
    Arguments are as for `review`.
    """
    try:
        space = Space(all_cubes((one, other), given), limits)
        before, after = _Build(space, one).diagram(), _Build(space, other).diagram()
        effects = _effects(space, (one, before), (other, after))
        changes: list[Change] = []
        ways = cheapest(_restricted(space, effects, given), space.cheapest)
        for effect, (_, way) in sorted(ways.items(), key=lambda item: item[1]):
            if effect is None or effect[0] == effect[1]:
                continue
            atoms = space.completed(dict(way))
            changes.append(
                Change(
                    effect[0],
                    effect[1],
                    request_at(space, dict(way)),
                    follow(before, atoms)[0],
                    follow(after, atoms)[0],
                )
            )
        return tuple(changes)
    except TooLargeError as error:
        return Undecided(str(error))


def effects(space: Space, one: DecisionList, other: DecisionList) -> Diagram:
    """The diagram of what two lists do: pairs of their outcomes.

    Raises:
        TooLargeError: It takes more than the limits of the space allow.
    """
    before, after = _Build(space, one).diagram(), _Build(space, other).diagram()
    return _effects(space, (one, before), (other, after))


def _effects(
    space: Space, one: tuple[DecisionList, Diagram], other: tuple[DecisionList, Diagram]
) -> Diagram:
    (before, mine), (after, theirs) = one, other
    return space.store.combine(
        mine,
        theirs,
        lambda first, second: (_outcome(before, first[0]), _outcome(after, second[0])),
    )


def all_cubes(lists: Iterable[DecisionList], given: Sequence[Cube]) -> list[Cube]:
    """Every condition that lists, and what is given, look at."""
    found = list(given)
    for rules in lists:
        for decision in rules.decisions:
            found += decision.cubes
    return found


def _outcome(rules: DecisionList, number: int | None) -> Hashable:
    return rules.otherwise if number is None else rules.decisions[number].outcome


def _restricted(space: Space, diagram: Diagram, given: Sequence[Cube]) -> Diagram:
    """The diagram with outcome None where a request cannot arrive."""
    if () in given:
        return diagram
    return space.store.restrict(diagram, space.cubes_diagram(given))


def _review_of(
    space: Space,
    diagram: Diagram,
    cubes: tuple[Cube, ...],
    needed: Way | None,
    first: Way | None,
) -> RuleReview:
    """`needed` and `first`: to where the rule decides, and where it is only the first to match."""
    if needed is not None:
        return RuleReview("decides", request_at(space, dict(needed[1])))
    if first is not None:
        return RuleReview("redundant", request_at(space, dict(first[1])))
    # Within its own requests and those that can arrive, who is the first?
    taken = space.store.restrict(diagram, space.cubes_diagram(cubes))
    firsts: dict[int, Way] = {}
    for outcome, way in cheapest(taken, space.cheapest).items():
        if outcome is not None and (outcome[0] not in firsts or way < firsts[outcome[0]]):
            firsts[outcome[0]] = way
    if not firsts:
        return RuleReview("impossible")
    example = request_at(space, dict(min(firsts.values())[1]))
    return RuleReview("shadowed", example, tuple(sorted(firsts)))


class _Build:
    """The diagram of a list. Its outcomes are the first rule that matches (None: none does), and
    whether the request would be treated otherwise without that rule.
    """

    def __init__(self, space: Space, rules: DecisionList) -> None:
        self._space = space
        self._rules = rules
        products: list[Product] = []
        self._rule_of: list[int] = []
        for number, decision in enumerate(rules.decisions):
            for found in space.products(decision.cubes):
                products.append(found)
                self._rule_of.append(number)
        self._of_rule = [0] * len(rules.decisions)
        for index, number in enumerate(self._rule_of):
            self._of_rule[number] |= 1 << index
        everything = (1 << len(products)) - 1
        depth = len(space.levels)
        # Which products ask for a level at all, with which atoms, and which ask for nothing from a
        # level on.
        self._atoms: list[dict[int, int]] = [{} for _ in range(depth)]
        self._asking = [0] * depth
        for index, found in enumerate(products):
            for level, atoms in found.items():
                self._atoms[level][index] = atoms
                self._asking[level] |= 1 << index
        self._covering: list[list[int]] = [[] for _ in range(depth)]
        self._satisfied = [everything] * (depth + 1)
        for level in range(depth - 1, -1, -1):
            self._satisfied[level] = self._satisfied[level + 1] & ~self._asking[level]
        self._everything = everything
        self._memo: dict[tuple[int, int], Diagram] = {}

    def diagram(self) -> Diagram:
        """The whole list."""
        return self._from(0, self._everything)

    def _from(self, level: int, alive: int) -> Diagram:
        """What follows where the products `alive` still match, and `level` is asked next."""
        depth = len(self._space.levels)
        alive = self._cut_off(level, alive)
        while level < depth and not alive & self._asking[level]:
            level += 1
        if level == depth:
            return self._space.store.leaf(self._first(alive))
        key = (level, alive)
        found = self._memo.get(key)
        if found is None:
            if len(self._memo) >= self._space.limits.nodes:
                limit = self._space.limits.nodes
                raise TooLargeError(f"the answer needs more than {limit} decisions")
            found = self._memo[key] = self._space.store.node(
                level,
                ((atoms, self._from(level + 1, left)) for atoms, left in self._split(level, alive)),
            )
        return found

    def _cut_off(self, level: int, alive: int) -> int:
        """Without the products that come after two rules which match whatever follows."""
        satisfied = alive & self._satisfied[level]
        if not satisfied:
            return alive
        first = satisfied & -satisfied
        rule = self._of_rule[self._rule_of[first.bit_length() - 1]]
        alive &= ~(rule & ~((first << 1) - 1))
        second = alive & self._satisfied[level] & ~rule
        second &= -second
        return alive & ((second << 1) - 1) if second else alive

    def _first(self, alive: int) -> tuple[int | None, bool]:
        if not alive:
            return None, False
        first = self._rule_of[(alive & -alive).bit_length() - 1]
        alive &= ~self._of_rule[first]
        second = self._rule_of[(alive & -alive).bit_length() - 1] if alive else None
        return first, _outcome(self._rules, first) != _outcome(self._rules, second)

    def _split(self, level: int, alive: int) -> list[tuple[int, int]]:
        """Atoms of a level, put together where they leave the same products."""
        asking = alive & self._asking[level]
        if asking.bit_count() > _FEW:
            return self._split_by_atom(level, alive, asking)
        parts = [(self._space.store.widths[level], alive & ~asking)]
        for index in bits(asking):
            atoms = self._atoms[level][index]
            cut: list[tuple[int, int]] = []
            for part, left in parts:
                if inside := part & atoms:
                    cut.append((inside, left | 1 << index))
                if part != inside:
                    cut.append((part & ~atoms, left))
            parts = cut
        return parts

    def _split_by_atom(self, level: int, alive: int, asking: int) -> list[tuple[int, int]]:
        covering = self._covering[level]
        if not covering:
            covering += [0] * self._space.store.widths[level].bit_length()
            for index, atoms in self._atoms[level].items():
                for atom in bits(atoms):
                    covering[atom] |= 1 << index
        rest = alive & ~asking
        parts: dict[int, int] = {}
        for atom, products in enumerate(covering):
            left = rest | products & asking
            parts[left] = parts.get(left, 0) | 1 << atom
        return [(atoms, left) for left, atoms in parts.items()]
