"""Sets of requests as few products of named sets, so that they can be read.

Which requests two lists treat differently is a diagram. Here it becomes a union of products, each
as wide as it can be, none of which the others make superfluous, and what a product asks of a slot
is said in names of sets that the caller knows (the single values of conditions). Names and products
are exact: together they are the set, no more and no less.
"""

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from operator import eq, not_
from typing import Any, Final, TypeAlias, TypeVar

from meshscope.algebra.decision_list import DecisionList, all_cubes, effects
from meshscope.algebra.diagrams import Diagram, Leaf, cheapest
from meshscope.algebra.dimensions import (
    DIMENSIONS,
    LIST,
    MISSING,
    SCALAR,
    YES,
    Constraint,
    Cube,
    Dimension,
    Elements,
    Numbers,
    Slot,
    TextDomain,
    Texts,
    Values,
)
from meshscope.algebra.limits import LIMITS, Limits, TooLargeError, Undecided
from meshscope.algebra.space import Product, Space

Kind = TypeVar("Kind", bound=Hashable)

Names: TypeAlias = Mapping[Slot, Mapping[str, Values]]
"""Sets of values by what a reader calls them."""

NONE: Final = "none"
"""Name of "there is no value": no such header, no identity, no claim."""
HOLDS: Final = "holds"
"""Name of "it holds" for what is not modelled."""
SHAPES: Final[Mapping[str, Values]] = {
    "a string": Numbers(((SCALAR, SCALAR),)),
    "a list": Numbers(((LIST, LIST),)),
}
"""Names of the shapes of a claim that is there."""

MOST_PRODUCTS: Final = 50
"""So many products of one set are looked for."""


_FEW: Final = 2
"""So many products are said as they are; of more the opposite may be shorter."""


@dataclass(frozen=True, slots=True)
class Term:
    """Values that are in all of some named sets and in none of others."""

    within: tuple[str, ...] = ()
    outside: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Part:
    """What a product asks of one slot.

    Attributes:
        slot: The slot.
        terms: The value meets one of them.
        element: For elements of a claim: True: one of them meets a term, False: none does.
    """

    slot: Slot
    terms: tuple[Term, ...]
    element: bool | None = None


Parts: TypeAlias = tuple[Part, ...]
"""A product: all parts hold; none: every request that can arrive."""


@dataclass(frozen=True, slots=True)
class Region:
    """A set of requests.

    Attributes:
        products: Their union, simplest requests first.
        complete: Whether that is the whole set; otherwise there are more than `MOST_PRODUCTS`.
        inverted: The products hold the requests that are *not* in the set, since these are fewer.
    """

    products: tuple[Parts, ...]
    complete: bool = True
    inverted: bool = False


def regions(
    one: DecisionList,
    other: DecisionList,
    group: Callable[[Any, Any], Kind],
    names: Names,
    given: Cube = (),
    limits: Limits = LIMITS,
) -> dict[Kind, Region] | Undecided:
    """The requests that two lists treat differently, by what happens to them.

    Args:
        one, other: The lists.
        group: What happens to a request, by the outcomes in both lists; asked only where they
            differ. Never None.
        names: Sets of values to speak of: at least the single values of all conditions.
        given: Requests that can arrive at all; nothing is said of what they have in common.
        limits: How much may be spent.
    """
    named = _with_own_names(names, (one, other), given)
    cubes = [*all_cubes((one, other), (given,)), *_cubes_of(named)]
    try:
        space = Space(cubes, limits)
        changed = space.store.mapped(
            effects(space, one, other),
            lambda both: None if both[0] == both[1] else group(*both),
        )
        finder = _Finder(space, given)
        found: dict[Kind, Region] = {}
        for kind in cheapest(finder.arriving(changed), space.cheapest):
            if kind is not None:
                products, complete, inverted = finder.shortest(
                    space.store.mapped(changed, partial(eq, kind))
                )
                spoken = tuple(_parts(space, finder.possible, named, each) for each in products)
                found[kind] = Region(spoken, complete, inverted)
        return found
    except TooLargeError as error:
        return Undecided(str(error))


