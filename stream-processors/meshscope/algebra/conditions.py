"""From the conditions of policies to products of sets of requests."""

from collections.abc import Iterable
from itertools import product

from meshscope.algebra.addresses import network
from meshscope.algebra.dimensions import (
    LIST,
    MISSING,
    PRESENT,
    SCALAR,
    YES,
    Constraint,
    Cube,
    Dimension,
    Elements,
    Numbers,
    Slot,
    Texts,
)
from meshscope.algebra.intervals import Intervals, intersection, intervals
from meshscope.algebra.limits import LIMITS, TooLargeError
from meshscope.algebra.regex import regex
from meshscope.algebra.strings import (
    ANYTHING,
    NOTHING,
    Language,
    containing,
    exact,
    prefix,
    suffix,
)
from meshscope.algebra.syntax import InvalidPatternError, UnmodelledError
from meshscope.algebra.template import template
from meshscope.policy.authorization import Alternative, Condition, Rule
from meshscope.policy.http_route import RouteMatch
from meshscope.policy.matches import (
    HeaderMatch,
    MetadataMatch,
    PathMatch,
    QueryMatch,
    StringMatch,
)

Dnf = tuple[Cube, ...]
"""Alternatives of conditions that must all hold."""

_UNKNOWN = (InvalidPatternError, UnmodelledError, TooLargeError)
"""Why the set of a single condition is not known; it is then opaque."""

_NEVER: Dnf = ()
_ALWAYS: Dnf = ((),)

_PSEUDO_HEADERS = {
    ":method": Dimension.METHOD,
    ":authority": Dimension.AUTHORITY,
    "host": Dimension.AUTHORITY,
}


def language(match: StringMatch) -> Language:
    """The strings that meet a condition.

    Raises:
        InvalidPatternError, UnmodelledError, TooLargeError: See `regex`.
    """
    match match.type:
        case "exact":
            return exact(match.value, match.ignore_case)
        case "prefix":
            return prefix(match.value, match.ignore_case)
        case "suffix":
            return suffix(match.value, match.ignore_case)
        case "contains":
            return containing(match.value, match.ignore_case)
        case "regex":
            return regex(match.value)
        case "present":
            return ANYTHING


def path_language(match: PathMatch) -> Language:
    """The paths that meet a condition; `connect` is none about paths. Raises as `language`."""
    ignore_case = not match.case_sensitive
    match match.type:
        case "exact":
            return exact(match.value, ignore_case)
        case "prefix":
            return prefix(match.value, ignore_case)
        case "path_separated_prefix":
            return exact(match.value, ignore_case) | prefix(f"{match.value}/", ignore_case)
        case "regex":
            return regex(match.value)
        case "template":
            return template(match.value)
        case "connect":
            return ANYTHING


def opaque(what: str) -> Constraint:
    """A condition of which nobody knows when it holds."""
    return Constraint(Slot(Dimension.OPAQUE, what), YES)


def _any_of(matches: Iterable[StringMatch]) -> Language:
    found = NOTHING
    for match in matches:
        found = found | language(match)
    return found


def _conjunction(parts: Iterable[Dnf]) -> Dnf:
    """All of several disjunctive normal forms.

    Raises:
        TooLargeError: Written out, there are too many alternatives.
    """
    found: Dnf = _ALWAYS
    for part in parts:
        if len(found) * len(part) > LIMITS.products:
            raise TooLargeError(f"a rule has more than {LIMITS.products} alternatives")
        cubes = (_together(one, other) for one, other in product(found, part))
        found = tuple(dict.fromkeys(cube for cube in cubes if cube is not None))
    return found


def _together(one: Cube, other: Cube) -> Cube | None:
    """Both cubes at once; None where no claim has a shape that both ask for.

    Conditions on one claim, which may be a string or a list, would else double their alternatives.
    """
    shapes: dict[Slot, Intervals] = {}
    rest: list[Constraint | Elements] = []
    for condition in (*one, *other):
        if (
            isinstance(condition, Constraint)
            and condition.slot.dimension is Dimension.CLAIM_SHAPE
            and isinstance(condition.values, Numbers)
        ):
            members = condition.values.members
            shapes[condition.slot] = intersection(shapes.get(condition.slot, members), members)
        else:
            rest.append(condition)
    if not all(shapes.values()):
        return None
    merged = (Constraint(slot, Numbers(members)) for slot, members in shapes.items())
    return (*dict.fromkeys(rest), *merged)


