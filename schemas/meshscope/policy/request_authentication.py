"""Kind `request_authentication`: which JSON Web Tokens are validated."""

from dataclasses import dataclass
from typing import Literal

from meshscope.policy.canonical import as_set, replace_fields


@dataclass(frozen=True, slots=True)
class JwtHeader:
    """A header that may hold a token, after `prefix`."""

    name: str
    prefix: str = ""

    def __post_init__(self) -> None:
        replace_fields(self, name=self.name.lower())


@dataclass(frozen=True, slots=True)
class ClaimHeader:
    """A claim of a valid token that is sent on as a header."""

    header: str
    claim: str


@dataclass(frozen=True, slots=True)
class JwtRule:
    """Tokens of one issuer.

    Attributes:
        issuer: Value of `iss`.
        audiences: One of them must be in `aud`; empty: any.
        keys: `local`: the keys stand in the configuration; else the address they are fetched from.
        local_keys: Digest of those keys, or empty. Keys that the control plane fetched from
            `jwksUri` are not declared anywhere, so a projection cannot know them: it leaves the
            field empty and says `local`, and `compare` takes an empty digest for any. The digest
            is `digest_bytes("jwks", text)` of the inline text as it stands.
        from_headers, from_params, from_cookies: Where a token may stand; all empty: Envoy's
            default (`Authorization: Bearer`, parameter `access_token`).
        forward: The token is sent on.
        payload_header: Header in which the payload is sent on; empty: none.
        claim_headers: Claims that are sent on.
        metadata_key: Key under which the payload is kept for authorization.
        space_delimited_claims: Claims that are split at spaces for authorization.
        timeout_ms, cache_ms: For fetching keys; 0 with `local`.
        clock_skew_s: Tolerance for `exp` and `nbf`.
    """

    issuer: str
    audiences: tuple[str, ...] = ()
    keys: str = "local"
    local_keys: str = ""
    from_headers: tuple[JwtHeader, ...] = ()
    from_params: tuple[str, ...] = ()
    from_cookies: tuple[str, ...] = ()
    forward: bool = False
    payload_header: str = ""
    claim_headers: tuple[ClaimHeader, ...] = ()
    metadata_key: str = ""
    space_delimited_claims: tuple[str, ...] = ()
    timeout_ms: int = 0
    cache_ms: int = 0
    clock_skew_s: int = 60

    def __post_init__(self) -> None:
        replace_fields(
            self,
            audiences=as_set(self.audiences),
            from_headers=as_set(self.from_headers),
            from_params=as_set(self.from_params),
            from_cookies=as_set(self.from_cookies),
            claim_headers=as_set(self.claim_headers),
            space_delimited_claims=as_set(self.space_delimited_claims),
        )


@dataclass(frozen=True, slots=True)
class RequestAuthentication:
    """The tokens that the HTTP chains of a port look at; there is a policy for every class of them.

    Attributes:
        rules: In order of precedence; empty: tokens are not looked at.
        requirement: `optional`: a request without a token passes, one with an invalid token does
            not; `required`: there must be a valid one; `none`: tokens are read, not demanded.
        bypass_cors_preflight: Preflight requests pass without a token.
    """

    rules: tuple[JwtRule, ...] = ()
    requirement: Literal["optional", "required", "none"] = "optional"
    bypass_cors_preflight: bool = False

    def without_names(self) -> "RequestAuthentication":
        """Itself: nothing in it is only a name."""
        return self
