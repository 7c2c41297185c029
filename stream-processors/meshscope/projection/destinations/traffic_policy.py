"""What a DestinationRule says for one port and subset.

A port-level entry stands for the whole policy of its port: what it leaves out has Istio's default.
A subset's policy overrides block by block. Neither merges within a block.

Source: https://istio.io/latest/docs/reference/config/networking/destination-rule/#TrafficPolicy.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from meshscope.policy.target import HashPolicy
from meshscope.projection.destinations.destination_rule import MergedRule
from meshscope.projection.durations import milliseconds

Json = Mapping[str, Any]

_PORT_BLOCKS = ("connectionPool", "loadBalancer", "outlierDetection", "tls")
_BLOCKS = (*_PORT_BLOCKS, "tunnel", "proxyProtocol", "retryBudget")


@dataclass(frozen=True, slots=True)
class TrafficPolicy:
    """The blocks in force for a port and subset; empty: not given.

    Attributes:
        blocks: `connectionPool`, `loadBalancer`, `outlierDetection`, `tls`, `proxyProtocol`,
            `retryBudget`, `tunnel`, as they stand in the rule.
    """

    blocks: Json = field(default_factory=dict, hash=False)

    def block(self, name: str) -> Json | None:
        """A block, or None where the rule leaves it out; an empty block is not left out."""
        found: Json | None = self.blocks.get(name)
        return found


def of_port(policy: Json | None, port: int | None) -> tuple[Json | None, bool]:
    """The blocks of a policy for a port, and whether a port-level entry gave them."""
    if policy is None:
        return None, False
    for entry in policy.get("portLevelSettings") or ():
        if port is not None and (entry.get("port") or {}).get("number") == port:
            return _only(entry, _PORT_BLOCKS), True
    return _only(policy, _BLOCKS), False


def effective(
    policy: Json | None, subset: Json | None, port: int, defaults: Json | None = None
) -> TrafficPolicy:
    """The policy in force.

    Args:
        policy: `trafficPolicy` of the rule; None: none, or no rule.
        subset: `trafficPolicy` of the subset; None: none, or no subset.
        port: Port of the service.
        defaults: The mesh's `defaultTrafficPolicy`, for blocks that the rule does not give.
    """
    base, _ = of_port(policy, port)
    if defaults:
        missing = {n: b for n in ("connectionPool", "outlierDetection") if (b := defaults.get(n))}
        base = {**missing, **(base or {})}
    if subset is None:
        return TrafficPolicy(base or {})
    override, wholesale = of_port(subset, port)
    kept = {n: b for n, b in (base or {}).items() if not (wholesale and n in _PORT_BLOCKS)}
    return TrafficPolicy({**kept, **(override or {})})


def _only(entry: Json, names: tuple[str, ...]) -> Json:
    return {name: entry[name] for name in names if entry.get(name) is not None}


def hash_policy(
    rule: MergedRule | None, port: int | None, subset: str = ""
) -> tuple[HashPolicy, ...]:
    """What routes to a destination must hash for its consistent hashing; empty: nothing.

    Looked for at the subset's port, the subset, the port, and the rule, in this order.

    Args:
        rule: The rule that the client applies to the destination; None: none.
        port: Port of the service, or None where a route's destination does not name it: then
            port-level entries do not count.
        subset: Subset that the route names.
    """
    if rule is None:
        return ()
    own = rule.subsets.get(subset) if subset else None
    for policy in ((own or {}).get("trafficPolicy"), rule.policy):
        blocks, by_port = of_port(policy, port)
        for candidate in (blocks, policy if by_port else None):
            balancer = (candidate or {}).get("loadBalancer") or {}
            if consistent := balancer.get("consistentHash"):
                return _hashed(consistent)
    return ()


def _hashed(consistent: Json) -> tuple[HashPolicy, ...]:
    if name := consistent.get("httpHeaderName"):
        return (HashPolicy("header", name),)
    if cookie := consistent.get("httpCookie"):
        ttl = cookie.get("ttl")
        return (
            HashPolicy(
                "cookie",
                cookie.get("name", ""),
                ttl_ms=None if ttl is None else milliseconds(ttl),
                path=cookie.get("path", ""),
                attributes=tuple(
                    f"{item.get('name', '')}={item.get('value', '')}"
                    for item in cookie.get("attributes") or ()
                ),
            ),
        )
    if consistent.get("useSourceIp"):
        return (HashPolicy("source_ip"),)
    if name := consistent.get("httpQueryParameterName"):
        return (HashPolicy("query_parameter", name),)
    return ()
