"""What is evaluated: a request as it reaches a sidecar."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from meshscope.algebra.request import Request


@dataclass(frozen=True, slots=True)
class Token:
    """A JSON Web Token.

    Attributes:
        claims: Its payload; `iss` and `aud` among them.
        valid: Whether signature, `exp` and `nbf` are right for the keys of its issuer.
        header, prefix: Where it stands: the header, and what precedes it there.
        timely: Whether `exp` and `nbf` are right; tells which answer an invalid token gets.
    """

    claims: Mapping[str, Any] = field(hash=False)
    valid: bool = True
    header: str = "authorization"
    prefix: str = "Bearer "
    timely: bool = True


@dataclass(frozen=True, slots=True)
class Call:
    """A request on its way into a sidecar.

    Attributes:
        direction: `outbound`: from the application; `inbound`: from the network.
        request: As sent; its path is not normalised yet.
        protocol: What the bytes are (inside of TLS, if there is TLS).
        token: None: no token (claims of `request` then count as those of a valid one).
        server_certificate: SDS name of the certificate that a peer which speaks mutual TLS accepts
            from the server: that of the mesh.
    """

    direction: Literal["outbound", "inbound"]
    request: Request
    protocol: Literal["http1", "http2", "tcp"] = "http1"
    token: Token | None = None
    server_certificate: str = "default"

    @property
    def is_http(self) -> bool:
        """Whether it is HTTP of any version."""
        return self.protocol != "tcp"


def split_target(target: str) -> tuple[str, tuple[tuple[str, str], ...]]:
    """Path and query parameters of the target of a request; a fragment is cut off."""
    path, _, query = target.partition("#")[0].partition("?")
    parameters = [part.partition("=") for part in query.split("&") if part]
    return path, tuple((name, value) for name, _, value in parameters)
