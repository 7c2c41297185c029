"""All policies about destinations of one client: kinds `destination` and `endpoints`.

Which clusters a proxy holds: one per port of every visible service that is not UDP, one more per
subset of the DestinationRule that the client applies, and those that stand for no service. A
service that is resolved by name and has no endpoint gets none.

`service_destinations` and `service_endpoints` are the fragments that proxies share: their arguments
are hashable and small, so that a caller may remember the results.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import product
from typing import Any

from meshscope.events.resource import Resource
from meshscope.policy import key
from meshscope.policy.key import PolicyKey
from meshscope.policy.policy import Policy
from meshscope.policy.source import ResourceRef
from meshscope.projection.destinations.destination import (
    Backend,
    Client,
    destination,
    discovery,
    named_destinations,
    policy_in_force,
)
from meshscope.projection.destinations.destination_rule import MergedRule, RuleIndex
from meshscope.projection.destinations.endpoints import (
    Viewpoint,
    endpoints,
    selected,
    subset_labels,
)
from meshscope.projection.memory import Memory
from meshscope.projection.security.peer_authentication import MutualTls, mutual_tls, scopes
from meshscope.projection.services.instances import Instance, InstanceIndex
from meshscope.projection.services.locality import Place, TrafficDistribution, setting
from meshscope.projection.services.registry import Resolution
from meshscope.projection.worlds import Outcomes, merge

_BY_NAME = ("dns", "dns_round_robin")
_WITH_ENDPOINTS = ("eds", "strict_dns", "logical_dns")


@dataclass(frozen=True, slots=True)
class VisiblePort:
    """A port of a service that the client sees; protocol as in `Backend`."""

    number: int
    name: str
    protocol: str
    override: int = 0


@dataclass(frozen=True, slots=True)
class VisibleService:
    """A service that the client sees.

    Attributes:
        host, namespace, name, resolution, external, declared, near: As in `Backend`.
        ports: Those that it sees, without UDP.
        names: Names that it declares for its servers' certificates.
        node_local: Clients get endpoints of their own node only.
        sources: The resources that declare it.
    """

    host: str
    namespace: str
    name: str
    ports: tuple[VisiblePort, ...]
    resolution: Resolution = "static"
    external: bool = False
    declared: bool = False
    near: TrafficDistribution = ""
    names: tuple[str, ...] = ()
    node_local: bool = False
    sources: tuple[ResourceRef, ...] = ()


@dataclass(frozen=True, eq=False)
class Servers:
    """What the servers of the mesh accept, from every PeerAuthentication.

    Attributes:
        policies: Every PeerAuthentication.
        root: The root namespace.
    """

    policies: tuple[Resource, ...]
    root: str

    @cached_property
    def _known(self) -> dict[tuple[str, frozenset[tuple[str, str]]], tuple[MutualTls, ...]]:
        return {}

    def modes(self, namespace: str, labels: Mapping[str, str]) -> tuple[MutualTls, ...]:
        """The modes of a workload; several where it is not known which policies are older."""
        wanted = (namespace, frozenset(labels.items()))
        found = self._known.get(wanted)
        if found is None:
            found = mutual_tls(
                scopes(self.policies, namespace=namespace, labels=labels, root=self.root)
            )
            self._known[wanted] = found
        return found

    def worlds(self, namespace: str, instances: Iterable[Instance]) -> range:
        """Numbers of the possible outcomes for a service's namespace and its instances."""
        pools = (self.modes(i.namespace, i.labels) for i in instances if i.namespace)
        return range(max(map(len, (self.modes(namespace, {}), *pools))))

    def disables(self, namespace: str, world: int) -> bool:
        """Whether clients know that a namespace does not accept mutual TLS."""
        found = self.modes(namespace, {})
        return found[world % len(found)].mode == "DISABLE"

    def mode_of(self, world: int) -> Callable[[Instance], str]:
        """The mode of an instance's port."""

        def mode(instance: Instance) -> str:
            found = self.modes(instance.namespace, instance.labels)
            return found[world % len(found)].of_port(instance.port)

        return mode


Serving = tuple[tuple[Instance, ...], tuple[tuple[MutualTls, ...], ...]]
"""Instances of a service, and the modes of its namespace and of every instance."""


@dataclass(frozen=True, eq=False)
class Known:
    """The mesh's part of the decision, the same for every client. Equality is identity.

    Attributes:
        rules: Every DestinationRule.
        instances: Who serves which service.
        servers: What they accept.
        aliases: Trust domain of the mesh, and those that stand for it too.
        names: Names declared for the certificates of servers, by host and namespace.
        results: What was worked out of all this, which is forgotten with it.
    """

    rules: RuleIndex
    instances: InstanceIndex
    servers: Servers
    aliases: tuple[str, ...] = ()
    names: Mapping[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)
    results: Memory[Any] = field(default_factory=Memory)

    def of(self, service: VisibleService) -> tuple[Instance, ...]:
        """Who serves a service."""
        return self.instances.of(service.host, service.namespace)

    def serving(self, host: str, namespace: str) -> Serving:
        """All that this says of a service but the rules: instances, and what they accept."""
        instances = self.instances.of(host, namespace)
        modes = [self.servers.modes(namespace, {})]
        modes += (self.servers.modes(i.namespace, i.labels) for i in instances)
        return instances, tuple(modes)

    def identities(self, service: VisibleService) -> tuple[str, ...]:
        """Names that certificates of a service's servers may bear, in every trust domain."""
        found = {instance.identity for instance in self.of(service) if instance.identity}
        names = found.union(service.names)
        for name in tuple(names):
            _, spiffe, path = name.partition("spiffe://")
            if spiffe:
                rest = path.partition("/")[2]
                names |= {f"spiffe://{alias}/{rest}" for alias in self.aliases}
        return tuple(sorted(names))


