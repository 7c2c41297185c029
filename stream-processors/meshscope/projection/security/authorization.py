"""Kind `authorization` from AuthorizationPolicy.

All policies that select a workload act together: CUSTOM is asked first, then AUDIT, DENY and ALLOW.
An action without any policy has no filter; an action with policies of which no rule is left on a
class of chains has a filter without rules, which for ALLOW denies everything.

Source: https://istio.io/latest/docs/reference/config/security/authorization-policy/.
"""

from collections.abc import Callable, Iterable, Sequence

from meshscope.events.resource import Resource
from meshscope.policy.authorization import Authorization, CustomRules, ExternalAuthorizer, Rule
from meshscope.projection.security.authorization_attributes import RuleContext
from meshscope.projection.security.authorization_rules import NEVER, rule_of
from meshscope.projection.security.ext_authz import Authorizers, ProviderError
from meshscope.projection.security.trust_domain import TrustDomains

_DRY_RUN = "istio.io/dry-run"
_TRUE = frozenset(("1", "t", "T", "TRUE", "true", "True"))

ProviderLookup = Callable[[str], Authorizers]
"""From the name of a provider to its authorizers; raises `ProviderError`."""


def authorization(
    policies: Iterable[Resource],
    *,
    tcp: bool,
    trust_domains: TrustDomains,
    find_provider: ProviderLookup,
    several_providers: bool,
    provider_in_ids: bool,
) -> Authorization:
    """The access rules of a workload on its HTTP or TCP chains.

    Args:
        policies: Those that select the workload.
        tcp: TCP chains; else HTTP.
        trust_domains: The mesh's own.
        find_provider: What a CUSTOM policy's provider is.
        several_providers: A workload may have CUSTOM policies of several providers; else Istio
            denies what any of them matches.
        provider_in_ids: The ids of CUSTOM rules name the provider (Istio 1.30); else no name is
            known, and there can be one provider only.
    """
    by_action: dict[str, list[Resource]] = {}
    for policy in policies:
        by_action.setdefault(policy.spec.get("action") or "ALLOW", []).append(policy)

    def rules(action: str, *, dry_run: bool = False) -> tuple[Rule, ...] | None:
        chosen = [p for p in by_action.get(action, ()) if is_dry_run(p) == dry_run]
        return _rules(chosen, tcp, trust_domains, allows=action == "ALLOW") if chosen else None

    by_provider: dict[str, list[Resource]] = {}
    for policy in by_action.get("CUSTOM", ()):
        name = (policy.spec.get("provider") or {}).get("name") or ""
        by_provider.setdefault(name, []).append(policy)
    refused = len(by_provider) > 1 and not several_providers
    custom = [
        found
        for name, chosen in by_provider.items()
        if (found := _custom(name, chosen, tcp, trust_domains, find_provider, refused))
    ]
    if not provider_in_ids and custom:
        authorizer = custom[0].authorizer
        merged = tuple(rule for found in custom for rule in found.rules)
        custom = [CustomRules("", merged, authorizer)]
    return Authorization(
        custom=tuple(custom),
        audit=rules("AUDIT"),
        deny=rules("DENY"),
        allow=rules("ALLOW"),
        dry_run_deny=rules("DENY", dry_run=True),
        dry_run_allow=rules("ALLOW", dry_run=True),
    )


def is_dry_run(policy: Resource) -> bool:
    """Whether the rules of a policy are only counted."""
    return policy.annotations.get(_DRY_RUN) in _TRUE


def _custom(
    provider: str,
    policies: Sequence[Resource],
    tcp: bool,
    trust_domains: TrustDomains,
    find_provider: ProviderLookup,
    refused: bool,
) -> CustomRules | None:
    rules = _rules(policies, tcp, trust_domains, allows=False)
    authorizer: ExternalAuthorizer | None = None
    if not refused:
        try:
            found = find_provider(provider)
        except ProviderError:
            pass
        else:
            authorizer = found.tcp if tcp else found.http
            if authorizer is None:
                # An HTTP provider cannot judge connections: they are not shown to it.
                return None
    return CustomRules(provider, rules, authorizer)


def _rules(
    policies: Sequence[Resource], tcp: bool, trust_domains: TrustDomains, *, allows: bool
) -> tuple[Rule, ...]:
    rules: list[Rule] = []
    for policy in policies:
        name = f"{policy.namespace}/{policy.name}"
        context = RuleContext(policy.namespace, trust_domains, tcp, allows)
        specs = policy.spec.get("rules")
        if not specs:
            rules.append(Rule(name, 0, NEVER, NEVER))
            continue
        found = (
            # An item that is null is no rule; `{}` is one that matches everything.
            rule_of(name, index, spec, context)
            for index, spec in enumerate(specs)
            if spec is not None
        )
        rules += filter(None, found)
    return tuple(rules)
