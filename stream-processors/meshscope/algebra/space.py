"""The space that a set of conditions spans: per slot its atoms, and every condition over them."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

from meshscope.algebra.diagrams import Diagram, Store
from meshscope.algebra.dimensions import (
    DIMENSIONS,
    Constraint,
    Cube,
    Dimension,
    Elements,
    NumberDomain,
    Numbers,
    Slot,
    TextDomain,
    Texts,
    Values,
)
from meshscope.algebra.limits import LIMITS, Limits, TooLargeError
from meshscope.algebra.partition import atoms_of_numbers, atoms_of_strings
from meshscope.algebra.regex import regex

Value = str | int | None
"""A value in a slot; None: there is none."""

Product = dict[int, int]
"""Atoms by level, as a set of bits; all atoms where a level is not named. Never an empty set."""

_ODD = 1_000
"""What it costs an example that a value is there, or is missing, where one would not expect it."""

UNKNOWN_COST = 1_000_000
"""What it costs an example to depend on what nobody knows: any length is better."""

_ORDER = {dimension: place for place, dimension in enumerate(Dimension)}


@dataclass(frozen=True, slots=True)
class Level:
    """What diagrams ask for at one level.

    Attributes:
        slot: Where the value stands.
        examples: One value of each atom; None: there is none.
        costs: How far each atom is from a plain request: 0 for what a request has anyway.
        element: For elements of claims, which atom of the elements is asked for: atom 0 of the
            level says that the list has no such element, atom 1 that it has.
    """

    slot: Slot
    examples: tuple[Value, ...]
    costs: tuple[int, ...]
    element: int = -1


class Space:
    """Levels, and the atoms of every condition that it was built from.

    Attributes:
        levels: In the order in which diagrams ask.
        store: The diagrams over them.
        limits: What may be spent.
    """

    def __init__(self, cubes: Iterable[Cube], limits: Limits = LIMITS) -> None:
        """Cut every slot by all conditions of `cubes`.

        Raises:
            TooLargeError: It takes more than the limits allow.
        """
        self.limits = limits
        values: dict[Slot, dict[Values, None]] = {}
        used: Counter[Slot] = Counter()
        for cube in cubes:
            for condition in cube:
                slot, found = _read(condition)
                values.setdefault(slot, {})[found] = None
                used[slot] += 1
                if isinstance(condition, Elements):
                    values.setdefault(Slot(Dimension.CLAIM_SHAPE, condition.claim), {})
        if len(values) > limits.slots:
            raise TooLargeError(f"the conditions look at more than {limits.slots} things")
        levels: list[Level] = []
        self._atoms: dict[tuple[Slot, Values], int] = {}
        self._places: dict[tuple[Slot, int], int] = {}
        for slot in sorted(values, key=lambda s: (_ORDER[s.dimension], -used[s], s.name)):
            for level in self._cut(slot, list(values[slot])):
                self._places[slot, level.element] = len(levels)
                levels.append(level)
        if len(levels) > limits.slots:
            raise TooLargeError(f"the conditions look at more than {limits.slots} things")
        self.levels = tuple(levels)
        self.store = Store(tuple((1 << len(level.examples)) - 1 for level in levels), limits.nodes)

    def _cut(self, slot: Slot, values: list[Values]) -> list[Level]:
        """The levels of a slot: one, but for elements of claims one for each atom."""
        atoms = _atoms(slot, values, self.limits.steps)
        within = [0] * len(values)
        for number, members in enumerate(atoms):
            for index in bits(members):
                within[index] |= 1 << number
        self._atoms.update(((slot, found), within[i]) for i, found in enumerate(values))
        examples = tuple(atoms.values())
        if slot.dimension is not Dimension.CLAIM_ELEMENT:
            return [Level(slot, examples, tuple(_cost(slot, example) for example in examples))]
        return [
            Level(slot, (None, example), (0, 1 + len(str(example))), element)
            for element, example in enumerate(examples)
        ]

    def products(self, cubes: Sequence[Cube]) -> tuple[Product, ...]:
        """Products of atoms that hold the same requests as the cubes together.

        Raises:
            TooLargeError: There are more than the limits allow.
        """
        found: list[Product] = []
        for cube in cubes:
            for choice in product(*(self._choices(condition) for condition in cube)):
                merged = self._merged(choice)
                if merged is not None:
                    found.append(merged)
                if len(found) > self.limits.products:
                    raise TooLargeError(f"a rule has more than {self.limits.products} alternatives")
        return tuple(found)

    def _choices(self, condition: Constraint | Elements) -> list[list[tuple[int, int]]]:
        """A condition as alternatives of (level, atoms) that must all hold."""
        slot, values = _read(condition)
        atoms = self._atoms[slot, values]
        if isinstance(condition, Constraint):
            return [[(self._places[slot, -1], atoms)]]
        places = [self._places[slot, number] for number in bits(atoms)]
        if condition.none:
            return [[(place, 0b01) for place in places]]
        return [[(place, 0b10)] for place in places]

    def _merged(self, choice: Iterable[list[tuple[int, int]]]) -> Product | None:
        merged: Product = {}
        for conditions in choice:
            for level, atoms in conditions:
                merged[level] = merged.get(level, self.store.widths[level]) & atoms
                if not merged[level]:
                    return None
        return {
            level: atoms for level, atoms in merged.items() if atoms != self.store.widths[level]
        }

    def cheapest(self, level: int, atoms: int) -> tuple[int, int]:
        """Cost and number of the cheapest of some atoms of a level."""
        costs = self.levels[level].costs
        return min((costs[atom], atom) for atom in bits(atoms))

    def completed(self, atoms: Mapping[int, int]) -> dict[int, int]:
        """An atom for every level: the cheapest one where none is given."""
        return {
            level: atoms[level] if level in atoms else self.cheapest(level, width)[1]
            for level, width in enumerate(self.store.widths)
        }

    def cubes_diagram(self, cubes: Sequence[Cube]) -> Diagram:
        """The diagram that says whether a request is in one of the cubes."""
        whole: Diagram = self.store.leaf(False)
        for conditions in self.products(cubes):
            part = self.product_diagram(conditions)
            whole = self.store.combine(whole, part, lambda one, other: one or other)
        return whole

    def product_diagram(self, conditions: Product) -> Diagram:
        """The diagram that says whether a request is in a product."""
        store = self.store
        part: Diagram = store.leaf(True)
        for level in sorted(conditions, reverse=True):
            atoms = conditions[level]
            rest = store.widths[level] & ~atoms
            part = store.node(level, iter(((atoms, part), (rest, store.leaf(False)))))
        return part

    def atoms_of(self, slot: Slot, values: Values) -> int:
        """The atoms of a slot that values of the conditions consist of."""
        return self._atoms[slot, values]


def _read(condition: Constraint | Elements) -> tuple[Slot, Values]:
    if isinstance(condition, Constraint):
        return condition.slot, condition.values
    return Slot(Dimension.CLAIM_ELEMENT, condition.claim), Texts(condition.language)


def _atoms(slot: Slot, values: list[Values], steps: int) -> dict[int, Value]:
    """Examples of the atoms, by the values they are in."""
    domain = DIMENSIONS[slot.dimension]
    atoms: dict[int, Value] = {}
    if isinstance(domain, NumberDomain):
        sets = [found.members for found in values if isinstance(found, Numbers)]
        atoms.update(atoms_of_numbers(sets, domain.top, domain.samples))
        return atoms
    texts = [value for value in values if isinstance(value, Texts)]
    absent = sum(1 << i for i, text in enumerate(texts) if text.absent)
    if domain.optional and not domain.samples:
        atoms[absent] = None
    languages = [text.language for text in texts]
    for universe in (*map(regex, domain.usual), domain.language):
        found = atoms_of_strings(languages, universe, domain.samples, steps)
        for members, example in found.items():
            atoms.setdefault(members, example)
    if domain.optional:
        atoms.setdefault(absent, None)
    return atoms


def _cost(slot: Slot, example: Value) -> int:
    domain = DIMENSIONS[slot.dimension]
    if slot.dimension is Dimension.OPAQUE:
        return UNKNOWN_COST
    if domain.samples and example == domain.samples[0]:
        return 0
    if isinstance(domain, TextDomain) and domain.optional:
        if example is None:
            return _ODD if domain.samples else 0
        return 2 + len(str(example)) + _unusual(domain, str(example))
    return 1 + (len(str(example)) if isinstance(example, str) else 0)


def _unusual(domain: TextDomain, example: str) -> int:
    """What an example costs for being none that one would meet."""
    is_usual = not domain.usual or any(example in regex(each) for each in domain.usual)
    return 0 if is_usual else _ODD


def bits(mask: int) -> list[int]:
    """The numbers of the bits that are set."""
    found = []
    while mask:
        low = mask & -mask
        found.append(low.bit_length() - 1)
        mask ^= low
    return found
