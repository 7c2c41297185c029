"""Boundary requests tell every change of a single condition that matters, and none is idle."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given, settings
from rule_lists import WORLD
from tried_rules import OTHERWISE, Tried, as_list, decide, of_access, of_route, tried_rules, world

from meshscope.algebra.boundary import Boundaries, Mutation, boundary_requests
from meshscope.algebra.decision_list import differences
from meshscope.algebra.limits import Undecided
from meshscope.algebra.neighbours import Match, neighbours
from meshscope.policy.http_route import RouteMatch


def mutants(tried: Sequence[Tried]) -> list[tuple[Mutation, list[Tried]]]:
    """Every list that differs in one rule, in a single condition or by not having it."""
    found = []
    for number, rule in enumerate(tried):
        before, after = tried[:number], tried[number + 1 :]
        found.append((Mutation(number, "left out", 0), [*before, *after]))
        for place, (words, changed) in enumerate(neighbours(rule.match), 1):
            mutant = _tried(changed, rule)
            found.append((Mutation(number, words, place), [*before, mutant, *after]))
    return found


def _tried(match: Match, rule: Tried) -> Tried:
    outcome = rule.decision.outcome
    assert isinstance(outcome, int)
    return of_route(match, outcome) if isinstance(match, RouteMatch) else of_access(match, outcome)


def boundaries(tried: Sequence[Tried]) -> Boundaries:
    rules = [(rule.match, rule.decision.outcome) for rule in tried]
    found = boundary_requests(rules, OTHERWISE, WORLD)
    assert not isinstance(found, Undecided)
    return found


@settings(max_examples=10)
@given(tried_rules(4))
def test_every_change_that_matters_is_told(tried: list[Tried]) -> None:
    found = boundaries(tried)

    asked = [each.request for each in found.requests]
    for each in found.requests:
        assert each.outcome == decide(tried, each.request)
        assert not each.request.assumes
        expected = None if each.rule is None else tried[each.rule].decision.outcome
        assert each.outcome == (OTHERWISE if each.rule is None else expected)
    told: set[Mutation] = set()
    for mutation, mutant in mutants(tried):
        tell = [n for n, r in enumerate(asked) if decide(mutant, r) != decide(tried, r)]
        assert tell == [n for n, each in enumerate(found.requests) if mutation in each.tells]
        if tell:
            told.add(mutation)
            assert mutation not in found.without_effect
            continue
        assert mutation in found.without_effect
        # No request at all would tell it: by the oracle, and by the algebra.
        everything = world([*tried, *mutant])
        assert all(decide(mutant, r) == decide(tried, r) for r in everything)
        assert differences(as_list(tried), as_list(mutant), WORLD) == ()
    for number in range(len(found.requests)):
        others = [each.tells for n, each in enumerate(found.requests) if n != number]
        assert set().union(*others) < told
    assert found == boundaries(tried)
