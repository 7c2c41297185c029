"""Forms that mean the same."""

from dataclasses import fields, is_dataclass, replace
from math import gcd
from typing import Any, Final

from meshscope.policy.canonical import content_bytes
from meshscope.policy.http_route import HttpRule, RouteMatch
from meshscope.policy.matches import PathMatch
from meshscope.policy.policy import Content, Policy
from meshscope.policy.request_authentication import JwtRule, RequestAuthentication
from meshscope.policy.target import WeightedTarget

_PLAIN: Final = frozenset(("exact", "path_separated_prefix", "prefix"))


def accepts(expected: Policy, observed: Policy) -> bool:
    """Whether an observed policy is exactly what is expected.

    Keys that istiod fetched from `jwksUri` are declared nowhere: where the expectation leaves them
    open, any will do.
    """
    if expected.digest == observed.digest:
        return True
    filled = fill_open_fields(expected.content, observed.content)
    return filled is not expected.content and _same(filled, observed.content)


def equivalent(expected: Policy, observed: Policy) -> bool:
    """Whether two policies differ in form only.

    That is in names, in how weights are written, or in rules that no request reaches.
    """
    filled = fill_open_fields(expected.content, observed.content)
    return _same(reduced(filled.without_names()), reduced(observed.content.without_names()))


def fill_open_fields(expected: Content, observed: Content) -> Content:
    """The expected content with what it leaves open taken from the observed one."""
    if not (
        isinstance(expected, RequestAuthentication) and isinstance(observed, RequestAuthentication)
    ):
        return expected
    others = list(observed.rules)
    rules: list[JwtRule] = []
    for rule in expected.rules:
        other = next((other for other in others if other.issuer == rule.issuer), None)
        if other is not None:
            others.remove(other)
            if rule.keys == other.keys == "local" and not rule.local_keys:
                rule = replace(rule, local_keys=other.local_keys)
        rules.append(rule)
    return replace(expected, rules=tuple(rules)) if tuple(rules) != expected.rules else expected


def _same(one: object, other: object) -> bool:
    return content_bytes(one) == content_bytes(other)


def reduced(value: Any) -> Any:
    """Weights by their smallest numbers, as 50/50 is 1/1, and only the rules that are reached."""
    if isinstance(value, tuple):
        if value and all(isinstance(item, WeightedTarget) for item in value):
            divisor = gcd(*(item.weight for item in value)) or 1
            value = tuple(replace(item, weight=item.weight // divisor) for item in value)
        elif value and all(isinstance(item, HttpRule) for item in value):
            value = _reached(value)
        return tuple(reduced(item) for item in value)
    if is_dataclass(value) and not isinstance(value, type):
        changed = {}
        for field in fields(value):
            inner = getattr(value, field.name)
            if isinstance(inner, tuple) or is_dataclass(inner):
                changed[field.name] = reduced(inner)
        return replace(value, **changed) if changed else value
    return value


def _reached(rules: tuple[HttpRule, ...]) -> tuple[HttpRule, ...]:
    """The rules without those behind one that takes every request with a path like theirs.

    Paths begin with a slash but for those of CONNECT and of `OPTIONS *`.
    """
    for number, rule in enumerate(rules, 1):
        path = replace(rule.match.path, case_sensitive=True)
        if replace(rule.match, path=path) == RouteMatch():
            behind = (r for r in rules[number:] if not _has_slash(r.match.path))
            return (*rules[:number], *behind)
    return rules


def _has_slash(path: PathMatch) -> bool:
    return path.type in _PLAIN and path.value.startswith("/")
