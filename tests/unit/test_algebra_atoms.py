"""Atoms of numbers, addresses and strings."""

from __future__ import annotations

import pytest

from meshscope.algebra.addresses import LAST, address_at, network, number_of
from meshscope.algebra.intervals import complement, contains, intersection, intervals, union
from meshscope.algebra.limits import TooLargeError
from meshscope.algebra.partition import atoms_of_numbers, atoms_of_strings
from meshscope.algebra.regex import regex
from meshscope.algebra.strings import containing, exact, prefix


def test_intervals_are_canonical() -> None:
    assert intervals([(5, 9), (1, 2), (3, 4), (20, 30), (22, 25)]) == ((1, 9), (20, 30))
    assert complement(((0, 3), (7, 9)), 10) == ((4, 6), (10, 10))
    assert intersection(((0, 5), (8, 9)), ((4, 8),)) == ((4, 5), (8, 8))
    assert union(((0, 1),), ((2, 3),)) == ((0, 3),)
    assert contains(((1, 2), (5, 5)), 5)
    assert not contains(((1, 2), (5, 5)), 4)


def test_networks_of_both_families_share_a_line() -> None:
    assert contains(network("10.0.0.0/8"), number_of("10.255.255.255"))
    assert not contains(network("10.0.0.0/8"), number_of("11.0.0.0"))
    assert not intersection(network("0.0.0.0/0"), network("::/0"))
    assert union(network("0.0.0.0/0"), network("::/0")) == ((0, LAST),)
    for address in ("10.0.0.7", "fd00::7"):
        assert address_at(number_of(address)) == address
    with pytest.raises(ValueError, match="rubbish"):
        network("rubbish")


def test_numbers_fall_into_the_parts_that_sets_tell_apart() -> None:
    assert atoms_of_numbers([((80, 90),), ((85, 100),)], 65_535, (80,)) == {
        0b01: 80,
        0b00: 0,
        0b11: 85,
        0b10: 91,
    }


def test_strings_fall_into_the_parts_that_languages_tell_apart() -> None:
    paths = regex("/[^?]*")
    sets = [prefix("/a"), exact("/a"), containing("x"), prefix("b")]

    # Nothing in the universe begins with b, so there is no atom for it.
    assert atoms_of_strings(sets, paths, ("/",), 1_000) == {
        0b0000: "/",
        0b0001: "/aa",
        0b0011: "/a",
        0b0100: "/x",
        0b0101: "/ax",
    }


def test_samples_are_preferred_to_shorter_words() -> None:
    assert atoms_of_strings([exact("GET")], regex("[A-Z]+"), ("GET", "POST"), 100) == {
        1: "GET",
        0: "POST",
    }


def test_many_entangled_patterns_end_early() -> None:
    patterns = [containing(f"{chr(97 + i)}{chr(98 + i)}") for i in range(20)]
    with pytest.raises(TooLargeError, match="20 patterns"):
        atoms_of_strings(patterns, regex(".*"), (), 2_000)
