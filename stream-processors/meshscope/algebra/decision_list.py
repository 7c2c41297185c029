"""Ordered rules of which the first that matches decides, as routes and access rules do.

Both questions about them are answered on one decision diagram, exactly: which rules ever decide,
and which requests two lists treat differently.
"""

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from meshscope.algebra.diagrams import Diagram, cheapest, outcomes
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
        rules_before, rules_after: Rules that decide the example, by position; None: none does.
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
        space = Space(_all_cubes((rules,), given), limits)
        diagram = _restricted(space, _Build(space, rules).diagram(), given)
        return tuple(
            _review_of(space, diagram, rules, number, given)
            for number in range(len(rules.decisions))
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
        space = Space(_all_cubes((one, other), given), limits)
        pairs = space.store.combine(
            _Build(space, one).diagram(),
            _Build(space, other).diagram(),
            lambda mine, theirs: (mine[0], theirs[0]),
        )
        pairs = _restricted(space, pairs, given)
        found: dict[tuple[Hashable, Hashable], Change] = {}
        for pair in sorted(
            (pair for pair in outcomes(pairs) if pair is not None),
            key=lambda pair: tuple(-1 if number is None else number for number in pair),
        ):
            before, after = _outcome(one, pair[0]), _outcome(other, pair[1])
            if before == after:
                continue
            change = Change(before, after, _example(space, pairs, {pair}.__contains__), *pair)
            known = found.get((before, after))
            if known is None or _simpler(change.example, known.example):
                found[before, after] = change
        return tuple(sorted(found.values(), key=lambda change: len(change.example.assumes)))
    except TooLargeError as error:
        return Undecided(str(error))


def _simpler(one: Request, other: Request) -> bool:
    return (len(one.assumes), len(str(one))) < (len(other.assumes), len(str(other)))


def _all_cubes(lists: Iterable[DecisionList], given: Sequence[Cube]) -> list[Cube]:
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
    return space.store.combine(
        diagram, space.cubes_diagram(given), lambda outcome, arrives: outcome if arrives else None
    )


def _example(space: Space, diagram: Diagram, wanted: Callable[[object], bool]) -> Request:
    path = cheapest(diagram, wanted, space.cheapest)
    if path is None:
        raise LookupError("there is no request with this outcome")
    return request_at(space, path)


def _review_of(
    space: Space, diagram: Diagram, rules: DecisionList, number: int, given: Sequence[Cube]
) -> RuleReview:
    decision = rules.decisions[number]
    firsts = [found for found in outcomes(diagram) if found is not None and found[0] == number]
    needed = [found for found in firsts if _outcome(rules, found[1]) != decision.outcome]
    if needed:
        return RuleReview("decides", _example(space, diagram, needed.__contains__))
    if firsts:
        return RuleReview("redundant", _example(space, diagram, firsts.__contains__))
    mine = _restricted(space, space.cubes_diagram(decision.cubes), given)
    if not outcomes(mine) & {True}:
        return RuleReview("impossible")
    taken = space.store.combine(
        diagram, mine, lambda found, matches: found[0] if matches and found else None
    )
    earlier = sorted(found for found in outcomes(taken) if found is not None)
    return RuleReview("shadowed", _example(space, mine, lambda held: held is True), tuple(earlier))


class _Build:
    """The diagram of a list. Its outcomes are the first rule that matches, and the one after it
    that would decide if it were not there; None where there is none.
    """

    def __init__(self, space: Space, rules: DecisionList) -> None:
        self._space = space
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
            return self._space.store.leaf(self._first_two(alive))
        key = (level, alive)
        found = self._memo.get(key)
        if found is None:
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

    def _first_two(self, alive: int) -> tuple[int | None, int | None]:
        if not alive:
            return None, None
        first = self._rule_of[(alive & -alive).bit_length() - 1]
        alive &= ~self._of_rule[first]
        return first, self._rule_of[(alive & -alive).bit_length() - 1] if alive else None

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
