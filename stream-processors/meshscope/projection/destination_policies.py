"""All policies about destinations of one client: kinds `destination` and `endpoints`.

Which clusters a proxy holds: one per port of every visible service that is not UDP, one more per
subset of the DestinationRule that the client applies, and those that stand for no service. A
service that is resolved by name and has no endpoint gets none.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import product

from meshscope.events.resource import Resource
from meshscope.policy import key
from meshscope.policy.key import PolicyKey
from meshscope.policy.policy import Policy
from meshscope.policy.source import ResourceRef
from meshscope.projection.destination_rule import MergedRule, RuleIndex
from meshscope.projection.destinations import (
    Backend,
    Client,
    Resolution,
    destination,
    discovery,
    named_destinations,
    policy_in_force,
)
from meshscope.projection.endpoints import Viewpoint, endpoints, selected, subset_labels
from meshscope.projection.instances import Instance, InstanceIndex
from meshscope.projection.locality import TrafficDistribution
from meshscope.projection.peer_authentication import MutualTls, mutual_tls, scopes
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


@dataclass(frozen=True)
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


@dataclass(frozen=True, slots=True)
class Known:
    """The mesh's part of the decision, the same for every client.

    Attributes:
        rules: Every DestinationRule.
        instances: Who serves which service.
        servers: What they accept.
        aliases: Trust domain of the mesh, and those that stand for it too.
    """

    rules: RuleIndex
    instances: InstanceIndex
    servers: Servers
    aliases: tuple[str, ...] = ()

    def identities(self, service: VisibleService) -> tuple[str, ...]:
        """Names that certificates of a service's servers may bear, in every trust domain."""
        found = {
            instance.identity
            for instance in self.instances.of(service.host, service.namespace)
            if instance.identity
        }
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
        instances = known.instances.of(service.host, service.namespace)
        rules = known.rules.choose(namespace, workload_labels, service.namespace, service.host)
        worlds = known.servers.worlds(service.namespace, instances)
        identities = known.identities(service)
        outcomes |= merge(
            [
                {
                    policy.key: policy
                    for policy in _service(
                        service, instances, identities, rule, known.servers, world, client, view
                    )
                }
                for rule, world in product(rules, worlds)
            ]
        )
    return outcomes


def _service(
    service: VisibleService,
    instances: tuple[Instance, ...],
    identities: tuple[str, ...],
    rule: MergedRule | None,
    servers: Servers,
    world: int,
    client: Client,
    view: Viewpoint,
) -> Iterator[Policy]:
    for port in service.ports:
        serving = tuple(i for i in instances if i.port_name == port.name)
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
            servers.disables(service.namespace, world),
            bool(serving) and all(i.tls_mode for i in serving),
            service.near,
        )
        node = view.node if service.node_local else None
        for subset in ("", *(rule.subsets if rule is not None else ())):
            found = selected(
                serving,
                port.name,
                subset_labels(rule, subset),
                unready=sends_unready(backend, rule, subset, client),
                node=node,
            )
            kind = discovery(backend, rule, subset)
            if not found and service.resolution in _BY_NAME:
                if not subset:
                    break
                if kind != "original_dst":
                    continue
            parts = (service.host, port.number, subset)
            yield Policy(
                key.destination(*parts),
                destination(backend, rule, subset, client),
                (*(() if rule is None else rule.refs), *service.sources),
            )
            if kind in _WITH_ENDPOINTS:
                yield Policy(
                    key.endpoints(*parts),
                    endpoints(backend, found, rule, subset, client, view, servers.mode_of(world)),
                    service.sources,
                )


def sends_unready(backend: Backend, rule: MergedRule | None, subset: str, client: Client) -> bool:
    """Whether a client gets endpoints that are not ready.

    Not where its policy would let it use them once too few others are left.
    """
    if client.forces_unready(backend):
        return True
    outlier = policy_in_force(rule, subset, backend.port, client).block("outlierDetection")
    return client.unready_sent and not (outlier or {}).get("minHealthPercent")
