"""What readers call the sets that conditions of access rules and routes are made of."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from meshscope.algebra.conditions import condition, header, metadata, path, query
from meshscope.algebra.dimensions import Cube, Dimension, Elements, Slot, Texts, Values
from meshscope.algebra.regions import Names
from meshscope.comparison.match_words import PRINCIPAL_PATTERNS, pattern
from meshscope.policy.authorization import Condition, Rule
from meshscope.policy.http_route import RouteMatch
from meshscope.policy.matches import HeaderMatch, PathMatch, StringMatch

_SPIFFE: Final = "spiffe://"
_IDENTITIES: Final = {"namespaces": "ns/{}/*", "serviceAccounts": "ns/{}/sa/{}"}

_GRPC: Final = (
    StringMatch("exact", "application/grpc"),
    StringMatch("prefix", "application/grpc+"),
)

_NAMED_BY_THE_ALGEBRA: Final = (Dimension.CLAIM_SHAPE, Dimension.OPAQUE)


def names_of_access(rules: Iterable[Rule]) -> Names:
    """The single values of the conditions of access rules."""
    found = _Names()
    for rule in rules:
        for alternative in (*rule.sources, *rule.operations):
            for each in alternative:
                plain = replace(each, negated=False, missing_as_empty=False)
                if each.attribute == "metadata":
                    plain = replace(plain, in_list="also")
                for value in each.values:
                    found.add(_name(each, value), condition(replace(plain, values=(value,))))
    return found.sets


def names_of_routes(matches: Iterable[RouteMatch]) -> Names:
    """The single values of the conditions of HTTP rules."""
    found = _Names()
    for match in matches:
        if match.path.type != "connect":
            found.add(_path_name(match.path), path(match.path))
        for each in match.headers:
            found.add(pattern(each.match), header(HeaderMatch(each.name, each.match)))
        for parameter in match.query:
            found.add(pattern(parameter.match), query(parameter))
        for claim in match.metadata:
            plain = replace(claim, invert=False, in_list="also")
            for value in claim.values:
                found.add(pattern(value), metadata(replace(plain, values=(value,))))
        if match.grpc:
            for value in _GRPC:
                found.add(pattern(value), header(HeaderMatch("content-type", value)))
    return found.sets


class _Names:
    """Names by slot; `sets` grows."""

    def __init__(self) -> None:
        self.sets: dict[Slot, dict[str, Values]] = {}

    def add(self, name: str, cubes: Iterable[Cube]) -> None:
        """Name what a condition on one value says of each slot."""
        for cube in cubes:
            for each in cube:
                if isinstance(each, Elements):
                    slot = Slot(Dimension.CLAIM_ELEMENT, each.claim)
                    self._put(slot, name, Texts(each.language))
                elif each.slot.dimension not in _NAMED_BY_THE_ALGEBRA:
                    self._put(each.slot, name, each.values)

    def _put(self, slot: Slot, name: str, values: Values) -> None:
        sets = self.sets.setdefault(slot, {})
        # Two sets of one name (the path `/a*`, and all that begin with `/a`) must stay two.
        while sets.setdefault(name, values) != values:
            name += "′"


def _name(given: Condition, value: StringMatch) -> str:
    if given.attribute != "principal":
        return pattern(value)
    for kind, form in PRINCIPAL_PATTERNS.items():
        found = form.fullmatch(value.value) if value.type == "regex" else None
        if found:
            return _IDENTITIES[kind].format(*found.groups())
    return pattern(value).replace(_SPIFFE, "")


def _path_name(match: PathMatch) -> str:
    case = "" if match.case_sensitive else " (any case)"
    match match.type:
        case "prefix":
            return f"{match.value}*{case}"
        case "path_separated_prefix":
            return f"{match.value}[/*]{case}"
        case "regex":
            return f"regex {match.value}"
        case _:
            return f"{match.value}{case}"
