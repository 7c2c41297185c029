"""Rules of HTTPRoutes and GRPCRoutes, in the words of VirtualServices.

Source: https://gateway-api.sigs.k8s.io/reference/spec/#httproute and
https://gateway-api.sigs.k8s.io/reference/spec/#grpcroute.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from meshscope.events.resource import Resource
from meshscope.projection.durations import milliseconds
from meshscope.projection.services.registry import Registry

Json = Mapping[str, Any]

_ANY_PATH: Final[Json] = {"type": "PathPrefix", "value": "/"}
_RETRY_ON: Final = ("connect-failure", "refused-stream", "unavailable", "cancelled")
_RETRIES: Final = 2
_NO_BACKEND_STATUS: Final = 500
# What the API server fills in; manifests that never passed one lack it.
_REDIRECT_CODE: Final = 302
_CORS_SECONDS: Final = 5
_ANY_ORIGIN: Final = r"^[a-zA-Z][a-zA-Z0-9+.-]*://[^/\s?#]+$"


class InvalidRouteError(ValueError):
    """The route says something that Istio does not accept, so that all of it has no effect."""


@dataclass(frozen=True, slots=True)
class Backends:
    """Where references to backends lead."""

    registry: Registry
    domain: str

    def destination(self, backend: Json, namespace: str) -> Json:
        """A destination; one without a host where the backend is of a kind that is not served.

        Raises:
            InvalidRouteError: The reference lacks a port, or names a host instead of a Service.
        """
        kind = (backend.get("group") or "", backend.get("kind") or "Service")
        name = backend.get("name") or ""
        if kind == ("", "Service") or kind == ("multicluster.x-k8s.io", "ServiceImport"):
            if "." in name:
                raise InvalidRouteError(f"{name} is a host, not the name of a Service")
            host = f"{name}.{backend.get('namespace') or namespace}.svc.{self.domain}"
        elif kind == ("networking.istio.io", "Hostname"):
            if backend.get("namespace") is not None:
                raise InvalidRouteError("a Hostname has no namespace")
            host = name
        else:
            return {}
        if backend.get("port") is None:
            raise InvalidRouteError(f"the reference to {name} has no port")
        return {"host": host, "port": {"number": backend["port"]}}

    def has(self, backend: Json, namespace: str) -> bool:
        """Whether a reference is right and leads to a service that is there."""
        try:
            host = self.destination(backend, namespace).get("host")
        except InvalidRouteError:
            return False
        return host in self.registry.by_host


def route_blocks(route: Resource, backends: Backends) -> Iterator[Json]:
    """One `http` block for every match of every rule.

    Raises:
        InvalidRouteError: Istio does not accept the route.
    """
    grpc = route.kind == "GRPCRoute"
    for number, rule in enumerate(route.spec.get("rules") or ()):
        block = _block(rule, route.namespace, backends, grpc=grpc)
        block["name"] = rule.get("name") or f"{route.namespace}.{route.name}.{number}"
        # The schema of HTTPRoutes has this default; that of GRPCRoutes has none.
        default: Sequence[Json | None] = (None,) if grpc else ({},)
        for match in rule.get("matches") or default:
            if match is None:
                yield block
            else:
                yield {**block, "match": [_grpc_match(match) if grpc else _http_match(match)]}


def _http_match(match: Json) -> Json:
    path: Json = match.get("path") or _ANY_PATH
    value = path.get("value", "/")
    kind = path.get("type", "PathPrefix")
    uri = {"Exact": "exact", "PathPrefix": "prefix", "RegularExpression": "regex"}.get(kind)
    if uri is None:
        raise InvalidRouteError(f"paths are not matched by {kind}")
    if uri == "prefix" and value != "/":
        value = value.removesuffix("/")
    found: dict[str, Any] = {
        "uri": {uri: value},
        "headers": _conditions(match.get("headers")),
        "queryParams": _conditions(match.get("queryParams")),
    }
    if match.get("method"):
        found["method"] = {"exact": match["method"]}
    return found


def _grpc_match(match: Json) -> Json:
    found: dict[str, Any] = {"headers": _conditions(match.get("headers"))}
    method = match.get("method")
    if method:
        found["uri"] = _grpc_path(method)
    return found


def _grpc_path(method: Json) -> Json:
    service, name = method.get("service"), method.get("method")
    if not service and not name:
        raise InvalidRouteError("a gRPC match names neither service nor method")
    if not service:
        return {"regex": f"/[^/]+/{name}"}
    if method.get("type", "Exact") == "Exact":
        return {"exact": f"/{service}/{name}"} if name else {"prefix": f"/{service}/"}
    return {"regex": f"/{service}/{name or '.+'}"}


def _conditions(conditions: Iterable[Json] | None) -> Json:
    found = {}
    for condition in conditions or ():
        kind = condition.get("type", "Exact")
        if kind not in ("Exact", "RegularExpression"):
            raise InvalidRouteError(f"values are not matched by {kind}")
        word = "exact" if kind == "Exact" else "regex"
        found[condition.get("name", "")] = {word: condition.get("value", "")}
    return found


def _block(rule: Json, namespace: str, backends: Backends, *, grpc: bool) -> dict[str, Any]:
    block: dict[str, Any] = {}
    mirrors: list[Json] = []
    for each in rule.get("filters") or ():
        match each.get("type"):
            case "RequestHeaderModifier" | "ResponseHeaderModifier":
                block["headers"] = {**block.get("headers", {}), **_headers(each)}
            case "RequestRedirect":
                block["redirect"] = _redirect(each.get("requestRedirect") or {})
            case "RequestMirror":
                mirror = each.get("requestMirror") or {}
                if backends.has(mirror.get("backendRef") or {}, namespace):
                    mirrors.append(_mirror(mirror, namespace, backends))
                elif grpc:
                    raise InvalidRouteError("the mirror of a GRPCRoute is not there")
            case "URLRewrite":
                block["rewrite"] = _rewrite(each.get("urlRewrite") or {})
            case "CORS":
                block["corsPolicy"] = _cors(each.get("cors") or {})
            case other:
                raise InvalidRouteError(f"filters of type {other} are not served")
    if mirrors:
        block["mirrors"] = mirrors
    retry = rule.get("retry")
    if retry is not None:
        block["retries"] = _retries(retry)
    _add_timeouts(block, rule.get("timeouts") or {})
    references = rule.get("backendRefs") or ()
    if not any(_weight(each) for each in references) and "redirect" not in block:
        block["directResponse"] = {"status": _NO_BACKEND_STATUS}
    else:
        block["route"] = _destinations(references, namespace, backends)
    return block


def _weight(reference: Json) -> int:
    weight: int = reference.get("weight", 1)
    return weight


def _destinations(references: Iterable[Json], namespace: str, backends: Backends) -> list[Json]:
    found: list[Json] = []
    for reference in references:
        if not _weight(reference):
            continue
        headers: dict[str, Any] = {}
        for each in reference.get("filters") or ():
            if each.get("type") not in ("RequestHeaderModifier", "ResponseHeaderModifier"):
                raise InvalidRouteError(f"backends have no filters of type {each.get('type')}")
            headers |= _headers(each)
        found.append(
            {
                "destination": backends.destination(reference, namespace),
                "weight": _weight(reference),
                "headers": headers,
            }
        )
    return found


def _headers(modifier: Json) -> Json:
    """A header modifier as a `headers` block; of equal names the first counts."""
    if modifier["type"] == "RequestHeaderModifier":
        side, operations = "request", modifier.get("requestHeaderModifier") or {}
    else:
        side, operations = "response", modifier.get("responseHeaderModifier") or {}
    found: dict[str, Any] = {"remove": operations.get("remove") or ()}
    for action in ("set", "add"):
        values: dict[str, str] = {}
        for header in operations.get(action) or ():
            values.setdefault(header["name"].lower(), header.get("value", ""))
        found[action] = values
    return {side: found}


def _redirect(redirect: Json) -> Json:
    """A redirect; where no port is given, that of the request is kept unless the scheme changes."""
    path = redirect.get("path") or {}
    found = {
        "redirectCode": redirect.get("statusCode") or _REDIRECT_CODE,
        "authority": redirect.get("hostname"),
        "scheme": redirect.get("scheme"),
        "uri": path.get("replaceFullPath"),
        "prefixRewrite": path.get("replacePrefixMatch"),
    }
    if redirect.get("port"):
        return {**found, "port": redirect["port"]}
    return found if redirect.get("scheme") else {**found, "derivePort": "FROM_REQUEST_PORT"}


def _mirror(mirror: Json, namespace: str, backends: Backends) -> Json:
    found: dict[str, Any] = {
        "destination": backends.destination(mirror.get("backendRef") or {}, namespace)
    }
    fraction = mirror.get("fraction")
    if fraction is not None:
        share = 100 * fraction.get("numerator", 0) / (fraction.get("denominator") or 100)
        found["percentage"] = {"value": share}
    elif mirror.get("percent") is not None:
        found["percentage"] = {"value": mirror["percent"]}
    return found


def _rewrite(rewrite: Json) -> Json:
    path = rewrite.get("path") or {}
    found: dict[str, Any] = {"authority": rewrite.get("hostname")}
    if path.get("type") == "ReplacePrefixMatch":
        found["uri"] = path.get("replacePrefixMatch", "").removesuffix("/") or "/"
    elif path.get("type") == "ReplaceFullPath":
        found["uriRegexRewrite"] = {"match": "/.*", "rewrite": path.get("replaceFullPath", "")}
    return found


def _cors(cors: Json) -> Json:
    age = cors.get("maxAge", _CORS_SECONDS)
    return {
        "allowOrigins": [_origin(origin) for origin in cors.get("allowOrigins") or () if origin],
        "allowCredentials": True if cors.get("allowCredentials") else None,
        "allowMethods": cors.get("allowMethods"),
        "allowHeaders": cors.get("allowHeaders"),
        "exposeHeaders": cors.get("exposeHeaders"),
        "maxAge": f"{age}s" if age else None,
        "unmatchedPreflights": "IGNORE",
    }


def _origin(origin: str) -> Json:
    if origin == "*":
        return {"regex": _ANY_ORIGIN}
    if "*" not in origin:
        return {"exact": origin}
    if origin.count("*") == 1 and origin.endswith("*"):
        return {"prefix": origin[:-1]}
    pattern = re.sub(r"([\\.+?()|\[\]{}^$])", r"\\\1", origin).replace("*", ".*")
    return {"regex": f"^{pattern}$"}


def _retries(retry: Json) -> dict[str, Any]:
    attempts = retry.get("attempts")
    conditions = (*_RETRY_ON, *(str(code) for code in retry.get("codes") or ()))
    return {
        "attempts": _RETRIES if attempts is None else attempts,
        "retryOn": ",".join(conditions),
        "backoff": retry.get("backoff"),
    }


def _add_timeouts(block: dict[str, Any], timeouts: Json) -> None:
    """Timeouts of a rule; that of the backend is one per attempt, where there are several."""
    if (request := timeouts.get("request")) and milliseconds(request):
        block["timeout"] = request
    if (backend := timeouts.get("backendRequest")) and milliseconds(backend):
        if "retries" in block:
            block["retries"]["perTryTimeout"] = backend
        else:
            block["timeout"] = backend
