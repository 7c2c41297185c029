"""TLS toward a destination: as its DestinationRule says, else mutual TLS wherever it is possible.

Without `tls` in the rule, clients use the mesh's mutual TLS to endpoints with a sidecar and speak
plaintext to others (`enableAutoMtls`), unless the service lies outside the mesh or its namespace is
known to disable it. Where no endpoint is chosen from a list (headless services), it is all or
nothing.

Source: https://istio.io/latest/docs/reference/config/networking/destination-rule/#ClientTLSSettings
and https://istio.io/latest/docs/ops/configuration/traffic-management/tls-configuration/.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from meshscope.policy.destination import ClientTls
from meshscope.policy.matches import StringMatch

Json = Mapping[str, Any]
TlsMode = Literal["auto", "always", "never"]

_CERTIFICATE = "default"
_ROOT = "ROOTCA"
_MINIMUM = "TLSv1_2"
_MAXIMUM = "TLSv1_3"
_CONFIG_MAP = "configmap://"
_ORIGINATING = ("SIMPLE", "MUTUAL")


@dataclass(frozen=True, slots=True)
class Server:
    """What is known of the servers behind a destination.

    Attributes:
        sni: Name that the mesh's own TLS asks for, `outbound_.<port>_.<subset>_.<host>`.
        identities: SPIFFE names of their service accounts, and names that the service declares.
        external: The service lies outside the mesh.
        declared: It comes from a ServiceEntry.
        disabled: Mutual TLS is known not to work: its namespace disables it, or, of a headless
            service, an endpoint has no sidecar.
    """

    sni: str
    identities: tuple[str, ...] = ()
    external: bool = False
    declared: bool = False
    disabled: bool = False


@dataclass(frozen=True, slots=True)
class ClientSettings:
    """What holds for all destinations of a client.

    Attributes:
        auto_mtls: The mesh's `enableAutoMtls`.
        peer_exchange: Peers exchange metadata over TCP, which ALPN must offer.
        ciphers, curves: The mesh's `tlsDefaults`, for TLS that is not the mesh's own.
    """

    auto_mtls: bool = True
    peer_exchange: bool = True
    ciphers: tuple[str, ...] = ()
    curves: tuple[str, ...] = ()


def client_tls(
    settings: Json | None,
    server: Server,
    client: ClientSettings,
    *,
    http2: bool,
    chosen_by_client: bool,
    for_workloads: bool,
) -> tuple[TlsMode, ClientTls | None]:
    """When TLS is spoken, and its parameters.

    Args:
        settings: `tls` of the policy in force; None: not given.
        server: The servers.
        client: The client.
        http2: HTTP/2 is spoken upstream.
        chosen_by_client: The application chose the address (original destination), so that no
            endpoint tells whether it speaks TLS.
        for_workloads: The rule has a workload selector; only then may it name a credential.
    """
    if settings is None:
        if server.external or not client.auto_mtls or server.disabled:
            return "never", None
        tls = _mutual(server, client, http2=http2)
        return ("always" if chosen_by_client else "auto"), tls
    mode = settings.get("mode", "DISABLE")
    if mode == "ISTIO_MUTUAL":
        return "always", _mutual(
            server,
            client,
            http2=http2,
            sni=settings.get("sni", ""),
            names=tuple(settings.get("subjectAltNames") or ()),
        )
    if mode not in _ORIGINATING or not _credentials_usable(settings, for_workloads):
        return "never", None
    return "always", _originated(settings, server, client, http2=http2)


def originates(settings: Json | None) -> bool:
    """Whether the rule asks for TLS that is not the mesh's own."""
    return (settings or {}).get("mode") in _ORIGINATING


def _credentials_usable(settings: Json, for_workloads: bool) -> bool:
    """Whether the proxy may load what the rule names; without certificates it speaks plaintext."""
    credential = settings.get("credentialName", "")
    if credential:
        return for_workloads or credential.startswith(_CONFIG_MAP)
    if settings["mode"] == "MUTUAL":
        return bool(settings.get("clientCertificate") and settings.get("privateKey"))
    return True


def _mutual(
    server: Server,
    client: ClientSettings,
    *,
    http2: bool,
    sni: str = "",
    names: tuple[str, ...] = (),
) -> ClientTls:
    exchange = ("istio-peer-exchange",) if client.peer_exchange else ()
    return ClientTls(
        sni=sni or server.sni,
        alpn=(*exchange, "istio", *(("h2",) if http2 else ())),
        server_names=_exactly(names or server.identities),
        trusted=_ROOT,
        certificate=_CERTIFICATE,
        minimum=_MINIMUM,
        maximum=_MAXIMUM,
    )


def _originated(
    settings: Json, server: Server, client: ClientSettings, *, http2: bool
) -> ClientTls:
    given = tuple(settings.get("subjectAltNames") or ())
    names = given or (server.identities if server.declared else ())
    unchecked = bool(settings.get("insecureSkipVerify"))
    sni = settings.get("sni", "")
    trusted, certificate = _secrets(settings)
    return ClientTls(
        sni=sni,
        auto_sni=not sni,
        auto_san_validation=not sni and not given and not unchecked,
        alpn=("h2",) if http2 else (),
        server_names=() if unchecked else _exactly(names),
        trusted="" if unchecked else trusted,
        certificate=certificate,
        minimum=_MINIMUM,
        maximum=_MAXIMUM,
        ciphers=client.ciphers,
        curves=client.curves,
        crl="" if unchecked or settings.get("credentialName") else settings.get("caCrl", ""),
    )


def _secrets(settings: Json) -> tuple[str, str]:
    """SDS names of the trusted certificates and of the client certificate."""
    mutual = settings["mode"] == "MUTUAL"
    if credential := settings.get("credentialName", ""):
        name = credential if "://" in credential else f"kubernetes://{credential}"
        return f"{name}-cacert", name if mutual else ""
    trusted = f"file-root:{settings.get('caCertificates') or 'system'}"
    if not mutual:
        return trusted, ""
    return trusted, f"file-cert:{settings['clientCertificate']}~{settings['privateKey']}"


def _exactly(names: tuple[str, ...]) -> tuple[StringMatch, ...]:
    return tuple(StringMatch("exact", name) for name in names)
