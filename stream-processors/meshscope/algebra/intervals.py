"""Sets of whole numbers as intervals: ports, addresses, characters."""

from collections.abc import Iterable
from typing import TypeAlias

Intervals: TypeAlias = tuple[tuple[int, int], ...]
"""Pairs of first and last number: ascending, apart from each other by at least one number."""


def intervals(pairs: Iterable[tuple[int, int]]) -> Intervals:
    """The canonical form of pairs in any order that may overlap."""
    merged: list[tuple[int, int]] = []
    for first, last in sorted(pairs):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(merged[-1][1], last))
        else:
            merged.append((first, last))
    return tuple(merged)


def union(one: Intervals, other: Intervals) -> Intervals:
    """Numbers that are in either."""
    return intervals((*one, *other))


def complement(numbers: Intervals, top: int) -> Intervals:
    """The numbers from 0 to `top` that are not in `numbers`."""
    gaps: list[tuple[int, int]] = []
    begin = 0
    for first, last in numbers:
        if begin < first:
            gaps.append((begin, first - 1))
        begin = last + 1
    if begin <= top:
        gaps.append((begin, top))
    return tuple(gaps)


def intersection(one: Intervals, other: Intervals) -> Intervals:
    """Numbers that are in both."""
    common = []
    left, right = 0, 0
    while left < len(one) and right < len(other):
        first = max(one[left][0], other[right][0])
        last = min(one[left][1], other[right][1])
        if first <= last:
            common.append((first, last))
        if one[left][1] < other[right][1]:
            left += 1
        else:
            right += 1
    return tuple(common)


def contains(numbers: Intervals, number: int) -> bool:
    """Whether a number is in the set."""
    return any(first <= number <= last for first, last in numbers)
