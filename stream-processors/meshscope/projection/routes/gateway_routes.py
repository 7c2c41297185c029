"""Routes of the Gateway API that are attached to services, as the VirtualServices they stand for.

All routes of a namespace for one host (and port, where they name it) are one VirtualService, whose
rules stand in the order that the Gateway API demands: the most specific first.

Source: https://gateway-api.sigs.k8s.io/mesh/ and
https://istio.io/latest/docs/tasks/traffic-management/ingress/gateway-api/#mesh-traffic.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from meshscope.events.resource import Resource
from meshscope.projection.routes.gateway_rules import Backends, InvalidRouteError, route_blocks
from meshscope.projection.routes.virtual_service import VirtualService
from meshscope.projection.services.registry import Registry

Json = Mapping[str, Any]

_CORE: Final = ""
_ISTIO: Final = "networking.istio.io"
_RANKS: Final = {"exact": 3, "prefix": 2, "regex": 1}


@dataclass(frozen=True, slots=True)
class _Attached:
    """A route's rules for one host, before others for the same host join them."""

    route: Resource
    key: tuple[str, ...]
    host: str
    blocks: tuple[Json, ...]


def gateway_routes(
    routes: Iterable[Resource], registry: Registry, domain: str
) -> tuple[VirtualService, ...]:
    """The VirtualServices that routes stand for.

    Args:
        routes: HTTPRoutes and GRPCRoutes.
        registry: All services.
        domain: DNS domain of the cluster.
    """
    groups: dict[tuple[str, ...], list[_Attached]] = {}
    for route in routes:
        for attached in _attached(route, registry, domain):
            groups.setdefault(attached.key, []).append(attached)
    return tuple(_merged(group) for group in groups.values())


def _attached(route: Resource, registry: Registry, domain: str) -> Iterator[_Attached]:
    parents = [p for p in route.spec.get("parentRefs") or () if _is_service(p)]
    if not parents:
        return
    try:
        blocks = tuple(route_blocks(route, Backends(registry, domain)))
    except InvalidRouteError:
        # Istio rejects the whole route, and says so in its status.
        return
    for parent in parents:
        port = parent.get("port")
        for host in _hosts(parent, route.namespace, registry, domain):
            key = (route.namespace, *((str(port),) if port else ()), host)
            yield _Attached(route, key, host, tuple(_on_port(blocks, port)) if port else blocks)


def _is_service(parent: Json) -> bool:
    group, kind = parent.get("group"), parent.get("kind")
    return (group, kind) in ((_CORE, "Service"), (_ISTIO, "ServiceEntry"))


def _hosts(parent: Json, own: str, registry: Registry, domain: str) -> tuple[str, ...]:
    """Hosts of the service that a route is attached to; none: it does not exist."""
    name, namespace = parent.get("name"), parent.get("namespace") or own
    if parent["kind"] == "Service":
        host = f"{name}.{namespace}.svc.{domain}"
        service = registry.by_host.get(host, {}).get(namespace)
        return (host,) if service is not None and service.from_kubernetes else ()
    found = (
        service.host
        for service in registry.by_namespace.get(namespace, ())
        if not service.from_kubernetes and service.ref.name == name
    )
    return tuple(dict.fromkeys(found))


def _on_port(blocks: Iterable[Json], port: int) -> Iterator[Json]:
    for block in blocks:
        matches: Sequence[Json] = block.get("match") or ({},)
        yield {**block, "match": [{**match, "port": port} for match in matches]}


def _merged(group: list[_Attached]) -> VirtualService:
    ordered = sorted(
        group,
        key=lambda one: (one.route.created_at or "", one.route.namespace, one.route.name),
    )
    first = ordered[0]
    blocks = [block for one in ordered for block in sorted(one.blocks, key=_precedence)]
    return VirtualService(
        "~".join(first.key),
        first.route.namespace,
        (first.host,),
        tuple(sorted(blocks, key=_precedence)),
        gateway_api=True,
        sources=tuple(dict.fromkeys(one.route.ref for one in ordered)),
        created_at=first.route.created_at,
    )


def _precedence(block: Json) -> tuple[int, ...]:
    """Sorts the most specific first; equals keep their order."""
    matches = block.get("match")
    if not matches:
        return (1,)
    (match,) = matches
    kind, text = next(iter((match.get("uri") or {"": ""}).items()))
    return (
        0,
        -_RANKS.get(kind, -1),
        -len(text),
        0 if match.get("method") else 1,
        -len(match.get("headers") or {}),
        -len(match.get("queryParams") or {}),
    )
