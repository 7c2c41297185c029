"""Conditions: Envoy's matchers of strings, headers, query parameters and metadata."""

from typing import Final, Literal

from meshscope.inference.reader import Message
from meshscope.policy.headers import HeaderAction, HeaderMutation, HeaderValue
from meshscope.policy.matches import (
    Fraction,
    HeaderMatch,
    MetadataMatch,
    QueryMatch,
    StringMatch,
    StringMatchType,
)

InList = Literal["no", "also", "only"]

PRESENT: Final = StringMatch("present")
_TEXTS: Final[tuple[StringMatchType, ...]] = ("exact", "prefix", "suffix", "contains")
_DENOMINATORS: Final = {"HUNDRED": 10_000, "TEN_THOUSAND": 100, "MILLION": 1}
_HEADER_ACTIONS: Final[dict[str, HeaderAction]] = {
    "APPEND_IF_EXISTS_OR_ADD": "append",
    "ADD_IF_ABSENT": "add_if_absent",
    "OVERWRITE_IF_EXISTS_OR_ADD": "set",
    "OVERWRITE_IF_EXISTS": "overwrite_if_exists",
}


def regex(message: Message) -> str:
    """The expression of a `RegexMatcher`."""
    message.kind = "RegexMatcher"
    return message.string("regex")


def string_match(message: Message) -> StringMatch | None:
    """A `StringMatcher`; None if it is of a kind that is not modelled, and then it is left."""
    for kind in _TEXTS:
        if kind in message.rest:
            return StringMatch(kind, message.string(kind), message.boolean("ignore_case"))
    pattern = message.message("safe_regex")
    return None if pattern is None else StringMatch("regex", regex(pattern))


def string_matches(parent: Message, name: str) -> tuple[StringMatch, ...]:
    """A repeated `StringMatcher`; those of a kind that is not modelled are left."""
    found: list[StringMatch] = []
    for item in parent.messages(name):
        match = string_match(item)
        if match is None:
            item.unread()
        else:
            found.append(match)
    return tuple(found)


def header_match(message: Message) -> HeaderMatch | None:
    """A `HeaderMatcher`; None if it is of a kind that is not modelled."""
    invert = False
    if message.peek("present_match") is not None:
        match: StringMatch | None = PRESENT
        invert = not message.boolean("present_match", True)
    elif (text := message.message("string_match")) is not None:
        match = string_match(text)
    elif message.rest.keys() & _OTHER_HEADER_MATCHES:
        match = None
    else:
        match = PRESENT
    if match is None:
        message.unread()
        return None
    return HeaderMatch(
        message.string("name"),
        match,
        invert != message.boolean("invert_match"),
        message.boolean("treat_missing_header_as_empty"),
    )


_OTHER_HEADER_MATCHES: Final = frozenset(
    (
        "contains_match",
        "exact_match",
        "prefix_match",
        "range_match",
        "safe_regex_match",
        "suffix_match",
    )
)


def query_match(message: Message) -> QueryMatch | None:
    """A `QueryParameterMatcher`; None if it is of a kind that is not modelled."""
    name = message.string("name")
    text = message.message("string_match")
    if text is not None:
        match = string_match(text)
        if match is not None:
            return QueryMatch(name, match)
    elif message.boolean("present_match", True):
        return QueryMatch(name, PRESENT)
    message.unread()
    return None


def metadata_match(message: Message) -> MetadataMatch | None:
    """A `MetadataMatcher`; None if the value is matched in a way that is not modelled."""
    value = message.message("value")
    found = None if value is None else value_match(value)
    if found is None:
        message.unread()
        return None
    values, in_list = found
    return MetadataMatch(
        filter=message.string("filter"),
        path=tuple(step.string("key") for step in message.messages("path")),
        values=values,
        in_list=in_list,
        invert=message.boolean("invert"),
    )


def value_match(message: Message) -> tuple[tuple[StringMatch, ...], InList] | None:
    """The alternatives of a `ValueMatcher`, and whether elements of lists count.

    Istio writes a text, a list of which one element matches, an OR of texts, and an OR of such a
    matcher with the list of it. None: it is something else, and is left.
    """
    listed = message.message("list_match")
    if listed is not None:
        one_of = listed.message("one_of")
        found = None if one_of is None else value_match(one_of)
        return None if found is None or found[1] != "no" else (found[0], "only")
    either = message.message("or_match")
    if either is not None:
        return _any_of([value_match(item) for item in either.messages("value_matchers")])
    text = message.message("string_match")
    match = None if text is None else string_match(text)
    return None if match is None else ((match,), "no")


def _any_of(
    parts: list[tuple[tuple[StringMatch, ...], InList] | None],
) -> tuple[tuple[StringMatch, ...], InList] | None:
    found = [part for part in parts if part is not None]
    if not found or len(found) != len(parts):
        return None
    kinds = [in_list for _, in_list in found]
    if len(set(kinds)) == 1:
        return tuple(match for values, _ in found for match in values), kinds[0]
    plain = {match for values, in_list in found if in_list == "no" for match in values}
    listed = {match for values, in_list in found if in_list == "only" for match in values}
    if "also" in kinds or plain != listed:
        return None
    return tuple(plain), "also"


def fraction(message: Message) -> Fraction:
    """A `RuntimeFractionalPercent`."""
    runtime_key = message.string("runtime_key")
    share = message.message("default_value")
    return Fraction(0 if share is None else parts_per_million(share), runtime_key)


def parts_per_million(message: Message) -> int:
    """A `FractionalPercent`."""
    return message.integer("numerator") * message.word("denominator", _DENOMINATORS, 10_000)


def header_mutation(message: Message, direction: Literal["request", "response"]) -> HeaderMutation:
    """What a message (route, virtual host, weighted cluster) does to headers."""
    added = message.messages(f"{direction}_headers_to_add")
    removed = message.strings(f"{direction}_headers_to_remove")
    if not added and not removed:
        return _NOTHING
    return HeaderMutation(tuple(map(_header_value, added)), removed)


_NOTHING: Final = HeaderMutation()


def _header_value(option: Message) -> HeaderValue:
    header = option.need("header")
    return HeaderValue(
        header.string("key"),
        header.string("value"),
        option.word("append_action", _HEADER_ACTIONS, "append"),
        option.boolean("keep_empty_value"),
    )
