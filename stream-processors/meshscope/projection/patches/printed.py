"""The values of patches as Envoy prints them.

An added filter is compared by a digest of what Envoy prints of it. Istiod reads a patch into a
message and Envoy prints that: fields under their protobuf names, in one way for each type, and none
that has its default. Only what stands in `FILTERS` is known well enough to say how it is printed;
a message type without a row, a field or a value that is not in its row is `Unmodelled`.

Source: https://protobuf.dev/programming-guides/json/ and
https://www.envoyproxy.io/docs/envoy/latest/api-v3/api.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from meshscope.projection.patches.fields import Unmodelled, snake

Printer = Callable[[Any], Any]
"""What is printed of a value; `_NOTHING` if it is not printed at all."""

_NOTHING: Final = object()
_PREFIX: Final = "type.googleapis.com/"


def _text(value: Any) -> Any:
    if not isinstance(value, str):
        raise Unmodelled(f"{value!r} for a text")
    return value or _NOTHING


def _bool(value: Any) -> Any:
    if not isinstance(value, bool):
        raise Unmodelled(f"{value!r} for a bool")
    return value or _NOTHING


def _bool_value(value: Any) -> Any:
    if not isinstance(value, bool):
        raise Unmodelled(f"{value!r} for a bool")
    return value


def _whole(value: Any) -> Any:
    if isinstance(value, str) and value.isdecimal():
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or value != int(value):
        raise Unmodelled(f"{value!r} for a number")
    return int(value)


def _uint32(value: Any) -> Any:
    return _whole(value) or _NOTHING


def _duration(value: Any) -> Any:
    """Seconds with no, three, six or nine digits behind the point."""
    found = re.fullmatch(r"(\d+)(?:\.(\d{1,9}))?s", value) if isinstance(value, str) else None
    if found is None:
        raise Unmodelled(f"{value!r} for a duration")
    digits = (found[2] or "").rstrip("0")
    digits = digits.ljust(-(-len(digits) // 3) * 3, "0")
    return f"{int(found[1])}.{digits}s" if digits else f"{int(found[1])}s"


def _enum(*names: str) -> Printer:
    """An enum; its first name is the default."""

    def printer(value: Any) -> Any:
        if value not in names:
            raise Unmodelled(f"{value!r} for one of {', '.join(names)}")
        return _NOTHING if value == names[0] else value

    return printer


def _message(fields: Mapping[str, Printer]) -> Printer:
    def printer(value: Any) -> Any:
        if not isinstance(value, Mapping):
            raise Unmodelled(f"{value!r} for a message")
        found = {}
        for name, item in value.items():
            if item is None:
                continue
            field = fields.get(snake(name))
            if field is None:
                raise Unmodelled(f"the field {name}")
            shown = field(item)
            if shown is not _NOTHING:
                found[snake(name)] = shown
        return found

    return printer


def _repeated(item: Printer) -> Printer:
    def printer(value: Any) -> Any:
        if not isinstance(value, list):
            raise Unmodelled(f"{value!r} for a list")
        return [item(one) for one in value] or _NOTHING

    return printer


def _by_name(item: Printer) -> Printer:
    def printer(value: Any) -> Any:
        if not isinstance(value, Mapping):
            raise Unmodelled(f"{value!r} for a map")
        return {name: item(one) for name, one in value.items()} or _NOTHING

    return printer


def _struct(value: Any) -> Any:
    """Free JSON, of which everything is printed; fractions may be printed in several ways."""
    if isinstance(value, Mapping):
        return {name: _struct(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_struct(one) for one in value]
    return _whole(value) if isinstance(value, float) else value


_DATA: Final = _message({"inline_string": _text, "filename": _text, "environment_variable": _text})
_HEADER: Final = _message(
    {
        "header": _message({"key": _text, "value": _text}),
        "append": _bool_value,
        "append_action": _enum(
            "APPEND_IF_EXISTS_OR_ADD",
            "ADD_IF_ABSENT",
            "OVERWRITE_IF_EXISTS_OR_ADD",
            "OVERWRITE_IF_EXISTS",
        ),
        "keep_empty_value": _bool,
    }
)
_SHARE: Final = _message(
    {
        "runtime_key": _text,
        "default_value": _message(
            {"numerator": _uint32, "denominator": _enum("HUNDRED", "TEN_THOUSAND", "MILLION")}
        ),
    }
)
_GRPC_SERVICE: Final = _message(
    {
        "envoy_grpc": _message({"cluster_name": _text, "authority": _text}),
        "timeout": _duration,
    }
)
_V3: Final = _enum("AUTO", "V2", "V3")

FILTERS: Final[Mapping[str, Printer]] = {
    "envoy.extensions.filters.http.buffer.v3.Buffer": _message({"max_request_bytes": _whole}),
    "envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit": _message(
        {
            "stat_prefix": _text,
            "token_bucket": _message(
                {"max_tokens": _uint32, "tokens_per_fill": _whole, "fill_interval": _duration}
            ),
            "filter_enabled": _SHARE,
            "filter_enforced": _SHARE,
            "response_headers_to_add": _repeated(_HEADER),
            "local_rate_limit_per_downstream_connection": _bool,
        }
    ),
    "envoy.extensions.filters.http.lua.v3.Lua": _message(
        {
            "inline_code": _text,
            "default_source_code": _DATA,
            "source_codes": _by_name(_DATA),
            "stat_prefix": _text,
        }
    ),
    "envoy.extensions.filters.http.ratelimit.v3.RateLimit": _message(
        {
            "domain": _text,
            "stage": _uint32,
            "request_type": _text,
            "timeout": _duration,
            "failure_mode_deny": _bool,
            "rate_limited_as_resource_exhausted": _bool,
            "rate_limit_service": _message(
                {"grpc_service": _GRPC_SERVICE, "transport_api_version": _V3}
            ),
            "enable_x_ratelimit_headers": _enum("OFF", "DRAFT_VERSION_03"),
        }
    ),
    "udpa.type.v1.TypedStruct": _message({"type_url": _text, "value": _struct}),
    "xds.type.v3.TypedStruct": _message({"type_url": _text, "value": _struct}),
}
"""How the configuration of a filter is printed, by message type."""


def printed_filter(value: Mapping[str, Any]) -> dict[str, Any]:
    """An HTTP filter as Envoy prints it.

    Args:
        value: The value of a patch.

    Raises:
        Unmodelled: It is not known how that is printed.
    """
    given = {snake(name): item for name, item in value.items() if item is not None}
    config = given.pop("typed_config", None)
    name = given.pop("name", None)
    if given or not isinstance(config, Mapping) or not isinstance(name, str):
        raise Unmodelled("a filter with more than a name and a typed configuration")
    url = str(config.get("@type") or "")
    printer = FILTERS.get(url.removeprefix(_PREFIX))
    if printer is None or not url.startswith(_PREFIX):
        raise Unmodelled(f"how {url} is printed")
    fields = {field: item for field, item in config.items() if field != "@type"}
    return {"name": name, "typed_config": {"@type": url, **printer(fields)}}
