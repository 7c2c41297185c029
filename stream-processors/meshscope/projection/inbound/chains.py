"""Which filter chains an inbound port has, by its protocol and the mode of mutual TLS.

Istio's clients say in the ALPN of their TLS that they are Istio, and what they carry; a server that
must detect either builds one chain per answer.
"""

from dataclasses import dataclass
from typing import Literal

from meshscope.policy.key import TRANSPORT_MTLS, TRANSPORT_PLAINTEXT, TRANSPORT_TLS

Mode = Literal["STRICT", "PERMISSIVE", "DISABLE"]
PortProtocol = Literal["http", "tcp", "auto"]

_MTLS_HTTP = ("istio-http/1.0", "istio-http/1.1", "istio-h2")
_MTLS_TCP = ("istio-peer-exchange", "istio")
_MTLS = (*_MTLS_TCP, *_MTLS_HTTP)
_HTTP = ("http/1.1", "h2c")


@dataclass(frozen=True, slots=True)
class ChainShape:
    """One filter chain of an inbound port, without what it does.

    Attributes:
        transport_protocol, application_protocols: What detection must say.
        protocol: How the bytes are treated.
        terminates: TLS is terminated.
    """

    transport_protocol: Literal["tls", "raw_buffer"]
    protocol: Literal["http", "tcp"]
    application_protocols: tuple[str, ...] = ()
    terminates: bool = False

    @property
    def transport(self) -> str:
        """The transport as keys of policies say it."""
        if self.terminates:
            return TRANSPORT_MTLS
        return TRANSPORT_TLS if self.transport_protocol == "tls" else TRANSPORT_PLAINTEXT

    @property
    def detects(self) -> tuple[str, ...]:
        """The listener filters without which the chain could not be chosen."""
        tls = ("tls",) if self.transport_protocol == "tls" else ()
        return (*tls, "http") if set(_HTTP) & set(self.application_protocols) else tls


def _tls(
    protocol: Literal["http", "tcp"], alpn: tuple[str, ...] = (), *, terminates: bool = True
) -> ChainShape:
    return ChainShape("tls", protocol, alpn, terminates)


def _raw(protocol: Literal["http", "tcp"], alpn: tuple[str, ...] = ()) -> ChainShape:
    return ChainShape("raw_buffer", protocol, alpn)


def chain_shapes(mode: Mode, protocol: PortProtocol, *, http10: bool) -> tuple[ChainShape, ...]:
    """The chains of a port.

    Args:
        mode: Of mutual TLS.
        protocol: Of the port; `auto` is detected.
        http10: HTTP/1.0 counts as HTTP where it is detected (`PILOT_HTTP10`).
    """
    sniffed = ("http/1.0", *_HTTP) if http10 else _HTTP
    table: dict[tuple[Mode, PortProtocol], tuple[ChainShape, ...]] = {
        ("PERMISSIVE", "http"): (_tls("http", _MTLS), _raw("http")),
        ("PERMISSIVE", "tcp"): (
            _tls("tcp", _MTLS),
            _tls("tcp", terminates=False),
            _raw("tcp"),
        ),
        ("PERMISSIVE", "auto"): (
            _tls("http", _MTLS_HTTP),
            _raw("http", sniffed),
            _tls("tcp", _MTLS_TCP),
            _raw("tcp"),
            _tls("tcp", terminates=False),
        ),
        ("STRICT", "http"): (_tls("http"),),
        ("STRICT", "tcp"): (_tls("tcp"),),
        ("STRICT", "auto"): (_tls("http", _MTLS_HTTP), _tls("tcp")),
        ("DISABLE", "http"): (_raw("http"),),
        ("DISABLE", "tcp"): (_raw("tcp"),),
        ("DISABLE", "auto"): (_raw("http", sniffed), _raw("tcp")),
    }
    return table[mode, protocol]
