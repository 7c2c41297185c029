"""Services, the protocols of their ports, and ServiceEntries that collide."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from meshscope.declarations.finding import Finding, Said
from meshscope.declarations.injection import is_outside
from meshscope.declarations.ports import served_ports
from meshscope.declarations.reading import mapping, mappings, number, text, texts
from meshscope.declarations.surroundings import Surroundings, words
from meshscope.declarations.workloads import Workload, workloads
from meshscope.events.resource import Resource
from meshscope.projection.services.protocols import AUTO, HTTP, UDP, of_kubernetes_port, parse
from meshscope.projection.services.registry import Service

NO_ADDRESS = "MSC-2601"
COLLIDES = "MSC-2602"
NO_PROTOCOL = "MSC-2603"
TWO_PROTOCOLS = "MSC-2604"

_MANAGED = "gateway.istio.io/managed"
_CAPTURE = ("ISTIO_META_DNS_CAPTURE", "ISTIO_META_DNS_AUTO_ALLOCATE")


def undeclared_protocols(service: Resource, around: Surroundings) -> Iterator[Said]:
    """Ports whose protocol has to be guessed from the first bytes."""
    if _MANAGED in service.labels or service.namespace in ("kube-system", around.root):
        return
    for place, port in mappings(service.spec, "ports"):
        protocol = of_kubernetes_port(
            number(port, "port"),
            text(port, "name"),
            text(port, "protocol") or "TCP",
            text(port, "appProtocol") or None,
        )
        external = service.spec.get("type") == "ExternalName"
        if external and text(port, "name") == "tcp":
            yield Finding(
                NO_PROTOCOL,
                service,
                f"spec.ports[{place}]",
                f"port {number(port, 'port')} of an external name is TCP, of which nothing tells "
                "the host: connections to that port of other addresses may be taken for it",
            )
        if protocol != AUTO:
            continue
        follows = (
            "what stands behind the external name is taken for HTTP"
            if external
            else "the first bytes tell, and servers that speak first are kept waiting"
        )
        yield Finding(
            NO_PROTOCOL,
            service,
            f"spec.ports[{place}]",
            f"neither the name {text(port, 'name')!r} nor appProtocol of port "
            f"{number(port, 'port')} says its protocol (`http`, `tcp-…`): {follows}",
        )


def two_protocols(resource: Resource, around: Surroundings) -> Iterator[Said]:
    """Ports of a workload to which services send different protocols."""
    if resource.kind == "Pod" and mapping(resource.body, "metadata").get("ownerReferences"):
        return
    for workload in workloads((resource,)):
        if is_outside(workload, around):
            continue
        yield from _two_protocols(workload, around)


def _two_protocols(workload: Workload, around: Surroundings) -> Iterator[Finding]:
    by_target = defaultdict(list)
    for served in served_ports(workload, around):
        by_target[served.target].append(served)
    for target, some in by_target.items():
        protocols = dict.fromkeys(served.port.protocol for served in some)
        if len(protocols) > 1 and UDP not in protocols:
            yield Finding(
                TWO_PROTOCOLS,
                workload.resource,
                "",
                f"port {target} is {words(protocols)} for "
                f"{words(str(served.service.ref) for served in some)}: the sidecar takes it as the "
                "oldest of them says, and requests through the others may fail or escape rules",
                related=tuple(dict.fromkeys(served.service.ref for served in some)),
            )


def without_addresses(entry: Resource, around: Surroundings) -> Iterator[Said]:
    """TCP ports of ServiceEntries without addresses, which take all connections to that port."""
    if texts(entry.spec, "addresses") or mapping(entry.body, "status").get("addresses"):
        return
    metadata = mapping(around.control_plane.mesh_config, "defaultConfig", "proxyMetadata")
    if all(str(metadata.get(name)).lower() == "true" for name in _CAPTURE):
        return
    for place, port in mappings(entry.spec, "ports"):
        protocol = text(port, "protocol").upper()
        if protocol in ("", "TCP"):
            named = "no protocol (which counts as TCP)" if not protocol else "protocol TCP"
            yield Finding(
                NO_ADDRESS,
                entry,
                f"spec.ports[{place}]",
                f"port {number(port, 'number')} has {named} and {words(texts(entry.spec, 'hosts'))}"
                " no addresses: every connection to that port of an unknown address is taken for "
                "this service (unless istiod allocates addresses)",
            )


def collisions(entry: Resource, around: Surroundings) -> Iterator[Said]:
    """ServiceEntries that declare a host differently from another service, for the same clients."""
    by_host = around.kept(_services)
    for host in dict.fromkeys(texts(entry.spec, "hosts")):
        services = by_host.get(host, ())
        service = next((one for one in services if one.ref == entry.ref), None)
        for rival in services:
            if service is None or rival.ref == entry.ref or not _see_both(service, rival):
                continue
            what = _difference(entry, around.named(*_identity(rival)))
            if what:
                yield Finding(
                    COLLIDES,
                    entry,
                    f"spec.hosts[{texts(entry.spec, 'hosts').index(host)}]",
                    f"{rival.ref} declares {host} too, with another {what}: clients that see both "
                    "take one of them, those of Kubernetes and of their own namespace first, then "
                    "the oldest",
                    related=(rival.ref,),
                )
                break
    yield from _same_port(entry, around)


def _services(around: Surroundings) -> Mapping[str, Sequence[Service]]:
    """All services by host."""
    found: dict[str, list[Service]] = defaultdict(list)
    for service in around.mesh.registry.services:
        found[service.host].append(service)
    return found


def _identity(service: Service) -> tuple[str, str, str]:
    return service.ref.kind, service.ref.namespace, service.ref.name


def _see_both(one: Service, other: Service) -> bool:
    """Whether there is a namespace that sees both; the mesh's defaults do not count."""
    mine, theirs = (
        {each.namespace if name == "." else name for name in each.export_to or {"*"}}
        for each in (one, other)
    )
    return "*" in mine or "*" in theirs or bool(mine & theirs)


