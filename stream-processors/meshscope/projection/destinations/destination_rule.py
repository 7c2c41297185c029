"""Which DestinationRule a client applies to a service, and what merging made of it.

Rules for one host in one namespace are merged where they may be; a client then looks into its own
namespace, the service's and the root namespace, in this order, and stops at the first that has
rules for the most specific host. Rules with a workload selector count only in their own namespace.

Source: https://istio.io/latest/docs/ops/best-practices/traffic-management/#cross-namespace-configuration
and https://istio.io/latest/docs/ops/best-practices/traffic-management/#split-virtual-services.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from meshscope.events.resource import Resource
from meshscope.policy.source import ResourceRef
from meshscope.projection.declared.age import oldest_first
from meshscope.projection.hosts import Patterns
from meshscope.projection.memory import Alike, Memory

PRIVATE = "."
PUBLIC = "*"

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True, eq=False)
class MergedRule:
    """A DestinationRule with what others for the same host added to it.

    Equality is identity, so that results can be remembered per rule.

    Attributes:
        refs: The rules that took part; the first one gave its name.
        namespace, host: Of the first one; the host is a full name, or begins with `*`.
        export_to: As given; empty: the mesh's default.
        selector: Labels of the workloads that apply it; None: all.
        policy: Its `trafficPolicy`; None: none.
        subsets: Its subsets by name, in order of definition.
    """

    refs: tuple[ResourceRef, ...]
    namespace: str
    host: str
    export_to: frozenset[str] = frozenset()
    selector: tuple[tuple[str, str], ...] | None = None
    policy: Json | None = None
    subsets: Mapping[str, Json] = field(default_factory=dict)

    @property
    def ref(self) -> ResourceRef:
        """The rule whose name a proxy holds."""
        return self.refs[0]

    def exported_to(self, namespace: str) -> bool:
        """Whether clients in another namespace may see it."""
        return not self.export_to or PUBLIC in self.export_to or namespace in self.export_to

    def selects(self, labels: Mapping[str, str]) -> bool:
        """Whether it has a selector that names labels of the workload."""
        return self.selector is not None and set(self.selector) <= labels.items()

    def mergeable_with(self, later: "MergedRule") -> bool:
        """Whether a later rule for the same host adds to this one."""
        exports = self.export_to == later.export_to or (
            bool(self.export_to) and later.export_to >= self.export_to
        )
        both_select = self.selector is not None and later.selector is not None
        return exports and not (both_select and self.selector != later.selector)

    def absorbs(self, later: "MergedRule") -> bool:
        """Whether a later rule that is merged into this one is not kept for itself."""
        return self.export_to == later.export_to or self.selector == later.selector

    def with_later(self, later: "MergedRule") -> "MergedRule":
        """Add the subsets that are new, and the policy if this rule has none."""
        return replace(
            self,
            refs=(*self.refs, *later.refs),
            policy=later.policy if self.policy is None else self.policy,
            subsets={**self.subsets, **_new(later.subsets, self.subsets)},
        )


def _new(candidates: Mapping[str, Json], known: Mapping[str, Json]) -> Mapping[str, Json]:
    return {name: subset for name, subset in candidates.items() if name not in known}


def rule_of(resource: Resource, domain: str = "cluster.local") -> MergedRule:
    """A DestinationRule by itself; a host without a dot lies in the rule's namespace."""
    spec = resource.spec
    host = spec.get("host", "")
    if host and "." not in host and "*" not in host:
        host = f"{host}.{resource.namespace}.svc.{domain}"
    selector = spec.get("workloadSelector")
    subsets: dict[str, Json] = {}
    for subset in spec.get("subsets") or ():
        subsets.setdefault(subset.get("name", ""), subset)
    return MergedRule(
        refs=(resource.ref,),
        namespace=resource.namespace,
        host=host,
        export_to=frozenset((PRIVATE,))
        if selector is not None
        else frozenset(spec.get("exportTo") or ()),
        selector=None
        if selector is None
        else tuple(sorted((selector.get("matchLabels") or {}).items())),
        policy=spec.get("trafficPolicy"),
        subsets=subsets,
    )


def merge(rules: Iterable[MergedRule]) -> tuple[MergedRule, ...]:
    """What is left of the rules for one host in one namespace, given oldest first.

    Rules with a selector come before the others whatever their age. A rule that is merged into
    another with the same `exportTo` or the same selector is not kept for itself.
    """
    merged: list[MergedRule] = []
    for rule in sorted(rules, key=lambda rule: rule.selector is None):
        kept = True
        for index, earlier in enumerate(merged):
            kept = True
            if earlier.mergeable_with(rule):
                kept = not earlier.absorbs(rule)
                merged[index] = earlier.with_later(rule)
        if kept:
            merged.append(rule)
    return tuple(merged)


