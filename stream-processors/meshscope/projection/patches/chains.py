"""Which filter chains a patch means, as far as keys of policies tell them apart."""

from collections.abc import Iterator
from typing import Final

from meshscope.policy.inbound import Inbound
from meshscope.policy.key import ANY_PORT, PolicyKey, inbound
from meshscope.policy.kinds import Kind
from meshscope.policy.outbound_listener import OutboundListener
from meshscope.projection.patches.effects import Held
from meshscope.projection.patches.fields import Unmodelled
from meshscope.projection.patches.in_force import INBOUND, OUTBOUND, Json, Patch

HTTP_MANAGER: Final = "envoy.filters.network.http_connection_manager"

_VIRTUAL_INBOUND: Final = "virtualInbound"
_READ: Final = frozenset(("portNumber", "name", "filterChain"))
_READ_OF_CHAIN: Final = frozenset(("destinationPort", "filter"))


def meant(patch: Patch, held: Held, kind: Kind, protocol: str = "") -> Iterator[PolicyKey]:
    """Keys of the policies of a kind about the HTTP chains that a patch means.

    Args:
        patch: The patch.
        held: All policies.
        kind: Their kind.
        protocol: Of their keys, for kinds whose keys have one.

    Raises:
        Unmodelled: It depends on what keys do not tell.
    """
    listener: Json = patch.match.get("listener") or {}
    chain: Json = listener.get("filterChain") or {}
    if listener.keys() - _READ or chain.keys() - _READ_OF_CHAIN:
        raise Unmodelled("chains that are chosen by other conditions than their port")
    if (chain.get("filter") or {}).get("name") not in (None, "", HTTP_MANAGER):
        raise Unmodelled("filters within another one than the connection manager")
    for key in held:
        if key.kind is not kind or (protocol and key["protocol"] != protocol):
            continue
        first = key.parts[0]
        outbound = first == OUTBOUND or (kind is Kind.HTTP_CONNECTION and "_" in first)
        direction = OUTBOUND if outbound else INBOUND
        if direction not in patch.directions:
            continue
        bound = not outbound and _has_own_listener(held, first)
        if _is_meant(listener, chain, first, outbound=outbound, bound=bound):
            yield key


def _has_own_listener(held: Held, port: str) -> bool:
    """Whether an inbound port has a listener of its own (Sidecar ingress)."""
    return any(
        policy is not None and isinstance(policy.content, Inbound) and bool(policy.content.bind)
        for policy in held.get(inbound(port), ())
    )


def _is_meant(listener: Json, chain: Json, scope: str, *, outbound: bool, bound: bool) -> bool:
    """Whether the chains of an inbound port, or of outbound listeners, are meant.

    Args:
        listener: Condition on the listener.
        chain: Condition on the chain.
        scope: Inbound port, or what the keys of outbound policies have in its place.
        outbound: Direction of the listener.
        bound: The port has a listener of its own.
    """
    name = listener.get("name") or ""
    port = int(listener.get("portNumber") or 0)
    destination = int(chain.get("destinationPort") or 0)
    if bound:
        if name:
            raise Unmodelled("inbound listeners by their names")
        return not destination and (not port or str(port) == scope)
    if not outbound:
        if name not in ("", _VIRTUAL_INBOUND):
            return False
        wanted = {number for number in (port, destination) if number}
        return not wanted or (scope != ANY_PORT and wanted == {int(scope)})
    if name == _VIRTUAL_INBOUND:
        return False
    if name or port or destination:
        raise Unmodelled("filters of some outbound listeners alone")
    return True


def outbound_http_chains(held: Held) -> int:
    """Number of outbound chains that carry HTTP.

    Raises:
        Unmodelled: It depends on something unknown.
    """
    count = 0
    for key, outcomes in held.items():
        if key.kind is Kind.OUTBOUND_LISTENER:
            counts = {
                sum(bool(chain.route_table) for chain in policy.content.chains)
                for policy in outcomes
                if policy is not None and isinstance(policy.content, OutboundListener)
            }
            if len(counts) != 1 or None in outcomes:
                raise Unmodelled("a filter of outbound listeners of which some are not known")
            count += counts.pop()
    return count
