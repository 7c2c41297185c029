"""Which requests two forms of a policy treat differently, by the algebra of requests: the simplest
one, and all of them in few words.

It answers for access rules and for the rules of a virtual host. Everything else in these policies
must be alike: where it differs too, where the algebra gives up, or where an answer would hang on
how a path is rewritten, there is no answer here, and the fields that differ have to do.
"""

import json
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

from meshscope.algebra.conditions import domains, route_match, rule
from meshscope.algebra.decision_list import Change, Decision, DecisionList, differences
from meshscope.algebra.dimensions import PRESENT, Constraint, Cube, Dimension, Numbers, Slot, Texts
from meshscope.algebra.limits import Limits, TooLargeError, Undecided
from meshscope.algebra.regions import Names, regions
from meshscope.algebra.strings import NOTHING, exact
from meshscope.comparison.meaning import reduced
from meshscope.comparison.request_names import names_of_access, names_of_routes
from meshscope.comparison.request_words import affected
from meshscope.comparison.verdict import EFFECTS, Affected, Effect
from meshscope.policy.authorization import Authorization, ExternalAuthorizer, Rule
from meshscope.policy.http_route import HttpRoute, HttpRule, RouteMatch
from meshscope.policy.key import ANY_PORT, TRANSPORT_MTLS, PolicyKey
from meshscope.policy.policy import Policy

LIMITS: Final = Limits(nodes=20_000, steps=500_000)
"""A comparison has many policies to look at: about a second for each of the worst."""

ALLOWED: Final = "allowed"
DENIED: Final = "denied"
_NO_RULE: Final = "no rule"


@dataclass(frozen=True, slots=True)
class Behaviour:
    """What a difference does to requests.

    Attributes:
        effect: The worst of what happens to any request; `equivalent`: nothing to none.
        witness: The simplest request to which that happens, as JSON; None: there is none.
        affected: All requests that are treated otherwise, worst first; empty: there are none, or
            they are too many things to say.
    """

    effect: Effect
    witness: str | None = None
    affected: tuple[Affected, ...] = ()


@lru_cache(maxsize=1024)
def behaviour(declared: Policy, observed: Policy) -> Behaviour | None:
    """What it does to requests that `observed` is held instead of `declared`; None: no answer."""
    try:
        match declared.content, observed.content:
            case Authorization() as one, Authorization() as other:
                return _of_access(declared.key, one, other)
            case HttpRoute() as one, HttpRoute() as other:
                return _of_routes(one, other)
    except TooLargeError:
        return None
    return None


def _of_access(place: PolicyKey, one: Authorization, other: Authorization) -> Behaviour | None:
    if _counted(one) != _counted(other):
        return None
    sides = (_asked(one), _asked(other)), (_enforced(one), _enforced(other))
    for given in _arriving(place):
        changes: list[Change] = []
        for before, after in sides:
            found = differences(before, after, (given,), LIMITS)
            if isinstance(found, Undecided):
                return None
            changes += found
        if changes:
            names = names_of_access((*_rules(one), *_rules(other)))
            some = [_affected(*side, _access_effect, names, given) for side in sides]
            worst = _worst([(_access_effect(c.before, c.after), c) for c in changes])
            return replace(worst, affected=_together(some))
    return Behaviour("equivalent")


def _rules(access: Authorization) -> Iterator[Rule]:
    for custom in access.custom:
        yield from custom.rules
    yield from access.deny or ()
    yield from access.allow or ()


def _affected(
    before: DecisionList,
    after: DecisionList,
    effect: Callable[[Hashable, Hashable], Effect],
    names: Names,
    given: Cube,
) -> tuple[Affected, ...] | None:
    """All requests that two lists treat differently; None: that is too much to say."""

    def group(one: Hashable, other: Hashable) -> tuple[Effect, str, str]:
        return effect(one, other), words(one), words(other)

    found = regions(before, after, group, names, given, LIMITS)
    if isinstance(found, Undecided):
        return None
    return tuple(affected(*what, region) for what, region in found.items())


def _together(parts: Sequence[tuple[Affected, ...] | None]) -> tuple[Affected, ...]:
    """Worst first; nothing where a part is not known, since the others would not be all."""
    known = [each for part in parts for each in part or ()]
    return () if None in parts else tuple(sorted(known, key=lambda a: EFFECTS.index(a.effect)))


def _counted(access: Authorization) -> Authorization:
    """What is only counted or audited."""
    return replace(access.without_names(), custom=(), deny=None, allow=None)


