"""Requests on the boundaries of rules: few that tell whether each condition is in force.

For every rule that differs from a given one in a single condition (`neighbours.py`) and for every
rule that is not there at all, the requests are known exactly that would then be treated otherwise.
One request is taken from each of these sets, the same one for as many as possible, so that none
can be left out. A request that depends on nothing unmodelled is taken where there is one.
"""

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from meshscope.algebra.conditions import route_match, rule
from meshscope.algebra.diagrams import Diagram, Leaf, Node, Way, cheapest, follow
from meshscope.algebra.dimensions import Cube, Dimension
from meshscope.algebra.limits import LIMITS, Limits, TooLargeError, Undecided
from meshscope.algebra.neighbours import Match, neighbours
from meshscope.algebra.request import Request
from meshscope.algebra.space import UNKNOWN_COST, Space
from meshscope.algebra.witness import request_at
from meshscope.policy.http_route import RouteMatch


@dataclass(frozen=True, slots=True)
class Mutation:
    """A change of one rule.

    Attributes:
        rule: Position of the rule.
        words: What was done to it.
        number: Which of its changes: 0: the rule is left out; else the place in `neighbours`.
    """

    rule: int
    words: str
    number: int


@dataclass(frozen=True, slots=True)
class BoundaryRequest:
    """A request that tells rules from others.

    Attributes:
        request: The request.
        outcome: What the rules do with it.
        rule: The rule that decides, by position; None: none does.
        tells: The changes of rules after which it would be treated otherwise.
    """

    request: Request
    outcome: Hashable
    rule: int | None
    tells: tuple[Mutation, ...]


@dataclass(frozen=True, slots=True)
class Boundaries:
    """The requests that test a list of rules.

    Attributes:
        requests: None of them can be left out.
        without_effect: Changes after which no request would be treated otherwise.
    """

    requests: tuple[BoundaryRequest, ...]
    without_effect: tuple[Mutation, ...] = ()


def boundary_requests(
    rules: Sequence[tuple[Match, Hashable]],
    otherwise: Hashable = None,
    given: Sequence[Cube] = ((),),
    limits: Limits = LIMITS,
) -> Boundaries | Undecided:
    """Requests that together tell every change of a single condition that matters.

    Args:
        rules: Conditions and outcome of each rule, in order; the first that matches decides.
        otherwise: The outcome where none matches.
        given: Requests that can be sent at all.
        limits: How much may be spent.
    """
    try:
        return _Search(rules, otherwise, given, limits).run()
    except TooLargeError as error:
        return Undecided(str(error))


def _cubes(match: Match) -> tuple[Cube, ...]:
    return route_match(match) if isinstance(match, RouteMatch) else rule(match)


@dataclass(slots=True)
class _Shared:
    """Requests that tell several mutations, and their positions."""

    requests: Diagram
    tells: list[int]


