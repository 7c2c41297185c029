"""Which policies a proxy cannot hold as declared because of a condition.

A refused or warming resource keeps the policies out that it would have brought; a proxy that is cut
off gets none. Which resource of Envoy's brings which policy follows from Istio's names for them.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from meshscope.analysis.delivery import EVERYTHING, Condition
from meshscope.events.proxy import ProxyInputs
from meshscope.policy.key import ANY_PORT, PolicyKey
from meshscope.policy.kinds import Kind

LISTENER_KINDS: Final = frozenset(
    (
        Kind.OUTBOUND_LISTENER,
        Kind.INBOUND,
        Kind.PEER_AUTHENTICATION,
        Kind.REQUEST_AUTHENTICATION,
        Kind.AUTHORIZATION,
        Kind.HTTP_CONNECTION,
        Kind.FILTER_ORDER,
        Kind.TELEMETRY,
    )
)
"""Kinds of policies that listeners bring."""

_INBOUND_KINDS: Final = frozenset(
    (
        Kind.INBOUND,
        Kind.PEER_AUTHENTICATION,
        Kind.REQUEST_AUTHENTICATION,
        Kind.AUTHORIZATION,
    )
)
VIRTUAL_INBOUND: Final = "virtualInbound"


def explanation(
    key: PolicyKey, conditions: Iterable[Condition], proxy: ProxyInputs
) -> Condition | None:
    """The first condition because of which a proxy does not hold this policy as declared."""
    return next((each for each in conditions if explains(each, key, proxy)), None)


def explains(condition: Condition, key: PolicyKey, proxy: ProxyInputs) -> bool:
    """Whether a policy stays out because of a condition."""
    if condition.section == EVERYTHING:
        return True
    brings = _BRINGS.get(condition.section)
    return brings is not None and brings(condition.name, key, proxy)


def _listener(name: str, key: PolicyKey, proxy: ProxyInputs) -> bool:
    if key.kind not in LISTENER_KINDS:
        return False
    if not name or key.kind is Kind.TELEMETRY:
        return True
    scope = key.parts[0]
    inbound_port = _inbound_port(name, proxy)
    if key.kind is Kind.OUTBOUND_LISTENER:
        return name == f"{key['address']}_{key['port']}"
    if key.kind in _INBOUND_KINDS:
        return inbound_port in (ANY_PORT, scope)
    # HTTP settings and filter orders are those of an inbound port or of outbound listeners.
    is_inbound = scope.isdigit() or scope == ANY_PORT
    if is_inbound:
        return inbound_port in (ANY_PORT, scope)
    return inbound_port == "" and scope in (name, "outbound")


def _inbound_port(name: str, proxy: ProxyInputs) -> str:
    """The port of an inbound listener; `ANY_PORT`: all ports; empty: it is none."""
    if name == VIRTUAL_INBOUND:
        return ANY_PORT
    address, _, port = name.rpartition("_")
    return port if address in proxy.addresses else ""


def _route_table(name: str, key: PolicyKey, _: ProxyInputs) -> bool:
    return key.kind in (Kind.HTTP_ROUTE, Kind.EGRESS) and name in ("", key.parts[0])


def _cluster(name: str, key: PolicyKey, _: ProxyInputs) -> bool:
    return key.kind in (Kind.DESTINATION, Kind.ENDPOINTS) and _is_of_cluster(name, key)


def _endpoints(name: str, key: PolicyKey, _: ProxyInputs) -> bool:
    return key.kind is Kind.ENDPOINTS and _is_of_cluster(name, key)


def _is_of_cluster(name: str, key: PolicyKey) -> bool:
    """Istio's names: `outbound|8080|v1|cart.shop.svc.cluster.local`."""
    if not name:
        return True
    direction, *parts = name.split("|")
    return direction == "outbound" and parts == [key["port"], key["subset"], key["host"]]


_BRINGS: Final[Mapping[str, Callable[[str, PolicyKey, ProxyInputs], bool]]] = {
    "listeners": _listener,
    "routes": _route_table,
    "clusters": _cluster,
    "endpoints": _endpoints,
}
"""Per section of a dump, whether the resource of a name brings a policy."""
