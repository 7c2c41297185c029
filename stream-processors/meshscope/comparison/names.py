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
    return _named(policy.key.kind, policy.sources)


def renamed(expected: Policy, observed: Policy) -> bool:
    """Whether the proxy names another resource than those that are declared, or names none."""
    return other_names(expected.key.kind, expected.sources, observed.sources)


def other_names(
    kind: Kind, expected: tuple[ResourceRef, ...], observed: tuple[ResourceRef, ...]
) -> bool:
    """`renamed` for policies of a kind with these sources."""
    if expected == observed or kind not in SURVIVING:
        return False
    if any(source.kind in _UNNAMED for source in expected):
        return False
    declared, held = set(_named(kind, expected)), set(_named(kind, observed))
    return bool(declared) != bool(held) or not held <= declared


def _named(kind: Kind, sources: tuple[ResourceRef, ...]) -> tuple[ResourceRef, ...]:
    surviving = SURVIVING.get(kind)
    return tuple(source for source in sources if source.kind == surviving)
