"""One request: a point in the product of all dimensions."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

Claim: TypeAlias = str | tuple[str, ...]
"""A string, or a list of strings."""


@dataclass(frozen=True, slots=True)
class Request:
    """A request with all that a sidecar can decide by.

    Attributes:
        method, authority, path: As in HTTP; `path` without the query, empty for CONNECT.
        query: Parameters in order.
        headers: Names in lower case and values; one of each name.
        transport: `mtls`, `tls` (one-way, or not opened) or `plaintext`.
        principal: `spiffe://…`; only under mutual TLS.
        peer_address, client_address: Of the peer, and of the client that it speaks for.
        destination_address, port: Which the peer dialled; inbound the target port.
        server_name, application_protocol: SNI and ALPN; empty: none.
        claims: Of a valid token, by the place where policies find them
            (`filter/key/key`).
        assumes: What is not modelled and has to hold for this request to be an example.
    """

    method: str = "GET"
    authority: str = ""
    path: str = "/"
    query: tuple[tuple[str, str], ...] = ()
    headers: tuple[tuple[str, str], ...] = ()
    transport: Literal["mtls", "tls", "plaintext"] = "plaintext"
    principal: str = ""
    peer_address: str = ""
    client_address: str = ""
    destination_address: str = ""
    port: int = 0
    server_name: str = ""
    application_protocol: str = ""
    claims: tuple[tuple[str, Claim], ...] = ()
    assumes: tuple[str, ...] = ()

    def target(self) -> str:
        """Path and query as they stand in the first line of HTTP."""
        if not self.query:
            return self.path
        return f"{self.path}?" + "&".join(f"{name}={value}" for name, value in self.query)

    def fields(self) -> dict[str, object]:
        """What is said of the request, for JSON: names as above, and nothing that is empty."""
        return {
            name: dict(value) if name in ("query", "headers", "claims") else value
            for name in self.__slots__
            if (value := getattr(self, name))
        }

    def __str__(self) -> str:
        said = [f"{self.method} {self.authority}{self.target()}"]
        said += [f"{name}: {value}" for name, value in self.headers]
        said += [f"{what} {value}" for what, value in self._connection() if value]
        said += [
            f"claim {name.rpartition('/')[2]}={value if isinstance(value, str) else list(value)}"
            for name, value in self.claims
        ]
        said += [f"assuming {assumption}" for assumption in self.assumes]
        return ", ".join(said)

    def _connection(self) -> tuple[tuple[str, object], ...]:
        return (
            ("as", self.principal),
            ("over", self.transport if not self.principal else ""),
            ("from", self.peer_address),
            ("on behalf of", self.client_address),
            ("to", self.destination_address),
            ("port", self.port),
            ("SNI", self.server_name),
            ("ALPN", self.application_protocol),
        )
