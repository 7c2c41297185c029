"""Filter chains: which connections they take, and what they do with them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from meshscope.inference.authorization import Access
from meshscope.inference.evidence import Filters
from meshscope.inference.http_connection import http_connection_manager
from meshscope.inference.http_filters import Chain, read_filter
from meshscope.inference.names import network, target
from meshscope.inference.places import Places
from meshscope.inference.reader import ANY_PREFIX, Message, Unexpected
from meshscope.inference.route_actions import hash_policies
from meshscope.inference.telemetry import TracingReader, access_logs, metrics
from meshscope.inference.tls import DOWNSTREAM_TLS, server_tls
from meshscope.policy.outbound_listener import ChainMatch
from meshscope.policy.peer_authentication import ServerTls
from meshscope.policy.target import HashPolicy, WeightedTarget

_EXTENSIONS: Final = "envoy.extensions.filters.network."
MANAGER: Final = f"{_EXTENSIONS}http_connection_manager.v3.HttpConnectionManager"
TCP_PROXY: Final = f"{_EXTENSIONS}tcp_proxy.v3.TcpProxy"
_EXCHANGE: Final = "envoy.tcp.metadataexchange.config.MetadataExchange"
_EXCHANGE_SETTINGS: Final = {"protocol": "istio-peer-exchange", "enable_discovery": True}

_HTTP_RBAC: Final = "envoy.filters.http.rbac"
_NETWORK_RBAC: Final = "envoy.filters.network.rbac"


STATISTICS_FILTERS: Final = ("mongo", "mysql")
"""Roles of filters that decode a protocol only to count its operations."""


@dataclass(slots=True)
class TcpForward:
    """Where a TCP chain sends its connections."""

    to: tuple[WeightedTarget, ...] = ()
    idle_timeout_ms: int | None = None
    max_duration_ms: int | None = None
    max_connect_attempts: int = 1
    hash: tuple[HashPolicy, ...] = ()
    tunnel: str = ""


@dataclass(slots=True)
class ReadChain:
    """The filters of a chain, and where a TCP chain leads."""

    filters: Filters
    tcp: TcpForward


def chain_match(message: Message | None) -> ChainMatch:
    """A `FilterChainMatch`."""
    if message is None or not message.rest:
        return _ANY
    return ChainMatch(
        destination_port=message.integer("destination_port"),
        prefix_ranges=_networks(message, "prefix_ranges"),
        server_names=message.strings("server_names"),
        transport_protocol=message.string("transport_protocol"),
        application_protocols=message.strings("application_protocols"),
        source_ranges=_networks(message, "source_prefix_ranges"),
        source_ports=message.integers("source_ports"),
        source_type="" if message.constant("source_type", "ANY") else message.string("source_type"),
    )


_ANY: Final = ChainMatch()


def _networks(message: Message, name: str) -> tuple[str, ...]:
    found = []
    for item in message.messages(name):
        cidr = network(item.string("address_prefix"), item.integer("prefix_len"))
        if cidr is None:
            item.unread()
        else:
            found.append(cidr)
    return tuple(found)


def terminated_tls(chain: Message) -> ServerTls | None:
    """The TLS that a chain terminates; None: none."""
    socket = chain.message("transport_socket", "TransportSocket")
    if socket is None:
        return None
    found = socket.configured()
    if found is None or found[0] != DOWNSTREAM_TLS:
        if found is not None:
            found[1].unread()
        return None
    return server_tls(found[1])


def chain_protocol(chain: Message) -> str:
    """`http` if the chain has an HTTP connection manager, else `tcp`; nothing is read."""
    filters = chain.peek("filters")
    for item in filters if isinstance(filters, list) else ():
        config = item.get("typed_config") if isinstance(item, dict) else None
        url = config.get("@type") if isinstance(config, dict) else None
        if isinstance(url, str) and url.endswith(MANAGER):
            return "http"
    return "tcp"


def refuses_own_port(chain: Message, match: ChainMatch, port: int) -> bool:
    """Whether a chain refuses connections to the listener's own port; nothing is read.

    Istio installs it so that connections do not go round in circles. A socket has no port.
    """
    filters = chain.peek("filters")
    if not port or match != ChainMatch(destination_port=port) or not isinstance(filters, list):
        return False
    types = []
    for item in filters:
        config = item.get("typed_config") if isinstance(item, dict) else None
        if not isinstance(config, dict):
            return False
        types.append(str(config.get("type_url") or config.get("@type")).removeprefix(ANY_PREFIX))
    return types[-1:] == [TCP_PROXY] and set(types[:-1]) <= {_EXCHANGE, "stats.PluginConfig"}


def refusing(chain: Message) -> tuple[WeightedTarget, ...]:
    """Where a chain that refuses connections sends them; what it logs and counts is ignored."""
    *others, last = chain.messages("filters")
    for item in others:
        item.kind = "filter before a refusing one"
    last.constant("name", "envoy.filters.network.tcp_proxy")
    proxy = last.need("typed_config", "refusing TcpProxy")
    proxy.string("@type")
    cluster = proxy.string("cluster")
    return (WeightedTarget(target(cluster)),) if cluster else ()


def read_chain(
    chain: Message,
    places: Places,
    tracing: TracingReader,
    jwks: dict[str, str],
    *,
    inbound: bool,
) -> ReadChain:
    """Read the filters of a chain.

    Args:
        chain: The chain.
        places: What is left belongs to.
        tracing: Reader of tracing.
        jwks: Digests of inline keys are added here, by issuer.
        inbound: Direction of the listener.
    """
    filters = Filters()
    http = chain_protocol(chain) == "http"
    access = Access(_HTTP_RBAC if http else _NETWORK_RBAC, filters.clusters)
    context = Chain(filters, access, places, jwks)
    read = ReadChain(filters, TcpForward())
    table = _table(read, tracing, inbound=inbound)
    for item in chain.messages("filters", "Filter"):
        read_filter(context, item, table)
    try:
        filters.authorization = access.result()
    except Unexpected as error:
        chain.remark("authorization", str(error))
    return read


NetworkFilters = dict[str, tuple[str, Callable[[Chain, Message], str]]]


def _table(read: ReadChain, tracing: TracingReader, *, inbound: bool) -> NetworkFilters:
    """Name that Istio gives to a network filter, and its reader, by message type."""

    def manager(chain: Chain, config: Message) -> str:
        http_connection_manager(config, chain, tracing, inline=inbound)
        return chain.filters.order.pop() if chain.filters.order else "http"

    def proxy(chain: Chain, config: Message) -> str:
        _tcp_proxy(config, read, chain.places.telemetry)
        return "tcp_proxy"

    return {
        **_NETWORK_FILTERS,
        MANAGER: ("envoy.filters.network.http_connection_manager", manager),
        TCP_PROXY: ("envoy.filters.network.tcp_proxy", proxy),
    }


def _rbac(chain: Chain, config: Message) -> str:
    config.place = chain.places.authorization
    return chain.access.rbac(config)


def _ext_authz(chain: Chain, config: Message) -> str:
    config.place = chain.places.authorization
    return chain.access.external(config)


def _stats(chain: Chain, config: Message) -> str:
    chain.filters.metrics = (*chain.filters.metrics, metrics(config))
    return "stats"


def _exchange(_: Chain, config: Message) -> str:
    if config.rest == _EXCHANGE_SETTINGS:
        config.rest.clear()
    elif not config.rest:
        config.remark("metadata_exchange", "not configured as Istio does")
    return "metadata_exchange"


_NETWORK_FILTERS: Final[NetworkFilters] = {
    f"{_EXTENSIONS}rbac.v3.RBAC": (_NETWORK_RBAC, _rbac),
    f"{_EXTENSIONS}ext_authz.v3.ExtAuthz": ("envoy.filters.network.ext_authz", _ext_authz),
    "stats.PluginConfig": ("istio.stats", _stats),
    _EXCHANGE: ("istio.metadata_exchange", _exchange),
    f"{_EXTENSIONS}mongo_proxy.v3.MongoProxy": (
        "envoy.filters.network.mongo_proxy",
        lambda *_: "mongo",
    ),
    f"{_EXTENSIONS}mysql_proxy.v3.MySQLProxy": (
        "envoy.filters.network.mysql_proxy",
        lambda *_: "mysql",
    ),
}


def _tcp_proxy(config: Message, read: ReadChain, telemetry: str) -> None:
    filters = read.filters
    cluster = config.string("cluster")
    split = config.message("weighted_clusters")
    targets: tuple[WeightedTarget, ...] = ()
    if cluster:
        filters.cluster = cluster
        filters.clusters.add(cluster)
        targets = (WeightedTarget(target(cluster)),)
    elif split is not None:
        names = [
            (item.string("name"), item.integer("weight")) for item in split.messages("clusters")
        ]
        filters.clusters.update(name for name, _ in names)
        targets = tuple(WeightedTarget(target(name), weight) for name, weight in names)
    tunnel = config.message("tunneling_config")
    read.tcp = TcpForward(
        to=targets,
        idle_timeout_ms=config.milliseconds("idle_timeout"),
        max_duration_ms=config.milliseconds("max_downstream_connection_duration"),
        max_connect_attempts=config.integer("max_connect_attempts", 1),
        hash=hash_policies(config),
        tunnel="" if tunnel is None else _tunnel(tunnel),
    )
    filters.idle_timeout_ms = read.tcp.idle_timeout_ms
    filters.access_logs = access_logs(config, telemetry)


def _tunnel(message: Message) -> str:
    host = message.string("hostname")
    if not host:
        message.remark("tunneling_config", "without a host")
    return f"POST {host}" if message.boolean("use_post") else host
