"""Kind `peer_authentication`: which connections an inbound port accepts."""

from dataclasses import dataclass
from typing import Literal

from meshscope.policy.canonical import as_set, replace_fields
from meshscope.policy.matches import StringMatch


@dataclass(frozen=True, slots=True)
class ServerTls:
    """TLS that the proxy terminates.

    Attributes:
        client_certificate: Whether the peer must show one.
        peers: What one of the names in its certificate must meet; empty: any.
        trusted, certificate: SDS names of trusted and own certificates, or `file:…`.
        minimum, maximum: Protocol versions, such as `TLSv1_2`.
        ciphers: Cipher suites, in order.
        curves: ECDH curves, in order; empty: Envoy's.
        alpn: Protocols offered, in order.
    """

    client_certificate: bool = True
    peers: tuple[StringMatch, ...] = ()
    trusted: str = ""
    certificate: str = ""
    minimum: str = ""
    maximum: str = ""
    ciphers: tuple[str, ...] = ()
    curves: tuple[str, ...] = ()
    alpn: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        replace_fields(self, peers=as_set(self.peers))


@dataclass(frozen=True, slots=True)
class AcceptedChain:
    """One shape of connection that a port accepts.

    Attributes:
        transport_protocol: What detection must say: `tls`, `raw_buffer` or "" (either).
        application_protocols: ALPN values, one of which detection must say; empty: any.
        protocol: `http` or `tcp`: how the bytes are treated.
        tls: TLS that is terminated; None: none (plaintext, or TLS that passes through).
        connect_timeout_ms: Limit for the handshake; 0: none.
    """

    transport_protocol: str
    application_protocols: tuple[str, ...]
    protocol: Literal["http", "tcp"]
    tls: ServerTls | None = None
    connect_timeout_ms: int = 0

    def __post_init__(self) -> None:
        replace_fields(self, application_protocols=as_set(self.application_protocols))


def mode_of(chains: tuple[AcceptedChain, ...]) -> Literal["STRICT", "PERMISSIVE", "DISABLE"]:
    """Istio's word for a set of chains.

    STRICT: every chain terminates TLS that demands a client certificate; DISABLE: none does;
    PERMISSIVE: some do.
    """
    mutual = [chain.tls is not None and chain.tls.client_certificate for chain in chains]
    if mutual and all(mutual):
        return "STRICT"
    return "PERMISSIVE" if any(mutual) else "DISABLE"


@dataclass(frozen=True, slots=True)
class PeerAuthentication:
    """What an inbound port accepts.

    Attributes:
        chains: The shapes of connection, a set. Peers that fit none are refused.
        mode: `mode_of(chains)`, written out for readers.
    """

    chains: tuple[AcceptedChain, ...]
    mode: Literal["STRICT", "PERMISSIVE", "DISABLE"] = "DISABLE"

    def __post_init__(self) -> None:
        replace_fields(self, chains=as_set(self.chains), mode=mode_of(self.chains))

    def without_names(self) -> "PeerAuthentication":
        """Itself: nothing in it is only a name."""
        return self
