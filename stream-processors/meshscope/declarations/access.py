"""Access rules as lists of decisions: what AuthorizationPolicies do together at a workload."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from meshscope.algebra.conditions import rule as cubes_of
from meshscope.algebra.decision_list import Decision, DecisionList, differences
from meshscope.algebra.dimensions import PRESENT, Constraint, Cube, Dimension, Numbers, Slot, Texts
from meshscope.algebra.limits import Limits, TooLargeError, Undecided
from meshscope.algebra.request import Request
from meshscope.algebra.strings import NOTHING, exact
from meshscope.declarations.reading import Json, mappings, text
from meshscope.declarations.surroundings import Surroundings, selector_of, targets
from meshscope.declarations.workloads import Workload
from meshscope.evaluation import access
from meshscope.events.resource import Resource
from meshscope.policy.authorization import Authorization, Rule
from meshscope.projection.declared.selection import selecting
from meshscope.projection.security.authorization import is_dry_run
from meshscope.projection.security.authorization_attributes import RuleContext
from meshscope.projection.security.authorization_rules import rule_of
from meshscope.projection.security.trust_domain import trust_domains

LIMITS: Final = Limits(nodes=20_000, steps=500_000)
"""There are many policies to look at: about a second for each of the worst."""

ALLOWED: Final = "allowed"
DENIED: Final = "denied"

Action = Literal["ALLOW", "DENY"]


@dataclass(frozen=True, slots=True)
class DeclaredRule:
    """One rule of a policy, on one class of chains.

    Attributes:
        policy: The AuthorizationPolicy.
        index: Position of the rule in it.
        rule: Its conditions.
    """

    policy: Resource
    index: int
    rule: Rule

    @property
    def field(self) -> str:
        """Where it stands."""
        return f"spec.rules[{self.index}]"

    def __str__(self) -> str:
        return f"rule {self.index} of {self.policy.namespace}/{self.policy.name}"


@dataclass(frozen=True, slots=True)
class Access:
    """The DENY and ALLOW rules of a workload on one class of chains, in order of declaration.

    Attributes:
        deny, allow: The rules that Istio makes of the policies.
        closed: There are ALLOW policies, so that what none of them allows is denied.
    """

    deny: tuple[DeclaredRule, ...]
    allow: tuple[DeclaredRule, ...]
    closed: bool

    def decisions(self) -> DecisionList:
        """The rules as a list of which the first that matches decides."""
        return DecisionList(
            (*decisions(self.deny, DENIED), *decisions(self.allow, ALLOWED)), self.otherwise
        )

    @property
    def otherwise(self) -> str:
        """What happens to requests that no rule matches."""
        return DENIED if self.closed else ALLOWED

    def outcome(self, request: Request) -> str | None:
        """What the evaluation says of a request; None: it hangs on what is not modelled."""
        rules = Authorization(
            deny=tuple(one.rule for one in self.deny),
            allow=tuple(one.rule for one in self.allow) if self.closed else None,
        )
        for filter_ in (access.deny, access.allow):
            verdict = filter_(rules, request).verdict
            if verdict != "passes":
                return DENIED if verdict == "refused" else None
        return ALLOWED


def decisions(rules: Iterable[DeclaredRule], outcome: str) -> Iterator[Decision]:
    """Rules as decisions of one outcome."""
    for one in rules:
        yield Decision(cubes_of(one.rule), outcome)


def access_of(policies: Sequence[Resource], around: Surroundings, *, tcp: bool = False) -> Access:
    """What policies that select a workload do together.

    Raises:
        TooManyAlternativesError: A rule is too large to be modelled.
    """
    enforced = [policy for policy in policies if not is_dry_run(policy)]
    return Access(
        tuple(_rules(enforced, "DENY", around, tcp)),
        tuple(_rules(enforced, "ALLOW", around, tcp)),
        any(action_of(policy) == "ALLOW" for policy in enforced),
    )


def action_of(policy: Resource) -> str:
    """The action of an AuthorizationPolicy."""
    return text(policy.spec, "action") or "ALLOW"


def _rules(
    policies: Iterable[Resource], action: Action, around: Surroundings, tcp: bool
) -> Iterator[DeclaredRule]:
    for policy in policies:
        if action_of(policy) == action:
            for index, spec in mappings(policy.spec, "rules"):
                found = declared_rule(policy, index, spec, around, tcp=tcp)
                if found is not None:
                    yield found


def declared_rule(
    policy: Resource, index: int, spec: Json, around: Surroundings, *, tcp: bool = False
) -> DeclaredRule | None:
    """One rule on one class of chains; None: Istio leaves it out there.

    Raises:
        TooManyAlternativesError: The rule is too large to be modelled.
    """
    domains = trust_domains(around.control_plane.mesh_config)
    context = RuleContext(policy.namespace, domains, tcp, action_of(policy) == "ALLOW")
    rule = rule_of(f"{policy.namespace}/{policy.name}", index, spec, context)
    return None if rule is None else DeclaredRule(policy, index, rule)


Policies = tuple[Resource, ...]


def in_force(around: Surroundings, namespace: str, own: dict[str, str]) -> Policies:
    """The AuthorizationPolicies in force at a workload of a namespace with these labels."""
    policies = around.within("AuthorizationPolicy", namespace, around.root)
    return selecting(policies, namespace=namespace, labels=own, root=around.root)


def places(policy: Resource, around: Surroundings) -> tuple[tuple[Policies, Workload | None], ...]:
    """What is in force beside a policy wherever it applies, with a workload of each such place.

    Where its workloads are not known: the policies that are in force at every workload that it can
    select (its own labels are all that is known of these).
    """
    if targets(policy):
        return ()
    wanted = selector_of(policy) or {}
    found: dict[Policies, Workload | None] = {}
    for workload in around.selected(policy.namespace, wanted):
        found.setdefault(in_force(around, workload.namespace, dict(workload.labels)), workload)
    if not found or around.lacks_workloads(policy.namespace):
        found = {in_force(around, policy.namespace, dict(wanted)): None}
    return tuple(found.items())


def arriving(transport: str = "", port: int = 0) -> tuple[Cube, ...]:
    """Requests that reach access rules: those with an identity use mutual TLS, others have none.

    Args:
        transport: `mtls` or `plaintext` alone; empty: any.
        port: Target port; 0: any.
    """
    on_port: Cube = (Constraint(Slot(Dimension.PORT), Numbers(((port, port),))),) if port else ()
    among = (transport,) if transport else ("mtls", "plaintext")
    return tuple((*_over(name), *on_port) for name in among)


def _over(transport: str) -> Cube:
    principal = Slot(Dimension.PRINCIPAL)
    return (
        Constraint(Slot(Dimension.TRANSPORT), Texts(exact(transport))),
        Constraint(principal, PRESENT if transport == "mtls" else Texts(NOTHING, absent=True)),
    )


def example_of(
    rule: Rule, given: Sequence[Cube], among: DecisionList | None = None
) -> Request | None:
    """The simplest of some requests that a rule matches; None: there is none, or it is not known.

    Args:
        rule: The rule.
        given: The requests.
        among: If given, it must allow the request.
    """
    try:
        matched = cubes_of(rule)
        wanted = tuple((*one, *other) for one in given for other in matched)
        if not wanted:
            return None
        rules = among or DecisionList((), ALLOWED)
        changes = differences(rules, DecisionList((), DENIED), wanted, LIMITS)
    except TooLargeError:
        return None
    if isinstance(changes, Undecided):
        return None
    return next((c.example for c in changes if c.before == ALLOWED), None)
