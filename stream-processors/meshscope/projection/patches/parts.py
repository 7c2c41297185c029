"""Which policies one patch of an EnvoyFilter may touch, as narrowly as its match allows.

Source: https://istio.io/latest/docs/reference/config/networking/envoy-filter/#EnvoyFilter-ApplyTo.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from meshscope.policy import key
from meshscope.policy.key import PolicyKey
from meshscope.policy.kinds import Kind
from meshscope.policy.source import ResourceRef
from meshscope.projection.patches.fields import snake
from meshscope.projection.patches.in_force import INBOUND, OUTBOUND, Json, Patch
from meshscope.projection.result import Unverifiable

_MOST_KEYS: Final = 100
"""Keys that are named one by one; a patch that may touch more makes their kind unverifiable."""

_CATCH_ALL_HOSTS: Final = ("allow_any", "block_all", "allow_any_dynamic_dns")
_CATCH_ALL_PORTS: Final = (15001, 15006)

_OF_FILTER: Final[Mapping[str, tuple[Kind, ...]]] = {
    "envoy.filters.http.rbac": (Kind.AUTHORIZATION,),
    "envoy.filters.http.ext_authz": (Kind.AUTHORIZATION,),
    "envoy.filters.http.jwt_authn": (Kind.REQUEST_AUTHENTICATION,),
    "envoy.filters.http.router": (Kind.TELEMETRY,),
    "envoy.filters.network.rbac": (Kind.AUTHORIZATION,),
    "envoy.filters.network.ext_authz": (Kind.AUTHORIZATION,),
    "istio.metadata_exchange": (Kind.HTTP_CONNECTION,),
    "istio.stats": (Kind.TELEMETRY,),
    "envoy.filters.network.tcp_proxy": (
        Kind.INBOUND, Kind.OUTBOUND_LISTENER, Kind.EGRESS, Kind.TELEMETRY,
    ),
    "envoy.filters.network.http_connection_manager": (
        Kind.INBOUND, Kind.OUTBOUND_LISTENER, Kind.HTTP_CONNECTION, Kind.AUTHORIZATION,
        Kind.REQUEST_AUTHENTICATION, Kind.TELEMETRY,
    ),
}  # fmt: skip
"""What a filter decides besides the order of filters."""

_OF_CHAIN: Final = (
    Kind.INBOUND, Kind.OUTBOUND_LISTENER, Kind.PEER_AUTHENTICATION, Kind.REQUEST_AUTHENTICATION,
    Kind.AUTHORIZATION, Kind.HTTP_CONNECTION, Kind.FILTER_ORDER, Kind.EGRESS, Kind.TELEMETRY,
)  # fmt: skip
_OF_LISTENER_FILTER: Final = (Kind.INBOUND, Kind.OUTBOUND_LISTENER, Kind.PEER_AUTHENTICATION)
_BY_PORT: Final = (
    Kind.INBOUND, Kind.PEER_AUTHENTICATION, Kind.REQUEST_AUTHENTICATION, Kind.AUTHORIZATION,
)  # fmt: skip
"""Kinds about inbound connections alone, whose keys begin with the port."""

_BY_PROTOCOL: Final = (Kind.FILTER_ORDER, Kind.AUTHORIZATION, Kind.TELEMETRY)
_OUTBOUND_ONLY: Final = (Kind.OUTBOUND_LISTENER, Kind.EGRESS)


_HOSTS: Final = frozenset(("load_assignment", "eds_cluster_config", "type", "cluster_type"))
"""Fields of a cluster that decide where its endpoints come from."""


@dataclass(frozen=True, slots=True)
class Touch:
    """Policies of one kind that a patch may touch; without conditions: all of the kind.

    Attributes:
        kind: Their kind.
        directions: Of the connections that they are about; empty: both.
        port: Inbound port, or port of an outbound listener; 0: any.
        protocol: Of the chains, `http` or `tcp`; empty: any.
        prefix: What their keys begin with.
        table, table_port, host: Route table by name or port, and virtual host.
        added: Policies that exist only because of the patch.
    """

    kind: Kind
    directions: tuple[str, ...] = ()
    port: int = 0
    protocol: str = ""
    prefix: tuple[str, ...] = ()
    table: str = ""
    table_port: int = 0
    host: str = ""
    added: tuple[PolicyKey, ...] = ()

    @property
    def is_narrow(self) -> bool:
        """Whether some policies of the kind cannot be touched."""
        return bool(
            self.directions
            or self.port
            or self.protocol
            or self.prefix
            or self.table
            or self.table_port
            or self.host
        )

    def concerns(self, policy: PolicyKey) -> bool:
        """Whether a policy may be touched."""
        if policy.kind is not self.kind:
            return False
        if policy.parts[: len(self.prefix)] != self.prefix:
            return False
        if self.protocol and policy.kind in _BY_PROTOCOL and policy["protocol"] != self.protocol:
            return False
        return self._in_direction(policy) and self._in_table(policy)

    def _in_direction(self, policy: PolicyKey) -> bool:
        if not self.directions:
            return True
        direction, port = _place(policy)
        if direction not in self.directions:
            return False
        # What all outbound chains share has no port.
        return not self.port or port in ("", str(self.port))

    def _in_table(self, policy: PolicyKey) -> bool:
        if policy.kind not in (Kind.HTTP_ROUTE, Kind.EGRESS):
            return True
        table = policy.parts[0]
        if self.table and table != self.table:
            return False
        if self.table_port and table != str(self.table_port):
            return False
        if policy.kind is Kind.EGRESS:
            return not self.host or self.host in _CATCH_ALL_HOSTS
        return not self.host or policy["virtual_host"] == self.host


def _place(policy: PolicyKey) -> tuple[str, str]:
    """Direction and port of the connections that a policy is about; the port may be open."""
    first = policy.parts[0]
    match policy.kind:
        case Kind.TELEMETRY:
            return first, ""
        case Kind.OUTBOUND_LISTENER:
            return OUTBOUND, policy["port"]
        case Kind.EGRESS:
            return OUTBOUND, first if first.isdecimal() else ""
        case Kind.FILTER_ORDER if first == OUTBOUND:
            return OUTBOUND, ""
        case Kind.HTTP_CONNECTION if "_" in first:
            return OUTBOUND, first.rpartition("_")[2]
        case Kind.DESTINATION | Kind.ENDPOINTS | Kind.HTTP_ROUTE:
            return OUTBOUND, ""
        case _:
            return INBOUND, first


def unverifiable(
    touch: Touch, keys: Sequence[PolicyKey], reason: str, source: ResourceRef
) -> Iterator[Unverifiable]:
    """What cannot be verified because a patch may touch it.

    Args:
        touch: What may be touched.
        keys: Keys of all policies that are projected.
        reason: For the operator.
        source: The resource that patches.
    """
    if not touch.is_narrow:
        yield Unverifiable(reason, touch.kind, source=source)
        yield Unverifiable(reason, Kind.EXTENSION, source=source)
        return
    if touch.prefix:
        yield Unverifiable(reason, touch.kind, key_prefix=touch.prefix, source=source)
    concerned = [one for one in (*keys, *touch.added) if touch.concerns(one)]
    if len(concerned) > _MOST_KEYS:
        yield Unverifiable(reason, touch.kind, source=source)
        yield Unverifiable(reason, Kind.EXTENSION, source=source)
        return
    for one in concerned:
        if not touch.prefix:
            yield Unverifiable(reason, touch.kind, key=one, source=source)
        yield Unverifiable(reason, Kind.EXTENSION, key_prefix=(str(one),), source=source)


def touches(patch: Patch) -> Iterator[Touch]:
    """What a patch may touch."""
    match patch.target:
        case "CLUSTER":
            yield from _cluster(patch)
        case "ROUTE_CONFIGURATION" | "VIRTUAL_HOST" | "HTTP_ROUTE":
            yield from _routes(patch)
        case "HTTP_FILTER" | "NETWORK_FILTER":
            protocol = key.PROTOCOL_HTTP if patch.target == "HTTP_FILTER" else ""
            yield from _on_port(patch, (Kind.FILTER_ORDER, *_filter_kinds(patch)), protocol)
        case "LISTENER_FILTER":
            yield from _on_port(patch, _OF_LISTENER_FILTER)
        case "LISTENER" | "FILTER_CHAIN":
            yield from _on_port(patch, _OF_CHAIN)
        case "BOOTSTRAP":
            pass  # It is the agent's own, and in no policy.
        case _:
            yield Touch(Kind.EXTENSION)


def _cluster(patch: Patch) -> Iterator[Touch]:
    if patch.adds:
        name = patch.value.get("name", "")
        yield Touch(Kind.DESTINATION, prefix=(name,), added=(key.destination(name, 0),))
        yield Touch(Kind.ENDPOINTS, prefix=(name,))
        return
    match: Json = patch.match.get("cluster") or {}
    if OUTBOUND in patch.directions:
        prefix = _cluster_prefix(match)
        yield Touch(Kind.DESTINATION, prefix=prefix)
        if patch.operation != "MERGE" or _HOSTS & set(map(snake, patch.value)):
            yield Touch(Kind.ENDPOINTS, prefix=prefix)
    if INBOUND in patch.directions:
        port = int(match.get("portNumber") or 0)
        yield Touch(Kind.INBOUND, prefix=(str(port),) if port else ())


def _cluster_prefix(match: Json) -> tuple[str, ...]:
    """What the keys of the clusters begin with, as far as the match says."""
    name = match.get("name")
    if name:
        parts = name.split("|")
        return (parts[3], parts[1], parts[2]) if len(parts) == 4 else (name,)
    prefix: list[str] = []
    for part in (match.get("service"), match.get("portNumber"), match.get("subset")):
        if not part:
            break
        prefix.append(str(part))
    return tuple(prefix)


def _routes(patch: Patch) -> Iterator[Touch]:
    match: Json = patch.match.get("routeConfiguration") or {}
    host: Json = match.get("vhost") or {}
    if OUTBOUND in patch.directions:
        table, port = match.get("name") or "", int(match.get("portNumber") or 0)
        added: tuple[PolicyKey, ...] = ()
        if patch.target == "VIRTUAL_HOST" and patch.adds:
            added = (key.http_route(table or str(port), patch.value.get("name", "")),)
        for kind in (Kind.HTTP_ROUTE, Kind.EGRESS):
            yield Touch(
                kind,
                (OUTBOUND,),
                table=table,
                table_port=port,
                host=host.get("name") or "",
                added=added if kind is Kind.HTTP_ROUTE else (),
            )
    if INBOUND in patch.directions:
        yield Touch(Kind.INBOUND)


def _filter_kinds(patch: Patch) -> Sequence[Kind]:
    """What the filter decides that is added, changed or removed."""
    if patch.adds:
        name = patch.value.get("name", "")
    else:
        chain: Json = (patch.match.get("listener") or {}).get("filterChain") or {}
        found: Json = chain.get("filter") or {}
        name = found.get("name", "")
        if patch.target == "HTTP_FILTER":
            name = (found.get("subFilter") or {}).get("name", "")
        if not name:
            return tuple(dict.fromkeys(kind for kinds in _OF_FILTER.values() for kind in kinds))
    return _OF_FILTER.get(name, ())


def _on_port(patch: Patch, kinds: Sequence[Kind], protocol: str = "") -> Iterator[Touch]:
    listener: Json = patch.match.get("listener") or {}
    chain: Json = listener.get("filterChain") or {}
    port = int(chain.get("destinationPort") or listener.get("portNumber") or 0)
    if port in _CATCH_ALL_PORTS:
        port = 0
    for kind in kinds:
        only = INBOUND if kind in _BY_PORT else OUTBOUND if kind in _OUTBOUND_ONLY else ""
        if not only or only in patch.directions:
            yield Touch(kind, patch.directions, port, protocol)
