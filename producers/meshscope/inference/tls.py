"""TLS on both sides of the proxy, and where its certificates come from.

Istio names every certificate and lets Envoy fetch it by that name from the sidecar agent (SDS).
The source is the same everywhere, so it is compared with what Istio writes.
"""

from typing import Any, Final

from meshscope.inference.matchers import string_matches
from meshscope.inference.reader import Message
from meshscope.policy.destination import ClientTls
from meshscope.policy.peer_authentication import ServerTls

UPSTREAM_TLS: Final = "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext"
DOWNSTREAM_TLS: Final = "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext"
PROXY_PROTOCOL: Final = (
    "envoy.extensions.transport_sockets.proxy_protocol.v3.ProxyProtocolUpstreamTransport"
)
RAW_BUFFER: Final = "envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer"

_AGENT: Final[dict[str, Any]] = {
    "api_config_source": {
        "api_type": "GRPC",
        "grpc_services": [{"envoy_grpc": {"cluster_name": "sds-grpc"}}],
        "set_node_on_first_message_only": True,
        "transport_api_version": "V3",
    },
    "resource_api_version": "V3",
}
"""The sidecar agent as a source of certificates from files."""

_AGENT_WAITING: Final = {**_AGENT, "initial_fetch_timeout": "0s"}
"""The same for the workload's own certificate and root: Envoy waits for them without limit."""

_CONTROL_PLANE: Final[dict[str, Any]] = {"ads": {}, "resource_api_version": "V3"}
"""The control plane as a source of certificates from Secrets and ConfigMaps."""

_FILES: Final = "file-"
_RESOURCE: Final = "://"
"""What names of Secrets and ConfigMaps have, such as `kubernetes://cert`."""


def secret(message: Message | None) -> str:
    """Name of a secret that is fetched (`SdsSecretConfig`); empty: none."""
    if message is None:
        return ""
    name = message.string("name")
    source = _AGENT if name.startswith(_FILES) else _AGENT_WAITING
    message.require("sds_config", _CONTROL_PLANE if _RESOURCE in name else source)
    return name


def client_tls(context: Message, *, auto_sni: bool, auto_san_validation: bool) -> ClientTls:
    """An `UpstreamTlsContext`, with what the HTTP options of the cluster add to it."""
    common = context.need("common_tls_context")
    trusted, default = _validation(common)
    minimum, maximum, ciphers, curves = _parameters(common)
    return ClientTls(
        sni=context.string("sni"),
        auto_sni=auto_sni,
        auto_san_validation=auto_san_validation,
        alpn=common.strings("alpn_protocols"),
        server_names=() if default is None else string_matches(default, "match_subject_alt_names"),
        trusted=trusted,
        certificate=_certificate(common),
        minimum=minimum,
        maximum=maximum,
        ciphers=ciphers,
        curves=curves,
        crl=_revocation(default),
    )


def server_tls(context: Message) -> ServerTls:
    """A `DownstreamTlsContext`."""
    common = context.need("common_tls_context")
    trusted, default = _validation(common)
    minimum, maximum, ciphers, curves = _parameters(common)
    return ServerTls(
        client_certificate=context.boolean("require_client_certificate"),
        peers=() if default is None else string_matches(default, "match_subject_alt_names"),
        trusted=trusted,
        certificate=_certificate(common),
        minimum=minimum,
        maximum=maximum,
        ciphers=ciphers,
        curves=curves,
        alpn=common.strings("alpn_protocols"),
    )


def _validation(common: Message) -> tuple[str, Message | None]:
    """Name of the trusted certificates, and the conditions on names."""
    combined = common.message("combined_validation_context")
    if combined is None:
        # Istio writes an empty one where verification is to be skipped; that is the same as none.
        common.constant("validation_context", {})
        return secret(common.message("validation_context_sds_secret_config")), None
    trusted = secret(combined.message("validation_context_sds_secret_config"))
    return trusted, combined.message("default_validation_context")


def _certificate(common: Message) -> str:
    found = common.messages("tls_certificate_sds_secret_configs")
    names = [secret(item) for item in found]
    return ",".join(sorted(names))


def _parameters(common: Message) -> tuple[str, str, tuple[str, ...], tuple[str, ...]]:
    found = common.message("tls_params")
    if found is None:
        return "", "", (), ()
    return (
        found.string("tls_minimum_protocol_version"),
        found.string("tls_maximum_protocol_version"),
        found.strings("cipher_suites"),
        found.strings("ecdh_curves"),
    )


def _revocation(default: Message | None) -> str:
    found = None if default is None else default.message("crl")
    name = "" if found is None else found.string("filename")
    if found is not None and not name:
        found.remark("crl", "without a file")
    return name
