"""What the filter chains of an inbound port say together.

Chains of one port and class (transport, protocol) should decide alike. Where they do not, one
stands for them, chosen without regard to their order, and the difference is reported beside it.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final, Literal, TypeVar

from meshscope.inference.evidence import Evidence, InboundChain, InboundCluster
from meshscope.policy import key
from meshscope.policy.authorization import Authorization, Rule
from meshscope.policy.canonical import as_set, content_bytes
from meshscope.policy.filter_order import FilterOrder
from meshscope.policy.inbound import Inbound, InboundRoutes
from meshscope.policy.key import PolicyKey
from meshscope.policy.peer_authentication import PeerAuthentication
from meshscope.policy.policy import Content, Policy
from meshscope.policy.source import ResourceRef

T = TypeVar("T")
Disagreement = tuple[PolicyKey, str, tuple[str, ...]]
"""Key, what the chains of a class do not agree on, and the variants as canonical JSON."""

_NOTHING_BEHIND: Final[InboundCluster | None] = None


def inbound_policies(
    evidence: Evidence,
) -> tuple[list[Policy], list[Disagreement]]:
    """The policies of all inbound ports, and where the chains of one class do not agree."""
    by_port: dict[str, list[InboundChain]] = {}
    for chain in evidence.chains:
        by_port.setdefault(chain.port, []).append(chain)
    policies: list[Policy] = []
    disagreements: list[Disagreement] = []
    for port, chains in by_port.items():
        policies.append(_inbound(port, chains, evidence, disagreements))
        policies.append(
            Policy(
                key.peer_authentication(port),
                PeerAuthentication(tuple(chain.accepts for chain in chains)),
            )
        )
        policies.extend(_class_policies(port, chains, disagreements))
    return policies, disagreements


def _inbound(
    port: str,
    chains: list[InboundChain],
    evidence: Evidence,
    disagreements: list[Disagreement],
) -> Policy:
    policy_key = key.inbound(port)
    http = [chain for chain in chains if chain.accepts.protocol == "http"]
    tcp = [chain for chain in chains if chain.accepts.protocol == "tcp"]
    clusters = sorted({name for chain in chains for name in chain.filters.clusters})
    behind = [evidence.inbound_clusters[n] for n in clusters if n in evidence.inbound_clusters]
    cluster = behind[0] if behind else _NOTHING_BEHIND
    if len(behind) > 1:
        disagree(disagreements, policy_key, "upstream", (found.upstream for found in behind))

    def same(what: str, values: Iterable[T]) -> T:
        variants = variants_of(values)
        if len(variants) > 1:
            disagree(disagreements, policy_key, what, variants)
        return variants[0]

    protocol: Literal["http", "tcp", "auto"] = "auto" if http and tcp else "http" if http else "tcp"
    content = Inbound(
        protocol=protocol,
        bind=same("bind", (chain.bind for chain in chains)),
        routes=tuple(
            InboundRoutes(chain.transport, chain.filters.rules, chain.filters.domains)
            for chain in http
        ),
        forwards_to=same("cluster", (chain.filters.cluster for chain in tcp)) if tcp else "",
        upstream=None if cluster is None else cluster.upstream,
        idle_timeout_ms=(
            same("idle_timeout", (chain.filters.idle_timeout_ms for chain in tcp)) if tcp else None
        ),
        detects=chains[0].detects,
        detection_timeout_ms=chains[0].detection_timeout_ms,
        continue_on_timeout=chains[0].continue_on_timeout,
        transparent=chains[0].transparent,
        own_port_open=port == key.ANY_PORT and evidence.own_port_open,
        services=() if cluster is None else cluster.services,
    )
    sources = {ref for chain in chains for ref in chain.sources}
    if cluster is not None:
        sources.update(cluster.sources)
    return Policy(policy_key, content, tuple(sources))


def _class_policies(
    port: str, chains: list[InboundChain], disagreements: list[Disagreement]
) -> Iterator[Policy]:
    classes: dict[tuple[str, str], list[InboundChain]] = {}
    for chain in chains:
        classes.setdefault((chain.transport, chain.accepts.protocol), []).append(chain)
    for (transport, protocol), members in classes.items():
        found: list[tuple[PolicyKey, list[Content]]] = [
            (
                key.authorization(port, transport, protocol),
                [chain.filters.authorization for chain in members],
            ),
            (
                key.filter_order(port, transport, protocol),
                [FilterOrder(tuple(chain.filters.order)) for chain in members],
            ),
        ]
        if protocol == key.PROTOCOL_HTTP:
            found.append(
                (
                    key.request_authentication(port, transport),
                    [chain.filters.tokens for chain in members],
                )
            )
            found.append(
                (
                    key.http_connection(port, transport),
                    [c for chain in members if (c := chain.filters.connection) is not None],
                )
            )
        for policy_key, contents in found:
            if not contents:
                continue
            variants = variants_of(contents)
            if len(variants) > 1:
                disagree(disagreements, policy_key, "chains", variants)
            content = variants[0]
            yield Policy(policy_key, content, authorization_sources(content))


def authorization_sources(content: Content) -> tuple[ResourceRef, ...]:
    """The AuthorizationPolicies that access rules came from; empty for other contents."""
    if not isinstance(content, Authorization):
        return ()
    rules: list[Rule] = [rule for custom in content.custom for rule in custom.rules]
    for group in (
        content.audit,
        content.deny,
        content.allow,
        content.dry_run_deny,
        content.dry_run_allow,
    ):
        rules.extend(group or ())
    return as_set(
        ResourceRef("AuthorizationPolicy", namespace, name)
        for namespace, slash, name in (rule.policy.partition("/") for rule in rules)
        if slash
    )


def variants_of(values: Iterable[T]) -> list[T]:
    """Different values, in an order that does not depend on that of the chains."""
    by_bytes: Mapping[bytes, T] = {content_bytes(value): value for value in values}
    return [by_bytes[data] for data in sorted(by_bytes)]


def disagree(
    disagreements: list[Disagreement], policy_key: PolicyKey, what: str, variants: Iterable[object]
) -> None:
    texts = tuple(sorted(content_bytes(variant).decode() for variant in variants))
    disagreements.append((policy_key, what, texts))
