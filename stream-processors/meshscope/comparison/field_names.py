"""What the fields of the vocabulary are called in Istio's resources.

Source: the references of VirtualService, DestinationRule, AuthorizationPolicy, PeerAuthentication,
RequestAuthentication, Sidecar and MeshConfig, https://istio.io/latest/docs/reference/config/.
"""

from collections.abc import Iterable, Mapping
from typing import Final

from meshscope.policy.authorization import Authorization, CustomRules, ExternalAuthorizer, Rule
from meshscope.policy.destination import (
    ClientTls,
    ConnectionPool,
    Destination,
    LoadBalancing,
    OutlierDetection,
)
from meshscope.policy.egress import Egress
from meshscope.policy.endpoints import Endpoint, Endpoints, LocalityEndpoints
from meshscope.policy.headers import HeaderMutation
from meshscope.policy.http_connection import HttpConnection
from meshscope.policy.http_route import (
    Cors,
    Fault,
    Forward,
    HttpRoute,
    HttpRule,
    Redirect,
    Respond,
    Retry,
    Rewrite,
)
from meshscope.policy.inbound import Inbound, InboundRoutes, Upstream
from meshscope.policy.outbound_listener import OutboundChain, OutboundListener
from meshscope.policy.peer_authentication import AcceptedChain, PeerAuthentication, ServerTls
from meshscope.policy.request_authentication import JwtRule, RequestAuthentication
from meshscope.policy.telemetry import Telemetry

