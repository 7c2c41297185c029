"""`infer`: from what one Envoy holds to the policies that it implements.

Each section of a dump has a reader (`_SECTIONS`), each resource in it is read once, and what the
resources of all sections say together is put together at the end. What cannot be explained becomes
`extension` policies. Nothing here knows what an administrator declared.
"""

from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from meshscope.events.proxy import ProxyInputs
from meshscope.inference.assembly import (
    by_key,
    outbound_orders,
    telemetry_policies,
    unreferenced,
)
from meshscope.inference.clusters import DNS, ClusterReader
from meshscope.inference.completeness import incomplete
from meshscope.inference.config_dump import section_name
from meshscope.inference.endpoints import Assignment, assignment, configured_endpoints
from meshscope.inference.evidence import Evidence, InboundCluster, leads_to_workload
from meshscope.inference.inbound_ports import inbound_policies
from meshscope.inference.leftovers import Leftovers
from meshscope.inference.listeners import read_listener
from meshscope.inference.names import destination_key, endpoints_key, target
from meshscope.inference.proxy import UNKNOWN, read_node
from meshscope.inference.reader import Message, Reading, Unexpected, leaves
from meshscope.inference.readings import Asked, Read, Readings, read_part
from meshscope.inference.result import (
    Hosts,
    Inference,
    LoadedState,
)
from meshscope.inference.route_tables import read_route_table
from meshscope.inference.sections import (
    CLUSTERS,
    ENDPOINTS,
    EXTENSIONS,
    LISTENERS,
    ROUTES,
    SECRETS,
    Phases,
    active,
    digest,
)
from meshscope.inference.telemetry import TracingReader, identity_tags
from meshscope.policy import key
from meshscope.policy.endpoints import Endpoints
from meshscope.policy.inbound import SELF_ADDRESS
from meshscope.policy.policy import Policy

_ADMIN: Final = "envoy.admin.v3."


@dataclass(slots=True)
class _Run:
    """One inference while it runs."""

    known: Readings | None
    proxy: ProxyInputs = UNKNOWN
    evidence: Evidence = field(default_factory=Evidence)
    leftovers: Leftovers = field(default_factory=Leftovers)
    phases: Phases = field(default_factory=Phases)
    hosts: list[Hosts] = field(default_factory=list)
    versions: list[tuple[str, str]] = field(default_factory=list)
    node: dict[str, str] = field(default_factory=dict)
    clusters: dict[str, str] = field(default_factory=dict)
    service_names: dict[str, list[str]] = field(default_factory=dict)
    assigned: set[str] = field(default_factory=set)
    listeners_known: bool = False
    leaves: dict[int, int] = field(default_factory=dict)

    def read(self, resource: Message, kind: str, given: Hashable, read: Read) -> object:
        """Read a resource, or take what was read of an equal one; what its reading returned."""
        name = _name(resource) or _cluster_name(resource)
        asked = Asked(kind, name, resource.path(), resource.raw, given, read)
        part = read_part(asked) if self.known is None else self.known.part(asked)
        resource.rest.clear()
        self.evidence.add(part.evidence)
        self.leftovers.join(part.leftovers)
        self.leaves[id(resource.raw)] = part.leaves
        return part.said


def infer(config_dump: Mapping[str, Any], known: Readings | None = None) -> Inference:
    """Deduce the policies that a proxy implements.

    Args:
        config_dump: As `read_config_dump` gives it. It is not changed.
        known: What was read of the resources of earlier dumps, of this proxy or others. The result
            is the same; it comes sooner where dumps have resources in common.

    Returns:
        The policies, what is not explained, and the state of the proxy. It never raises for what a
        dump holds: what has an unexpected shape is reported as `extension`, and a section that is
        missing as `incomplete`.
    """
    run = _Run(known)
    sections: dict[str, list[Any]] = {}
    configs = config_dump.get("configs") or ()
    for config in configs:
        name = section_name(config) if isinstance(config, dict) else ""
        sections.setdefault(name.removeprefix(_ADMIN), []).append(config)
    for name in (*_SECTIONS, *(name for name in sections if name not in _SECTIONS)):
        for config in sections.get(name, ()):
            _read_section(run, name, config)
            if run.known is not None and name == "BootstrapConfigDump":
                run.leaves[id(config)] = run.known.leaves(config)
    return _result(run, sections, leaves(config_dump, run.leaves))