class HostRules:
    """Rules by host in one pool.

    Args:
        outcomes: For each host, every result that merging may have; one where ages are known.
    """

    def __init__(self, outcomes: Mapping[str, tuple[tuple[MergedRule, ...], ...]]) -> None:
        self._outcomes = outcomes
        self._hosts = Patterns(outcomes)

    def most_specific(self, host: str) -> tuple[tuple[MergedRule, ...], ...] | None:
        """The outcomes for the host itself, else for the longest wildcard that covers it."""
        found = self._hosts.most_specific(host)
        return None if found is None else self._outcomes[found]


_NONE = HostRules({})


@dataclass(frozen=True, eq=False)
class RuleIndex:
    """Every DestinationRule, ready to be looked up.

    Attributes:
        rules: All of them, each by itself.
        root: The root namespace.
        private_by_default: Rules without `exportTo` stay in their namespace
            (`defaultDestinationRuleExportTo`).
        domain: DNS domain of the cluster, for hosts without a dot.
        earlier: What merging gave earlier rules; it stays where it is alike.
    """

    rules: tuple[Resource, ...]
    root: str
    private_by_default: bool = False
    domain: str = "cluster.local"
    earlier: tuple[MergedRule, ...] = ()

    @cached_property
    def clients(self) -> Memory[Any]:
        """What clients apply of the rules, which is forgotten with them."""
        return Memory(500)

    @property
    def made(self) -> tuple[MergedRule, ...]:
        """What merging gave, as far as it was asked for."""
        return tuple(self._made)

    @cached_property
    def _made(self) -> dict[MergedRule, None]:
        return {}

    @cached_property
    def _earlier(self) -> Alike[MergedRule]:
        return Alike(MergedRule, self.earlier)

    @cached_property
    def _local(self) -> Mapping[str, HostRules]:
        return self._pools(lambda rule: not rule.export_to or _names_own(rule))

    @cached_property
    def _exported(self) -> Mapping[str, HostRules]:
        return self._pools(lambda rule: not self._stays(rule))

    @cached_property
    def _root_private(self) -> HostRules:
        return self._pools(self._stays).get(self.root, _NONE)

    def _stays(self, rule: MergedRule) -> bool:
        if not rule.export_to:
            return self.private_by_default
        return rule.export_to in ({PRIVATE}, {rule.namespace})

    def _pools(self, belongs: Callable[[MergedRule], bool]) -> Mapping[str, HostRules]:
        groups: dict[str, dict[str, list[tuple[Resource, MergedRule]]]] = {}
        for resource in self.rules:
            rule = rule_of(resource, self.domain)
            if belongs(rule):
                hosts = groups.setdefault(rule.namespace, {})
                hosts.setdefault(rule.host, []).append((resource, rule))
        return {
            namespace: HostRules({host: self._outcomes(found) for host, found in hosts.items()})
            for namespace, hosts in groups.items()
        }

    def _outcomes(
        self, found: Sequence[tuple[Resource, MergedRule]]
    ) -> tuple[tuple[MergedRule, ...], ...]:
        rules = {id(resource): rule for resource, rule in found}
        orders = oldest_first(resource for resource, _ in found)
        outcomes = tuple(
            tuple(map(self._earlier.same, merge(rules[id(resource)] for resource in order)))
            for order in orders
        )
        self._made.update(dict.fromkeys(rule for outcome in outcomes for rule in outcome))
        return outcomes

    def candidates(
        self, client_namespace: str, service_namespace: str, host: str
    ) -> tuple[tuple[MergedRule, ...], ...]:
        """The rules among which the client's labels choose; several where ages are unknown.

        Args:
            client_namespace: Namespace of the proxy.
            service_namespace: Namespace of the service.
            host: Host of the service.
        """
        own = (
            self._local.get(client_namespace, _NONE)
            if client_namespace != self.root
            else self._root_private
        ).most_specific(host)
        if own is not None:
            return own
        for owner in (service_namespace, self.root):
            pool = self._exported.get(owner, _NONE).most_specific(host)
            visible = tuple(
                tuple(rule for rule in rules if rule.exported_to(client_namespace))
                for rules in pool or ()
            )
            if any(visible):
                return visible
        return ((),)

    def choose(
        self,
        client_namespace: str,
        labels: Mapping[str, str],
        service_namespace: str,
        host: str,
    ) -> tuple[MergedRule | None, ...]:
        """The rule that the client applies to outbound traffic; several where ages are unknown."""
        found = (
            chosen(rules, client_namespace, labels)
            for rules in self.candidates(client_namespace, service_namespace, host)
        )
        return tuple(dict.fromkeys(found))


def chosen(
    rules: Sequence[MergedRule], client_namespace: str, labels: Mapping[str, str]
) -> MergedRule | None:
    """The first rule with a matching selector, else the last one without a selector."""
    for rule in rules:
        if rule.namespace == client_namespace and rule.selects(labels):
            return rule
    without = [rule for rule in rules if rule.selector is None]
    return without[-1] if without else None


def _names_own(rule: MergedRule) -> bool:
    return bool(rule.export_to & {PUBLIC, PRIVATE, rule.namespace})