def destination_policies(
    services: Iterable[VisibleService],
    known: Known,
    client: Client,
    view: Viewpoint,
    *,
    namespace: str,
    workload_labels: Mapping[str, str],
) -> Outcomes:
    """The policies of a client, with every possible outcome.

    Args:
        services: What it sees.
        known: The mesh's part.
        client: What all destinations of the client share.
        view: Its place.
        namespace: Its namespace.
        workload_labels: Its labels, for rules with a workload selector.
    """
    outcomes: dict[PolicyKey, tuple[Policy | None, ...]] = {
        policy.key: (policy,) for policy in named_destinations(client)
    }
    for service in services:
        rules = known.rules.choose(namespace, workload_labels, service.namespace, service.host)
        worlds = known.servers.worlds(service.namespace, known.of(service))
        found = []
        for rule, world in product(rules, worlds):
            near = relevant(view, service, rule, client)
            policies = (
                *service_destinations(service, rule, world, known, client),
                *service_endpoints(service, rule, world, known, client, near),
            )
            found.append({policy.key: policy for policy in policies})
        outcomes |= merge(found)
    return outcomes


def service_destinations(
    service: VisibleService, rule: MergedRule | None, world: int, known: Known, client: Client
) -> tuple[Policy, ...]:
    """The policies `destination` toward a service.

    Args:
        service: The service.
        rule: The DestinationRule that the client applies; None: none.
        world: Which of the possible PeerAuthentications count, see `Servers.worlds`.
        known: The mesh's part.
        client: What all destinations of the client share.
    """
    sources = (*(() if rule is None else rule.refs), *service.sources)
    return tuple(
        Policy(
            key.destination(service.host, cluster.backend.port, cluster.subset),
            destination(cluster.backend, rule, cluster.subset, client),
            sources,
        )
        for cluster in _clusters(service, rule, world, known, client, node="")
    )


def service_endpoints(
    service: VisibleService,
    rule: MergedRule | None,
    world: int,
    known: Known,
    client: Client,
    view: Viewpoint,
) -> tuple[Policy, ...]:
    """The policies `endpoints` of a service, arguments as above; `view` as `relevant` gives it."""
    mode_of = known.servers.mode_of(world)
    return tuple(
        Policy(
            key.endpoints(service.host, cluster.backend.port, cluster.subset),
            endpoints(
                cluster.backend, cluster.instances, rule, cluster.subset, client, view, mode_of
            ),
            service.sources,
        )
        for cluster in _clusters(service, rule, world, known, client, node=view.node)
        if cluster.discovery in _WITH_ENDPOINTS
    )


def relevant(
    view: Viewpoint, service: VisibleService, rule: MergedRule | None, client: Client
) -> Viewpoint:
    """What of a client's place matters for a service; clients that agree on it share endpoints."""
    if not service.node_local:
        view = replace(view, node="")
    counts = False
    names: set[str] = set()
    for port, subset in product(service.ports, _subsets(rule)):
        policy = policy_in_force(rule, subset, port.number, client)
        chosen = setting(policy.block("loadBalancer"), service.near, client.locality)
        if chosen is not None and (
            chosen.forced
            or chosen.distribute is not None
            or policy.block("outlierDetection") is not None
        ):
            counts = True
            names.update(item.partition("=")[0] for item in chosen.failover_priority or ())
    if not counts:
        return replace(view, place=Place(), labels={})
    return replace(view, labels=named_labels(view.labels, names))


def named_labels(labels: Mapping[str, str], names: Iterable[str]) -> Mapping[str, str]:
    """Of a client's labels those of some names; a label that is missing counts as empty."""
    return {name: labels.get(name, "") for name in sorted(names)} if labels else {}


@dataclass(frozen=True, slots=True)
class _Cluster:
    backend: Backend
    subset: str
    discovery: str
    instances: tuple[Instance, ...]


def _subsets(rule: MergedRule | None) -> tuple[str, ...]:
    return ("", *(() if rule is None else rule.subsets))


def _clusters(
    service: VisibleService,
    rule: MergedRule | None,
    world: int,
    known: Known,
    client: Client,
    *,
    node: str,
) -> Iterator[_Cluster]:
    """The clusters of a service, each with the instances that it may use."""
    identities = known.identities(service)
    for port in service.ports:
        serving = tuple(i for i in known.of(service) if i.port_name == port.name)
        backend = Backend(
            service.host,
            service.namespace,
            service.name,
            port.number,
            port.protocol,
            service.resolution,
            service.external,
            service.declared,
            port.override,
            identities,
            known.servers.disables(service.namespace, world),
            bool(serving) and all(i.tls_mode for i in serving),
            service.near,
        )
        for subset in _subsets(rule):
            found = selected(
                serving,
                subset_labels(rule, subset),
                unready=sends_unready(backend, rule, subset, client),
                node=node if service.node_local else None,
            )
            kind = discovery(backend, rule, subset)
            if not found and service.resolution in _BY_NAME:
                if not subset:
                    break
                if kind != "original_dst":
                    continue
            yield _Cluster(backend, subset, kind, found)


def sends_unready(backend: Backend, rule: MergedRule | None, subset: str, client: Client) -> bool:
    """Whether a client gets endpoints that are not ready.

    Not where its policy would let it use them once too few others are left.
    """
    if client.forces_unready(backend):
        return True
    outlier = policy_in_force(rule, subset, backend.port, client).block("outlierDetection")
    return client.unready_sent and not (outlier or {}).get("minHealthPercent")
