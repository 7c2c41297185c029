"""Names of resources that survive in a proxy.

Proxies bear the VirtualService of a virtual host or TCP chain, and the first of the
DestinationRules that were merged into a destination. Where two such names differ and nothing else,
the proxy acts as declared and says that it is for another resource's sake.
"""

from collections.abc import Mapping
from typing import Final

from meshscope.policy.kinds import Kind
from meshscope.policy.policy import Policy
from meshscope.policy.source import ResourceRef

SURVIVING: Final[Mapping[Kind, str]] = {
    Kind.HTTP_ROUTE: "VirtualService",
    Kind.OUTBOUND_LISTENER: "VirtualService",
    Kind.DESTINATION: "DestinationRule",
}
"""Kinds of policies whose resource a proxy names, and the kind of that resource."""

_UNNAMED: Final = frozenset(("GRPCRoute", "HTTPRoute", "TCPRoute", "TLSRoute"))
"""Resources that a proxy names by a VirtualService that nobody declared."""


def named(policy: Policy) -> tuple[ResourceRef, ...]:
    """The resources that a proxy may name for a policy."""
    kind = SURVIVING.get(policy.key.kind)
    return tuple(source for source in policy.sources if source.kind == kind)


def renamed(expected: Policy, observed: Policy) -> bool:
    """Whether the proxy names another resource than those that are declared, or names none."""
    if expected.sources == observed.sources or expected.key.kind not in SURVIVING:
        return False
    if any(source.kind in _UNNAMED for source in expected.sources):
        return False
    declared, held = set(named(expected)), set(named(observed))
    return bool(declared) != bool(held) or not held <= declared
