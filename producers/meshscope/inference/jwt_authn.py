"""The filter that validates JSON Web Tokens.

Source: https://www.envoyproxy.io/docs/envoy/latest/api-v3/extensions/filters/http/jwt_authn/v3/config.proto
"""

from typing import Final, Literal

from meshscope.inference.reader import Message, Unexpected
from meshscope.policy.canonical import digest_bytes
from meshscope.policy.request_authentication import (
    ClaimHeader,
    JwtHeader,
    JwtRule,
    RequestAuthentication,
)

Requirement = Literal["optional", "required", "none"]

_DEFAULT_SKEW_S: Final = 60


def jwt_authn(config: Message, clusters: set[str], jwks: dict[str, str]) -> RequestAuthentication:
    """Read a `JwtAuthentication` filter.

    Args:
        config: Its configuration.
        clusters: Clusters that keys are fetched from are added here.
        jwks: Digests of inline keys are added here, by issuer.

    Raises:
        Unexpected: The rules are not for all paths alike, or combine providers in another way than
            Istio does.
    """
    providers = config.entries("providers", "JwtProvider")
    rules = config.messages("rules")
    if len(rules) != 1:
        raise Unexpected(f"{config.path()} has {len(rules)} rules instead of one")
    if not rules[0].constant("match", {"prefix": "/"}):
        raise Unexpected(f"{config.path()} is not for all paths")
    names, requirement = _requirement(rules[0].need("requires"))
    unknown = [name for name in names if name not in providers]
    if unknown or len(names) != len(providers):
        raise Unexpected(f"{config.path()} requires {names} of {tuple(providers)}")
    return RequestAuthentication(
        rules=tuple(_provider(providers[name], clusters, jwks) for name in names),
        requirement=requirement,
        bypass_cors_preflight=config.boolean("bypass_cors_preflight"),
    )


def _requirement(message: Message) -> tuple[tuple[str, ...], Requirement]:
    """Providers in order, and whether a token must be there.

    Istio accepts a token of any of them, or none at all: `any(P, missing)` for one provider,
    `any(P0 … Pn, all(any(P0, missing) … any(Pn, missing)))` for several.
    """
    name = message.string("provider_name")
    if name:
        return (name,), "required"
    options = message.need("requires_any").messages("requirements")
    if not all(option.raw for option in options):
        raise Unexpected(f"{message.path()} has an option that demands nothing")
    names = _names(options)
    others = [option for option in options if option.rest]
    if not others:
        return names, "required"
    if len(others) == 1 and (
        others[0].constant("allow_missing", {}) or _each_or_missing(others[0], names)
    ):
        return names, "optional"
    if len(others) == 1 and others[0].constant("allow_missing_or_failed", {}):
        return names, "none"
    raise Unexpected(f"{message.path()} combines providers in a way that is not modelled")


def _each_or_missing(message: Message, names: tuple[str, ...]) -> bool:
    expected = [
        {"requires_any": {"requirements": [{"provider_name": name}, {"allow_missing": {}}]}}
        for name in names
    ]
    return message.constant("requires_all", {"requirements": expected})


def _names(options: list[Message]) -> tuple[str, ...]:
    return tuple(name for option in options if (name := option.string("provider_name")))


def _provider(message: Message, clusters: set[str], jwks: dict[str, str]) -> JwtRule:
    issuer = message.string("issuer")
    remote = message.message("remote_jwks")
    local = None if remote is not None else message.message("local_jwks")
    keys, timeout, cache = "local", 0, 0
    if remote is not None:
        keys, timeout, cache = _remote(remote, clusters)
    digest = ""
    if local is not None:
        digest = digest_bytes("jwks", local.string("inline_string").encode())
        jwks[issuer] = digest
    normalised = message.message("normalize_payload_in_metadata")
    return JwtRule(
        issuer=issuer,
        audiences=message.strings("audiences"),
        keys=keys,
        local_keys=digest,
        from_headers=tuple(
            JwtHeader(item.string("name"), item.string("value_prefix"))
            for item in message.messages("from_headers")
        ),
        from_params=message.strings("from_params"),
        from_cookies=message.strings("from_cookies"),
        forward=message.boolean("forward"),
        payload_header=message.string("forward_payload_header"),
        claim_headers=tuple(
            ClaimHeader(item.string("header_name"), item.string("claim_name"))
            for item in message.messages("claim_to_headers")
        ),
        metadata_key=message.string("payload_in_metadata"),
        space_delimited_claims=(
            () if normalised is None else normalised.strings("space_delimited_claims")
        ),
        timeout_ms=timeout,
        cache_ms=cache,
        clock_skew_s=message.integer("clock_skew_seconds", _DEFAULT_SKEW_S),
    )


def _remote(message: Message, clusters: set[str]) -> tuple[str, int, int]:
    uri = message.need("http_uri")
    clusters.add(uri.string("cluster"))
    return (
        uri.string("uri"),
        uri.milliseconds("timeout") or 0,
        message.milliseconds("cache_duration") or 0,
    )
