"""Failures that a route injects, cross-origin rules, and shares of requests.

Source: https://istio.io/latest/docs/reference/config/networking/virtual-service/#HTTPFaultInjection
and https://istio.io/latest/docs/reference/config/networking/virtual-service/#CorsPolicy.
"""

import base64
import binascii
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from meshscope.policy.http_route import Cors, Fault
from meshscope.policy.matches import Fraction, StringMatch
from meshscope.projection.durations import milliseconds
from meshscope.projection.routes.match import string_match

Json = Mapping[str, Any]

_GRPC_STATUS: Final = {
    name: number
    for number, name in enumerate(
        (
            "OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND",
            "ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION",
            "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS",
            "UNAUTHENTICATED",
        )
    )
}  # fmt: skip


def percentage(share: Json) -> int:
    """A `Percent` in parts per million, rounded down."""
    return int(Decimal(str(share.get("value") or 0)) * 10_000)


def fault(block: Json | None) -> Fault | None:
    """The failures of a route; None: none."""
    if not block:
        return None
    delay, abort = block.get("delay") or {}, block.get("abort") or {}
    delay_ms = milliseconds(delay["fixedDelay"]) if "fixedDelay" in delay else None
    http, grpc = abort.get("httpStatus"), abort.get("grpcStatus")
    if delay_ms is None and http is None and grpc is None:
        return None
    return Fault(
        delay_ms=delay_ms,
        delay_fraction=Fraction(0 if delay_ms is None else _delayed(delay)),
        abort_status=http,
        abort_grpc_status=None if grpc is None else _GRPC_STATUS.get(grpc, 0),
        abort_fraction=Fraction(
            percentage(abort.get("percentage") or {}) if (http, grpc) != (None, None) else 0
        ),
    )


def _delayed(delay: Json) -> int:
    share = delay.get("percentage")
    return int(delay.get("percent") or 0) * 10_000 if share is None else percentage(share)


def cors(block: Json | None) -> Cors | None:
    """The cross-origin rules of a route; None: none."""
    if block is None:
        return None
    origins = block.get("allowOrigins")
    if origins is None:
        matches = [StringMatch("exact", origin) for origin in block.get("allowOrigin") or ()]
    else:
        matches = [found for origin in origins if (found := string_match(origin)) is not None]
    age = block.get("maxAge")
    return Cors(
        allow_origins=tuple(matches),
        allow_methods=tuple(block.get("allowMethods") or ()),
        allow_headers=tuple(block.get("allowHeaders") or ()),
        expose_headers=tuple(block.get("exposeHeaders") or ()),
        max_age="" if age is None else str(milliseconds(age) // 1000),
        allow_credentials=block.get("allowCredentials"),
        forward_unmatched_preflights=block.get("unmatchedPreflights") != "IGNORE",
    )


def decoded(body: str) -> str:
    """Text of a body that a resource writes in base64; `base64:…` where it is no text."""
    try:
        return base64.b64decode(body, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return f"base64:{body}"
