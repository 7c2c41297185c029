"""Which requests a route takes.

Source: https://istio.io/latest/docs/reference/config/networking/virtual-service/#HTTPMatchRequest.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from meshscope.policy.http_route import RouteMatch
from meshscope.policy.matches import (
    HeaderMatch,
    MetadataMatch,
    PathMatch,
    PathMatchType,
    QueryMatch,
    StringMatch,
)

Json = Mapping[str, Any]

_PSEUDO_HEADERS: Final = ("method", "authority", "scheme")
_CLAIMS: Final = "@request.auth.claims"
_JWT_FILTER: Final = "envoy.filters.http.jwt_authn"
_PRESENT: Final = StringMatch("present")
_ANY: Final = RouteMatch()


def route_match(match: Json | None, *, gateway_api: bool) -> RouteMatch:
    """The conditions of a match that a proxy looks at.

    Args:
        match: One `HTTPMatchRequest`; None: every request.
        gateway_api: Prefixes match whole segments of the path, as the Gateway API demands.
    """
    if match is None:
        return _ANY
    headers: list[HeaderMatch] = []
    metadata: list[MetadataMatch] = []
    for name, condition, invert in _header_conditions(match):
        claims = claim_path(name)
        if claims is not None:
            metadata.append(_claim_match(claims, condition, invert=invert))
        else:
            headers.append(_header_match(name, condition, invert=invert))
    for name in _PSEUDO_HEADERS:
        if match.get(name) is not None:
            headers.append(_header_match(f":{name}", match[name], invert=False))
    return RouteMatch(
        path=_path(match, gateway_api=gateway_api),
        headers=tuple(headers),
        query=tuple(
            QueryMatch(name, string_match(condition) or _PRESENT)
            for name, condition in (match.get("queryParams") or {}).items()
        ),
        metadata=tuple(metadata),
    )


def takes_everything(match: RouteMatch) -> bool:
    """Whether no later route can get a request."""
    path = match.path
    every = (path.type in ("prefix", "path_separated_prefix") and path.value == "/") or (
        path.type == "regex" and path.value == ".*"
    )
    return every and not (match.headers or match.query or match.metadata)


def string_match(condition: Json | None) -> StringMatch | None:
    """A `StringMatch` of Istio; None where it asks only whether there is a value.

    An asterisk as regular expression is no expression, and asks only that.
    """
    for kind in ("exact", "prefix", "regex"):
        if condition and kind in condition:
            text = condition[kind]
            if kind == "regex":
                return None if text == "*" else StringMatch("regex", text)
            return StringMatch("exact" if kind == "exact" else "prefix", text)
    return None


def _path(match: Json, *, gateway_api: bool) -> PathMatch:
    uri = match.get("uri") or {}
    sensitive = not match.get("ignoreUriCase")
    if "exact" in uri:
        return PathMatch("exact", uri["exact"], sensitive)
    if "regex" in uri:
        return PathMatch("regex", uri["regex"])
    prefix: str = uri.get("prefix", "/")
    kind: PathMatchType = "prefix"
    if gateway_api and prefix != "/":
        kind, prefix = "path_separated_prefix", prefix.removesuffix("/")
    return PathMatch(kind, prefix, sensitive)


def _header_conditions(match: Json) -> Iterator[tuple[str, Json | None, bool]]:
    for name, condition in (match.get("headers") or {}).items():
        yield name, condition, False
    for name, condition in (match.get("withoutHeaders") or {}).items():
        yield name, condition, True


def _header_match(name: str, condition: Json | None, *, invert: bool) -> HeaderMatch:
    found = string_match(condition)
    if found is None:
        return HeaderMatch(name, _PRESENT, invert)
    return HeaderMatch(name, found, invert, missing_as_empty=invert)


def claim_path(name: str) -> tuple[str, ...] | None:
    """The claim that a header name such as `@request.auth.claims[a][b]` means; None: none."""
    if not name.lower().startswith(_CLAIMS):
        return None
    rest = name[len(_CLAIMS) :]
    if rest.startswith("[") and rest.endswith("]") and len(rest) > 2:
        return tuple(rest[1:-1].split("]["))
    if rest.startswith(".") and len(rest) > 1:
        return tuple(rest[1:].split("."))
    return None


def _claim_match(claims: tuple[str, ...], condition: Json | None, *, invert: bool) -> MetadataMatch:
    found = string_match(condition)
    return MetadataMatch(
        _JWT_FILTER,
        ("payload", *claims),
        (found or StringMatch("regex", "*"),),
        in_list="also",
        invert=invert,
    )
