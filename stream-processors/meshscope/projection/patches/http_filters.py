"""Patches of HTTP filters: where they run, and what becomes of what they decide.

Source: https://istio.io/latest/docs/reference/config/networking/envoy-filter/#EnvoyFilter-Patch-Operation.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Final, NamedTuple

from meshscope.policy import key as keys
from meshscope.policy.authorization import Authorization
from meshscope.policy.extension import leaf_paths, opaque, opaque_part
from meshscope.policy.filter_order import FilterOrder
from meshscope.policy.key import PolicyKey
from meshscope.policy.kinds import Kind
from meshscope.policy.outbound_listener import OutboundListener
from meshscope.policy.policy import Content, Policy
from meshscope.policy.request_authentication import RequestAuthentication
from meshscope.projection.patches.chains import meant, outbound_http_chains
from meshscope.projection.patches.effects import Effect, Held, changed
from meshscope.projection.patches.fields import Unmodelled
from meshscope.projection.patches.in_force import OUTBOUND, Json, Patch
from meshscope.projection.patches.printed import printed_filter

_NAMES: Final[Mapping[str, str]] = {
    "jwt": "envoy.filters.http.jwt_authn",
    "audit": "envoy.filters.http.rbac",
    "deny": "envoy.filters.http.rbac",
    "allow": "envoy.filters.http.rbac",
    "grpc_web": "envoy.filters.http.grpc_web",
    "grpc_stats": "envoy.filters.http.grpc_stats",
    "alpn": "istio.alpn",
    "fault": "envoy.filters.http.fault",
    "cors": "envoy.filters.http.cors",
    "metadata_exchange": "istio.metadata_exchange",
    "stats": "istio.stats",
    "router": "envoy.filters.http.router",
}
"""Names of the filters that Istio installs, by their roles; `custom` is two filters."""

_EXTENSION: Final = "extension:"
_REMOVED: Final = (
    "envoy.filters.http.rbac",
    "envoy.filters.http.jwt_authn",
    "envoy.filters.http.grpc_web",
    "envoy.filters.http.grpc_stats",
    "envoy.filters.http.fault",
    "envoy.filters.http.cors",
    "istio.alpn",
)
"""Filters of which it is modelled what is missing without them."""

_PATH: Final = (
    "dynamic_listeners.active_state.listener.filter_chains.filters.typed_config.http_filters"
)
_MESSAGE: Final = "HttpFilter"


class _Filter(NamedTuple):
    """A filter of a chain: the role that stands for it, and its name."""

    role: str
    name: str


_Change = Callable[[list[_Filter]], list[_Filter]]


def insert(patch: Patch, held: Held) -> Iterator[Effect]:
    """A filter that is added to the chains that are meant."""
    name = patch.value.get("name")
    if not isinstance(name, str) or not name or name in _NAMES.values():
        raise Unmodelled("a further filter of a kind that Istio installs itself")
    if patch.operation == "ADD" or (patch.operation == "INSERT_AFTER" and not _next_to(patch)):
        raise Unmodelled("a filter behind the router, which Envoy refuses")
    _check_shared(patch, held)
    new = _Filter(_EXTENSION + name, name)
    place = _placing(patch, new)
    for key in meant(patch, held, Kind.FILTER_ORDER, keys.PROTOCOL_HTTP):
        effects = list(changed(held, [key], FilterOrder, _reordered(key, place), patch.source))
        yield from effects
        if any(_has(effect, new.role) for effect in effects):
            yield _configured(patch, held, key, name)


def remove(patch: Patch, held: Held) -> Iterator[Effect]:
    """A filter that is taken away, with what it decided."""
    name = _next_to(patch)
    if not name:
        return  # Istio does nothing then.
    _check_shared(patch, held)
    extension = _EXTENSION + name
    if name not in _REMOVED and any(
        policy is not None
        and isinstance(policy.content, FilterOrder)
        and extension not in policy.content.filters
        and any(_NAMES.get(role) == name for role in policy.content.filters)
        for key in held
        if key.kind is Kind.FILTER_ORDER
        for policy in held[key]
    ):
        raise Unmodelled(f"what is missing without {name}")

    def removed(filters: list[_Filter]) -> list[_Filter]:
        return [one for one in filters if one.name != name]

    for key in meant(patch, held, Kind.FILTER_ORDER, keys.PROTOCOL_HTTP):
        yield from changed(held, [key], FilterOrder, _reordered(key, removed), patch.source)
        left = keys.extension(str(key), name)
        if left in held:
            yield Effect(left, ())
    yield from _undecided(patch, held, name)


def _check_shared(patch: Patch, held: Held) -> None:
    """Check that a patch is not about a filter that only some outbound chains have."""
    if _next_to(patch) == _NAMES["grpc_web"] and OUTBOUND in patch.directions:
        for key, outcomes in held.items():
            if key.kind is Kind.OUTBOUND_LISTENER and any(map(_translates, outcomes)):
                raise Unmodelled("filters beside that of gRPC-Web")


def _translates(policy: Policy | None) -> bool:
    content = None if policy is None else policy.content
    return isinstance(content, OutboundListener) and any(one.grpc_web for one in content.chains)


def _undecided(patch: Patch, held: Held, name: str) -> Iterator[Effect]:
    """The policies of a filter that is no longer there."""
    if name == "envoy.filters.http.rbac":
        found = meant(patch, held, Kind.AUTHORIZATION, keys.PROTOCOL_HTTP)
        yield from changed(held, found, Authorization, _open, patch.source)
    elif name == "envoy.filters.http.jwt_authn":
        found = meant(patch, held, Kind.REQUEST_AUTHENTICATION)
        yield from changed(
            held,
            found,
            RequestAuthentication,
            lambda given: RequestAuthentication() if given.rules else given,
            patch.source,
        )


def _open(access: Authorization) -> Authorization:
    if access.custom:
        raise Unmodelled("what is left of external authorization without its mark")
    return access if access == Authorization() else Authorization()


def _next_to(patch: Patch) -> str:
    """Name of the filter beside which another one is put, or that is removed; empty: none."""
    chain: Json = (patch.match.get("listener") or {}).get("filterChain") or {}
    found: Json = chain.get("filter") or {}
    return str((found.get("subFilter") or {}).get("name") or "")


def _placing(patch: Patch, new: _Filter) -> _Change:
    beside = _next_to(patch)

    def place(filters: list[_Filter]) -> list[_Filter]:
        if patch.operation == "INSERT_FIRST" or not beside:
            return [new, *filters]
        at = next((i for i, one in enumerate(filters) if one.name == beside), None)
        if at is None:
            return filters
        at += patch.operation == "INSERT_AFTER"
        return [*filters[:at], new, *filters[at:]]

    return place


def _reordered(key: PolicyKey, change: _Change) -> Callable[[FilterOrder], FilterOrder]:
    """Change the HTTP filters of an order; those of the network before them stay."""
    inbound = key.parts[0] != OUTBOUND

    def reordered(order: FilterOrder) -> FilterOrder:
        roles = list(order.filters)
        if "custom" in roles:
            raise Unmodelled("filters beside those of external authorization")
        # Inbound, peers exchange metadata twice: once for the connection, once for its requests.
        before = roles[:1] if inbound and roles[:1] == ["metadata_exchange"] else []
        filters = change([_Filter(role, _name(role)) for role in roles])
        found = FilterOrder((*before, *(one.role for one in filters)))
        return order if found == order else found

    return reordered


def _name(role: str) -> str:
    return _NAMES.get(role) or role.removeprefix(_EXTENSION)


def _has(effect: Effect, role: str) -> bool:
    return any(_contains(policy, role) for policy in effect.outcomes or ())


def _contains(policy: Policy | None, role: str) -> bool:
    content: Content | None = None if policy is None else policy.content
    return isinstance(content, FilterOrder) and role in content.filters


def _configured(patch: Patch, held: Held, order: PolicyKey, name: str) -> Effect:
    """The configuration of an added filter, which the vocabulary does not model."""
    key = keys.extension(str(order), name)
    if key in held:
        return Effect(key, None, reason="a filter of a name that is taken")
    try:
        filter_ = printed_filter(patch.value)
        times = 1 if order.parts[0] != OUTBOUND else outbound_http_chains(held)
    except Unmodelled as error:
        return Effect(key, None, reason=str(error))
    part = opaque_part(_PATH, filter_)
    content = opaque([part] * times, _MESSAGE, leaf_paths(filter_, _PATH))
    return Effect(key, (Policy(key, content, (patch.source,)),))
