"""Lists of rules against counting: a few hundred here, with `--lists 100000` as many as that.

What the algebra says of which rules ever decide, and of what two lists treat differently, must be
what counting out all requests says; "undecided" counts as wrong. Beside it the pairwise rule by
which `istioctl analyze` finds unreachable rules is measured on the same lists.
"""

from __future__ import annotations

import time
from collections import Counter
from random import Random

import pytest
from counted_lists import as_list, changed, changes, pairwise, routes_only, rules, standings
from rule_lists import WORLD

from meshscope.algebra.decision_list import differences, review
from meshscope.algebra.limits import Undecided

FEW = 150
DEAD = ("shadowed", "impossible")


def compare_list(chance: Random, seen: Counter[str]) -> None:
    one = rules(chance)
    other = changed(chance, one)

    found = review(as_list(one), WORLD)
    assert not isinstance(found, Undecided), one
    counted = standings(one)
    assert [each.standing for each in found] == counted, one
    seen.update(counted)

    apart = differences(as_list(one), as_list(other), WORLD)
    assert not isinstance(apart, Undecided), (one, other)
    expected = changes(one, other)
    assert {(each.before, each.after) for each in apart} == expected, (one, other)
    seen["lists that act otherwise" if expected else "lists that act alike"] += 1

    if routes_only(one):
        dead = {number for number, standing in enumerate(counted) if standing in DEAD}
        simple = set(pairwise(one))
        seen["dead rules of routes"] += len(dead)
        seen["of these by the pairwise rule"] += len(simple & dead)
        seen["others by the pairwise rule"] += len(simple - dead)


def test_lists_mean_what_counting_says(
    pytestconfig: pytest.Config, capsys: pytest.CaptureFixture[str]
) -> None:
    wanted = pytestconfig.getoption("lists")
    chance = Random(pytestconfig.getoption("lists_seed"))  # noqa: S311 - no secret
    seen: Counter[str] = Counter()
    began = time.perf_counter()
    for _ in range(wanted or FEW):
        compare_list(chance, seen)
    assert min(seen[standing] for standing in ("decides", "redundant", *DEAD)) > FEW // 20
    assert seen["lists that act alike"] > FEW // 20
    if wanted:
        with capsys.disabled():
            print(f"\n{wanted} lists in {time.perf_counter() - began:.0f} s: {dict(seen)}")
