"""From the HTTP routes of a VirtualService to the rules of a virtual host on one port.

Conditions about the proxy itself (port, gateways, source labels and namespace) are decided here;
rules behind one that takes everything are left out, as Istio leaves them out.

Source: https://istio.io/latest/docs/reference/config/networking/virtual-service/#HTTPRoute.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from meshscope.policy.http_route import (
    Forward,
    HttpRule,
    Mirror,
    Redirect,
    Respond,
    Rewrite,
    RouteMatch,
)
from meshscope.policy.matches import Fraction
from meshscope.policy.target import HashPolicy, Target, WeightedTarget
from meshscope.projection.durations import milliseconds
from meshscope.projection.routes.faults import cors, decoded, fault, percentage
from meshscope.projection.routes.headers import HeaderChanges, header_changes
from meshscope.projection.routes.match import route_match, takes_everything
from meshscope.projection.routes.retries import retry
from meshscope.projection.routes.targets import FindService, target
from meshscope.projection.routes.virtual_service import MESH, VirtualService

Json = Mapping[str, Any]
FindHash = Callable[[Json], tuple[HashPolicy, ...]]
"""From a destination to what its consistent hashing hashes; empty: nothing."""

_REDIRECTS: Final = frozenset((301, 302, 303, 307, 308))
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_ALL: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class RouteInputs:
    """What the rules of a VirtualService depend on besides itself.

    Attributes:
        port: Port of the route table; 0: of none.
        namespace, labels: Of the client.
        retries: The mesh's `defaultHttpRetryPolicy`; None: Istio's own.
        find_service: From a host to its service.
        find_hash: What consistent hashing hashes.
    """

    port: int
    namespace: str
    labels: Mapping[str, str]
    retries: Json | None
    find_service: FindService
    find_hash: FindHash


def default_rule(to: Target, retries: Json | None, hashed: tuple[HashPolicy, ...]) -> HttpRule:
    """The rule of a service that no VirtualService routes for."""
    return HttpRule(
        RouteMatch(),
        name="default",
        forward=Forward(
            (WeightedTarget(to),),
            timeout_ms=0,
            max_grpc_timeout_ms=0,
            retry=retry(retries, hashed=False),
            hash=hashed,
        ),
        operation=f"{to.host}:{to.port}/*",
    )


def http_rules(vs: VirtualService, inputs: RouteInputs) -> tuple[HttpRule, ...]:
    """The rules of a VirtualService for clients on a port, in order."""
    rules: list[HttpRule] = []
    for route in vs.http:
        matches = route.get("match") or (None,)
        for match in matches:
            if not applies(match, inputs.port, inputs.namespace, inputs.labels):
                continue
            rule = _rule(vs, route, match, inputs)
            rules.append(rule)
            if match is not None and takes_everything(rule.match):
                return tuple(rules)
        if matches == (None,):
            break
    return tuple(rules)


def applies(match: Json | None, port: int, namespace: str, labels: Mapping[str, str]) -> bool:
    """Whether a match concerns clients like this one on this port.

    Gateways, where given, stand for labels and namespace, which are then not looked at.
    """
    if match is None:
        return True
    if match.get("port") and match["port"] != port:
        return False
    if match.get("gateways"):
        return MESH in match["gateways"]
    wanted = match.get("sourceLabels") or {}
    return wanted.items() <= labels.items() and match.get("sourceNamespace") in (
        None,
        "",
        namespace,
    )


def _rule(vs: VirtualService, route: Json, match: Json | None, inputs: RouteInputs) -> HttpRule:
    condition = route_match(match, gateway_api=vs.gateway_api)
    changes = header_changes(route.get("headers"))
    redirect, respond, forward = None, None, None
    if route.get("redirect") is not None:
        redirect = _redirect(route["redirect"], inputs.port)
    elif route.get("directResponse") is not None:
        respond = _respond(route["directResponse"])
    else:
        forward, changes = _forward(vs, route, condition, changes, inputs)
    return HttpRule(
        condition,
        name=_name(route, match),
        forward=forward,
        redirect=redirect,
        respond=respond,
        fault=fault(route.get("fault")),
        cors=cors(route.get("corsPolicy")),
        request_headers=changes.request,
        response_headers=changes.response,
        operation=_operation(
            vs.name, condition, forward if _is_single(route) else None, _uri(match), inputs.port
        ),
        stat_prefix=(match or {}).get("statPrefix") or "",
    )


def _name(route: Json, match: Json | None) -> str:
    name: str = route.get("name") or ""
    own = (match or {}).get("name")
    return f"{name}.{own}" if own else name


def _is_single(route: Json) -> bool:
    return len(route.get("route") or ()) == 1


def _uri(match: Json | None) -> str:
    uri = (match or {}).get("uri") or {"prefix": "/"}
    return next((text for text in uri.values() if text is not None), "/")


def _operation(name: str, match: RouteMatch, forward: Forward | None, uri: str, port: int) -> str:
    """Name of the span: the only destination, else the VirtualService, and the path as given."""
    where = {"prefix": f"{uri}*", "exact": uri, "regex": uri}.get(match.path.type, "/*")
    if forward is not None and len(forward.to) == 1:
        to = forward.to[0].target
        if to.direction == "outbound":
            return f"{to.host}:{to.port}{where}"
    return f"{name}:{port}{where}"


def _forward(
    vs: VirtualService,
    route: Json,
    match: RouteMatch,
    changes: HeaderChanges,
    inputs: RouteInputs,
) -> tuple[Forward, HeaderChanges]:
    """The action of a route that sends requests on, and all changes to headers that it makes."""
    rewrite = route.get("rewrite") or {}
    host = rewrite.get("authority") or changes.authority
    destinations: Sequence[Json] = route.get("route") or ()
    hashes = tuple(hashed for each in _weighing(destinations) for hashed in _hash(each, inputs))
    if len(destinations) == 1:
        only = destinations[0]
        own = header_changes(only.get("headers"))
        changes = changes.then(own)
        host = host or own.authority
        to: tuple[WeightedTarget, ...] = (WeightedTarget(_target(only, inputs)),)
    else:
        to = tuple(_weighted(each, inputs) for each in _weighing(destinations))
    timeout = milliseconds(route["timeout"]) if route.get("timeout") is not None else 0
    retries = route.get("retries")
    return Forward(
        to,
        timeout_ms=timeout,
        max_grpc_timeout_ms=timeout,
        retry=retry(
            inputs.retries if retries is None else retries,
            hashed=len(destinations) == 1 and bool(hashes),
        ),
        rewrite=_rewrite(rewrite, host, match, gateway_api=vs.gateway_api),
        mirrors=tuple(_mirrors(route, inputs)),
        hash=hashes,
        unknown_destination_status=500 if vs.gateway_api else 503,
    ), changes


def _weighing(destinations: Sequence[Json]) -> tuple[Json, ...]:
    """The destinations that count: of several, those with a weight."""
    if len(destinations) == 1:
        return tuple(destinations)
    return tuple(each for each in destinations if each.get("weight"))


def _hash(destination: Json, inputs: RouteInputs) -> tuple[HashPolicy, ...]:
    return inputs.find_hash(destination.get("destination") or {})


def _target(route: Json, inputs: RouteInputs) -> Target:
    destination = route.get("destination") or {}
    return target(destination, inputs.find_service(destination.get("host") or ""), inputs.port)


def _weighted(route: Json, inputs: RouteInputs) -> WeightedTarget:
    changes = header_changes(route.get("headers"))
    return WeightedTarget(
        _target(route, inputs),
        route["weight"],
        changes.request,
        changes.response,
        changes.authority,
    )


def _rewrite(rewrite: Json, host: str, match: RouteMatch, *, gateway_api: bool) -> Rewrite:
    by_regex = rewrite.get("uriRegexRewrite")
    uri = rewrite.get("uri") or ""
    if by_regex is not None:
        return Rewrite(
            regex=by_regex.get("match", ""), substitution=by_regex.get("rewrite", ""), host=host
        )
    if gateway_api and uri == "/":
        # Cutting a prefix off must leave a slash.
        prefix = match.path.value if match.path.type == "path_separated_prefix" else ""
        return Rewrite(regex=f"^{_quoted(prefix)}(/?)(.*)", substitution=r"/\2", host=host)
    return Rewrite(prefix=uri, host=host)


def _quoted(text: str) -> str:
    """A text as regular expression, with the escapes that Go writes."""
    return re.sub(r"([\\.+*?()|\[\]{}^$])", r"\\\1", text)


def _mirrors(route: Json, inputs: RouteInputs) -> Iterator[Mirror]:
    first = route.get("mirror")
    if first:
        share = route.get("mirrorPercentage")
        older = route.get("mirrorPercent")
        if share is None and older is not None:
            yield from _mirror(first, int(older) * 10_000, inputs)
        else:
            yield from _mirror(first, _ALL if share is None else percentage(share), inputs)
    for each in route.get("mirrors") or ():
        if each.get("destination"):
            share = each.get("percentage")
            parts = _ALL if share is None else percentage(share)
            yield from _mirror(each["destination"], parts, inputs)


def _mirror(destination: Json, parts: int, inputs: RouteInputs) -> Iterator[Mirror]:
    if parts > 0:
        service = inputs.find_service(destination.get("host") or "")
        yield Mirror(
            target(destination, service, inputs.port),
            Fraction(parts),
            append_shadow_suffix=False,
            trace_sampled=False,
        )


def _redirect(redirect: Json, port: int) -> Redirect | None:
    """The action of a redirecting route; None: its status is no redirect, and it has no action."""
    status = redirect.get("redirectCode") or 301
    if status not in _REDIRECTS:
        return None
    scheme = redirect.get("scheme") or ""
    number = redirect.get("port") or 0
    if redirect.get("derivePort") == "FROM_REQUEST_PORT":
        number = port
    if number == _DEFAULT_PORTS.get(scheme or "http"):
        number = 0
    prefix = redirect.get("prefixRewrite") or ""
    return Redirect(
        status=status,
        scheme=scheme,
        host=redirect.get("authority") or "",
        port=number,
        path="" if prefix else redirect.get("uri") or "",
        prefix=prefix,
    )


def _respond(response: Json) -> Respond:
    body = response.get("body") or {}
    if "bytes" in body:
        return Respond(response.get("status") or 0, decoded(body["bytes"]))
    return Respond(response.get("status") or 0, body.get("string") or "")
