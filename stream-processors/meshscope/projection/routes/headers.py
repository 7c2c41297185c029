"""Changes to headers, and the host header among them.

Source: https://istio.io/latest/docs/reference/config/networking/virtual-service/#Headers.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from meshscope.policy.headers import HeaderAction, HeaderMutation, HeaderValue

Json = Mapping[str, Any]

_NOTHING: Final = HeaderMutation()


@dataclass(frozen=True, slots=True)
class HeaderChanges:
    """What a `headers` block says; `authority` is the new host header, or empty."""

    request: HeaderMutation = _NOTHING
    response: HeaderMutation = _NOTHING
    authority: str = ""

    def then(self, later: "HeaderChanges") -> "HeaderChanges":
        """These changes and after them others."""
        return HeaderChanges(
            _both(self.request, later.request),
            _both(self.response, later.response),
            self.authority or later.authority,
        )


def header_changes(headers: Json | None) -> HeaderChanges:
    """The changes of a `headers` block; the host header is written by a rewrite, not as header."""
    if not headers:
        return HeaderChanges()
    request = headers.get("request") or {}
    return HeaderChanges(
        _mutation(request),
        _mutation(headers.get("response") or {}),
        _authority(request.get("set")) or _authority(request.get("add")),
    )


def _mutation(operations: Json) -> HeaderMutation:
    return HeaderMutation(
        (*_values(operations.get("set"), "set"), *_values(operations.get("add"), "append")),
        tuple(name for name in operations.get("remove") or () if not _is_internal(name)),
    )


def _values(headers: Json | None, action: HeaderAction) -> tuple[HeaderValue, ...]:
    return tuple(
        HeaderValue(name, value, action)
        for name, value in sorted((headers or {}).items())
        if not _is_internal(name)
    )


def _authority(headers: Json | None) -> str:
    found = [
        value for name, value in (headers or {}).items() if name.lower() in (":authority", "host")
    ]
    return found[-1] if found else ""


def _is_internal(name: str) -> bool:
    return name.startswith(":") or name.lower() == "host"


def _both(first: HeaderMutation, second: HeaderMutation) -> HeaderMutation:
    return HeaderMutation((*first.add, *second.add), (*first.remove, *second.remove))