def _read_section(run: _Run, name: str, config: Any) -> None:
    reader = _SECTIONS.get(name)
    if reader is None:
        run.leftovers.whole(name or "configs", "section", config, "unknown section")
        return
    reading = Reading()
    section = reading.open(config, name, place=name)
    section.string("@type")
    version = section.string("version_info")
    if version:
        run.versions.append((name, version))
    try:
        reader(run, section)
    except Unexpected as error:
        section.unread()
        section.remark("section", str(error))
    run.leftovers.add(reading)


def _bootstrap(run: _Run, section: Message) -> None:
    bootstrap = section.message("bootstrap", "Bootstrap")
    node = None if bootstrap is None else bootstrap.message("node", "Node")
    if node is not None:
        run.proxy = read_node(node, run.node)


@dataclass(frozen=True, slots=True)
class _Cluster:
    """What else is to be known of a cluster.

    Attributes:
        discovery: As in `Destination`.
        service_name: Name of its endpoints, if it fetches them; empty: it does not.
    """

    discovery: str
    service_name: str = ""


def _clusters(run: _Run, section: Message) -> None:
    own = run.evidence.chain_clusters()
    addresses = frozenset(run.proxy.addresses)
    for cluster in active(section, CLUSTERS, run.phases, _name):
        name = _name(cluster)
        inward = name in own or (not run.listeners_known and leads_to_workload(name))
        given = addresses if inward else None
        found = run.read(cluster, "Cluster", given, partial(_cluster, own=given))
        if isinstance(found, _Cluster):
            run.clusters[name] = found.discovery
            if found.service_name:
                run.service_names.setdefault(found.service_name, []).append(name)


def _cluster(cluster: Message, evidence: Evidence, *, own: frozenset[str] | None) -> _Cluster:
    """Read a cluster; `own`: addresses of the proxy, if it leads to the workload itself."""
    name = cluster.string("name")
    if not name:
        raise Unexpected("a cluster without a name")
    cluster.place = str(destination_key(name))
    reader = ClusterReader(cluster, name)
    if own is not None:
        port = target(name).port or key.ANY_PORT
        cluster.place = str(key.inbound(port))
        evidence.inbound_clusters[name] = InboundCluster(
            reader.upstream(own, SELF_ADDRESS), reader.services, reader.sources
        )
        return _Cluster(reader.discovery)
    destination = reader.destination()
    evidence.policies.append(Policy(destination_key(name), destination, reader.sources))
    if reader.discovery == "eds":
        return _Cluster(reader.discovery, destination.eds_service_name or name)
    load = cluster.message("load_assignment", "ClusterLoadAssignment")
    if reader.discovery in DNS or load is not None:
        if load is not None:
            load.place = str(endpoints_key(name))
        found = Endpoints() if load is None else configured_endpoints(load)
        evidence.policies.append(Policy(endpoints_key(name), found))
    return _Cluster(reader.discovery)


def _endpoints(run: _Run, section: Message) -> None:
    for load in active(section, ENDPOINTS, run.phases, _cluster_name):
        name = _cluster_name(load)
        users = run.service_names.get(name)
        if users is None and name in run.clusters:
            load.string("cluster_name")
            run.hosts.append(_runtime_hosts(name, load))
            continue
        given = tuple(users or [name])
        found = run.read(load, "ClusterLoadAssignment", given, partial(_assignment, users=given))
        if isinstance(found, Assignment):
            run.assigned.update(given)
            if found.unhealthy:
                run.hosts.append(Hosts(name, unhealthy=found.unhealthy))


def _assignment(load: Message, evidence: Evidence, *, users: tuple[str, ...]) -> Assignment:
    """Read endpoints; `users`: the clusters that fetch them."""
    load.place = str(endpoints_key(load.string("cluster_name")))
    found = assignment(load)
    evidence.policies += (Policy(endpoints_key(user), found.endpoints) for user in users)
    return found


def _runtime_hosts(name: str, load: Message) -> Hosts:
    """Hosts of a cluster that Envoy finds itself, or that repeat those in the cluster."""
    content = dict(load.rest)
    load.rest.clear()
    reading = Reading()
    try:
        found = assignment(reading.open(content, "ClusterLoadAssignment"))
    except Unexpected:
        return Hosts(name, digest=digest(content))
    resolved = sorted(
        f"{endpoint.address}:{endpoint.port}"
        for locality in found.endpoints.localities
        for endpoint in locality.endpoints
    )
    return Hosts(name, tuple(resolved), found.unhealthy, digest(content))