def _with_own_names(names: Names, lists: Iterable[DecisionList], given: Cube) -> Names:
    """Names of all slots that the lists look at: those given, and those that need no words."""
    slots: dict[Slot, None] = {}
    for cube in all_cubes(lists, (given,)):
        for condition in cube:
            if isinstance(condition, Constraint):
                slots[condition.slot] = None
            else:
                slots[Slot(Dimension.CLAIM_ELEMENT, condition.claim)] = None
                slots[Slot(Dimension.CLAIM_SHAPE, condition.claim)] = None
    return {slot: {**names.get(slot, {}), **_own_names(slot)} for slot in slots}


def _own_names(slot: Slot) -> dict[str, Values]:
    domain = DIMENSIONS[slot.dimension]
    if slot.dimension is Dimension.OPAQUE:
        return {HOLDS: YES}
    if slot.dimension is Dimension.CLAIM_SHAPE:
        return dict(SHAPES)
    if isinstance(domain, TextDomain) and domain.optional:
        return {NONE: MISSING}
    return {}


def _cubes_of(names: Names) -> list[Cube]:
    found: list[Cube] = []
    for slot, sets in names.items():
        for values in sets.values():
            if slot.dimension is Dimension.CLAIM_ELEMENT and isinstance(values, Texts):
                found.append((Elements(slot.name, values.language),))
            else:
                found.append((Constraint(slot, values),))
    return found


class _Finder:
    """Finds products in diagrams of one space.

    Attributes:
        possible: Per level the atoms that can arrive.
    """

    def __init__(self, space: Space, given: Cube) -> None:
        self._space = space
        self._given = space.cubes_diagram((given,))
        self.possible = dict(enumerate(space.store.widths))
        products = space.products((given,))
        if len(products) == 1:
            self.possible.update(products[0])

    def arriving(self, diagram: Diagram) -> Diagram:
        """The diagram with outcome None for what cannot arrive."""
        return self._space.store.restrict(diagram, self._given)

    def shortest(self, wanted: Diagram) -> tuple[list[Product], bool, bool]:
        """Products of `wanted`, or of its opposite, and whether they are all and the opposite."""
        products, complete = self.products(wanted)
        if len(products) > _FEW:
            others, are_all = self.products(self._space.store.mapped(wanted, not_))
            if are_all and len(others) < len(products):
                return others, True, True
        return products, complete, False

    def products(self, wanted: Diagram) -> tuple[list[Product], bool]:
        """Products that make up what `wanted` says True of, and whether they are all."""
        found: list[Product] = []
        rest = self.arriving(wanted)
        while (way := cheapest(rest, self._space.cheapest).get(True)) is not None:
            if len(found) == MOST_PRODUCTS:
                return self._needed(wanted, found), False
            product = {level: 1 << atom for level, atom in way[1]}
            for level in sorted(product, reverse=True):
                product[level] = self._widest(wanted, product, level)
            found.append(product)
            rest = self._without(rest, product)
        return self._needed(wanted, found), True

    def _widest(self, wanted: Diagram, product: Product, level: int) -> int:
        """All atoms of a level with which the rest of the product still is in `wanted`."""
        everything = self.possible[level]
        memo: dict[int, int] = {}

        def run(diagram: Diagram) -> int:
            if isinstance(diagram, Leaf):
                return everything if diagram.outcome is True else 0
            found = memo.get(id(diagram))
            if found is None:
                if diagram.level == level:
                    # Below, the level is not asked again: all of its atoms do, or none.
                    found = 0
                    for atoms, child in diagram.branches:
                        found |= atoms & run(child)
                else:
                    asked = product.get(diagram.level, self.possible[diagram.level])
                    found = everything
                    for atoms, child in diagram.branches:
                        if atoms & asked and found:
                            found &= run(child)
                memo[id(diagram)] = found
            return found

        return run(wanted)

    def _without(self, diagram: Diagram, product: Product) -> Diagram:
        inside = self._space.product_diagram(product)
        return self._space.store.combine(
            diagram, inside, lambda whether, taken: whether is True and not taken
        )

    def _needed(self, wanted: Diagram, products: list[Product]) -> list[Product]:
        """The products without those that the others cover; the last ones are tried first."""
        kept = list(products)
        for product in reversed(products):
            others = [other for other in kept if other is not product]
            rest = self.arriving(self._space.product_diagram(product))
            for other in others:
                rest = self._without(rest, other)
            if True not in cheapest(rest, self._space.cheapest):
                kept = others
        return kept


