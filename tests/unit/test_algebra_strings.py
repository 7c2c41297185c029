"""Languages: direct forms, patterns, templates, limits."""

from __future__ import annotations

import pytest

from meshscope.algebra.limits import TooLargeError
from meshscope.algebra.regex import regex
from meshscope.algebra.strings import ANYTHING, NOTHING, containing, exact, prefix, suffix
from meshscope.algebra.syntax import InvalidPatternError, UnmodelledError
from meshscope.algebra.template import template


def test_one_language_has_one_form_however_it_is_written() -> None:
    assert exact("ab") == regex("ab") == regex("(?:a)(b)")
    assert prefix("/a", ignore_case=True) == regex(r"(?s)/[aA].*")
    assert suffix("aab") == regex("(?s).*aab")
    assert containing("aa") == regex("(?s).*a{2}.*")
    assert regex("a|b|c") == regex("[a-c]")
    assert prefix("") == suffix("") == containing("") == ANYTHING
    assert regex("a$b") == NOTHING


def test_case_is_folded_as_envoy_does_it() -> None:
    assert "ÄB" in exact("Äb", ignore_case=True)
    assert "äb" not in exact("Äb", ignore_case=True)
    # RE2 folds beyond ASCII, string matchers do not.
    assert "\u212a" in regex("(?i)k")
    assert "\u212a" not in exact("k", ignore_case=True)


def test_operations() -> None:
    api = prefix("/api/")
    assert exact("/api/v1") <= api
    assert not api <= exact("/api/v1")
    assert (api & suffix(".js")).shortest() == "/api/.js"
    assert (api - regex("/api/[a-z].*")).shortest() == "/api/"
    assert ~api & api == NOTHING
    assert NOTHING.shortest() is None
    assert not NOTHING


def test_examples_are_short_and_readable() -> None:
    assert regex(r"/v\d+/[^/]+").shortest() == "/v0/a"
    assert (~prefix("/")).shortest() == ""
    assert regex(r"[^a-z]").shortest() == "0"


@pytest.mark.parametrize("pattern", ["a**", "(", ")", "*a", "[b-a]", r"\Z", "a{1001}", "x{2}{3}"])
def test_what_re2_refuses_is_refused(pattern: str) -> None:
    with pytest.raises(InvalidPatternError):
        regex(pattern)


@pytest.mark.parametrize("pattern", [r"\bx", r"\pL", r"(?m)^a", "(?i)é", r"\C"])
def test_what_is_not_modelled_says_so(pattern: str) -> None:
    with pytest.raises(UnmodelledError):
        regex(pattern)


def test_large_automata_end_early() -> None:
    with pytest.raises(TooLargeError, match="states"):
        regex("(a|b)*a(a|b){20}")
    with pytest.raises(TooLargeError, match="parts"):
        regex("(?:(?:a|b|c|d){30}){33}" * 20)


def test_templates() -> None:
    assert template("/a/*/c") == regex(r"/a/[a-zA-Z0-9._~%!$&'()+,;:@=-]+/c")
    found = template("/v/{id}/{rest=**}.json")
    assert "/v/7/x/y.json" in found
    assert "/v/7/.json" in found
    assert "/v//x.json" not in found
    assert "/v/7/x?.json" not in found
    with pytest.raises(InvalidPatternError):
        template("/a/{b")
    with pytest.raises(InvalidPatternError):
        template("a")
