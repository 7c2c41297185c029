"""What clients speak against what servers accept, and ports that PeerAuthentications mean."""

from collections.abc import Iterator, Mapping

from meshscope.algebra.request import Request
from meshscope.declarations.finding import Finding, Lacking, Said, Witness, absent
from meshscope.declarations.hosts import full, namespace_of, services_at
from meshscope.declarations.injection import is_outside
from meshscope.declarations.reading import mapping, mappings, number, text
from meshscope.declarations.surroundings import Surroundings, selector_of, words
from meshscope.declarations.transport import Spoken, client_namespaces, server_modes, spoken_to
from meshscope.declarations.workloads import Workload
from meshscope.events.resource import Resource
from meshscope.policy.source import ResourceRef
from meshscope.projection.hosts import is_wildcard
from meshscope.projection.services.registry import Service, ServicePort

REFUSED = "MSC-2201"
SERVICE_PORT = "MSC-2202"
NO_SELECTOR = "MSC-2203"


def refused_connections(rule: Resource, around: Surroundings) -> Iterator[Said]:
    """DestinationRules that make clients speak what servers refuse."""
    policy = mapping(rule.spec, "trafficPolicy")
    given = {
        number(mapping(one, "port"), "number"): f"spec.trafficPolicy.portLevelSettings[{n}].tls"
        for n, one in mappings(policy, "portLevelSettings")
        if text(mapping(one, "tls"), "mode")
    }
    if text(mapping(policy, "tls"), "mode"):
        given[0] = "spec.trafficPolicy.tls"
    if not given:
        return
    if not (around.complete or around.of("PeerAuthentication")):
        yield Lacking((REFUSED,), absent("PeerAuthentications"))
        return
    for service, port in _services(rule, around):
        for client in client_namespaces(around, service.namespace, service.host):
            found = _refused(rule, client, service, port, around)
            if found is not None:
                spoken, deciding = found
                yield Finding(
                    REFUSED,
                    rule,
                    given.get(port.number) or given.get(0, "spec.trafficPolicy"),
                    f"clients speak {_WORDS[spoken]} to {service.host}, as it says, and its "
                    f"workloads refuse that"
                    + (f" ({words(map(str, deciding))})" if deciding else "")
                    + ": connections fail",
                    Witness(
                        Request(
                            authority=service.host,
                            transport=spoken,
                            port=port.number,
                        ),
                        "the connection is closed",
                    ),
                    deciding,
                )
                return


_WORDS: Mapping[Spoken, str] = {
    "mtls": "mutual TLS of the mesh",
    "tls": "TLS of their own",
    "plaintext": "plaintext",
}


def _services(rule: Resource, around: Surroundings) -> Iterator[tuple[Service, ServicePort]]:
    """Services of the mesh that a rule is about; a made-up one where none is known."""
    host = full(text(rule.spec, "host"), rule.namespace, around)
    known = [one for one in services_at(host, around) if one.from_kubernetes and one.selector]
    for service in known:
        for port in service.ports:
            yield service, port
    if known or around.of("Service"):
        return
    name = f"any{host[1:]}" if is_wildcard(host) else host
    owner = namespace_of(name, around)
    if not owner and host == f"*.{around.domain.rpartition('.')[2]}":
        owner = "any-other-namespace"
        name = f"any.{owner}.svc.{around.domain}"
    if owner:
        service = Service(name, owner, name, "Kubernetes", (), selector={})
        yield service, ServicePort(0, "", "http", 0)


def _refused(
    rule: Resource, client: str, service: Service, port: ServicePort, around: Surroundings
) -> tuple[Spoken, tuple[ResourceRef, ...]] | None:
    """What is spoken as the rule says and refused by every workload; None: not so."""
    spaces = _workloads(service, around)
    if not spaces:
        return None
    deciding: dict[ResourceRef, None] = {}
    spoken: Spoken = "plaintext"
    for own, target in ((own, _target(workload, port)) for own, workload in spaces):
        for modes in server_modes(around, service.namespace, own):
            mode = modes.of_port(target) if target else modes.mode
            found = spoken_to(around, client, service.host, service.namespace, port.number, mode)
            if found.accepted or found.rule != rule.ref:
                return None
            spoken = found.spoken
            deciding.update(dict.fromkeys(modes.sources))
    return spoken, tuple(deciding)


def _workloads(
    service: Service, around: Surroundings
) -> list[tuple[dict[str, str], Workload | None]]:
    wanted = service.selector or {}
    among = around.workloads.get(service.namespace, ())
    found = [one for one in among if wanted.items() <= one.labels.items()]
    if found:
        return [(dict(one.labels), one) for one in found if not is_outside(one, around)]
    return [(dict(wanted), None)]


def _target(workload: Workload | None, port: ServicePort) -> int:
    if workload is not None:
        return workload.port(port.target)
    return port.target if isinstance(port.target, int) else 0


def port_levels(policy: Resource, around: Surroundings) -> Iterator[Said]:
    """Modes of single ports that are ignored, or that name a port of the service."""
    levels = mapping(policy.spec, "portLevelMtls")
    if not levels:
        return
    wanted = selector_of(policy)
    if wanted is None:
        yield Finding(
            NO_SELECTOR,
            policy,
            "spec.portLevelMtls",
            "modes of single ports count only beside a selector: they have no effect",
        )
        return
    lacking = around.lacks_services(policy.namespace, SERVICE_PORT)
    if lacking is not None:
        yield lacking
        return
    targets, numbers = _ports(policy.namespace, wanted, around)
    for name in levels:
        named = int(name) if str(name).isdigit() else 0
        if named in numbers and named not in targets and None not in targets:
            service, target = numbers[named]
            yield Finding(
                SERVICE_PORT,
                policy,
                f"spec.portLevelMtls.{name}",
                f"{name} is a port of {service.ref}, which sends to port {target} of its "
                "workloads, and ports here are those of workloads: the mode has no effect there",
                related=(service.ref,),
            )


def _ports(
    namespace: str, wanted: Mapping[str, str], around: Surroundings
) -> tuple[set[int | None], dict[int, tuple[Service, int | str]]]:
    """Target ports of the services of the workloads (None: a name that nobody resolves), and ports
    of these services with what they send to."""
    targets: set[int | None] = set()
    numbers: dict[int, tuple[Service, int | str]] = {}
    among = around.workloads.get(namespace, ())
    selected = [one for one in among if wanted.items() <= one.labels.items()]
    for service in around.mesh.registry.by_namespace.get(namespace, ()):
        if not service.selector:
            continue
        own = [one for one in selected if service.selector.items() <= one.labels.items()]
        if not own and not wanted.items() <= service.selector.items():
            continue
        for port in service.ports:
            found = {one.port(port.target) or None for one in own} or {
                port.target if isinstance(port.target, int) else None
            }
            targets |= found
            numbers[port.number] = (service, port.target)
    return targets, numbers