def _parts(space: Space, possible: Mapping[int, int], names: Names, product: Product) -> Parts:
    found: list[Part] = []
    for level, atoms in sorted(product.items()):
        if atoms & possible[level] == possible[level]:
            continue
        slot, element = space.levels[level].slot, space.levels[level].element
        masks = [(name, space.atoms_of(slot, values)) for name, values in names[slot].items()]
        if element >= 0:
            terms = _terms(1 << element, _elements(space, possible, slot), masks, slot)
            found.append(Part(slot, terms, atoms == 0b10))
        else:
            found.append(Part(slot, _terms(atoms, possible[level], masks, slot)))
    return tuple(found)


def _elements(space: Space, possible: Mapping[int, int], slot: Slot) -> int:
    """The atoms of elements that a list can have."""
    return sum(
        1 << level.element
        for number, level in enumerate(space.levels)
        if level.slot == slot and possible[number] & 0b10
    )


def _terms(
    wanted: int, possible: int, masks: Sequence[tuple[str, int]], slot: Slot
) -> tuple[Term, ...]:
    """Few terms that mean the wanted atoms, among those that are possible."""
    wanted &= possible
    found: list[tuple[Term, int]] = []
    rest = wanted
    for name, inside in _largest_first(masks, wanted, possible):
        if inside & rest:
            found.append((Term((name,)), inside))
            rest &= ~inside
    while rest:
        term, inside = _term(rest & -rest, wanted, possible, masks, slot)
        found.append((term, inside))
        rest &= ~inside
    kept = list(found)
    for each in found:
        others = [other for other in kept if other is not each]
        covered = 0
        for _, inside in others:
            covered |= inside
        if others and not wanted & ~covered:
            kept = others
    return tuple(term for term, _ in kept)


def _largest_first(
    masks: Sequence[tuple[str, int]], wanted: int, possible: int
) -> list[tuple[str, int]]:
    """Named sets of nothing but wanted atoms."""
    inside = [(name, mask & possible) for name, mask in masks]
    fitting = [(name, mask) for name, mask in inside if mask and not mask & ~wanted]
    return sorted(fitting, key=lambda each: -each[1].bit_count())


def _term(
    atom: int, wanted: int, possible: int, masks: Sequence[tuple[str, int]], slot: Slot
) -> tuple[Term, int]:
    """A term around an atom that means nothing but wanted ones.

    Sets are named that shut out the most, until nothing is left that is not wanted.

    Raises:
        TooLargeError: The names do not tell the atom from others.
    """
    inside = possible
    chosen: list[tuple[str, bool, int]] = []
    while unwanted := inside & ~wanted:
        choices = [
            ((unwanted & ~mask).bit_count(), True, name, mask)
            if mask & atom
            else ((unwanted & mask).bit_count(), False, name, ~mask)
            for name, mask in masks
        ]
        gain, is_within, name, mask = max(choices, key=lambda c: c[:2], default=(0, True, "", 0))
        if not gain:
            raise TooLargeError(f"no names tell the values of {slot} apart")
        inside &= mask
        chosen.append((name, is_within, mask))
    # A set that was named early may say no more than later ones together.
    for each in list(chosen):
        without = possible
        for other in chosen:
            if other is not each:
                without &= other[2]
        if not without & ~wanted:
            chosen.remove(each)
            inside = without
    return Term(
        tuple(name for name, is_within, _ in chosen if is_within),
        tuple(name for name, is_within, _ in chosen if not is_within),
    ), inside
