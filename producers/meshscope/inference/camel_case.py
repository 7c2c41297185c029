"""Field names of proto-JSON: from `camelCase`, as istiod prints a dump, to Envoy's `snake_case`."""

import re
from functools import lru_cache
from typing import Any

_WORD = re.compile(r"(?<=[a-z0-9])[A-Z]")
_UPPER = re.compile(r"[A-Z]")

_IRREGULAR = {
    "consecutive5xx": "consecutive_5xx",
    "enforcingConsecutive5xx": "enforcing_consecutive_5xx",
    "proxy100Continue": "proxy_100_continue",
    "acceptHttp10": "accept_http_10",
    "defaultHostForHttp10": "default_host_for_http_10",
    "ignoreHttp11Upgrade": "ignore_http_11_upgrade",
    "normalizePathRfc3986": "normalize_path_rfc_3986",
    "traceId128bit": "trace_id_128bit",
}
"""Names whose underscore before a digit is lost in camel case; all there are in Envoy's API."""

_MAPS = frozenset(
    (
        "bucket",
        "context_extensions",
        "dimensions",
        "key_values",
        "named_endpoints",
        "params",
        "policies",
        "providers",
        "requirement_map",
        "source_codes",
        "typed_extension_protocol_options",
        "typed_filter_metadata",
        "typed_per_filter_config",
    )
)
"""Map fields: their keys are data, what stands under the keys are messages."""

_STRUCTS = frozenset(("filter_metadata", "json_format", "static_layer", "typed_json_format"))
"""Fields that are data all the way down (`google.protobuf.Struct`, maps of it)."""

_STRUCTS_BELOW = frozenset((("node", "metadata"), ("transport_socket_matches", "match")))
"""The same, where the name alone does not tell: (field of the message, field in it)."""


def looks_camel_case(section: dict[str, Any]) -> bool:
    """Whether field names of a section are in camel case."""
    return any(not name.startswith("@") and _WORD.search(name) for name in section)


def snake_case(value: Any, parent: str = "") -> Any:
    """The same JSON with `snake_case` field names; keys of maps and data stay as they are."""
    if isinstance(value, list):
        return [snake_case(item, parent) for item in value]
    if not isinstance(value, dict):
        return value
    typed_struct = "type_url" in value or "typeUrl" in value
    converted: dict[str, Any] = {}
    for name, item in value.items():
        snake = name if name.startswith("@") else _snake(name)
        if (
            snake in _STRUCTS
            or (parent, snake) in _STRUCTS_BELOW
            or (typed_struct and snake == "value")
        ):
            converted[snake] = item
        elif snake in _MAPS and isinstance(item, dict):
            converted[snake] = {key: snake_case(entry, snake) for key, entry in item.items()}
        else:
            converted[snake] = snake_case(item, snake)
    return converted


@lru_cache(maxsize=8192)
def _snake(name: str) -> str:
    known = _IRREGULAR.get(name)
    return known or _UPPER.sub(lambda found: f"_{found.group().lower()}", name)
