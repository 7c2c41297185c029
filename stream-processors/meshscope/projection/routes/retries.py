"""When and how a request is repeated.

An explicit block takes what it leaves out from Istio's own defaults, never from those of the mesh.

Source: https://istio.io/latest/docs/reference/config/networking/virtual-service/#HTTPRetry.
"""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from meshscope.policy.http_route import Retry
from meshscope.projection.durations import milliseconds

Json = Mapping[str, Any]

_ON: Final = (
    "connect-failure",
    "refused-stream",
    "unavailable",
    "cancelled",
    "retriable-status-codes",
)
_ATTEMPTS: Final = 2
_HOST_ATTEMPTS: Final = 5
_PRIORITY_FREQUENCY: Final = 2
_STATUS_CODES: Final = "retriable-status-codes"
_CODES: Final = frozenset(status.value for status in HTTPStatus)


def retry(block: Json | None, *, hashed: bool) -> Retry | None:
    """The policy of a route.

    Args:
        block: `retries` of the route, else of the mesh; None: neither is given.
        hashed: Consistent hashing chooses the host, so that repetitions go to the same one.
    """
    default = Retry(_ON, _ATTEMPTS, avoid_previous_hosts=not hashed, host_attempts=_HOST_ATTEMPTS)
    if block is None:
        return default
    attempts = block.get("attempts") or 0
    if attempts <= 0:
        return None
    words, codes = _conditions(block.get("retryOn") or "")
    avoid = block.get("retryIgnorePreviousHosts")
    return Retry(
        on=words or _ON,
        attempts=attempts,
        per_try_timeout_ms=_optional(block.get("perTryTimeout")),
        status_codes=codes,
        avoid_previous_hosts=not hashed if avoid is None else avoid,
        host_attempts=_HOST_ATTEMPTS,
        previous_priorities_frequency=_PRIORITY_FREQUENCY
        if block.get("retryRemoteLocalities")
        else 0,
        backoff_base_ms=_optional(block.get("backoff")),
    )


def _conditions(text: str) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Conditions and status codes; numbers among the conditions are status codes."""
    parts = [part for item in text.split(",") if (part := item.strip())]
    codes = tuple(int(part) for part in parts if part.isdecimal() and int(part) in _CODES)
    words = tuple(part for part in parts if not (part.isdecimal() and int(part) in _CODES))
    if codes and _STATUS_CODES not in words:
        words = (*words, _STATUS_CODES)
    return words, codes


def _optional(text: str | None) -> int | None:
    return None if text is None else milliseconds(text)
