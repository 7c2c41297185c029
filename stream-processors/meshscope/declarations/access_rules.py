"""AuthorizationPolicies whose rules never decide: impossible, covered, or refused before."""

from collections.abc import Iterator, Sequence

from meshscope.algebra.decision_list import DecisionList, RuleReview, review
from meshscope.algebra.limits import TooLargeError, Undecided
from meshscope.declarations.access import (
    ALLOWED,
    DENIED,
    LIMITS,
    Access,
    DeclaredRule,
    access_of,
    action_of,
    arriving,
    decisions,
    places,
)
from meshscope.declarations.finding import Finding, Said, Witness
from meshscope.declarations.surroundings import Surroundings, words
from meshscope.evaluation.matching import rule_meets
from meshscope.events.resource import Resource
from meshscope.projection.security.authorization_rules import TooManyAlternativesError

IMPOSSIBLE = "MSC-2101"
COVERED = "MSC-2102"
REFUSED = "MSC-2103"


def dead_rules(policy: Resource, around: Surroundings) -> Iterator[Said]:
    """Rules without which every request would be treated as it is, wherever the policy applies."""
    if action_of(policy) not in ("ALLOW", "DENY"):
        return
    try:
        reviewed = [
            _reviewed(access_of(policies, around), policy) for policies, _ in places(policy, around)
        ]
    except (TooLargeError, TooManyAlternativesError):
        return
    if not reviewed:
        return
    for index, found in reviewed[0].items():
        others = [one.get(index) for one in reviewed[1:]]
        if all(other is not None and other.code == found.code for other in others):
            yield found


def _reviewed(access: Access, policy: Resource) -> dict[int, Finding]:
    """The rules of a policy that never decide, by their position."""
    own, otherwise = (
        (access.allow, DENIED) if action_of(policy) == "ALLOW" else (access.deny, ALLOWED)
    )
    outcome = ALLOWED if otherwise == DENIED else DENIED
    found: dict[int, Finding] = {}
    kept = list(own)
    if _all_decide(own, outcome, otherwise):
        own = ()
    # Of rules that cover each other the last is called superfluous, and what stays is judged on.
    for one in reversed(own):
        others = [other for other in kept if other is not one]
        judged = _last(others, one, outcome, otherwise)
        if judged is None or judged.standing == "decides":
            continue
        said = _said(judged, others, one)
        if said is not None:
            kept.remove(one)
            if one.policy is policy:
                found[one.index] = said
    if outcome == ALLOWED and access.deny:
        for one in kept:
            if one.policy is policy and (said := _refused(access, one)) is not None:
                found[one.index] = said
    return dict(sorted(found.items()))


def _all_decide(rules: Sequence[DeclaredRule], outcome: str, otherwise: str) -> bool:
    """Whether without each of the rules some request would be treated otherwise."""
    reviews = review(DecisionList(tuple(decisions(rules, outcome)), otherwise), arriving(), LIMITS)
    return not isinstance(reviews, Undecided) and all(
        judged.standing == "decides" for judged in reviews
    )


def _last(
    before: list[DeclaredRule], one: DeclaredRule, outcome: str, otherwise: str
) -> RuleReview | None:
    """What a rule is good for after all others; None: that cannot be decided."""
    rules = DecisionList(tuple(decisions((*before, one), outcome)), otherwise)
    reviews = review(rules, arriving(), LIMITS)
    return None if isinstance(reviews, Undecided) else reviews[-1]


def _said(judged: RuleReview, others: list[DeclaredRule], one: DeclaredRule) -> Finding | None:
    if judged.standing == "impossible":
        return Finding(
            IMPOSSIBLE,
            one.policy,
            one.field,
            f"no request can meet all conditions of {one}, so it has no effect",
        )
    example = judged.example
    if example is None or rule_meets(one.rule, example) is not True:
        return None
    covering = [others[place] for place in judged.earlier]
    if not any(rule_meets(other.rule, example) is True for other in covering):
        return None
    return Finding(
        COVERED,
        one.policy,
        one.field,
        f"every request that {one} matches is matched by {_some(covering)} as well, so it has no "
        "effect",
        Witness(example, f"matched by {covering[0]} too"),
        tuple(dict.fromkeys(o.policy.ref for o in covering if o.policy is not one.policy)),
    )


def _refused(access: Access, one: DeclaredRule) -> Finding | None:
    """An ALLOW rule of which DENY rules leave nothing."""
    rules = DecisionList((*decisions(access.deny, DENIED), *decisions((one,), ALLOWED)), DENIED)
    reviews = review(rules, arriving(), LIMITS)
    if isinstance(reviews, Undecided) or reviews[-1].standing != "shadowed":
        return None
    example = reviews[-1].example
    if example is None or access.outcome(example) != DENIED:
        return None
    denying = [access.deny[place] for place in reviews[-1].earlier]
    return Finding(
        REFUSED,
        one.policy,
        one.field,
        f"every request that {one} allows is refused by {_some(denying)}, since DENY counts before "
        "ALLOW",
        Witness(example, f"refused by {denying[0]}"),
        tuple(dict.fromkeys(other.policy.ref for other in denying)),
    )


def _some(rules: list[DeclaredRule]) -> str:
    named = words(map(str, rules))
    return named if len(rules) == 1 else f"one of {named}"