def _difference(entry: Resource, other: Resource | None) -> str:
    """What two declarations of a host differ in; empty: nothing that matters."""
    if other is None or other.kind == "Service":
        # A ServiceEntry for the host of a Service adds endpoints to it.
        return ""
    for field in ("resolution", "location"):
        if (entry.spec.get(field) or "") != (other.spec.get(field) or ""):
            return field
    mine, theirs = (
        {number(port, "number"): parse(text(port, "protocol")) for _, port in ports}
        for ports in (mappings(entry.spec, "ports"), mappings(other.spec, "ports"))
    )
    if any(theirs.get(port, protocol) != protocol for port, protocol in mine.items()):
        return "protocol of a port"
    return "set of ports" if mine.keys() != theirs.keys() else ""


def _same_port(entry: Resource, around: Surroundings) -> Iterator[Finding]:
    """TCP ports without addresses that two ServiceEntries claim: the first gets all."""
    hosts = set(texts(entry.spec, "hosts"))
    claims = around.kept(_claims)
    for port in sorted(_open_ports(entry)):
        others = (one for one in claims[port] if set(texts(one.spec, "hosts")) != hosts)
        other = next(others, None)
        if other is not None:
            yield Finding(
                COLLIDES,
                entry,
                "spec.ports",
                f"{other.ref} has TCP port {port} without addresses too: connections to it "
                "cannot be told apart, and all of them go to the older one",
                related=(other.ref,),
            )
            return


def _claims(around: Surroundings) -> Mapping[int, Sequence[Resource]]:
    """ServiceEntries by the TCP ports that they have without addresses."""
    found: dict[int, list[Resource]] = defaultdict(list)
    for entry in around.of("ServiceEntry"):
        for port in _open_ports(entry):
            found[port].append(entry)
    return found


def _open_ports(entry: Resource) -> frozenset[int]:
    if texts(entry.spec, "addresses") or mapping(entry.body, "status").get("addresses"):
        return frozenset()
    return frozenset(
        number(port, "number")
        for _, port in mappings(entry.spec, "ports")
        if parse(text(port, "protocol") or "TCP") not in (*HTTP, "https", "tls", AUTO)
    )
