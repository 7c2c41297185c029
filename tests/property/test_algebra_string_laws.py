"""Regular languages: RE2's own answer, and the laws of sets."""

from __future__ import annotations

import pytest
import re2
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from matching import full_match, meets
from rule_lists import string_matches

from meshscope.algebra.conditions import language
from meshscope.algebra.partition import atoms_of_strings
from meshscope.algebra.regex import regex
from meshscope.algebra.strings import ANYTHING, Language
from meshscope.algebra.syntax import InvalidPatternError, UnmodelledError
from meshscope.policy.matches import StringMatch

_PIECES = (
    *("a", "b", "k", "/", ".", "-", "1", "é", ",", "{", "}", "(", ")", "|", "[", "]", "\\"),
    *(
        "*",
        "+",
        "?",
        "{2}",
        "{1,3}",
        "{0,}",
        "*?",
        "^",
        "$",
        "\\A",
        "\\z",
        "(?:",
        "(?P<n>",
        "(?<m>",
    ),
    *("[a-c]", "[^b]", "[]x]", "[a-]", "[^\\W]", "[[:alpha:]]", "[[:^digit:]k]", "\\d", "\\w"),
    *("\\S", "\\.", "\\x41", "\\x{e9}", "\\Qa*\\E", "\\n", "\\0", "\\12", "(?i)", "(?i:k", "(?-i)"),
    *("(?s).", "(?U)", "(?i-s)", "(?)", "\\b", "(?m)^", "\\pL"),
)
_TEXTS = st.text("abckKAxy/.19é\u212a\n -*\\{},", max_size=6)


@settings(max_examples=500, deadline=None)
@given(st.lists(st.sampled_from(_PIECES), max_size=7).map("".join), st.lists(_TEXTS, max_size=6))
def test_a_pattern_means_what_re2_takes_it_for(pattern: str, texts: list[str]) -> None:
    try:
        found = regex(pattern)
    except UnmodelledError:
        assume(False)
    except InvalidPatternError:
        with pytest.raises(re2.error):
            full_match(pattern, "")
        return
    for text in texts:
        assert (text in found) == full_match(pattern, text), text
    shortest = found.shortest()
    if shortest is not None:
        assert full_match(pattern, shortest)


@settings(max_examples=300, deadline=None)
@given(string_matches(), st.text("abABc", max_size=5))
def test_a_string_match_means_what_it_says(match: StringMatch, text: str) -> None:
    assert (text in language(match)) == meets(match, text)


@settings(max_examples=150, deadline=None)
@given(string_matches(), string_matches(), string_matches())
def test_laws_of_sets(first: StringMatch, second: StringMatch, third: StringMatch) -> None:
    a, b, c = language(first), language(second), language(third)
    assert a | b == b | a
    assert a & (b | c) == (a & b) | (a & c)
    assert ~(a | b) == ~a & ~b
    assert a - b == a & ~b
    assert (a <= b) == (a | b == b) == (not a - b)
    assert ~~a == a
    assert a | ~a == ANYTHING


@settings(max_examples=150, deadline=None)
@given(st.lists(string_matches(), max_size=6))
def test_atoms_are_the_combinations_that_occur(matches: list[StringMatch]) -> None:
    sets = [language(match) for match in matches]

    atoms = atoms_of_strings(sets, ANYTHING, (), 10_000)

    whole: Language | None = None
    for members, example in atoms.items():
        assert members == sum(1 << i for i, found in enumerate(sets) if example in found)
        part = ANYTHING
        for i, found in enumerate(sets):
            part = part & (found if members >> i & 1 else ~found)
        shortest = part.shortest()
        assert shortest is not None
        assert len(shortest) == len(example)
        whole = part if whole is None else whole | part
    assert whole == ANYTHING
