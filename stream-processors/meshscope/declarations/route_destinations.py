"""Destinations of VirtualServices that lead nowhere: hosts, subsets and ports."""

from collections.abc import Iterator
from dataclasses import dataclass

from meshscope.declarations.finding import Finding, Lacking, Said, Witness, absent
from meshscope.declarations.hosts import full, lacks_host, namespace_of, services_at
from meshscope.declarations.reading import Json, mapping, mappings, number, text
from meshscope.declarations.route_rules import request_of
from meshscope.declarations.surroundings import Surroundings, words
from meshscope.declarations.transport import applied, client_namespaces, rules_for
from meshscope.events.resource import Resource
from meshscope.projection.services.registry import Service

NO_HOST = "MSC-2303"
NO_SUBSET = "MSC-2304"
NO_PORT = "MSC-2305"
SEVERAL_PORTS = "MSC-2315"


@dataclass(frozen=True, slots=True)
class Destination:
    """A destination of a route.

    Attributes:
        field: Where it stands.
        host: Its full host name.
        subset: Its subset; empty: none.
        port: Its port; 0: not given.
        block: Position of its route among HTTP routes; None: it is another one, or a mirror, whose
            failure no client sees.
    """

    field: str
    host: str
    subset: str
    port: int
    block: int | None


def destinations(service: Resource, around: Surroundings) -> Iterator[Destination]:
    """Every destination of a VirtualService."""
    for kind in ("http", "tls", "tcp"):
        for block, route in mappings(service.spec, kind):
            path = f"spec.{kind}[{block}]"
            of_http = block if kind == "http" else None
            for place, item in mappings(route, "route"):
                found = mapping(item, "destination")
                yield _read(service, found, f"{path}.route[{place}].destination", of_http, around)
            if mapping(route, "mirror"):
                yield _read(service, mapping(route, "mirror"), f"{path}.mirror", None, around)
            for place, item in mappings(route, "mirrors"):
                found = mapping(item, "destination")
                yield _read(service, found, f"{path}.mirrors[{place}].destination", None, around)


def _read(
    service: Resource, given: Json, field: str, block: int | None, around: Surroundings
) -> Destination:
    return Destination(
        field,
        full(text(given, "host"), service.namespace, around),
        text(given, "subset"),
        number(mapping(given, "port"), "number"),
        block,
    )


def unknown_destinations(service: Resource, around: Surroundings) -> Iterator[Said]:
    """Destinations whose host, port or subset does not exist, wherever the client is."""
    for found in destinations(service, around):
        if not found.host:
            continue
        answering = [one for one in services_at(found.host, around) if _seen(one, service, around)]
        if not answering:
            lacking = lacks_host(found.host, around, NO_HOST, NO_PORT)
            yield lacking or _failing(
                NO_HOST,
                service,
                found,
                f"{found.field}.host",
                f"nothing declares the host {found.host}" + _hint(found.host, service, around),
            )
        else:
            yield from _ports(service, found, answering)
        if found.subset:
            yield from _subset(service, found, around)


def _seen(one: Service, service: Resource, around: Surroundings) -> bool:
    """Whether the clients of a VirtualService may see a service: those of its namespace stand for
    them."""
    return around.mesh.registry.is_visible(one, service.namespace)


def _hint(host: str, service: Resource, around: Surroundings) -> str:
    """What may be meant by a host that nothing declares."""
    name, _, rest = host.partition(".")
    longer = f"{host}.svc.{around.domain}"
    if "." not in rest and longer in around.mesh.registry.by_host:
        return f" (a host with a dot is a full name: write {longer})"
    elsewhere = [
        one.host
        for one in around.mesh.registry.services
        if one.from_kubernetes and one.name == name and one.host != host
    ]
    if elsewhere:
        return f" (there is {words(elsewhere)})"
    hidden = list(services_at(host, around))
    return f" to namespace {service.namespace}" if hidden else ""


def _failing(code: str, service: Resource, found: Destination, field: str, reason: str) -> Finding:
    request = None if found.block is None else request_of(service, found.block)
    return Finding(
        code,
        service,
        field,
        f"{reason}: requests sent there are answered with 503",
        None if request is None else Witness(request, "sent to a destination that does not exist"),
    )


def _ports(service: Resource, found: Destination, answering: list[Service]) -> Iterator[Finding]:
    numbers = sorted({port.number for one in answering for port in one.ports})
    if not numbers or any(one.external_name for one in answering):
        return
    if found.port and found.port not in numbers:
        yield _failing(
            NO_PORT,
            service,
            found,
            f"{found.field}.port",
            f"{found.host} has no port {found.port}, only {words(map(str, numbers))}",
        )
    elif not found.port and len(numbers) > 1:
        yield Finding(
            SEVERAL_PORTS,
            service,
            found.field,
            f"{found.host} has the ports {words(map(str, numbers))}, and none is named: the one "
            "that the client dialled is used, and requests to any other port are answered with 503",
            related=(answering[0].ref,),
        )


def _subset(service: Resource, found: Destination, around: Surroundings) -> Iterator[Said]:
    about = list(rules_for(found.host, around))
    if any(one.selector is not None and found.subset in one.subsets for one in about):
        return
    if not about and not around.complete:
        yield Lacking((NO_SUBSET,), absent(f"DestinationRules of {found.host}"))
        return
    services = list(services_at(found.host, around))
    owner = services[0].namespace if services else namespace_of(found.host, around)
    chosen = [
        applied(around, client, found.host, owner)
        for client in client_namespaces(around, service.namespace, found.host)
    ]
    if any(rule is not None and found.subset in rule.subsets for rule in chosen):
        return
    known = sorted({name for rule in chosen if rule is not None for name in rule.subsets})
    which = f" (only {words(known)})" if known else ""
    yield _failing(
        NO_SUBSET,
        service,
        found,
        f"{found.field}.subset",
        f"no DestinationRule that clients apply to {found.host} has a subset {found.subset}{which}",
    )
