"""Conditions that several kinds of policy share."""

from dataclasses import dataclass
from typing import Literal

from meshscope.policy.canonical import as_set, replace_fields

StringMatchType = Literal["exact", "prefix", "suffix", "contains", "regex", "present"]


@dataclass(frozen=True, slots=True)
class StringMatch:
    """A condition on a string (Envoy `StringMatcher`).

    Attributes:
        type: How `value` is compared. `regex` is RE2 over the whole string, `present` holds for
            every string that is there, and then `value` is empty.
        value: Text or pattern as given.
        ignore_case: ASCII case does not count; never set with `regex` or `present`.
    """

    type: StringMatchType
    value: str = ""
    ignore_case: bool = False

    def __post_init__(self) -> None:
        if self.type == "present":
            replace_fields(self, value="", ignore_case=False)
        elif self.ignore_case and self.type != "regex":
            replace_fields(self, value=self.value.lower())


@dataclass(frozen=True, slots=True)
class HeaderMatch:
    """A condition on a request header (Envoy `HeaderMatcher`).

    Attributes:
        name: Lower-case header name; pseudo-headers with their colon (`:method`).
        match: Condition on the value.
        invert: The rule demands that the condition does *not* hold.
        missing_as_empty: A header that is not there is compared as the empty string; otherwise no
            condition on its value holds for it, inverted or not.
    """

    name: str
    match: StringMatch
    invert: bool = False
    missing_as_empty: bool = False

    def __post_init__(self) -> None:
        replace_fields(self, name=self.name.lower())


@dataclass(frozen=True, slots=True)
class QueryMatch:
    """A condition on a query parameter; `match.type == "present"` asks only whether it is there."""

    name: str
    match: StringMatch


@dataclass(frozen=True, slots=True)
class MetadataMatch:
    """A condition on dynamic metadata that an earlier filter wrote, such as a JWT claim.

    Attributes:
        filter: Name of the filter that writes it.
        path: Keys from the outside in.
        values: The value, or one element of it if it is a list, must meet one of these.
        in_list: Whether elements of a list count; `only` if nothing but a list counts.
        invert: The rule demands the opposite.
    """

    filter: str
    path: tuple[str, ...]
    values: tuple[StringMatch, ...]
    in_list: Literal["no", "also", "only"] = "no"
    invert: bool = False

    def __post_init__(self) -> None:
        replace_fields(self, values=as_set(self.values))


PathMatchType = Literal["exact", "prefix", "path_separated_prefix", "regex", "template", "connect"]


@dataclass(frozen=True, slots=True)
class PathMatch:
    """A condition on the path of a request, without its query.

    Attributes:
        type: `path_separated_prefix` matches whole segments only; `template` is Envoy's URI
            template; `connect` matches CONNECT requests, whatever their path.
        value: Text or pattern as given.
        case_sensitive: Never false with `regex`, `template` and `connect`.
    """

    type: PathMatchType
    value: str = ""
    case_sensitive: bool = True

    def __post_init__(self) -> None:
        if self.type in ("regex", "template", "connect"):
            replace_fields(self, case_sensitive=True)
        elif not self.case_sensitive:
            replace_fields(self, value=self.value.lower())


@dataclass(frozen=True, slots=True)
class Fraction:
    """A share of requests, in parts per million."""

    parts_per_million: int
    runtime_key: str = ""
