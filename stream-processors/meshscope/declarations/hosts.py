"""Hosts as resources write them, and what answers to them."""

from collections.abc import Iterator

from meshscope.declarations.finding import Lacking, absent
from meshscope.declarations.surroundings import Surroundings
from meshscope.projection.hosts import covers, is_wildcard, qualified
from meshscope.projection.services.registry import Service


def full(host: str, namespace: str, around: Surroundings) -> str:
    """A host as a resource of a namespace means it."""
    return qualified(host, namespace, around.domain)


def namespace_of(host: str, around: Surroundings) -> str:
    """Namespace of a Kubernetes service by its full name; empty: it is none."""
    rest = host.removesuffix(f".svc.{around.domain}")
    name, dot, namespace = rest.rpartition(".")
    return namespace if rest != host and dot and name else ""


def services_at(host: str, around: Surroundings) -> Iterator[Service]:
    """The services that a full host, or a pattern of hosts, stands for."""
    known = around.mesh.registry.by_host
    if not is_wildcard(host):
        yield from known.get(host, {}).values()
        # A ServiceEntry may stand for all names of a domain.
        for pattern in around.kept(_patterns):
            if covers(pattern, host):
                yield from known[pattern].values()
        return
    for name, some in known.items():
        if covers(host, name):
            yield from some.values()


def _patterns(around: Surroundings) -> tuple[str, ...]:
    return tuple(host for host in around.mesh.registry.by_host if is_wildcard(host))


def lacks_host(host: str, around: Surroundings, *codes: str) -> Lacking | None:
    """That it is not known whether anything answers to a full host; None: it is."""
    if around.complete:
        return None
    namespace = namespace_of(host, around)
    if namespace:
        return around.lacks_services(namespace, *codes)
    if is_wildcard(host):
        return Lacking(codes, absent("all services of the cluster"))
    if around.of("ServiceEntry"):
        return None
    return Lacking(codes, absent("ServiceEntries"))
