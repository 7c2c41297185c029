"""HTTP connection managers: how HTTP is parsed, and where its routes are.

Source: https://www.envoyproxy.io/docs/envoy/latest/api-v3/extensions/filters/network/http_connection_manager/v3/http_connection_manager.proto
"""

from typing import Final, Literal

from meshscope.inference.http_filters import HTTP_FILTERS, Chain, read_filter
from meshscope.inference.reader import Message
from meshscope.inference.routes import Rules
from meshscope.inference.telemetry import TracingReader, access_logs
from meshscope.policy.http_connection import HttpConnection

_CONTROL_PLANE: Final = {"ads": {}, "initial_fetch_timeout": "0s", "resource_api_version": "V3"}
_REQUEST_ID: Final = "envoy.extensions.request_id.uuid.v3.UuidRequestIdConfig"
_SLASHES: Final[dict[str, Literal["default", "keep", "reject", "redirect", "forward"]]] = {
    "IMPLEMENTATION_SPECIFIC_DEFAULT": "default",
    "KEEP_UNCHANGED": "keep",
    "REJECT_REQUEST": "reject",
    "UNESCAPE_AND_REDIRECT": "redirect",
    "UNESCAPE_AND_FORWARD": "forward",
}
_CLIENT_CERT: Final = {
    "SANITIZE": "sanitize",
    "FORWARD_ONLY": "forward_only",
    "APPEND_FORWARD": "append_forward",
    "SANITIZE_SET": "sanitize_set",
    "ALWAYS_FORWARD_ONLY": "always_forward_only",
}
_SERVER_HEADER: Final[dict[str, Literal["overwrite", "append_if_absent", "pass_through"]]] = {
    "OVERWRITE": "overwrite",
    "APPEND_IF_ABSENT": "append_if_absent",
    "PASS_THROUGH": "pass_through",
}
_DETAILS: Final = ("subject", "uri", "dns", "cert", "chain")


def http_connection_manager(
    manager: Message, chain: Chain, tracing: TracingReader, *, inline: bool
) -> None:
    """Read a connection manager into the filters of its chain.

    Args:
        manager: Its configuration.
        chain: The chain that it is on.
        tracing: Reader of tracing.
        inline: Its routes stand in it (inbound); otherwise they are fetched (outbound).
    """
    filters = chain.filters
    filters.protocol = "http"
    manager.place = chain.places.http_connection
    before = len(filters.order)
    exchanged = "metadata_exchange" in filters.order
    for item in manager.messages("http_filters", "HttpFilter"):
        read_filter(chain, item, HTTP_FILTERS)
    if inline and exchanged != ("metadata_exchange" in filters.order[before:]):
        manager.remark("metadata exchange", "on TCP and HTTP it is not the same")
    if inline:
        _inline_routes(manager, chain)
    else:
        _fetched_routes(manager, chain)
    filters.access_logs = access_logs(manager, chain.places.telemetry)
    filters.tracing = tracing.read(manager, chain.places.telemetry)
    if filters.tracing is not None:
        filters.clusters.add(filters.tracing.provider.partition(":")[2])
    filters.connection = _connection(manager, chain.exchange)


def _fetched_routes(manager: Message, chain: Chain) -> None:
    fetched = manager.message("rds")
    if fetched is None:
        return
    fetched.place = chain.places.routes
    fetched.require("config_source", _CONTROL_PLANE)
    chain.filters.route_table = fetched.string("route_config_name")


def _inline_routes(manager: Message, chain: Chain) -> None:
    table = manager.message("route_config", "RouteConfiguration of the workload")
    if table is None:
        return
    table.place = chain.places.routes
    hosts = table.messages("virtual_hosts", "VirtualHost of the workload")
    if len(hosts) != 1:
        for host in hosts:
            host.unread()
        return
    hosts[0].constant("require_tls", "NONE")
    rules = Rules()
    chain.filters.rules = rules.read(hosts[0])
    chain.filters.domains = hosts[0].strings("domains")
    chain.filters.clusters |= rules.clusters


def _connection(manager: Message, exchange: tuple[str, ...]) -> HttpConnection:
    details = manager.message("set_current_client_cert_details")
    common = manager.message("common_http_protocol_options")
    http1 = manager.message("http_protocol_options")
    if http1 is not None:
        http1.constant("allow_absolute_url", True)  # Envoy's default, written out.
    request_id = _request_id(manager)
    manager.constant("codec_type", "AUTO")
    return HttpConnection(
        normalize_path=manager.boolean("normalize_path"),
        merge_slashes=manager.boolean("merge_slashes"),
        escaped_slashes=manager.word("path_with_escaped_slashes_action", _SLASHES, "default"),
        forward_client_cert=manager.word("forward_client_cert_details", _CLIENT_CERT, "sanitize"),
        client_cert_details=(
            ()
            if details is None
            else tuple(detail for detail in _DETAILS if details.boolean(detail))
        ),
        use_remote_address=manager.boolean("use_remote_address"),
        trusted_hops=manager.integer("xff_num_trusted_hops"),
        upgrades=tuple(
            item.string("upgrade_type").lower() for item in manager.messages("upgrade_configs")
        ),
        http10=http1 is not None and http1.boolean("accept_http_10"),
        default_host="" if http1 is None else http1.string("default_host_for_http_10"),
        http2=manager.constant("http2_protocol_options", {}),
        stream_idle_timeout_ms=manager.milliseconds("stream_idle_timeout"),
        request_timeout_ms=manager.milliseconds("request_timeout"),
        idle_timeout_ms=None if common is None else common.milliseconds("idle_timeout"),
        max_connection_duration_ms=(
            None if common is None else common.milliseconds("max_connection_duration")
        ),
        delayed_close_ms=manager.milliseconds("delayed_close_timeout"),
        server_name=manager.string("server_name"),
        server_header=manager.word("server_header_transformation", _SERVER_HEADER, "overwrite"),
        proxy_100_continue=manager.boolean("proxy_100_continue"),
        request_id_for_sampling=request_id,
        preserve_external_request_id=manager.optional_boolean("preserve_external_request_id"),
        always_set_request_id=manager.optional_boolean("always_set_request_id_in_response"),
        strip_host_port=_strip_host_port(manager),
        metadata_exchange=exchange,
    )


def _strip_host_port(manager: Message) -> Literal["none", "matching", "any"]:
    matching = manager.boolean("strip_matching_host_port")
    if manager.boolean("strip_any_host_port"):
        return "any"
    return "matching" if matching else "none"


def _request_id(manager: Message) -> bool:
    """Whether the request id decides about tracing; Envoy's default is that it does."""
    extension = manager.message("request_id_extension")
    if extension is None:
        return True
    found = extension.configured()
    if found is None:
        return True
    if found[0] != _REQUEST_ID:
        extension.unread()
        return True
    return found[1].boolean("use_request_id_for_trace_sampling", True)
