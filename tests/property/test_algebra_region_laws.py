"""Sets of requests in words: exactly those that two lists treat differently."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from rule_lists import CLAIM, WORLD
from tried_rules import Tried, as_list, decide, matches, tried_rules, world

from meshscope.algebra.dimensions import LIST, SCALAR, Dimension, Numbers, Slot, Values
from meshscope.algebra.intervals import contains
from meshscope.algebra.limits import Undecided
from meshscope.algebra.regions import HOLDS, NONE, SHAPES, Names, Part, Parts, Region, regions
from meshscope.algebra.request import Request
from meshscope.comparison.request_names import names_of_access, names_of_routes


def values_at(request: Request, slot: Slot) -> list[Any]:
    """What stands in a slot; for elements of a claim each of them."""
    claim = dict(request.claims).get(CLAIM)
    match slot.dimension:
        case Dimension.PATH:
            return [request.path]
        case Dimension.METHOD:
            return [request.method]
        case Dimension.HEADER:
            return [dict(request.headers).get(slot.name)]
        case Dimension.QUERY:
            return [dict(request.query).get(slot.name)]
        case Dimension.CLAIM_SHAPE:
            return [0 if claim is None else SCALAR if isinstance(claim, str) else LIST]
        case Dimension.CLAIM:
            return [claim if isinstance(claim, str) else "a"]
        case Dimension.CLAIM_ELEMENT:
            return list(claim) if isinstance(claim, tuple) else []
    raise NotImplementedError(slot)


def is_in(values: Values, value: Any) -> bool:
    if isinstance(values, Numbers):
        return contains(values.members, value)
    return values.absent if value is None else value in values.language


def holds(names: Mapping[str, Values], name: str, value: Any) -> bool:
    assert name != HOLDS
    if name == NONE:
        return value is None
    return is_in(SHAPES[name] if name in SHAPES else names[name], value)


def part_holds(names: Names, part: Part, request: Request) -> bool:
    known = names.get(part.slot, {})
    met = [
        any(
            all(holds(known, name, value) for name in term.within)
            and not any(holds(known, name, value) for name in term.outside)
            for term in part.terms
        )
        for value in values_at(request, part.slot)
    ]
    return any(met) if part.element is not False else not any(met)


def product_holds(names: Names, parts: Parts, request: Request) -> bool:
    return all(part_holds(names, part, request) for part in parts)


def contains_request(names: Names, region: Region, request: Request) -> bool:
    held = any(product_holds(names, parts, request) for parts in region.products)
    return held != region.inverted


@settings(max_examples=30)
@given(tried_rules(4), tried_rules(3), st.data())
def test_the_products_are_what_is_treated_differently(
    one: list[Tried], new: list[Tried], data: st.DataObject
) -> None:
    cut = data.draw(st.integers(0, len(one)))
    other = [*one[:cut], *new, *one[cut + data.draw(st.integers(0, 2)) :]]
    routes, access = matches([*one, *new])
    names: dict[Slot, Mapping[str, Values]] = dict(names_of_routes(routes))
    for slot, sets in names_of_access(access).items():
        known = names.get(slot, {})
        names[slot] = {**known, **sets}
        assert all(known[name] == sets[name] for name in known.keys() & sets.keys())

    (given_cube,) = WORLD
    found = regions(as_list(one), as_list(other), lambda a, b: (a, b), names, given_cube)

    assert not isinstance(found, Undecided)
    assert all(region.complete for region in found.values())
    everything = world([*one, *new])
    members = {kind: set() for kind in found}
    for number, request in enumerate(everything):
        pair = decide(one, request), decide(other, request)
        kinds = [k for k, region in found.items() if contains_request(names, region, request)]
        assert kinds == ([pair] if pair[0] != pair[1] else [])
        for kind in kinds:
            members[kind].add(number)
    assert all(members.values())
