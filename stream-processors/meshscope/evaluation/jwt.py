"""What becomes of a token."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from meshscope.algebra.request import Claim, Request
from meshscope.evaluation.call import Call, Token
from meshscope.policy.request_authentication import JwtRule, RequestAuthentication

_FILTER: Final = "envoy.filters.http.jwt_authn"


def check_token(call: Call, rules: RequestAuthentication) -> tuple[Request | None, str]:
    """The request with the claims that later filters find, and what was decided.

    The request is None if it is refused.
    """
    request = call.request
    token = call.token
    preflight = (
        request.method == "OPTIONS"
        and {
            "origin",
            "access-control-request-method",
        }
        <= dict(request.headers).keys()
    )
    if not rules.rules:
        return request, "tokens are not looked at"
    if rules.bypass_cors_preflight and preflight:
        return request, "a preflight request passes without a token"
    looking = [rule for rule in rules.rules if token is not None and _looks_at(rule, token)]
    if token is None or not looking:
        if rules.requirement == "required" and not request.claims:
            return None, "there is no token where rules look for one"
        return request, "there is no token, and none is demanded"
    issuer = str(token.claims.get("iss", ""))
    for rule in looking:
        if rule.issuer in ("", issuer) and _for_audience(rule, token):
            if token.valid:
                claims = _claims(rule, token.claims)
                return replace(request, claims=claims), f"the token of {issuer} is valid"
            break
    if rules.requirement == "none":
        return request, "the token is not valid, which does not matter"
    return None, f"the token of {issuer} is not valid for any rule"


def _looks_at(rule: JwtRule, token: Token) -> bool:
    if not (rule.from_headers or rule.from_params or rule.from_cookies):
        return (token.header.lower(), token.prefix) == ("authorization", "Bearer ")
    return any(
        header.name == token.header.lower() and token.prefix.startswith(header.prefix)
        for header in rule.from_headers
    )


def _for_audience(rule: JwtRule, token: Token) -> bool:
    found = token.claims.get("aud", ())
    audiences = (found,) if isinstance(found, str) else tuple(found)
    return not rule.audiences or bool(set(rule.audiences) & set(audiences))


def _claims(rule: JwtRule, payload: Mapping[str, Any]) -> tuple[tuple[str, Claim], ...]:
    """The claims by the place where policies find them."""
    found: list[tuple[str, Claim]] = []

    def walk(place: str, value: Any, top: str) -> None:
        if isinstance(value, Mapping):
            for name, inner in value.items():
                walk(f"{place}/{name}", inner, top or name)
        elif isinstance(value, str):
            split = top in rule.space_delimited_claims
            found.append((place, tuple(value.split()) if split else value))
        elif isinstance(value, list | tuple):
            found.append((place, tuple(item for item in value if isinstance(item, str))))

    walk(f"{_FILTER}/{rule.metadata_key}", payload, "")
    return tuple(found)