def _arriving(place: PolicyKey) -> tuple[Cube, ...]:
    """Requests that reach the rules: first those that Istio lets arrive, then all."""
    transport = place["transport"]
    conditions = [Constraint(Slot(Dimension.TRANSPORT), Texts(exact(transport)))]
    if place["port"] != ANY_PORT:
        port = int(place["port"])
        conditions.append(Constraint(Slot(Dimension.PORT), Numbers(((port, port),))))
    principal = Slot(Dimension.PRINCIPAL)
    if transport == TRANSPORT_MTLS:
        # A chain of another control plane may terminate TLS without asking for a certificate.
        return (*conditions, Constraint(principal, PRESENT)), tuple(conditions)
    return ((*conditions, Constraint(principal, Texts(NOTHING, absent=True))),)


def _enforced(access: Authorization) -> DecisionList:
    deny = [Decision(rule(found), DENIED) for found in access.deny or ()]
    allow = [Decision(rule(found), ALLOWED) for found in access.allow or ()]
    return DecisionList((*deny, *allow), ALLOWED if access.allow is None else DENIED)


def _asked(access: Authorization) -> DecisionList:
    """Which external authorizer is asked; without one there is nobody to refuse."""
    return DecisionList(
        tuple(
            Decision(rule(found), DENIED if custom.authorizer is None else custom.authorizer)
            for custom in access.custom
            for found in custom.rules
        ),
        ALLOWED,
    )


def _access_effect(before: Hashable, _: Hashable) -> Effect:
    return "blocks" if before == ALLOWED else "exposes"


def _of_routes(one: HttpRoute, other: HttpRoute) -> Behaviour | None:
    if replace(one, rules=()) != replace(other, rules=()):
        return None
    before, after = _routes(one.rules), _routes(other.rules)
    (given,) = domains(one.domains)
    found = differences(before, after, (given,), LIMITS)
    if isinstance(found, Undecided):
        return None
    if any(_only_rewritten_elsewhere(change) for change in found):
        return None
    worst = _worst([(_route_effect(change.before, change.after), change) for change in found])
    if not found:
        return worst
    names = names_of_routes(each.match for each in (*one.rules, *other.rules))
    some = _affected(before, after, _route_effect, names, given)
    return replace(worst, affected=_together([some]))


def _routes(rules: Sequence[HttpRule]) -> DecisionList:
    return DecisionList(
        tuple(Decision(route_match(found.match), _action(found)) for found in rules), _NO_RULE
    )


def _action(found: HttpRule) -> HttpRule:
    """What a rule does, without its conditions; what is put for a prefix hangs on the prefix."""
    match = RouteMatch()
    rewrites = found.forward is not None and found.forward.rewrite.prefix
    if rewrites or (found.redirect is not None and found.redirect.prefix):
        match = RouteMatch(found.match.path)
    action: HttpRule = reduced(replace(found.without_names(), match=match))
    return action


def _only_rewritten_elsewhere(change: Change) -> bool:
    """Whether two actions differ in nothing but the condition that a rewrite hangs on."""
    before, after = change.before, change.after
    return (
        isinstance(before, HttpRule)
        and isinstance(after, HttpRule)
        and replace(before, match=RouteMatch()) == replace(after, match=RouteMatch())
    )


def _route_effect(before: Hashable, after: Hashable) -> Effect:
    if not isinstance(after, HttpRule) or after.respond is not None:
        return "blocks"
    if not isinstance(before, HttpRule) or before.respond is not None:
        return "reroutes"
    if after.fault != before.fault and after.fault is not None:
        return "blocks"
    return "reroutes" if _where(before) != _where(after) else "alters"


def _where(action: HttpRule) -> Hashable:
    if action.forward is None:
        return action.redirect
    return tuple((w.target, w.weight) for w in action.forward.to), action.forward.mirrors


def _worst(changes: Sequence[tuple[Effect, Change]]) -> Behaviour:
    """The worst effect, and of the requests that show it one that hangs on nothing unmodelled."""
    if not changes:
        return Behaviour("equivalent")
    effect, change = min(
        changes, key=lambda found: (EFFECTS.index(found[0]), len(found[1].example.assumes))
    )
    return Behaviour(effect, _witness(change))


def _witness(change: Change) -> str:
    return json.dumps(
        {
            "request": change.example.fields(),
            "text": str(change.example),
            "expected": words(change.before),
            "observed": words(change.after),
        }
    )


def words(outcome: Hashable) -> str:
    """An outcome for readers."""
    if isinstance(outcome, ExternalAuthorizer):
        return f"decided by {outcome.cluster}"
    if not isinstance(outcome, HttpRule):
        return {_NO_RULE: "answered with 404, since no rule matches"}.get(
            str(outcome), str(outcome)
        )
    if outcome.redirect is not None:
        return f"redirected with {outcome.redirect.status}"
    if outcome.respond is not None:
        return f"answered with {outcome.respond.status}"
    if outcome.forward is None:
        return "what is not modelled"
    total = sum(target.weight for target in outcome.forward.to) or 1
    return "sent to " + ", ".join(
        f"{target.target}" + (f" ({target.weight / total:.0%})" if target.weight != total else "")
        for target in outcome.forward.to
    )