def domains(names: Iterable[str]) -> Dnf:
    """Requests for one of the domains of a virtual host, in any case.

    Other virtual hosts may take some of them: Envoy looks for the most specific domain.
    """
    found = NOTHING
    for name in names:
        if name == "*":
            found = ANYTHING
        elif name.startswith("*"):
            # `*` stands for at least one character.
            found = found | (suffix(name[1:], True) - exact(name[1:], True))
        elif name.endswith("*"):
            found = found | (prefix(name[:-1], True) - exact(name[:-1], True))
        else:
            found = found | exact(name, True)
    return ((Constraint(Slot(Dimension.AUTHORITY), Texts(found)),),)


def route_match(match: RouteMatch) -> Dnf:
    """The requests that a rule of a virtual host takes.

    Raises:
        TooLargeError: Written out, there are too many alternatives.
    """
    parts = [path(match.path)]
    parts += [header(condition) for condition in match.headers]
    parts += [query(condition) for condition in match.query]
    parts += [metadata(condition) for condition in match.metadata]
    if match.grpc:
        content_type = exact("application/grpc") | prefix("application/grpc+")
        parts.append(_literal(Slot(Dimension.HEADER, "content-type"), Texts(content_type)))
    if match.fraction is not None and match.fraction.parts_per_million < 1_000_000:
        share = match.fraction.parts_per_million / 10_000
        parts.append(((opaque(f"the request is among {share:g} %"),),))
    return _conjunction(parts)


def path(match: PathMatch) -> Dnf:
    """The requests with such a path."""
    if match.type == "connect":
        return _literal(Slot(Dimension.PATH), MISSING)
    try:
        return _literal(Slot(Dimension.PATH), Texts(path_language(match)))
    except _UNKNOWN as reason:
        return ((opaque(f"path {match.type} {match.value} ({reason})"),),)


def header(match: HeaderMatch) -> Dnf:
    """The requests with such a header.

    Where the header is missing, no condition on its value holds, inverted or not (Envoy
    `HeaderUtility::matchHeaders`), unless missing counts as empty.
    """
    if match.name == ":path":
        return ((_maybe_not(opaque(f"header :path {match.match}"), match.invert),),)
    if match.match.type == "present":
        values = PRESENT if not match.missing_as_empty else Texts(ANYTHING, absent=True)
        return _literal(_header_slot(match.name), values.inverted() if match.invert else values)
    try:
        found = language(match.match)
    except _UNKNOWN as reason:
        what = opaque(f"header {match.name} {match.match.value} ({reason})")
        return ((_maybe_not(what, match.invert),),)
    if match.invert:
        found = ~found
    missing = match.missing_as_empty and "" in found
    return _literal(_header_slot(match.name), Texts(found, missing))


def _header_slot(name: str) -> Slot:
    dimension = _PSEUDO_HEADERS.get(name)
    return Slot(dimension) if dimension else Slot(Dimension.HEADER, name)


def _maybe_not(literal: Constraint, inverted: bool) -> Constraint:
    return literal.inverted() if inverted else literal


def _literal(slot: Slot, values: Texts | Numbers) -> Dnf:
    return ((Constraint(slot, values),),)


def query(match: QueryMatch) -> Dnf:
    """The requests with such a query parameter; of several of one name the first counts."""
    try:
        return _literal(Slot(Dimension.QUERY, match.name), Texts(language(match.match)))
    except _UNKNOWN as reason:
        return ((opaque(f"query {match.name} {match.match.value} ({reason})"),),)


def metadata(match: MetadataMatch) -> Dnf:
    """The requests whose token has such a claim."""
    return _claim("/".join((match.filter, *match.path)), match.values, match.in_list, match.invert)


