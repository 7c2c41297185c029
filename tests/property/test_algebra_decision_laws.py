"""What the algebra says of lists of rules, against counting out all requests of a small world."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st
from rule_lists import WORLD
from tried_rules import Tried, as_list, decide, tried_rules, world

from meshscope.algebra.decision_list import differences, review
from meshscope.algebra.limits import Undecided
from meshscope.algebra.request import Request


def standing(tried: Sequence[Tried], number: int, everything: Sequence[Request]) -> str:
    mine = [request for request in everything if tried[number].holds(request)]
    firsts = [r for r in mine if not any(rule.holds(r) for rule in tried[:number])]
    after = tried[number + 1 :]
    if any(decide(after, r) != tried[number].decision.outcome for r in firsts):
        return "decides"
    return "redundant" if firsts else "shadowed" if mine else "impossible"


@settings(max_examples=150, deadline=None)
@given(tried_rules())
def test_what_each_rule_is_good_for(tried: list[Tried]) -> None:
    found = review(as_list(tried), WORLD)

    assert not isinstance(found, Undecided)
    everything = world(tried)
    for number, rule_review in enumerate(found):
        assert rule_review.standing == standing(tried, number, everything)
        example = rule_review.example
        if example is None:
            assert rule_review.standing == "impossible"
            continue
        assert tried[number].holds(example)
        earlier = [n for n in range(number) if tried[n].holds(example)]
        if rule_review.standing == "shadowed":
            assert earlier[0] in rule_review.earlier
        else:
            assert earlier == []


@settings(max_examples=150, deadline=None)
@given(tried_rules(), tried_rules(3), st.data())
def test_which_requests_two_lists_treat_differently(
    one: list[Tried], new: list[Tried], data: st.DataObject
) -> None:
    cut = data.draw(st.integers(0, len(one)))
    other = [*one[:cut], *new, *one[cut + data.draw(st.integers(0, 2)) :]]

    found = differences(as_list(one), as_list(other), WORLD)

    assert not isinstance(found, Undecided)
    pairs = {(decide(one, r), decide(other, r)) for r in world([*one, *new])}
    assert {(change.before, change.after) for change in found} == {
        (before, after) for before, after in pairs if before != after
    }
    for change in found:
        assert decide(one, change.example) == change.before
        assert decide(other, change.example) == change.after


@settings(max_examples=50, deadline=None)
@given(tried_rules())
def test_leaving_out_what_never_decides_changes_nothing(tried: list[Tried]) -> None:
    found = review(as_list(tried), WORLD)
    assert not isinstance(found, Undecided)
    dead = {n for n, said in enumerate(found) if said.standing in ("shadowed", "impossible")}

    kept = [rule for number, rule in enumerate(tried) if number not in dead]

    assert differences(as_list(tried), as_list(kept), WORLD) == ()
