"""Patches of HTTP connection managers.

Source: https://www.envoyproxy.io/docs/envoy/latest/api-v3/extensions/filters/network/http_connection_manager/v3/http_connection_manager.proto
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final, Literal

from meshscope.policy.http_connection import HttpConnection
from meshscope.policy.kinds import Kind
from meshscope.projection.patches.chains import HTTP_MANAGER, meant
from meshscope.projection.patches.effects import Effect, Held, changed
from meshscope.projection.patches.fields import Fields, Unmodelled, read
from meshscope.projection.patches.in_force import Json, Patch

_TYPE: Final = (
    "type.googleapis.com/"
    "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
)
_UNSPECIFIC: Final = "IMPLEMENTATION_SPECIFIC_DEFAULT"
_SLASHES: Final[dict[str, Literal["keep", "reject", "redirect", "forward"]]] = {
    "KEEP_UNCHANGED": "keep",
    "REJECT_REQUEST": "reject",
    "UNESCAPE_AND_REDIRECT": "redirect",
    "UNESCAPE_AND_FORWARD": "forward",
}
_CLIENT_CERT: Final = {
    "FORWARD_ONLY": "forward_only",
    "APPEND_FORWARD": "append_forward",
    "SANITIZE_SET": "sanitize_set",
    "ALWAYS_FORWARD_ONLY": "always_forward_only",
}
_SERVER_HEADER: Final[dict[str, Literal["append_if_absent", "pass_through"]]] = {
    "APPEND_IF_ABSENT": "append_if_absent",
    "PASS_THROUGH": "pass_through",
}


def merge(patch: Patch, held: Held) -> Iterator[Effect]:
    """Settings that are merged into connection managers."""
    chain: Json = (patch.match.get("listener") or {}).get("filterChain") or {}
    if (chain.get("filter") or {}).get("name") != HTTP_MANAGER:
        raise Unmodelled("settings of a filter other than the connection manager")
    given = read(patch.value, "filter", _filter)
    yield from changed(
        held,
        meant(patch, held, Kind.HTTP_CONNECTION),
        HttpConnection,
        lambda known: replace(known, **given),
        patch.source,
    )


def _filter(fields: Fields) -> dict[str, Any]:
    if fields.text("name") not in (None, HTTP_MANAGER):
        raise Unmodelled("a filter that is renamed")
    found = fields.message("typed_config", _manager)
    if found is None:
        raise Unmodelled("a filter without a typed configuration")
    return found


def _manager(fields: Fields) -> dict[str, Any]:
    """What is given; merging zero or false changes nothing, also in fields that can be unset."""
    if fields.json("@type") != _TYPE:
        raise Unmodelled("the type of a filter that is merged")
    common = fields.message(
        "common_http_protocol_options",
        lambda f: (f.duration("idle_timeout"), f.duration("max_connection_duration")),
    )
    idle, longest = common or (None, None)
    given = {
        "normalize_path": fields.flag("normalize_path") or None,
        "merge_slashes": fields.flag("merge_slashes") or None,
        "escaped_slashes": fields.word("path_with_escaped_slashes_action", _SLASHES, _UNSPECIFIC),
        "forward_client_cert": fields.word("forward_client_cert_details", _CLIENT_CERT, "SANITIZE"),
        "use_remote_address": fields.flag("use_remote_address") or None,
        "trusted_hops": fields.number("xff_num_trusted_hops") or None,
        "stream_idle_timeout_ms": fields.duration("stream_idle_timeout"),
        "request_timeout_ms": fields.duration("request_timeout"),
        "idle_timeout_ms": idle,
        "max_connection_duration_ms": longest,
        "delayed_close_ms": fields.duration("delayed_close_timeout"),
        "server_name": fields.text("server_name"),
        "server_header": fields.word("server_header_transformation", _SERVER_HEADER, "OVERWRITE"),
        "preserve_external_request_id": fields.flag("preserve_external_request_id") or None,
        "always_set_request_id": fields.flag("always_set_request_id_in_response") or None,
    }
    return {name: value for name, value in given.items() if value is not None}
