"""The external authorization filters, HTTP and TCP.

Source: https://www.envoyproxy.io/docs/envoy/latest/api-v3/extensions/filters/http/ext_authz/v3/ext_authz.proto
"""

from dataclasses import dataclass
from typing import Final, NamedTuple

from meshscope.inference.matchers import string_matches
from meshscope.inference.reader import Message, Unexpected
from meshscope.policy.authorization import ExternalAuthorizer
from meshscope.policy.matches import StringMatch

_SHADOW_RESULT: Final = [{"key": "istio_ext_authz_shadow_effective_policy_id"}]
_RULE_PREFIX: Final = "istio-ext-authz"
_DEFAULT_STATUS: Final = 403
_ENVOY_TIMEOUT_MS: Final = 200
_CODES: Final = {
    name: code
    for code, name in {
        200: "OK",
        201: "Created",
        202: "Accepted",
        204: "NoContent",
        301: "MovedPermanently",
        302: "Found",
        303: "SeeOther",
        304: "NotModified",
        307: "TemporaryRedirect",
        308: "PermanentRedirect",
        400: "BadRequest",
        401: "Unauthorized",
        402: "PaymentRequired",
        403: "Forbidden",
        404: "NotFound",
        405: "MethodNotAllowed",
        406: "NotAcceptable",
        407: "ProxyAuthenticationRequired",
        408: "RequestTimeout",
        409: "Conflict",
        410: "Gone",
        411: "LengthRequired",
        412: "PreconditionFailed",
        413: "PayloadTooLarge",
        414: "URITooLong",
        415: "UnsupportedMediaType",
        416: "RangeNotSatisfiable",
        417: "ExpectationFailed",
        421: "MisdirectedRequest",
        422: "UnprocessableEntity",
        423: "Locked",
        424: "FailedDependency",
        426: "UpgradeRequired",
        428: "PreconditionRequired",
        429: "TooManyRequests",
        431: "RequestHeaderFieldsTooLarge",
        500: "InternalServerError",
        501: "NotImplemented",
        502: "BadGateway",
        503: "ServiceUnavailable",
        504: "GatewayTimeout",
        505: "HTTPVersionNotSupported",
        511: "NetworkAuthenticationRequired",
    }.items()
}
"""Answers by Envoy's names (`envoy.type.v3.StatusCode`)."""


class Service(NamedTuple):
    """The service that is asked."""

    cluster: str
    authority: str
    timeout_ms: int


@dataclass(frozen=True, slots=True)
class Asked:
    """A filter that asks an external authorizer about what CUSTOM rules matched.

    Attributes:
        provider: Name of the provider whose rules these are; empty: not said.
        authorizer: Who is asked, and how.
    """

    provider: str
    authorizer: ExternalAuthorizer


def ext_authz(config: Message, clusters: set[str], rbac_filter: str) -> Asked:
    """Read an `ExtAuthz` filter.

    Args:
        config: Its configuration.
        clusters: The cluster that it names is added here.
        rbac_filter: Name of the filter whose verdict it looks at.

    Raises:
        Unexpected: It does not look at the verdict of CUSTOM rules, or asks nobody.
    """
    provider = _provider(config, rbac_filter)
    config.require("transport_api_version", "V3")
    body = config.message("with_request_body")
    status = config.message("status_on_error")
    grpc = config.message("grpc_service")
    http = None if grpc is not None else config.message("http_service")
    if grpc is not None:
        asked = _grpc(grpc)
    elif http is not None:
        asked = _http(http)
    else:
        raise Unexpected(f"{config.path()} asks neither a gRPC nor an HTTP service")
    clusters.add(asked.cluster)
    response = None if http is None else http.message("authorization_response")
    request = None if http is None else http.message("authorization_request")
    return Asked(
        provider,
        ExternalAuthorizer(
            protocol="http" if grpc is None else "grpc",
            cluster=asked.cluster,
            authority=asked.authority,
            timeout_ms=asked.timeout_ms,
            path_prefix="" if http is None else http.string("path_prefix"),
            fail_open=config.boolean("failure_mode_allow"),
            status_on_error=(
                _DEFAULT_STATUS if status is None else status.word("code", _CODES, _DEFAULT_STATUS)
            ),
            request_headers=_patterns(config, "allowed_headers"),
            request_headers_to_add=_added(request),
            upstream_headers=_patterns(response, "allowed_upstream_headers"),
            downstream_headers_on_allow=_patterns(response, "allowed_client_headers_on_success"),
            downstream_headers_on_deny=_patterns(response, "allowed_client_headers"),
            body_bytes=0 if body is None else body.integer("max_request_bytes"),
            body_partial=body is not None and body.boolean("allow_partial_message"),
            body_packed=body is not None and body.boolean("pack_as_bytes"),
            clear_route_cache=config.boolean("clear_route_cache"),
        ),
    )


def _provider(config: Message, rbac_filter: str) -> str:
    enabled = config.need("filter_enabled_metadata")
    value = enabled.need("value").need("string_match")
    prefix = value.string("prefix")
    value.constant("ignore_case", False)
    if (
        not enabled.constant("filter", rbac_filter)
        or not enabled.constant("path", _SHADOW_RESULT)
        or not f"{prefix}-".startswith(f"{_RULE_PREFIX}-")
    ):
        raise Unexpected(f"{config.path()} does not depend on CUSTOM rules")
    return prefix.removeprefix(_RULE_PREFIX).removeprefix("-")


def _grpc(service: Message) -> Service:
    envoy = service.need("envoy_grpc")
    timeout = service.milliseconds("timeout")
    return Service(
        envoy.string("cluster_name"),
        envoy.string("authority"),
        _ENVOY_TIMEOUT_MS if timeout is None else timeout,
    )


def _http(service: Message) -> Service:
    server = service.need("server_uri")
    timeout = server.milliseconds("timeout")
    return Service(
        server.string("cluster"),
        server.string("uri").removeprefix("http://"),
        _ENVOY_TIMEOUT_MS if timeout is None else timeout,
    )


def _patterns(parent: Message | None, name: str) -> tuple[StringMatch, ...]:
    patterns = None if parent is None else parent.message(name)
    return () if patterns is None else string_matches(patterns, "patterns")


def _added(request: Message | None) -> tuple[str, ...]:
    if request is None:
        return ()
    return tuple(
        f"{item.string('key')}={item.string('value')}"
        for item in request.messages("headers_to_add")
    )
