"""What becomes of a token."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from meshscope.algebra.request import Claim, Request
from meshscope.evaluation.call import Call, Token
from meshscope.policy.request_authentication import JwtRule, RequestAuthentication

_FILTER: Final = "envoy.filters.http.jwt_authn"


@dataclass(frozen=True, slots=True)
class Checked:
    """What is decided of a token.

    Attributes:
        says: In words.
        request: With the claims that later filters find; None: it is refused.
        status: Of the answer, if it is refused.
    """

    says: str
    request: Request | None = None
    status: int = 401


def check_token(call: Call, rules: RequestAuthentication) -> Checked:
    """What becomes of a request with a token, or without one."""
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
        return Checked("tokens are not looked at", request)
    if rules.bypass_cors_preflight and preflight:
        return Checked("a preflight request passes without a token", request)
    looking = [rule for rule in rules.rules if token is not None and _looks_at(rule, token)]
    if token is None or not looking:
        if rules.requirement == "required" and not request.claims:
            return Checked("there is no token where rules look for one")
        return Checked("there is no token, and none is demanded", request)
    issuer = str(token.claims.get("iss", ""))
    of_issuer = [rule for rule in looking if rule.issuer in ("", issuer)]
    for rule in of_issuer:
        if token.valid and _for_audience(rule, token):
            claims = _claims(rule, token.claims)
            return Checked(f"the token of {issuer} is valid", replace(request, claims=claims))
    if rules.requirement == "none":
        return Checked("the token is not valid, which does not matter", request)
    # Envoy looks at times before audiences, and at signatures last.
    if of_issuer and token.timely and not _for_audience(of_issuer[-1], token):
        return Checked(f"the token of {issuer} is for other audiences", status=403)
    return Checked(f"the token of {issuer} is not valid for any rule")


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
