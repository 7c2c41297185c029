"""What the resources of all sections say together."""

from collections.abc import Container, Iterable

from meshscope.inference.evidence import ChainTelemetry, Evidence
from meshscope.inference.inbound_ports import Disagreement, disagree, variants_of
from meshscope.inference.leftovers import Leftovers
from meshscope.inference.names import destination_key, endpoints_key
from meshscope.policy import key
from meshscope.policy.canonical import content_bytes
from meshscope.policy.filter_order import FilterOrder
from meshscope.policy.key import PolicyKey
from meshscope.policy.policy import Policy
from meshscope.policy.telemetry import Telemetry


def telemetry_policies(evidence: Evidence) -> list[Policy]:
    """What the chains of each direction and protocol log, trace and measure."""
    classes: dict[tuple[str, str], list[ChainTelemetry]] = {}
    for chain in evidence.telemetry:
        classes.setdefault((chain.direction, chain.protocol), []).append(chain)
    return [
        Policy(
            key.telemetry(direction, protocol),
            Telemetry(
                access_logs=tuple(chain.access_logs for chain in chains),
                tracing=(
                    tuple(chain.tracing for chain in chains)
                    if protocol == key.PROTOCOL_HTTP
                    else ()
                ),
                metrics=tuple(item for chain in chains for item in chain.metrics or (None,)),
            ),
        )
        for (direction, protocol), chains in classes.items()
    ]


def outbound_orders(
    orders: Iterable[tuple[str, tuple[str, ...]]],
) -> tuple[list[Policy], list[Disagreement]]:
    """The filter order of outbound chains, per protocol."""
    by_protocol: dict[str, list[FilterOrder]] = {}
    for protocol, roles in orders:
        by_protocol.setdefault(protocol, []).append(FilterOrder(roles))
    policies: list[Policy] = []
    disagreements: list[Disagreement] = []
    for protocol, found in by_protocol.items():
        policy_key = key.filter_order("outbound", key.TRANSPORT_NONE, protocol)
        variants = variants_of(found)
        if len(variants) > 1:
            disagree(disagreements, policy_key, "chains", variants)
        policies.append(Policy(policy_key, variants[0]))
    return policies, disagreements


def by_key(found: Iterable[Policy], leftovers: Leftovers) -> dict[PolicyKey, Policy]:
    """Policies by key; where two resources say different things, one stands and it is reported."""
    policies: dict[PolicyKey, Policy] = {}
    for policy in found:
        other = policies.get(policy.key)
        if other is None:
            policies[policy.key] = policy
        elif other.digest != policy.digest:
            texts = sorted(content_bytes(item.content).decode() for item in (other, policy))
            leftovers.disagreement(str(policy.key), "resources", tuple(texts))
            policies[policy.key] = min(other, policy, key=lambda item: item.digest)
    return policies


def unreferenced(
    evidence: Evidence,
    clusters: Iterable[str],
    mentioned: Container[str],
    policies: Container[PolicyKey],
) -> frozenset[PolicyKey]:
    """Keys of the policies of route tables and clusters that no listener leads to.

    Args:
        evidence: What the dump holds.
        clusters: All clusters.
        mentioned: Texts in what is not explained, which may name clusters.
        policies: Keys of all policies.
    """
    reached = set(evidence.listener_clusters)
    idle: list[PolicyKey] = []
    for table, keys in evidence.table_policies.items():
        if table in evidence.listener_tables:
            reached |= evidence.table_clusters[table]
        else:
            idle.extend(keys)
    for cluster in clusters:
        if cluster not in reached and cluster not in mentioned:
            idle += (destination_key(cluster), endpoints_key(cluster))
    return frozenset(policy_key for policy_key in idle if policy_key in policies)
