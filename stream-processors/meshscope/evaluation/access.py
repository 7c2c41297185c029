"""Who may do what: the filters of Istio's AuthorizationPolicy."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from meshscope.algebra.request import Request
from meshscope.evaluation.matching import Doubt, Truth, rule_meets
from meshscope.policy.authorization import Authorization, Rule


@dataclass(frozen=True, slots=True)
class Decision:
    """What one filter says.

    Attributes:
        verdict: `passes`, `refused`, or `undecided` (`says` tells why).
        says: In words.
        rule: The rule that decides; None: none does.
        among: The rules that were looked at, where none decides.
    """

    verdict: Literal["passes", "refused", "undecided"]
    says: str
    rule: Rule | None = None
    among: tuple[Rule, ...] = ()


def _first(rules: Iterable[Rule], request: Request) -> tuple[Truth, Rule | None]:
    """Whether one of the rules matches, and which; a set, so a match outweighs a doubt."""
    doubt: tuple[Truth, Rule | None] = (False, None)
    for rule in rules:
        truth = rule_meets(rule, request)
        if truth is True:
            return True, rule
        if isinstance(truth, Doubt):
            doubt = (truth, rule)
    return doubt


def custom(access: Authorization, request: Request) -> Decision:
    """The external authorizers; what they answer is not known here."""
    for provider in access.custom:
        truth, rule = _first(provider.rules, request)
        if truth is False:
            continue
        if isinstance(truth, Doubt):
            return Decision("undecided", truth.reason, rule)
        if provider.authorizer is None:
            return Decision("refused", f"provider {provider.provider!r} is unknown", rule)
        asked = provider.authorizer.cluster
        return Decision("undecided", f"the external authorizer {asked} is asked", rule)
    among = tuple(rule for provider in access.custom for rule in provider.rules)
    return Decision("passes", "no external authorizer is asked", among=among)


def deny(access: Authorization, request: Request) -> Decision:
    """The DENY rules."""
    truth, rule = _first(access.deny or (), request)
    if isinstance(truth, Doubt):
        return Decision("undecided", truth.reason, rule)
    if truth:
        return Decision("refused", "a DENY rule matches", rule)
    return Decision("passes", "no DENY rule matches", among=access.deny or ())


def allow(access: Authorization, request: Request) -> Decision:
    """The ALLOW rules."""
    if access.allow is None:
        return Decision("passes", "there are no ALLOW rules, so all is allowed")
    truth, rule = _first(access.allow, request)
    if isinstance(truth, Doubt):
        return Decision("undecided", truth.reason, rule)
    if truth:
        return Decision("passes", "an ALLOW rule matches", rule)
    return Decision("refused", "there are ALLOW rules and none matches", among=access.allow)
