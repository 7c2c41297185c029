"""Kind `http_connection` from MeshConfig, ProxyConfig and istiod's switches.

Source: https://istio.io/latest/docs/reference/config/istio.mesh.v1alpha1/ (`pathNormalization`,
`ProxyConfig.proxyHeaders`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from meshscope.policy.http_connection import HttpConnection
from meshscope.projection.durations import milliseconds

_CLIENT_CERT_DETAILS = {"subject": True, "uri": True, "dns": True, "cert": False, "chain": False}
"""What is put into `x-forwarded-client-cert`, and whether it is by default."""

_INBOUND_EXCHANGE = ("downstream",)
_OUTBOUND_EXCHANGE = ("upstream",)


@dataclass(frozen=True, slots=True)
class HttpSettings:
    """What all HTTP chains of a proxy have in common.

    Attributes:
        normalize_path, merge_slashes, escaped_slashes: As in `HttpConnection`.
        server_name: Of inbound answers; of outbound ones only where it was set (`own_name`).
        own_name: Whether `server_name` was set by a ProxyConfig.
        server_header: As in `HttpConnection`.
        forward_client_cert, client_cert_details: Inbound only.
        http10: HTTP/1.0 is accepted.
        sniffs_http10: HTTP/1.0 counts as HTTP where it is detected.
        use_remote_address: Outbound only.
        proxy_100_continue, idle_timeout_ms: As in `HttpConnection`.
        exchange: Peers exchange metadata in headers.
    """

    normalize_path: bool = True
    merge_slashes: bool = False
    escaped_slashes: Literal["keep", "forward"] = "keep"
    server_name: str = "istio-envoy"
    own_name: bool = False
    server_header: Literal["overwrite", "pass_through"] = "overwrite"
    forward_client_cert: str = "append_forward"
    client_cert_details: tuple[str, ...] = ("subject", "uri", "dns")
    http10: bool = False
    sniffs_http10: bool = False
    use_remote_address: bool = False
    proxy_100_continue: bool = True
    idle_timeout_ms: int | None = None
    exchange: bool = True

    def inbound(self, *, http2: bool) -> HttpConnection:
        """Settings of inbound chains; `http2`: the port is declared HTTP/2 or gRPC."""
        return self._connection(
            forward_client_cert=self.forward_client_cert,
            client_cert_details=self.client_cert_details,
            http2=http2,
            server_name=self.server_name,
            metadata_exchange=_INBOUND_EXCHANGE if self.exchange else (),
        )

    def outbound(self) -> HttpConnection:
        """Settings of outbound chains."""
        return self._connection(
            use_remote_address=self.use_remote_address,
            server_name=self.server_name if self.own_name else "",
            metadata_exchange=_OUTBOUND_EXCHANGE if self.exchange else (),
        )

    def _connection(self, **own: Any) -> HttpConnection:
        return HttpConnection(
            normalize_path=self.normalize_path,
            merge_slashes=self.merge_slashes,
            escaped_slashes=self.escaped_slashes,
            upgrades=("websocket",),
            http10=self.http10,
            stream_idle_timeout_ms=0,
            idle_timeout_ms=self.idle_timeout_ms,
            server_header=self.server_header,
            proxy_100_continue=self.proxy_100_continue,
            **own,
        )


def http_settings(
    mesh_config: Mapping[str, Any],
    proxy_config: Mapping[str, Any],
    node_metadata: Mapping[str, Any],
    *,
    http10: bool,
    use_remote_address: bool,
    proxy_100_continue: bool,
    exchange: bool,
) -> HttpSettings:
    """Settings of a proxy.

    Args:
        mesh_config: MeshConfig.
        proxy_config: ProxyConfig of the proxy.
        node_metadata: Metadata of its node.
        http10: istiod's `PILOT_HTTP10`. A node that asks for it by its metadata accepts HTTP/1.0,
            but does not detect it.
        use_remote_address: istiod's `PILOT_SIDECAR_USE_REMOTE_ADDRESS`.
        proxy_100_continue: istiod's `ENABLE_100_CONTINUE_HEADERS`.
        exchange: istiod's `PILOT_ENABLE_METADATA_EXCHANGE`.
    """
    normalization = (mesh_config.get("pathNormalization") or {}).get("normalization") or "DEFAULT"
    headers = proxy_config.get("proxyHeaders") or {}
    server = headers.get("server") or {}
    silent = bool(server.get("disabled"))
    name = server.get("value") or ""
    details = headers.get("setCurrentClientCertDetails") or {}
    idle = node_metadata.get("IDLE_TIMEOUT")
    return HttpSettings(
        normalize_path=normalization != "NONE",
        merge_slashes=normalization in ("MERGE_SLASHES", "DECODE_AND_MERGE_SLASHES"),
        escaped_slashes="forward" if normalization == "DECODE_AND_MERGE_SLASHES" else "keep",
        server_name="" if silent else name or "istio-envoy",
        own_name=bool(name) and not silent,
        server_header="pass_through" if silent else "overwrite",
        forward_client_cert=_forward_client_cert(headers.get("forwardedClientCert")),
        client_cert_details=tuple(
            detail
            for detail, default in _CLIENT_CERT_DETAILS.items()
            if _said(details.get(detail), default)
        ),
        http10=http10 or node_metadata.get("HTTP10") == "1",
        sniffs_http10=http10,
        use_remote_address=use_remote_address,
        proxy_100_continue=proxy_100_continue,
        idle_timeout_ms=milliseconds(idle) if idle else None,
        exchange=exchange,
    )


def _forward_client_cert(word: str | None) -> str:
    return (word or "").lower() if word not in (None, "", "UNDEFINED") else "append_forward"


def _said(value: bool | None, default: bool) -> bool:
    return default if value is None else bool(value)
