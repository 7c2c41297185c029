"""Kind `http_connection`: how HTTP is parsed and passed on."""

from dataclasses import dataclass
from typing import Literal

from meshscope.policy.canonical import as_set, replace_fields


@dataclass(frozen=True, slots=True)
class HttpConnection:
    """Settings of an HTTP connection manager (Envoy `HttpConnectionManager`).

    Attributes:
        normalize_path: Dot segments are resolved before policies see the path.
        merge_slashes: Repeated slashes become one.
        escaped_slashes: What happens to `%2F`: `keep`, `reject`, `redirect`, `forward`
            (unescaped), or `default`.
        forward_client_cert: Treatment of `x-forwarded-client-cert`, Envoy's word in lower case.
        client_cert_details: What is put into it: `subject`, `uri`, `dns`, `cert`, `chain`.
        use_remote_address: The peer's address counts as the client's.
        trusted_hops: Proxies in front whose forwarded-for is believed.
        upgrades: Upgrade types, such as `websocket`.
        http10: HTTP/1.0 is accepted; `default_host` is used for requests without a host.
        http2: Parameters of HTTP/2 are given (Istio: the port is declared HTTP/2 or gRPC).
        stream_idle_timeout_ms, request_timeout_ms, idle_timeout_ms, max_connection_duration_ms,
            delayed_close_ms: Limits; 0: none; None: Envoy's default.
        server_name: Value of the `server` header.
        server_header: `overwrite`, `append_if_absent` or `pass_through`.
        proxy_100_continue: `100-continue` is passed on.
        request_id_for_sampling: The request id decides which requests are traced.
        preserve_external_request_id, always_set_request_id: As named; None: not set.
        strip_host_port: `none`, `matching` or `any`.
        metadata_exchange: What Istio's peer metadata filter does with headers: `downstream`,
            `upstream`; empty: it is not there.
    """

    normalize_path: bool = False
    merge_slashes: bool = False
    escaped_slashes: Literal["default", "keep", "reject", "redirect", "forward"] = "default"
    forward_client_cert: str = "sanitize"
    client_cert_details: tuple[str, ...] = ()
    use_remote_address: bool = False
    trusted_hops: int = 0
    upgrades: tuple[str, ...] = ()
    http10: bool = False
    default_host: str = ""
    http2: bool = False
    stream_idle_timeout_ms: int | None = None
    request_timeout_ms: int | None = None
    idle_timeout_ms: int | None = None
    max_connection_duration_ms: int | None = None
    delayed_close_ms: int | None = None
    server_name: str = ""
    server_header: Literal["overwrite", "append_if_absent", "pass_through"] = "overwrite"
    proxy_100_continue: bool = False
    request_id_for_sampling: bool = True
    preserve_external_request_id: bool | None = None
    always_set_request_id: bool | None = None
    strip_host_port: Literal["none", "matching", "any"] = "none"
    metadata_exchange: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        replace_fields(
            self,
            client_cert_details=as_set(self.client_cert_details),
            upgrades=as_set(name.lower() for name in self.upgrades),
            metadata_exchange=as_set(self.metadata_exchange),
        )

    def without_names(self) -> "HttpConnection":
        """Itself: nothing in it is only a name."""
        return self
