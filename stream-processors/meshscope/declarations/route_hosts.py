"""Hosts and gateways of VirtualServices: who else claims them, and whether anything comes."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from meshscope.declarations.finding import Finding, Lacking, Said, absent
from meshscope.declarations.hosts import full
from meshscope.declarations.reading import mappings, texts
from meshscope.declarations.surroundings import Surroundings, words
from meshscope.events.resource import Resource
from meshscope.projection.hosts import covers, is_wildcard, overlaps
from meshscope.projection.routes.virtual_service import MESH

SECOND = "MSC-2306"
GATEWAYS_ONLY = "MSC-2308"
NO_GATEWAY = "MSC-2309"
NOT_SERVED = "MSC-2310"
OVERLAPS = "MSC-2316"
EMPTY = "MSC-2317"

_EVERYWHERE = frozenset("*")


def rivals(service: Resource, around: Surroundings) -> Iterator[Said]:
    """Other VirtualServices for a host in the same sidecars."""
    if not _for_mesh(service):
        return
    own = _hosts(service, around)
    equal: dict[str, list[Resource]] = {}
    wider: dict[str, list[Resource]] = {}
    claims = around.kept(_claims)
    patterns = [host for host in claims if is_wildcard(host)]
    for mine in own:
        near = claims if is_wildcard(mine) else (mine, *patterns)
        for host in dict.fromkeys(near):
            if host != mine and ("*" in (mine, host) or not overlaps(mine, host)):
                continue
            for other in claims.get(host, ()):
                if other is not service and _meet(service, other, around):
                    (equal if host == mine else wider).setdefault(mine, []).append(other)
    for host, others in equal.items():
        yield Finding(
            SECOND,
            service,
            f"spec.hosts[{own.index(host)}]",
            f"{words(str(one.ref) for one in others)} has the host {host} too: sidecars take one "
            "VirtualService for a host, the oldest, and leave the routes of the others out",
            related=tuple(dict.fromkeys(one.ref for one in others)),
        )
    for host, others in wider.items():
        if host not in equal:
            yield Finding(
                OVERLAPS,
                service,
                f"spec.hosts[{own.index(host)}]",
                f"the host {host} overlaps with one of {words(str(one.ref) for one in others)}: "
                "for a service that both cover the more specific one counts alone",
                related=tuple(dict.fromkeys(one.ref for one in others)),
            )


def _claims(around: Surroundings) -> Mapping[str, Sequence[Resource]]:
    """The VirtualServices of sidecars by host."""
    found: dict[str, list[Resource]] = defaultdict(list)
    for service in around.of("VirtualService"):
        if _for_mesh(service):
            for host in _hosts(service, around):
                found[host].append(service)
    return found


def _for_mesh(service: Resource) -> bool:
    return bool(texts(service.spec, "hosts")) and MESH in (
        texts(service.spec, "gateways") or (MESH,)
    )


def _hosts(service: Resource, around: Surroundings) -> list[str]:
    return [full(host, service.namespace, around) for host in texts(service.spec, "hosts")]


def _meet(one: Resource, other: Resource, around: Surroundings) -> bool:
    """Whether there is a namespace whose sidecars see both."""
    mine, theirs = _exports(one, around), _exports(other, around)
    if mine == _EVERYWHERE or theirs == _EVERYWHERE:
        return bool(mine and theirs)
    return bool(mine & theirs)


def _exports(service: Resource, around: Surroundings) -> frozenset[str]:
    given = texts(service.spec, "exportTo") or tuple(around.mesh.config.virtual_service_exports)
    if "*" in given:
        return _EVERYWHERE
    if "~" in given:
        return frozenset()
    return frozenset(service.namespace if name == "." else name for name in given)


def gateways(service: Resource, around: Surroundings) -> Iterator[Said]:
    """Gateways that do not exist, or do not serve the hosts; hosts of the mesh beside gateways."""
    named = [
        (place, name) for place, name in enumerate(texts(service.spec, "gateways")) if name != MESH
    ]
    hosts = texts(service.spec, "hosts")
    if not named or not hosts:
        return
    found: list[tuple[int, Resource]] = []
    unknown = False
    for place, name in named:
        namespace, short = _gateway(name, service)
        gateway = around.named("Gateway", namespace, short)
        if gateway is not None:
            found.append((place, gateway))
        elif around.complete or any(g.namespace == namespace for g in around.of("Gateway")):
            unknown = True
            yield Finding(
                NO_GATEWAY,
                service,
                f"spec.gateways[{place}]",
                f"there is no Gateway {namespace}/{short}: no request comes through it",
            )
        else:
            unknown = True
            yield Lacking((NO_GATEWAY, NOT_SERVED), absent(f"Gateways of namespace {namespace}"))
    if not unknown:
        yield from _not_served(service, hosts, found)
    if MESH not in texts(service.spec, "gateways"):
        yield from _mesh_hosts(service, around)


def _gateway(name: str, service: Resource) -> tuple[str, str]:
    """Namespace and name of a gateway, which may also be written like a host."""
    namespace, slash, short = name.rpartition("/")
    if slash:
        return namespace if namespace != "." else service.namespace, short
    short, dot, rest = name.partition(".")
    return (rest.partition(".")[0], short) if dot else (service.namespace, name)


def _not_served(
    service: Resource, hosts: tuple[str, ...], found: list[tuple[int, Resource]]
) -> Iterator[Finding]:
    """Hosts that no gateway serves, and gateways that serve none of the hosts."""
    named = words(str(gateway.ref) for _, gateway in found)
    for place, host in enumerate(hosts):
        if not any(_serves(gateway, host, service.namespace) for _, gateway in found):
            yield Finding(
                NOT_SERVED,
                service,
                f"spec.hosts[{place}]",
                f"no server of {named} has the host {host} for namespace {service.namespace}: no "
                "request for it comes through",
                related=tuple(gateway.ref for _, gateway in found),
            )
    for place, gateway in found if len(found) > 1 else ():
        if not any(_serves(gateway, host, service.namespace) for host in hosts):
            yield Finding(
                NOT_SERVED,
                service,
                f"spec.gateways[{place}]",
                f"no server of {gateway.ref} has any of its hosts: nothing comes through it",
                related=(gateway.ref,),
            )


def _serves(gateway: Resource, host: str, namespace: str) -> bool:
    for _, server in mappings(gateway.spec, "servers"):
        for name in texts(server, "hosts"):
            place, slash, pattern = name.rpartition("/")
            allowed = not slash or place == "*" or place == namespace
            own = place == "." and gateway.namespace == namespace
            if (allowed or own) and (covers(pattern, host) or covers(host, pattern)):
                return True
    return False


def _mesh_hosts(service: Resource, around: Surroundings) -> Iterator[Finding]:
    """Hosts of the mesh for which sidecars are given no routes at all."""
    routed = around.kept(_claims)
    for place, host in enumerate(_hosts(service, around)):
        known = around.mesh.registry.by_host.get(host, {})
        if any(one.from_kubernetes for one in known.values()) and host not in routed:
            yield Finding(
                GATEWAYS_ONLY,
                service,
                f"spec.hosts[{place}]",
                f"{host} is a service of the mesh, and these routes are for requests through "
                f"{words(texts(service.spec, 'gateways'))} alone: clients inside of the mesh do "
                "not get them (add `mesh` to the gateways for that)",
            )


def routes_nothing(service: Resource, around: Surroundings) -> Iterator[Said]:
    """VirtualServices without any route."""
    if not any(list(mappings(service.spec, kind)) for kind in ("http", "tls", "tcp")):
        yield Finding(
            EMPTY, service, "spec", "there is no route in it: Istio refuses such a resource"
        )
