"""Extension providers that CUSTOM policies ask: the service behind a name in MeshConfig.

Source: https://istio.io/latest/docs/reference/config/istio.mesh.v1alpha1/ (`ExtensionProvider`).
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from meshscope.policy.authorization import ExternalAuthorizer
from meshscope.policy.matches import StringMatch
from meshscope.projection.durations import milliseconds

ServiceLookup = Callable[[str], str | None]
"""From `host` or `namespace/host` to the host name of the one service meant; None: no such one."""

_DEFAULT_TIMEOUT_MS = 600_000

_STATUSES = frozenset(
    (100, *range(200, 209), 226, *range(300, 306), 307, 308, *range(400, 419))
) | frozenset((*range(421, 425), 426, 428, 429, 431, *range(500, 509), 510, 511))
"""Answers that Envoy's API has a name for."""


class ProviderError(ValueError):
    """A provider that Istio cannot use; it then denies what the policies of that provider match."""


@dataclass(frozen=True, slots=True)
class Authorizers:
    """What a provider means for the two classes of chains; None: the class is not protected."""

    http: ExternalAuthorizer
    tcp: ExternalAuthorizer | None


def authorizers(
    name: str, providers: Iterable[Mapping[str, Any]], find_service: ServiceLookup
) -> Authorizers:
    """The authorizers behind the name of a provider.

    Raises:
        ProviderError: No provider of that name authorizes, or Istio refuses its settings.
    """
    for provider in providers:
        if provider.get("name") != name:
            continue
        if (http := provider.get("envoyExtAuthzHttp")) is not None:
            return Authorizers(_http(http, find_service), None)
        if (grpc := provider.get("envoyExtAuthzGrpc")) is not None:
            return _grpc(grpc, find_service)
    raise ProviderError(f"no extension provider {name!r} authorizes requests")


def _http(settings: Mapping[str, Any], find_service: ServiceLookup) -> ExternalAuthorizer:
    host, cluster = _service(settings, find_service)
    prefix = settings.get("pathPrefix") or ""
    if prefix and not prefix.startswith("/"):
        raise ProviderError(f"pathPrefix {prefix!r} must begin with a slash")
    body = settings.get("includeRequestBodyInCheck") or {}
    headers = settings.get("includeAdditionalHeadersInCheck") or {}
    return ExternalAuthorizer(
        protocol="http",
        cluster=cluster,
        authority=host,
        timeout_ms=_timeout(settings),
        path_prefix=prefix,
        fail_open=bool(settings.get("failOpen")),
        status_on_error=_status(settings),
        request_headers=_header_matches(
            settings.get("includeRequestHeadersInCheck") or settings.get("includeHeadersInCheck")
        ),
        request_headers_to_add=tuple(f"{name}={value}" for name, value in headers.items()),
        upstream_headers=_header_matches(settings.get("headersToUpstreamOnAllow")),
        downstream_headers_on_allow=_header_matches(settings.get("headersToDownstreamOnAllow")),
        downstream_headers_on_deny=_header_matches(settings.get("headersToDownstreamOnDeny")),
        body_bytes=int(body.get("maxRequestBytes") or 0),
        body_partial=bool(body.get("allowPartialMessage")),
        body_packed=bool(body.get("packAsBytes")),
    )


def _grpc(settings: Mapping[str, Any], find_service: ServiceLookup) -> Authorizers:
    host, cluster = _service(settings, find_service)
    body = settings.get("includeRequestBodyInCheck") or {}
    http = ExternalAuthorizer(
        protocol="grpc",
        cluster=cluster,
        authority=host,
        timeout_ms=_timeout(settings),
        fail_open=bool(settings.get("failOpen")),
        status_on_error=_status(settings),
        body_bytes=int(body.get("maxRequestBytes") or 0),
        body_partial=bool(body.get("allowPartialMessage")),
        body_packed=bool(body.get("packAsBytes")),
    )
    tcp = ExternalAuthorizer(
        protocol="grpc",
        cluster=cluster,
        authority=host,
        timeout_ms=http.timeout_ms,
        fail_open=http.fail_open,
    )
    return Authorizers(http, tcp)


def _service(settings: Mapping[str, Any], find_service: ServiceLookup) -> tuple[str, str]:
    port = int(settings.get("port") or 0)
    if not 1 <= port <= 65_535:
        raise ProviderError(f"port {port} is none")
    name = settings.get("service") or ""
    host = find_service(name)
    if host is None:
        raise ProviderError(f"service {name!r} is not, or not uniquely, in the registry")
    return host, f"outbound|{port}||{host}"


def _timeout(settings: Mapping[str, Any]) -> int:
    timeout = settings.get("timeout")
    return _DEFAULT_TIMEOUT_MS if timeout is None else milliseconds(timeout)


def _status(settings: Mapping[str, Any]) -> int:
    text = str(settings.get("statusOnError") or "403")
    if not text.isdecimal() or int(text) not in _STATUSES:
        raise ProviderError(f"statusOnError {text!r} is no status that Envoy knows")
    return int(text)


def _header_matches(names: Iterable[str] | None) -> tuple[StringMatch, ...]:
    return tuple(map(_header_match, names or ()))


def _header_match(name: str) -> StringMatch:
    if name == "*":
        raise ProviderError("a lone * selects no headers; name a prefix or a suffix")
    if name.startswith("*"):
        return StringMatch("suffix", name[1:], ignore_case=True)
    if name.endswith("*"):
        return StringMatch("prefix", name[:-1], ignore_case=True)
    return StringMatch("exact", name, ignore_case=True)