def _claim(name: str, values: tuple[StringMatch, ...], in_list: str, inverted: bool) -> Dnf:
    try:
        found = _any_of(values)
    except _UNKNOWN as reason:
        return ((_maybe_not(opaque(f"claim {name} ({reason})"), inverted),),)
    shape = Slot(Dimension.CLAIM_SHAPE, name)
    is_string = Constraint(shape, Numbers(((SCALAR, SCALAR),)))
    is_list = Constraint(shape, Numbers(((LIST, LIST),)))
    scalar = Constraint(Slot(Dimension.CLAIM, name), Texts(found))
    as_string: Cube = (is_string, scalar)
    as_list: Cube = (is_list, Elements(name, found))
    if not inverted:
        return {"no": (as_string,), "only": (as_list,), "also": (as_string, as_list)}[in_list]
    not_string: Dnf = ((is_string.inverted(),), (is_string, scalar.inverted()))
    not_list: Dnf = ((is_list.inverted(),), (is_list, Elements(name, found, none=True)))
    match in_list:
        case "no":
            return not_string
        case "only":
            return not_list
    return _conjunction((not_string, not_list))


def rule(given: Rule) -> Dnf:
    """The requests that a rule of an AuthorizationPolicy matches.

    Raises:
        TooLargeError: Sources and operations have too many combinations.
    """
    sources = tuple(cube for alternative in given.sources for cube in _alternative(alternative))
    operations = tuple(
        cube for alternative in given.operations for cube in _alternative(alternative)
    )
    return _conjunction((sources, operations))


def _alternative(conditions: Alternative) -> Dnf:
    return _conjunction(condition(found) for found in conditions)


_TEXT_ATTRIBUTES = {
    "principal": Dimension.PRINCIPAL,
    "requested_server_name": Dimension.SERVER_NAME,
}
_ADDRESS_ATTRIBUTES = {
    "direct_remote_ip": Dimension.PEER_ADDRESS,
    "source_ip": Dimension.PEER_ADDRESS,
    "remote_ip": Dimension.CLIENT_ADDRESS,
    "destination_ip": Dimension.DESTINATION_ADDRESS,
}


def condition(given: Condition) -> Dnf:
    """The requests that meet a condition of an AuthorizationPolicy."""
    try:
        return _condition(given)
    except (*_UNKNOWN, ValueError) as reason:
        what = opaque(f"{given.attribute} {given.name} ({reason})".replace("  ", " "))
        return ((_maybe_not(what, given.negated),),)


def _condition(given: Condition) -> Dnf:
    match given.attribute:
        case "never":
            return _ALWAYS if given.negated else _NEVER
        case "metadata":
            return _claim(given.name, given.values, given.in_list, given.negated)
        case "filter_state":
            what = opaque(f"filter state {given.name} {_words(given.values)}")
            return ((_maybe_not(what, given.negated),),)
        case "header" if given.name == ":path":
            what = opaque(f"header :path {_words(given.values)}")
            return ((_maybe_not(what, given.negated),),)
        case "header":
            return _values(_header_slot(given.name), _header_values(given), given.negated)
        case "path":
            return _values(Slot(Dimension.PATH), Texts(_any_of(given.values)), given.negated)
        case "path_template":
            found = NOTHING
            for value in given.values:
                found = found | template(value.value)
            return _values(Slot(Dimension.PATH), Texts(found), given.negated)
        case "destination_port":
            ports = intervals((int(value.value),) * 2 for value in given.values)
            return _values(Slot(Dimension.PORT), Numbers(ports), given.negated)
        case "principal" | "requested_server_name":
            slot = Slot(_TEXT_ATTRIBUTES[given.attribute])
            return _values(slot, Texts(_any_of(given.values)), given.negated)
        case "direct_remote_ip" | "source_ip" | "remote_ip" | "destination_ip":
            networks: Intervals = intervals(
                pair for value in given.values for pair in network(value.value)
            )
            slot = Slot(_ADDRESS_ATTRIBUTES[given.attribute])
            return _values(slot, Numbers(networks), given.negated)


def _header_values(given: Condition) -> Texts:
    found = _any_of(given.values)
    return Texts(found, given.missing_as_empty and "" in found)


def _values(slot: Slot, values: Texts | Numbers, negated: bool) -> Dnf:
    return _literal(slot, values.inverted() if negated else values)


def _words(values: tuple[StringMatch, ...]) -> str:
    return " or ".join(f"{value.type} {value.value}".rstrip() for value in values)