def _listeners(run: _Run, section: Message) -> None:
    run.listeners_known = True
    identity = identity_tags(run.proxy)
    tracing = TracingReader(identity)
    for listener in active(section, LISTENERS, run.phases, _name):
        own = frozenset(run.proxy.addresses).intersection(_addresses(listener))
        read = partial(_listener, own=own, tracing=tracing)
        run.read(listener, "Listener", (own, identity), read)


def _listener(
    listener: Message, evidence: Evidence, *, own: frozenset[str], tracing: TracingReader
) -> None:
    read_listener(listener, own, tracing, evidence)


def _addresses(listener: Message) -> Iterator[str]:
    """The address of a listener, for what it is."""
    address = listener.peek("address")
    for value in address.values() if isinstance(address, dict) else ():
        found = value.get("address") if isinstance(value, dict) else None
        if isinstance(found, str):
            yield found


def _routes(run: _Run, section: Message) -> None:
    for table in active(section, ROUTES, run.phases, _name):
        run.read(table, "RouteConfiguration", None, read_route_table)


def _secrets(run: _Run, section: Message) -> None:
    for _ in active(section, SECRETS, run.phases, _name):
        raise Unexpected("active secrets are state")


def _extensions(run: _Run, section: Message) -> None:
    for filter_ in active(section, EXTENSIONS, run.phases, _name):
        filter_.place = "EcdsConfigDump"
        filter_.label = _name(filter_)


def _scoped_routes(_: _Run, section: Message) -> None:
    """Istio does not use scoped routes: whatever stands here is left."""


_SECTIONS: Final[dict[str, Callable[[_Run, Message], None]]] = {
    "BootstrapConfigDump": _bootstrap,
    "ListenersConfigDump": _listeners,
    "ClustersConfigDump": _clusters,
    "EndpointsConfigDump": _endpoints,
    "RoutesConfigDump": _routes,
    "ScopedRoutesConfigDump": _scoped_routes,
    "SecretsConfigDump": _secrets,
    "EcdsConfigDump": _extensions,
}
"""Reader of each section, in the order in which they are read.

Listeners come before clusters: a cluster that an inbound chain leads to is part of an `inbound`
policy, every other one is a `destination`.
"""


def _name(message: Message) -> str:
    name = message.peek("name")
    return name if isinstance(name, str) else ""


def _cluster_name(message: Message) -> str:
    name = message.peek("cluster_name")
    return name if isinstance(name, str) else ""


def _result(run: _Run, sections: Mapping[str, object], total: int) -> Inference:
    evidence = run.evidence
    inbound, disagreements = (
        inbound_policies(evidence) if run.known is None else run.known.inbound(evidence)
    )
    orders, more = outbound_orders(evidence.orders)
    for policy_key, what, variants in (*disagreements, *more):
        run.leftovers.disagreement(str(policy_key), what, variants)
    found = [*evidence.policies, *inbound, *orders, *telemetry_policies(evidence)]
    if "EndpointsConfigDump" in sections:
        found.extend(_without_endpoints(run))
    policies = by_key(found, run.leftovers)
    policies.update((policy.key, policy) for policy in run.leftovers.policies())
    state = LoadedState(
        rejected=tuple(sorted(run.phases.rejected)),
        resources=tuple(sorted(run.phases.resources)),
        certificates=tuple(dict.fromkeys(run.phases.certificates)),
        hosts=tuple(sorted(run.hosts)),
        jwks=tuple(sorted(evidence.jwks.items())),
        versions=tuple(sorted(run.versions)),
        node=tuple(sorted(run.node.items())),
    )
    return Inference(
        proxy=run.proxy,
        policies=policies,
        coverage=run.leftovers.coverage(total),
        state=state,
        unreferenced=unreferenced(evidence, run.clusters, run.leftovers.texts, policies),
        incomplete=incomplete(sections),
    )


def _without_endpoints(run: _Run) -> list[Policy]:
    """Clusters to which the control plane sent no endpoints have none."""
    return [
        Policy(endpoints_key(user), Endpoints())
        for users in run.service_names.values()
        for user in users
        if user not in run.assigned
    ]
