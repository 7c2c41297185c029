"""Neutral rewrites are no drift, and one harmful edit among them is: a few here, `--lists N` more.

Rewrites mean the same by construction, whatever the algebra thinks of them: rules that exclude each
other change places, a rule is split by a condition or given twice, text is matched by a pattern,
what is denied is the complement of what is allowed. An edit is harmful where counting out a small
world finds a request that is treated otherwise.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from random import Random

import pytest
from counted_lists import METHODS, OTHERWISE, Rules, access, changed, changes, route

from meshscope.algebra.neighbours import neighbours
from meshscope.comparison.behaviour import Behaviour, behaviour
from meshscope.policy import key as keys
from meshscope.policy.authorization import Authorization, Condition, Rule
from meshscope.policy.http_route import Forward, HttpRoute, HttpRule, RouteMatch
from meshscope.policy.matches import HeaderMatch, PathMatch, QueryMatch, StringMatch
from meshscope.policy.policy import Policy
from meshscope.policy.target import Target, WeightedTarget

FEW = 60
ROUTES = keys.http_route("80", "cart:80")
ACCESS = keys.authorization(8080, "plaintext", "http")

Routes = list[tuple[RouteMatch, int]]


def only(match: RouteMatch, method: str, *, invert: bool = False) -> RouteMatch:
    header = HeaderMatch(":method", StringMatch("exact", method), invert)
    return replace(match, headers=(*match.headers, header))


# Rewrites of routes


def swapped(chance: Random, given: Routes, place: int) -> Routes:
    """A rule beside one for another method: they change places."""
    match, outcome = given[place]
    one, other = chance.sample(METHODS, 2)
    pair = [(only(match, one), outcome), (only(route(chance), other), chance.randint(0, 2))]
    return [*given[:place], *pair, *given[place + 1 :]]


def split(chance: Random, given: Routes, place: int) -> Routes:
    """A rule in two: with a method, and with any other."""
    match, outcome = given[place]
    method = chance.choice(METHODS)
    parts = [(only(match, method), outcome), (only(match, method, invert=True), outcome)]
    chance.shuffle(parts)
    return [*given[:place], *parts, *given[place + 1 :]]


def split_by_query(chance: Random, given: Routes, place: int) -> Routes:
    """A rule after a narrower one with the same outcome."""
    match, outcome = given[place]
    asked = QueryMatch(chance.choice("qr"), StringMatch("present"))
    narrower = replace(match, query=(*match.query, asked))
    return [*given[:place], (narrower, outcome), (match, outcome), *given[place + 1 :]]


def repeated(chance: Random, given: Routes, place: int) -> Routes:
    """A rule that stands once more after itself, with an outcome that it never has."""
    later = chance.randint(place + 1, len(given))
    return [*given[:later], (given[place][0], chance.randint(0, 2)), *given[later:]]


def as_pattern(_: Random, given: Routes, place: int) -> Routes:
    """Text that is matched by a pattern."""
    match, outcome = given[place]
    return [
        *given[:place],
        (replace(match, path=pattern(match.path)), outcome),
        *given[place + 1 :],
    ]


def pattern(found: PathMatch) -> PathMatch:
    case = "" if found.case_sensitive else "(?i)"
    text = re.escape(found.value)
    match found.type:
        case "exact":
            return PathMatch("regex", f"{case}{text}")
        case "prefix":
            return PathMatch("regex", f"{case}{text}.*")
        case "path_separated_prefix":
            return PathMatch("regex", f"{case}{text}(/.*)?")
    return replace(found, value=f"(?:{found.value})")


def in_two_forms(_: Random, given: Routes, place: int) -> Routes:
    """A prefix of whole segments as the exact path and the prefix with a slash."""
    match, outcome = given[place]
    value = match.path.value.rstrip("/") or "/a"
    case = match.path.case_sensitive
    parts = [
        (replace(match, path=PathMatch("exact", value, case)), outcome),
        (replace(match, path=PathMatch("prefix", f"{value}/", case)), outcome),
    ]
    return [*given[:place], *parts, *given[place + 1 :]]


def before_in_two_forms(given: Routes, place: int) -> Routes:
    match, outcome = given[place]
    value = match.path.value.rstrip("/") or "/a"
    separated = PathMatch("path_separated_prefix", value, match.path.case_sensitive)
    return [*given[:place], (replace(match, path=separated), outcome), *given[place + 1 :]]


def before_swapped(given: Routes, after: Routes, place: int) -> Routes:
    return [*after[:place], after[place + 1], after[place], *after[place + 2 :]]


REWRITES: dict[str, Callable[[Random, Routes, int], Routes]] = {
    "swapped": swapped,
    "split": split,
    "split by a narrower rule": split_by_query,
    "repeated": repeated,
    "as a pattern": as_pattern,
    "in two forms": in_two_forms,
}


def rewritten(chance: Random, name: str) -> tuple[Routes, Routes]:
    """Routes, and the same in another form."""
    given: Routes = [(route(chance), chance.randint(0, 2)) for _ in range(chance.randint(1, 6))]
    place = chance.randrange(len(given))
    if name == "in two forms":
        # A pattern has no segments.
        path = given[place][0].path
        if path.type == "regex":
            given[place] = (replace(given[place][0], path=PathMatch("prefix", "/aB")), 0)
        before = before_in_two_forms(given, place)
        return before, REWRITES[name](chance, given, place)
    after = REWRITES[name](chance, given, place)
    if name == "swapped":
        return before_swapped(given, after, place), after
    return given, after


def of_routes(one: Rules, other: Rules) -> Behaviour | None:
    def policy(given: Rules) -> Policy:
        host = HttpRoute(
            ("cart",),
            tuple(
                HttpRule(match, forward=Forward((WeightedTarget(Target("named", str(to))),)))
                for match, to in given
                if isinstance(match, RouteMatch)
            ),
        )
        return Policy(ROUTES, host)

    return behaviour(policy(one), policy(other))


# Rewrites of access rules


def complement(chance: Random) -> tuple[Authorization, Authorization]:
    """DENY of all but some requests, and ALLOW of these."""
    values = tuple(
        StringMatch(chance.choice(("exact", "prefix")), chance.choice(("/a", "/b", "/a/b")))
        for _ in range(chance.randint(1, 2))
    )
    asked = Condition("path", values=values)
    deny = Rule("ns/p", 0, operations=((replace(asked, negated=True),),))
    return Authorization(deny=(deny,)), Authorization(allow=(Rule("ns/p", 0, ((asked,),)),))


def regrouped(chance: Random) -> tuple[Authorization, Authorization]:
    """Each alternative of a rule as a rule of its own, in any order, and one of them twice."""
    given = tuple(access(chance) for _ in range(chance.randint(1, 3)))
    parts = [
        Rule("ns/q", n, (source,), (operation,))
        for n, each in enumerate(given)
        for source in each.sources
        for operation in each.operations
    ]
    parts.append(replace(chance.choice(parts), policy="ns/r"))
    chance.shuffle(parts)
    if chance.random() < 0.5:
        return Authorization(allow=given), Authorization(allow=tuple(parts))
    return Authorization(deny=given), Authorization(deny=tuple(parts))


def decided(given: Authorization) -> Rules:
    """Access rules as a list: outcome 0 is denied, the outcome where none matches allowed."""
    if given.deny is not None:
        return tuple((found, 0) for found in given.deny)
    allowed = tuple((found, OTHERWISE) for found in given.allow or ())
    return (*allowed, (Rule("", 0), 0))


ACCESS_REWRITES: dict[str, Callable[[Random], tuple[Authorization, Authorization]]] = {
    "complement": complement,
    "regrouped": regrouped,
}


def of_access(one: Authorization, other: Authorization) -> Behaviour | None:
    return behaviour(Policy(ACCESS, one), Policy(ACCESS, other))


# The same with one harmful edit


def edited(chance: Random, given: Rules) -> Rules:
    """One rule is changed in a condition, or otherwise."""
    place = chance.randrange(len(given))
    match, outcome = given[place]
    options = [changed for _, changed in neighbours(match)]
    if options and chance.random() < 0.7:
        return (*given[:place], (chance.choice(options), outcome), *given[place + 1 :])
    found = changed(chance, given)
    while not all(isinstance(each, type(match)) for each, _ in found):
        found = changed(chance, given)
    return found


def test_neutral_rewrites_are_no_drift_and_harmful_edits_are(
    pytestconfig: pytest.Config, capsys: pytest.CaptureFixture[str]
) -> None:
    wanted = pytestconfig.getoption("lists")
    chance = Random(pytestconfig.getoption("lists_seed"))  # noqa: S311 - no secret
    seen: Counter[str] = Counter()
    for _ in range((wanted or FEW) // 2):
        name = chance.choice(list(REWRITES))
        before, after = rewritten(chance, name)
        assert of_routes(tuple(before), tuple(after)) == Behaviour("equivalent"), (before, after)
        seen[name] += 1
        harmed = edited(chance, tuple(after))
        if changes(tuple(before), harmed):
            found = of_routes(tuple(before), harmed)
            assert found is not None, (before, harmed)
            assert found.effect != "equivalent", (before, harmed)
            assert found.witness, (before, harmed)
            seen["harmful edits found"] += 1

        name = chance.choice(list(ACCESS_REWRITES))
        one, other = ACCESS_REWRITES[name](chance)
        assert of_access(one, other) == Behaviour("equivalent"), (one, other)
        seen[name] += 1
        listed = other.deny if other.deny is not None else other.allow
        assert listed
        rule, *rest = listed
        option = chance.choice([changed for _, changed in neighbours(rule)] or [None])
        kept = tuple(r for r in (option, *rest) if isinstance(r, Rule))
        harmed_access = replace(other, **{"deny" if other.deny is not None else "allow": kept})
        if changes(decided(one), decided(harmed_access)):
            found = of_access(one, harmed_access)
            assert found is not None, (one, harmed_access)
            assert found.effect in ("exposes", "blocks"), (one, harmed_access)
            seen["harmful edits found"] += 1
    assert all(seen[name] for name in (*REWRITES, *ACCESS_REWRITES))
    assert seen["harmful edits found"] > FEW // 6
    if wanted:
        with capsys.disabled():
            print(f"\n{dict(seen)}")
