"""RBAC rules: from Envoy's trees of conditions to sources and operations.

Envoy's `Principal` and `Permission` are boolean formulas over conditions. A rule of the vocabulary
is a disjunctive normal form of them: alternatives, each a set of conditions. An OR over values of
one attribute is one condition with several values, and its negation one negated condition, so the
trees that Istio writes become the alternatives that its resources have.

Source: https://www.envoyproxy.io/docs/envoy/latest/api-v3/config/rbac/v3/rbac.proto
"""

from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import product
from typing import Final

from meshscope.inference.matchers import header_match, metadata_match, string_match
from meshscope.inference.names import network
from meshscope.inference.reader import Message, Unexpected
from meshscope.inference.routes import uri_template
from meshscope.policy.authorization import Alternative, Attribute, Condition
from meshscope.policy.matches import StringMatch

MAX_ALTERNATIVES: Final = 1024
"""Alternatives that a formula may grow to; larger ones are not modelled."""

NEVER: Final = Condition("never")

_ADDRESSES: Final[dict[str, Attribute]] = {
    "direct_remote_ip": "direct_remote_ip",
    "remote_ip": "remote_ip",
    "source_ip": "source_ip",
    "destination_ip": "destination_ip",
}
_AND: Final = {"and_ids": "ids", "and_rules": "rules"}
_OR: Final = {"or_ids": "ids", "or_rules": "rules"}
_NOT: Final = ("not_id", "not_rule")

Formula = tuple[Alternative, ...]
"""A disjunctive normal form: `()` holds never, `((),)` always."""

_ALWAYS: Final[Formula] = ((),)
_FALSE: Final[Formula] = ()


def alternatives(formulas: Iterable[Message]) -> Formula:
    """The alternatives of a list of `Principal` or `Permission`, one of which must hold.

    Raises:
        Unexpected: A formula holds a condition that is not modelled, or is too large.
    """
    found: list[Alternative] = []
    for message in formulas:
        found.extend(formula(message))
        _limit(len(found), message)
    return tuple(found) if found else ((NEVER,),)


def formula(message: Message) -> Formula:
    """The alternatives of one `Principal` or `Permission`."""
    return _formula(message, False)


def _formula(message: Message, negated: bool) -> Formula:
    rest = message.rest
    if len(rest) != 1:
        raise Unexpected(f"{message.path()} has {len(rest)} conditions instead of one")
    name = next(iter(rest))
    if name in _NOT:
        return _formula(message.need(name), not negated)
    if name in _AND or name in _OR:
        inner = message.need(name)
        parts = inner.messages(_AND.get(name) or _OR[name])
        if not parts:
            raise Unexpected(f"{message.path()}.{name} is empty")
        if (name in _AND) != negated:
            return _all([_formula(part, negated) for part in parts], message)
        return _any([_formula(part, negated) for part in parts])
    if name == "any":
        if not message.constant("any", True):
            raise Unexpected(f"{message.path()}.any is not true")
        return _FALSE if negated else _ALWAYS
    condition = _condition(message, name)
    if negated:
        condition = replace(condition, negated=not condition.negated)
    return ((condition,),)


def _all(parts: list[Formula], message: Message) -> Formula:
    """Conjunction; negated conditions about one attribute become one."""
    size = 1
    for part in parts:
        size *= len(part)
        _limit(size, message)
    return tuple(
        _merged([condition for alternative in choice for condition in alternative])
        for choice in product(*parts)
    )


def _any(parts: list[Formula]) -> Formula:
    """Disjunction; positive conditions about one attribute that stand alone become one."""
    alone: dict[tuple[object, ...], list[Condition]] = {}
    found: list[Alternative] = []
    for part in parts:
        for alternative in part:
            if len(alternative) == 1 and not alternative[0].negated:
                alone.setdefault(_about(alternative[0]), []).append(alternative[0])
            else:
                found.append(alternative)
    found.extend((_united(conditions),) for conditions in alone.values())
    return tuple(found)


def _merged(conditions: list[Condition]) -> Alternative:
    if len(conditions) < 2:
        return tuple(conditions)
    negated: dict[tuple[object, ...], list[Condition]] = {}
    found: list[Condition] = []
    for condition in conditions:
        if condition.negated:
            negated.setdefault(_about(condition), []).append(condition)
        else:
            found.append(condition)
    found.extend(_united(group) for group in negated.values())
    return tuple(found)


def _united(conditions: list[Condition]) -> Condition:
    if len(conditions) == 1:
        return conditions[0]
    values = tuple(value for condition in conditions for value in condition.values)
    return replace(conditions[0], values=values)


def _about(condition: Condition) -> tuple[object, ...]:
    return (
        condition.attribute,
        condition.name,
        condition.in_list,
        condition.missing_as_empty,
    )


def _limit(size: int, message: Message) -> None:
    if size > MAX_ALTERNATIVES:
        raise Unexpected(f"{message.path()} has more than {MAX_ALTERNATIVES} alternatives")


def _condition(message: Message, name: str) -> Condition:
    read = _CONDITIONS.get(name)
    found = None if read is None else read(message, name)
    if found is None or message.rest:
        raise Unexpected(f"{message.path()}.{name} is a condition that is not modelled")
    return found


def _address(message: Message, name: str) -> Condition | None:
    cidr = message.need(name)
    found = network(cidr.string("address_prefix"), cidr.integer("prefix_len"))
    return None if found is None else _exact(_ADDRESSES[name], found)


def _principal(message: Message, name: str) -> Condition | None:
    matcher = message.need(name).message("principal_name")
    if matcher is None:
        return Condition("principal", values=(StringMatch("present"),))
    match = string_match(matcher)
    return None if match is None else Condition("principal", values=(match,))


def _header(message: Message, name: str) -> Condition | None:
    found = header_match(message.need(name))
    if found is None:
        return None
    return Condition(
        "header",
        found.name,
        (found.match,),
        negated=found.invert,
        missing_as_empty=found.missing_as_empty,
    )


def _path(message: Message, name: str) -> Condition | None:
    match = string_match(message.need(name).need("path"))
    return None if match is None else Condition("path", values=(match,))


def _template(message: Message, name: str) -> Condition | None:
    found = uri_template(message, name)
    return None if found is None else _exact("path_template", found)


def _port(message: Message, name: str) -> Condition | None:
    return _exact("destination_port", str(message.integer(name)))


def _server_name(message: Message, name: str) -> Condition | None:
    match = string_match(message.need(name))
    return None if match is None else Condition("requested_server_name", values=(match,))


def _metadata(message: Message, name: str) -> Condition | None:
    found = metadata_match(message.need(name))
    if found is None:
        return None
    return Condition(
        "metadata",
        "/".join((found.filter, *found.path)),
        found.values,
        found.in_list,
        negated=found.invert,
    )


def _exact(attribute: Attribute, value: str) -> Condition:
    return Condition(attribute, values=(StringMatch("exact", value),))


_CONDITIONS: Final[dict[str, Callable[[Message, str], Condition | None]]] = {
    "authenticated": _principal,
    "destination_ip": _address,
    "destination_port": _port,
    "direct_remote_ip": _address,
    "header": _header,
    "metadata": _metadata,
    "remote_ip": _address,
    "requested_server_name": _server_name,
    "source_ip": _address,
    "uri_template": _template,
    "url_path": _path,
}
"""The conditions that are modelled, by field of `Principal` and `Permission`."""
