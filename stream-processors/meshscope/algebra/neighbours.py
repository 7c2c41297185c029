"""Rules that differ from a rule in a single condition, as they do after the usual mistakes.

A condition is left out or turned into its opposite; a value is missing; text is compared as
another kind of match would (exact for prefix, whole segments for characters, with or without
case), or is a character shorter; a network or port is the next one. `boundary.py` asks for requests
that tell these.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from ipaddress import ip_network
from typing import Final, Literal, TypeAlias, TypeVar

from meshscope.policy.authorization import Alternative, Condition, Rule
from meshscope.policy.http_route import RouteMatch
from meshscope.policy.matches import (
    HeaderMatch,
    MetadataMatch,
    PathMatch,
    PathMatchType,
    QueryMatch,
    StringMatch,
    StringMatchType,
)

Match: TypeAlias = RouteMatch | Rule
"""What a rule asks of a request: a route's conditions, or an access rule's."""

T = TypeVar("T")
Listed = TypeVar("Listed", Condition, MetadataMatch)

_NEVER: Final = Condition("never")
_ADDRESSES: Final = frozenset({"direct_remote_ip", "remote_ip", "source_ip", "destination_ip"})
_LISTS: Final[tuple[Literal["no", "also", "only"], ...]] = ("no", "also", "only")

_TEXT_TYPES: Final[dict[StringMatchType, tuple[StringMatchType, ...]]] = {
    "exact": ("prefix", "suffix"),
    "prefix": ("exact", "contains"),
    "suffix": ("exact", "contains"),
    "contains": ("prefix", "suffix"),
    "regex": (),
    "present": (),
}
_PATH_TYPES: Final[dict[PathMatchType, tuple[PathMatchType, ...]]] = {
    "exact": ("prefix", "path_separated_prefix"),
    "prefix": ("exact", "path_separated_prefix"),
    "path_separated_prefix": ("exact", "prefix"),
    "regex": (),
    "template": (),
    "connect": (),
}


def neighbours(match: Match) -> Iterator[tuple[str, Match]]:
    """Rules that differ in one condition, each with what was done."""
    if isinstance(match, RouteMatch):
        yield from _of_route(match)
        return
    for words, changed in _of_alternatives(match.sources):
        yield words, replace(match, sources=changed)
    for words, changed in _of_alternatives(match.operations):
        yield words, replace(match, operations=changed)


def _of_alternatives(
    alternatives: tuple[Alternative, ...],
) -> Iterator[tuple[str, tuple[Alternative, ...]]]:
    for place, alternative in enumerate(alternatives):
        for words, changed in _of_alternative(alternative):
            yield words, (*alternatives[:place], changed, *alternatives[place + 1 :])


def _of_alternative(alternative: Alternative) -> Iterator[tuple[str, Alternative]]:
    for place, condition in enumerate(alternative):
        before, after = alternative[:place], alternative[place + 1 :]
        name = f"{condition.attribute} {condition.name}".rstrip()
        yield f"{name} left out", (*before, *after)
        yield f"{name} never met", (*before, _NEVER, *after)
        for words, changed in _of_condition(condition):
            yield f"{name} {words}", (*before, changed, *after)


def _of_condition(condition: Condition) -> Iterator[tuple[str, Condition]]:
    yield "turned round", replace(condition, negated=not condition.negated)
    if condition.attribute == "header" and not condition.name.startswith(":"):
        yield (
            "missing counts otherwise",
            replace(condition, missing_as_empty=not condition.missing_as_empty),
        )
    if condition.attribute == "metadata":
        yield from _in_other_lists(condition)
    for words, values in _of_values(condition.values, condition.attribute):
        yield words, replace(condition, values=values)


def _in_other_lists(match: Listed) -> Iterator[tuple[str, Listed]]:
    for in_list in _LISTS:
        if in_list != match.in_list:
            yield f"elements of lists count: {in_list}", replace(match, in_list=in_list)


def _of_values(
    values: tuple[StringMatch, ...], attribute: str
) -> Iterator[tuple[str, tuple[StringMatch, ...]]]:
    for place, value in enumerate(values):
        others = (*values[:place], *values[place + 1 :])
        if others:
            yield f"without {value.value}", others
        for words, changed in _of_value(value, attribute):
            yield words, (*others, changed)


def _of_value(value: StringMatch, attribute: str) -> Iterator[tuple[str, StringMatch]]:
    if attribute in _ADDRESSES:
        yield from _of_network(value)
    elif attribute == "destination_port":
        if value.value.isdecimal():
            for port in (int(value.value) - 1, int(value.value) + 1):
                if 0 < port < 1 << 16:
                    yield f"{port} for {value.value}", replace(value, value=str(port))
    elif attribute != "path_template":
        yield from _of_text(value)


def _of_network(value: StringMatch) -> Iterator[tuple[str, StringMatch]]:
    try:
        network = ip_network(value.value, strict=False)
    except ValueError:
        return
    for length in (network.prefixlen - 1, network.prefixlen + 1):
        if 0 <= length <= network.max_prefixlen:
            text = f"{network.network_address}/{length}"
            yield f"{text} for {value.value}", replace(value, value=text)


def _of_text(match: StringMatch) -> Iterator[tuple[str, StringMatch]]:
    for kind in _TEXT_TYPES[match.type]:
        yield f"{kind} for {match.type}", replace(match, type=kind)
    if match.type == "regex":
        yield "anywhere in the text", replace(match, value=f"(?s:.*)(?:{match.value})(?s:.*)")
    elif match.type != "present":
        case = not match.ignore_case
        yield f"case {'ignored' if case else 'counts'}", replace(match, ignore_case=case)
        if match.value:
            shorter = match.value[1:] if match.type == "suffix" else match.value[:-1]
            yield "a character shorter", replace(match, value=shorter)


def _of_route(match: RouteMatch) -> Iterator[tuple[str, RouteMatch]]:
    for words, changed in _of_path(match.path):
        yield f"path {words}", replace(match, path=changed)
    for words, headers in _one_of(match.headers, _of_header):
        yield f"header {words}", replace(match, headers=headers)
    for words, query in _one_of(match.query, _of_query):
        yield f"query {words}", replace(match, query=query)
    for words, metadata in _one_of(match.metadata, _of_metadata):
        yield f"metadata {words}", replace(match, metadata=metadata)
    if match.grpc:
        yield "gRPC left out", replace(match, grpc=False)
    if match.fraction is not None:
        yield "share of requests left out", replace(match, fraction=None)


def _one_of(
    conditions: tuple[T, ...], changes: Callable[[T], Iterator[tuple[str, T]]]
) -> Iterator[tuple[str, tuple[T, ...]]]:
    """Conditions that must all hold, without one of them or with one that is changed."""
    for place, condition in enumerate(conditions):
        others = (*conditions[:place], *conditions[place + 1 :])
        yield f"{place} left out", others
        for words, changed in changes(condition):
            yield f"{place} {words}", (*others, changed)


def _of_path(match: PathMatch) -> Iterator[tuple[str, PathMatch]]:
    everything = RouteMatch().path
    if match == everything:
        return
    yield "left out", everything
    if match.type == "connect":
        return
    for kind in _PATH_TYPES[match.type]:
        if kind != "path_separated_prefix" or not match.value.endswith("/"):
            yield f"{kind} for {match.type}", replace(match, type=kind)
    if match.type == "regex":
        yield "anywhere in the path", replace(match, value=f".*(?:{match.value}).*")
    elif match.type != "template":
        case = not match.case_sensitive
        yield f"case {'counts' if case else 'ignored'}", replace(match, case_sensitive=case)
        if len(match.value) > 1:
            yield "a character shorter", replace(match, value=match.value[:-1])


def _of_header(match: HeaderMatch) -> Iterator[tuple[str, HeaderMatch]]:
    yield "turned round", replace(match, invert=not match.invert)
    if not match.name.startswith(":"):
        empty = not match.missing_as_empty
        yield "missing counts otherwise", replace(match, missing_as_empty=empty)
    for words, changed in _of_text(match.match):
        yield words, replace(match, match=changed)


def _of_query(match: QueryMatch) -> Iterator[tuple[str, QueryMatch]]:
    for words, changed in _of_text(match.match):
        yield words, replace(match, match=changed)


def _of_metadata(match: MetadataMatch) -> Iterator[tuple[str, MetadataMatch]]:
    yield "turned round", replace(match, invert=not match.invert)
    yield from _in_other_lists(match)
    for words, values in _of_values(match.values, "metadata"):
        yield words, replace(match, values=values)