FIELD_NAMES: Final[Mapping[type, Mapping[str, str]]] = {
    Authorization: {
        "custom": "CUSTOM",
        "audit": "AUDIT",
        "deny": "DENY",
        "allow": "ALLOW",
        "dry_run_deny": "DENY (dry run)",
        "dry_run_allow": "ALLOW (dry run)",
    },
    CustomRules: {"provider": "provider.name", "rules": "", "authorizer": "extensionProvider"},
    ExternalAuthorizer: {
        "protocol": "protocol",
        "cluster": "service",
        "timeout_ms": "timeout",
        "path_prefix": "pathPrefix",
        "fail_open": "failOpen",
        "status_on_error": "statusOnError",
        "request_headers": "includeRequestHeadersInCheck",
        "request_headers_to_add": "includeAdditionalHeadersInCheck",
        "upstream_headers": "headersToUpstreamOnAllow",
        "downstream_headers_on_allow": "headersToDownstreamOnAllow",
        "downstream_headers_on_deny": "headersToDownstreamOnDeny",
        "body_bytes": "includeRequestBodyInCheck.maxRequestBytes",
        "body_partial": "includeRequestBodyInCheck.allowPartialMessage",
        "body_packed": "includeRequestBodyInCheck.packAsBytes",
        "clear_route_cache": "clearRouteCache",
    },
    Rule: {"sources": "from", "operations": "to"},
    Destination: {
        "discovery": "resolution",
        "protocol": "protocol toward the service",
        "load_balancing": "trafficPolicy.loadBalancer",
        "connection_pool": "trafficPolicy.connectionPool",
        "outlier_detection": "trafficPolicy.outlierDetection",
        "tls_mode": "trafficPolicy.tls.mode",
        "tls": "trafficPolicy.tls",
        "proxy_protocol": "trafficPolicy.proxyProtocol.version",
    },
    LoadBalancing: {
        "policy": "",
        "ring_size": "consistentHash (size of the table)",
        "slow_start_ms": "warmup.duration",
        "slow_start_aggression": "warmup.aggression",
        "slow_start_min_weight_percent": "warmup.minimumPercent",
        "locality_weighted": "localityLbSetting (weighted)",
        "panic_threshold_percent": "/trafficPolicy.outlierDetection.minHealthPercent",
    },
    ConnectionPool: {
        "max_connections": "tcp.maxConnections",
        "max_pending_requests": "http.http1MaxPendingRequests",
        "max_requests": "http.http2MaxRequests",
        "max_retries": "http.maxRetries",
        "retry_budget_percent": "/trafficPolicy.retryBudget.percent",
        "retry_budget_interval_ms": "/trafficPolicy.retryBudget.budgetInterval",
        "retry_min_concurrency": "/trafficPolicy.retryBudget.minRetryConcurrency",
        "connect_timeout_ms": "tcp.connectTimeout",
        "keepalive_time_s": "tcp.tcpKeepalive.time",
        "keepalive_interval_s": "tcp.tcpKeepalive.interval",
        "keepalive_probes": "tcp.tcpKeepalive.probes",
        "idle_timeout_ms": "http.idleTimeout",
        "max_connection_duration_ms": "tcp.maxConnectionDuration",
        "max_requests_per_connection": "http.maxRequestsPerConnection",
        "max_concurrent_streams": "http.maxConcurrentStreams",
    },
    OutlierDetection: {
        "consecutive_5xx": "consecutive5xxErrors",
        "enforcing_consecutive_5xx": "consecutive5xxErrors (enforced)",
        "consecutive_gateway_failure": "consecutiveGatewayErrors",
        "enforcing_consecutive_gateway_failure": "consecutiveGatewayErrors (enforced)",
        "split_local_origin_errors": "splitExternalLocalOriginErrors",
        "consecutive_local_origin_failure": "consecutiveLocalOriginFailures",
        "enforcing_consecutive_local_origin_failure": "consecutiveLocalOriginFailures (enforced)",
        "interval_ms": "interval",
        "base_ejection_time_ms": "baseEjectionTime",
        "max_ejection_percent": "maxEjectionPercent",
    },
    ClientTls: {
        "server_names": "subjectAltNames",
        "trusted": "caCertificates",
        "certificate": "clientCertificate",
        "crl": "caCrl",
    },
    HttpRoute: {
        "domains": "hosts",
        "rules": "http",
        "request_headers": "headers.request",
        "response_headers": "headers.response",
    },
    HttpRule: {
        "forward": "",
        "respond": "directResponse",
        "cors": "corsPolicy",
        "request_headers": "headers.request",
        "response_headers": "headers.response",
    },
    HeaderMutation: {"add": ""},
    Forward: {
        "to": "route",
        "max_grpc_timeout_ms": "timeout (limit of grpc-timeout)",
        "retry": "retries",
        "hash": "consistentHash",
    },
    Retry: {
        "on": "retryOn",
        "per_try_timeout_ms": "perTryTimeout",
        "status_codes": "retryOn (status codes)",
        "avoid_previous_hosts": "retryIgnorePreviousHosts",
        "host_attempts": "retryIgnorePreviousHosts (attempts to find another host)",
        "previous_priorities_frequency": "retryRemoteLocalities",
        "backoff_base_ms": "backoff",
        "backoff_max_ms": "backoff (longest)",
    },
    Rewrite: {
        "prefix": "uri",
        "regex": "uriRegexRewrite.match",
        "substitution": "uriRegexRewrite.rewrite",
        "host": "authority",
    },
    Redirect: {
        "status": "redirectCode",
        "host": "authority",
        "path": "uri",
        "prefix": "uri (prefix)",
    },
    Respond: {"body": "body.string"},
    Fault: {
        "delay_ms": "delay.fixedDelay",
        "delay_fraction": "delay.percentage",
        "abort_status": "abort.httpStatus",
        "abort_grpc_status": "abort.grpcStatus",
        "abort_fraction": "abort.percentage",
    },
    Cors: {
        "allow_origins": "allowOrigins",
        "allow_methods": "allowMethods",
        "allow_headers": "allowHeaders",
        "expose_headers": "exposeHeaders",
        "max_age": "maxAge",
        "allow_credentials": "allowCredentials",
        "forward_unmatched_preflights": "unmatchedPreflights",
    },
    Inbound: {"detects": "protocol detection", "routes": "requests", "upstream": "application"},
    InboundRoutes: {"rules": "", "domains": "hosts"},
    Upstream: {"kind": "reached by", "connection_pool": "connectionPool"},
    OutboundListener: {
        "chains": "connections",
        "default": "other connections",
        "detects": "protocol detection",
    },
    OutboundChain: {
        "route_table": "routes",
        "to": "route",
        "idle_timeout_ms": "idleTimeout",
        "max_duration_ms": "maxConnectionDuration",
        "hash": "consistentHash",
        "tunnel": "tunnel.targetHost",
    },
    PeerAuthentication: {"mode": "mtls.mode", "chains": "accepts"},
    AcceptedChain: {"tls": ""},
    ServerTls: {"client_certificate": "client certificate demanded", "peers": "trust domains"},
    RequestAuthentication: {"rules": "jwtRules", "requirement": "token"},
    JwtRule: {
        "keys": "jwksUri",
        "local_keys": "jwks",
        "from_headers": "fromHeaders",
        "from_params": "fromParams",
        "from_cookies": "fromCookies",
        "forward": "forwardOriginalToken",
        "payload_header": "outputPayloadToHeader",
        "claim_headers": "outputClaimToHeaders",
        "space_delimited_claims": "spaceDelimitedClaims",
        "timeout_ms": "timeout",
    },
    Egress: {
        "mode": "outboundTrafficPolicy.mode",
        "to": "unknown hosts (connections)",
        "rules": "unknown hosts (requests)",
    },
    Endpoints: {"localities": "endpoints"},
    LocalityEndpoints: {"endpoints": ""},
    Endpoint: {"tls_mode": "transport"},
    HttpConnection: {
        "normalize_path": "pathNormalization (dot segments)",
        "merge_slashes": "pathNormalization (repeated slashes merged)",
        "escaped_slashes": "pathNormalization (escaped slashes)",
        "forward_client_cert": "forwardClientCertDetails",
        "trusted_hops": "gatewayTopology.numTrustedProxies",
        "http10": "HTTP/1.0 accepted",
    },
    Telemetry: {"access_logs": "accessLogging"},
}
"""Per type the fields that are called otherwise than here.

An empty name is left out of paths; one that begins with `/` stands for the path as a whole.
"""


def field_name(holder: type, field: str) -> str:
    """What a field is called; one that no resource has by its own name, in words."""
    known = FIELD_NAMES.get(holder, {}).get(field)
    return field.removesuffix("_ms").replace("_", " ") if known is None else known


def path_text(steps: Iterable[str]) -> str:
    """Steps from the outside in as one path: `http[path prefix /cart].timeout`.

    A step that begins with a bracket or a space is an element of what stands before it.
    """
    text = ""
    for step in steps:
        if step.startswith("/"):
            text = step[1:]
        elif step:
            text += step if step[0] in "[ " or not text else f".{step}"
    return text.strip()
