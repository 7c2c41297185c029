"""Kind `request_authentication` from RequestAuthentication.

The rules of all policies that select a workload act together, sorted by issuer. A request without a
token passes, one with an invalid token does not.

Source: https://istio.io/latest/docs/reference/config/security/request_authentication/.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Literal
from urllib.parse import urlsplit

from meshscope.events.resource import Resource
from meshscope.policy.canonical import digest_bytes
from meshscope.policy.request_authentication import (
    ClaimHeader,
    JwtHeader,
    JwtRule,
    RequestAuthentication,
)
from meshscope.projection.durations import milliseconds

FetchMode = Literal["false", "true", "hybrid", "envoy"]
"""Who fetches keys (`PILOT_JWT_ENABLE_REMOTE_JWKS`): `false`: istiod."""

_SPACE_DELIMITED = ("permission", "scope")
_METADATA_KEY = "payload"
_TIMEOUT_MS = 5_000
_CACHE_MS = 300_000


def request_authentication(
    policies: Iterable[Resource],
    *,
    fetch_mode: FetchMode = "false",
    in_mesh: Iterable[str] = (),
) -> RequestAuthentication:
    """The tokens that a workload looks at.

    Args:
        policies: Those that select the workload, in Istio's order.
        fetch_mode: Who fetches the keys of a `jwksUri`.
        in_mesh: Hosts of the registry; with `hybrid`, the proxy fetches from those alone.
    """
    hosts = frozenset(in_mesh)
    rules = sorted(
        (rule for policy in policies for rule in policy.spec.get("jwtRules") or ()),
        key=lambda rule: rule.get("issuer") or "",
    )
    return RequestAuthentication(
        tuple(_rule(rule, fetch_mode, hosts) for rule in rules),
        requirement="optional",
        bypass_cors_preflight=bool(rules),
    )


def _rule(spec: Mapping[str, Any], fetch_mode: FetchMode, in_mesh: frozenset[str]) -> JwtRule:
    address = spec.get("jwksUri") or spec.get("jwks_uri") or ""
    inline = spec.get("jwks") or ""
    fetched = bool(address) and (
        fetch_mode in ("true", "envoy")
        or (fetch_mode == "hybrid" and (urlsplit(address).hostname or "") in in_mesh)
    )
    timeout = spec.get("timeout")
    return JwtRule(
        issuer=spec.get("issuer") or "",
        audiences=tuple(spec.get("audiences") or ()),
        keys=address if fetched else "local",
        local_keys=digest_bytes("jwks", inline.encode()) if inline and not fetched else "",
        from_headers=tuple(
            JwtHeader(header["name"], header.get("prefix") or "")
            for header in spec.get("fromHeaders") or ()
        ),
        from_params=tuple(spec.get("fromParams") or ()),
        from_cookies=tuple(spec.get("fromCookies") or ()),
        forward=bool(spec.get("forwardOriginalToken")),
        payload_header=spec.get("outputPayloadToHeader") or "",
        claim_headers=tuple(
            ClaimHeader(claim["header"], claim["claim"])
            for claim in spec.get("outputClaimToHeaders") or ()
        ),
        metadata_key=_METADATA_KEY,
        space_delimited_claims=(*(spec.get("spaceDelimitedClaims") or ()), *_SPACE_DELIMITED),
        timeout_ms=(_TIMEOUT_MS if timeout is None else milliseconds(timeout)) if fetched else 0,
        cache_ms=_CACHE_MS if fetched else 0,
    )