class _Search:
    def __init__(
        self,
        rules: Sequence[tuple[Match, Hashable]],
        otherwise: Hashable,
        given: Sequence[Cube],
        limits: Limits,
    ) -> None:
        self._outcomes = [outcome for _, outcome in rules]
        self._otherwise = otherwise
        cubes_of_rules = [_cubes(match) for match, _ in rules]
        self._mutants = list(_mutants(rules))
        mutated = [cube for _, cubes in self._mutants for cube in cubes]
        own = [cube for cubes in cubes_of_rules for cube in cubes]
        self._space = Space((*given, *own, *mutated), limits)
        self._given = self._space.cubes_diagram(given)
        self._matched = [self._space.cubes_diagram(cubes) for cubes in cubes_of_rules]

    def run(self) -> Boundaries:
        """See `boundary_requests`."""
        decides, contested = self._regions()
        told: list[tuple[Mutation, Diagram]] = []
        silent: list[Mutation] = []
        for mutation, cubes in self._mutants:
            changed = self._combined(
                self._matched[mutation.rule],
                self._space.cubes_diagram(cubes),
                lambda before, after: before != after,
            )
            apart = self._both(contested[mutation.rule], changed)
            if isinstance(apart, Leaf) and not apart.outcome:
                silent.append(mutation)
            else:
                told.append((mutation, apart))
        points = [self._point(shared, decides) for shared in self._shared(told)]
        return Boundaries(tuple(self._needed(points, told, decides)), tuple(silent))

    def _combined(self, one: Diagram, other: Diagram, outcome: Any) -> Diagram:
        return self._space.store.combine(one, other, outcome)

    def _both(self, one: Diagram, other: Diagram) -> Diagram:
        return self._combined(one, other, lambda first, second: first is True and second is True)

    def _outcome(self, number: int | None) -> Hashable:
        return self._otherwise if number is None else self._outcomes[number]

    def _regions(self) -> tuple[Diagram, list[Diagram]]:
        """Which rule decides; and per rule the requests that no earlier one takes, and that are
        treated otherwise without it.
        """
        matched = self._matched
        behind: list[Diagram] = [self._space.store.leaf(None)]
        for number in range(len(matched) - 1, -1, -1):
            behind.append(
                self._combined(
                    matched[number],
                    behind[-1],
                    lambda taken, later, number=number: number if taken else later,
                )
            )
        behind.reverse()
        contested: list[Diagram] = []
        reaching = self._given
        for number, taken in enumerate(matched):
            contested.append(
                self._combined(
                    reaching,
                    behind[number + 1],
                    lambda arrives, later, number=number: (
                        arrives is True and self._outcome(later) != self._outcomes[number]
                    ),
                )
            )
            reaching = self._combined(
                reaching, taken, lambda arrives, gone: arrives is True and not gone
            )
        return behind[0], contested

    def _shared(self, told: Sequence[tuple[Mutation, Diagram]]) -> list[_Shared]:
        """Sets of requests, each of them tells several mutations; together they tell all."""
        found: list[_Shared] = []
        for place, (_, apart) in enumerate(told):
            price = self._price(apart)
            for shared in found:
                common = self._both(shared.requests, apart)
                if self._price(common) < max(UNKNOWN_COST, price + 1):
                    shared.requests = common
                    shared.tells.append(place)
                    break
            else:
                found.append(_Shared(apart, [place]))
        return found

    def _price(self, requests: Diagram) -> float:
        """What the simplest of some requests costs; infinite if there is none."""
        way = cheapest(requests, self._space.cheapest).get(True)
        return float("inf") if way is None else way[0]

    def _point(self, shared: _Shared, decides: Diagram) -> dict[int, int]:
        """Atoms of the simplest request, and of all that is unmodelled and decides on it."""
        way: Way = cheapest(shared.requests, self._space.cheapest)[True]
        chosen = dict(way[1])
        atoms = self._space.completed(chosen)
        while isinstance(decides, Node):
            if self._is_unknown(decides.level):
                chosen[decides.level] = atoms[decides.level]
            bit = 1 << atoms[decides.level]
            decides = next(child for branch, child in decides.branches if branch & bit)
        return chosen

    def _is_unknown(self, level: int) -> bool:
        return self._space.levels[level].slot.dimension is Dimension.OPAQUE

    def _tells(self, apart: Diagram, chosen: Mapping[int, int], atoms: Mapping[int, int]) -> bool:
        """Whether a request is in a set, whatever holds of what it leaves open."""
        if isinstance(apart, Leaf):
            return apart.outcome is True
        if self._is_unknown(apart.level) and apart.level not in chosen:
            return all(self._tells(child, chosen, atoms) for _, child in apart.branches)
        bit = 1 << atoms[apart.level]
        return self._tells(next(c for b, c in apart.branches if b & bit), chosen, atoms)

    def _needed(
        self,
        points: Sequence[dict[int, int]],
        told: Sequence[tuple[Mutation, Diagram]],
        decides: Diagram,
    ) -> Iterator[BoundaryRequest]:
        """The requests without those whose mutations others tell as well."""
        tells = []
        for chosen in points:
            atoms = self._space.completed(chosen)
            tells.append(
                {n for n, (_, apart) in enumerate(told) if self._tells(apart, chosen, atoms)}
            )
        kept = list(range(len(points)))
        for number in reversed(range(len(points))):
            others = set[int]().union(*(tells[other] for other in kept if other != number))
            if tells[number] <= others:
                kept.remove(number)
        for number in kept:
            chosen = points[number]
            ruled = follow(decides, self._space.completed(chosen))
            yield BoundaryRequest(
                request_at(self._space, chosen),
                self._outcome(ruled),
                ruled,
                tuple(told[place][0] for place in sorted(tells[number])),
            )


def _mutants(
    rules: Sequence[tuple[Match, Hashable]],
) -> Iterator[tuple[Mutation, tuple[Cube, ...]]]:
    for number, (match, _) in enumerate(rules):
        yield Mutation(number, "left out", 0), ()
        for place, (words, changed) in enumerate(neighbours(match), 1):
            yield Mutation(number, words, place), _cubes(changed)
