"""The filters of HTTP connections, and what each of them is."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from meshscope.inference.authorization import Access
from meshscope.inference.evidence import Filters
from meshscope.inference.jwt_authn import jwt_authn
from meshscope.inference.places import Places
from meshscope.inference.reader import Message, Unexpected
from meshscope.inference.telemetry import metrics

_EXTENSIONS: Final = "envoy.extensions.filters.http."
GRPC_WEB: Final = "grpc_web"
"""Role of the filter that translates gRPC-Web."""

_PEER_METADATA: Final = "io.istio.http.peer_metadata.Config"


@dataclass(slots=True)
class Chain:
    """What the readers of filters need of the chain that they are on.

    Attributes:
        filters: What was found so far.
        access: Reader of the filters that decide about access.
        places: What is left belongs to.
        jwks: Digests of inline keys by issuer.
        exchange: What Istio's peer metadata filter does with headers.
    """

    filters: Filters
    access: Access
    places: Places
    jwks: dict[str, str]
    exchange: tuple[str, ...] = ()


def _fixed(role: str, *expected: dict[str, Any]) -> Callable[[Chain, Message], str]:
    """A filter that Istio always configures in the same way."""

    def read(_: Chain, config: Message) -> str:
        if config.rest in expected:
            config.rest.clear()
        elif not config.rest:
            config.remark(role, "not configured as Istio does")
        return role

    return read


def _rbac(chain: Chain, config: Message) -> str:
    config.place = chain.places.authorization
    return chain.access.rbac(config)


def _ext_authz(chain: Chain, config: Message) -> str:
    config.place = chain.places.authorization
    return chain.access.external(config)


def _jwt(chain: Chain, config: Message) -> str:
    config.place = chain.places.request_authentication
    filters = chain.filters
    if filters.tokens.rules:
        config.remark("jwt_authn", "a second filter for tokens")
    try:
        filters.tokens = jwt_authn(config, filters.clusters, chain.jwks)
    except Unexpected:
        config.unread()
    return "jwt"


def _stats(chain: Chain, config: Message) -> str:
    chain.filters.metrics = (*chain.filters.metrics, metrics(config))
    return "stats"


_DOWNSTREAM: Final[dict[str, Any]] = {
    "downstream_discovery": [{"istio_headers": {}}, {"workload_discovery": {}}],
    "downstream_propagation": [{"istio_headers": {}}],
}
_UPSTREAM: Final[dict[str, Any]] = {
    "upstream_discovery": [{"istio_headers": {}}, {"workload_discovery": {}}],
    "upstream_propagation": [{"istio_headers": {}}],
}


def _peer_metadata(chain: Chain, config: Message) -> str:
    for name, expected in (("downstream", _DOWNSTREAM), ("upstream", _UPSTREAM)):
        if config.rest == expected:
            config.rest.clear()
            chain.exchange = (name,)
    return "metadata_exchange"


_ALPN: Final = {
    "alpn_override": [
        {"alpn_override": ["istio-http/1.0", "istio", "http/1.0"]},
        {
            "upstream_protocol": "HTTP11",
            "alpn_override": ["istio-http/1.1", "istio", "http/1.1"],
        },
        {"upstream_protocol": "HTTP2", "alpn_override": ["istio-h2", "istio", "h2"]},
    ]
}

HTTP_FILTERS: Final[dict[str, tuple[str, Callable[[Chain, Message], str]]]] = {
    f"{_EXTENSIONS}rbac.v3.RBAC": ("envoy.filters.http.rbac", _rbac),
    f"{_EXTENSIONS}ext_authz.v3.ExtAuthz": ("envoy.filters.http.ext_authz", _ext_authz),
    f"{_EXTENSIONS}jwt_authn.v3.JwtAuthentication": ("envoy.filters.http.jwt_authn", _jwt),
    f"{_EXTENSIONS}grpc_stats.v3.FilterConfig": (
        "envoy.filters.http.grpc_stats",
        _fixed("grpc_stats", {"emit_filter_state": True, "stats_for_all_methods": False}),
    ),
    f"{_EXTENSIONS}grpc_web.v3.GrpcWeb": ("envoy.filters.http.grpc_web", _fixed(GRPC_WEB, {})),
    f"{_EXTENSIONS}fault.v3.HTTPFault": ("envoy.filters.http.fault", _fixed("fault", {})),
    f"{_EXTENSIONS}cors.v3.Cors": ("envoy.filters.http.cors", _fixed("cors", {})),
    f"{_EXTENSIONS}router.v3.Router": ("envoy.filters.http.router", _fixed("router", {})),
    "istio.envoy.config.filter.http.alpn.v2alpha1.FilterConfig": (
        "istio.alpn",
        _fixed("alpn", _ALPN),
    ),
    "stats.PluginConfig": ("istio.stats", _stats),
    _PEER_METADATA: ("istio.metadata_exchange", _peer_metadata),
}
"""Name that Istio gives to a filter, and its reader, by message type. The reader gives its role."""


def read_filter(
    chain: Chain,
    item: Message,
    table: dict[str, tuple[str, Callable[[Chain, Message], str]]],
) -> None:
    """Read one filter of a chain and add its role to the order."""
    name = item.peek("name")
    item.label = name if isinstance(name, str) else ""
    item.place = chain.places.filter_order
    found = item.any("typed_config")
    entry = None if found is None else table.get(found[0])
    if found is None or entry is None or item.rest.keys() != {"name"}:
        item.unread()
        chain.filters.order.append(f"extension:{item.label}")
        return
    item.constant("name", entry[0])
    chain.filters.order.append(entry[1](chain, found[1]))
