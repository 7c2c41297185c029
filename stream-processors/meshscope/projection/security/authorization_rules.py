"""One rule of an AuthorizationPolicy, as the conditions that Envoy will check.

Istio's API groups a rule into `from`, `to` and `when`; Envoy knows principals and permissions. Each
`from` becomes an alternative about the peer, each `to` one about the request, and each `when`
condition joins all alternatives of the side that its key belongs to. Within an alternative all
attributes must hold, one value of each, and none of the `not…` values. Where one of several values
is itself a conjunction (issuer and subject of a token), the alternative is written out once per
value, so that the result is a disjunction of conjunctions.

TCP chains cannot see HTTP attributes. A rule that allows is left out there if it uses one; a rule
of any other action merely loses the attribute, and so catches more.

Source: https://istio.io/latest/docs/reference/config/security/authorization-policy/ and
https://istio.io/latest/docs/reference/config/security/conditions/.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import product
from math import prod
from typing import Any

from meshscope.policy.authorization import Alternative, Condition, Rule
from meshscope.policy.matches import StringMatch
from meshscope.projection.security.authorization_attributes import (
    OPERATION_FIELDS,
    SOURCE_FIELDS,
    AttributeSpec,
    Disjunction,
    RuleContext,
    UnusableValueError,
    condition_spec,
)

NEVER: tuple[Alternative, ...] = ((Condition("never"),),)
"""What Istio writes for a policy without rules: it exists, and matches nothing."""

MAX_ALTERNATIVES = 1024
"""Alternatives that one side of a rule may come to; more are not modelled."""


class TooManyAlternativesError(ValueError):
    """A rule that is too large when multiplied out: one with many `notRequestPrincipals`."""


def rule_of(policy: str, index: int, spec: Mapping[str, Any], context: RuleContext) -> Rule | None:
    """The conditions of one rule; None: Istio leaves it out on such a chain.

    Args:
        policy: `namespace/name` of the policy.
        index: Position of the rule in it.
        spec: The rule as in the manifest: `from`, `to`, `when`.
        context: What else counts.

    Raises:
        TooManyAlternativesError: The rule is too large to be modelled.
    """
    try:
        when = [
            (
                condition_spec(str(condition.get("key", ""))),
                str(condition.get("key", "")),
                condition,
            )
            for condition in spec.get("when") or ()
        ]
        shared = {
            side: [
                clause
                for attribute, key, condition in when
                if attribute.side == side
                for clause in _clauses(
                    attribute, key, condition.get("values"), condition.get("notValues"), context
                )
            ]
            for side in ("source", "operation")
        }
        sources = _side(spec.get("from"), "source", SOURCE_FIELDS, shared["source"], context)
        operations = _side(
            spec.get("to"), "operation", OPERATION_FIELDS, shared["operation"], context
        )
    except UnusableValueError:
        return None
    return Rule(policy, index, sources, operations)


def _side(
    items: Sequence[Mapping[str, Any]] | None,
    wrapper: str,
    fields: Mapping[str, AttributeSpec],
    shared: Sequence[Disjunction],
    context: RuleContext,
) -> tuple[Alternative, ...]:
    alternatives: list[Alternative] = []
    for item in items or ({},):
        body = item.get(wrapper) or {}
        clauses = [
            clause
            for name, attribute in fields.items()
            for clause in _clauses(
                attribute, name, body.get(name), body.get(_negated(name)), context
            )
        ]
        alternatives += _conjunctions((*clauses, *shared))
    return tuple(alternatives)


def _negated(field: str) -> str:
    return f"not{field[0].upper()}{field[1:]}"


def _conjunctions(clauses: Sequence[Disjunction]) -> Iterable[Alternative]:
    """Multiply out: one conjunction per choice of an alternative from every clause."""
    if prod(map(len, clauses)) > MAX_ALTERNATIVES:
        raise TooManyAlternativesError(f"a rule has more than {MAX_ALTERNATIVES} alternatives")
    for choice in product(*clauses):
        yield _conjunction(condition for alternative in choice for condition in alternative)


def _conjunction(conditions: Iterable[Condition]) -> Alternative:
    """Conditions that must all hold; several negated ones on one attribute become one."""
    kept: list[Condition] = []
    negated: dict[Condition, list[StringMatch]] = {}
    for condition in conditions:
        if condition.negated:
            negated.setdefault(replace(condition, values=()), []).extend(condition.values)
        else:
            kept.append(condition)
    kept += (replace(condition, values=tuple(values)) for condition, values in negated.items())
    return tuple(kept)


def _clauses(
    attribute: AttributeSpec,
    key: str,
    values: Sequence[Any] | None,
    not_values: Sequence[Any] | None,
    context: RuleContext,
) -> Iterable[Disjunction]:
    """What must all hold for one attribute: one of its values, and none of its `not…` values."""
    wanted = _usable(attribute, key, values, context)
    if wanted:
        yield _merged(wanted)
    for alternative in _merged(_usable(attribute, key, not_values, context)):
        # Not (a and b) is not a, or not b.
        yield tuple((replace(condition, negated=True),) for condition in alternative)


def _usable(
    attribute: AttributeSpec, key: str, values: Sequence[Any] | None, context: RuleContext
) -> list[Alternative]:
    """What the values demand, one alternative each; unusable ones are left out, or raise."""
    alternatives: list[Alternative] = []
    for value in attribute.prepare([str(value) for value in values or ()], context):
        try:
            if attribute.http and context.tcp:
                raise UnusableValueError(f"{key} is an attribute of HTTP")
            alternatives += attribute.generate(key, value, context)
        except UnusableValueError:
            if context.allows:
                raise
            if attribute.whole:
                return []
    return alternatives


def _merged(alternatives: Sequence[Alternative]) -> Disjunction:
    """Lone conditions on the same attribute become one condition with several values."""
    lone: dict[Condition, list[StringMatch]] = {}
    merged: list[Alternative] = []
    for alternative in alternatives:
        if len(alternative) == 1:
            condition = alternative[0]
            lone.setdefault(replace(condition, values=()), []).extend(condition.values)
        else:
            merged.append(alternative)
    merged += ((replace(attribute, values=tuple(values)),) for attribute, values in lone.items())
    return tuple(merged)
