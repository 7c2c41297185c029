"""What every proxy of a mesh shares: settings, services, VirtualServices, rules, scopes."""

from collections.abc import Callable, Container, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Final, TypeVar, cast

from meshscope.events.control_plane import ControlPlane
from meshscope.events.resource import Resource
from meshscope.projection.declared.declarations import Declarations
from meshscope.projection.declared.visibility import PRIVATE, Visible, by_visibility
from meshscope.projection.destinations.client_rules import ClientRules
from meshscope.projection.destinations.destination_rule import RuleIndex
from meshscope.projection.destinations.policies import Known, Servers
from meshscope.projection.features import Features, features
from meshscope.projection.memory import Alike, Kept, Memory
from meshscope.projection.mesh_config import MeshConfig, mesh_config
from meshscope.projection.routes.gateway_routes import gateway_routes
from meshscope.projection.routes.virtual_service import VirtualService, virtual_services
from meshscope.projection.services.instances import InstanceIndex
from meshscope.projection.services.networks import Networks, networks
from meshscope.projection.services.registry import Registry, registry
from meshscope.projection.sidecar_scope import ScopeBuilder, SidecarScope

DEFAULT_DOMAIN = "cluster.local"

_SERVICES: Final = ("Namespace", "Service", "ServiceEntry")
_INSTANCES: Final = ("EndpointSlice", "Pod", "Node", "Service", "ServiceEntry", "WorkloadEntry")

Labels = tuple[tuple[str, str], ...]
T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Mesh:
    """Everything that is the same for all proxies. Equality is identity.

    Attributes:
        control_plane: The control plane.
        declared: All resources.
        config: Mesh configuration.
        features: Version and switches.
        cluster: Kubernetes cluster id.
        domain: DNS domain of the cluster.
        notes: What had to be assumed of the resources.
        memory: What parts keep of earlier proxies, and of earlier meshes with the same settings.
    """

    control_plane: ControlPlane
    declared: Declarations
    config: MeshConfig
    features: Features
    cluster: str
    domain: str
    notes: tuple[str, ...] = ()
    memory: Kept = field(default_factory=Kept)

    @cached_property
    def registry(self) -> Registry:
        """All services."""
        inherits = self.features.has("inherited_distribution")
        return self.memory.while_same(
            "registry",
            self.declared.of(*_SERVICES),
            lambda resources, before: registry(
                resources,
                trust_domain=self.config.trust_domain,
                domain=self.domain,
                default_exports=self.config.service_exports,
                inherits=inherits,
                before=before,
            ),
        )

    @cached_property
    def virtual_services(self) -> Visible[VirtualService]:
        """All VirtualServices, and what routes of the Gateway API stand for, oldest first."""
        return self.memory.while_same(
            "virtual services",
            (*self.declared.of("VirtualService", "HTTPRoute", "GRPCRoute"), self.registry),
            lambda _, before: self._virtual_services(before),
        )

    def _virtual_services(self, before: Visible[VirtualService] | None) -> Visible[VirtualService]:
        own = virtual_services(
            self.declared.of("VirtualService"),
            domain=self.domain,
            default_exports=self.config.virtual_service_exports,
        )
        routes = gateway_routes(
            self.declared.of("HTTPRoute", "GRPCRoute"), self.registry, self.domain
        )
        ordered = sorted(
            (*own, *routes), key=lambda vs: (vs.created_at or "", vs.name, vs.namespace)
        )
        known = Alike(VirtualService, () if before is None else before.all())
        return by_visibility(map(known.same, ordered), self.config.virtual_service_exports)

    @cached_property
    def networks(self) -> Networks:
        """Its networks, and the gateways between them."""
        found: Networks = self.memory.while_same(
            "networks",
            self.declared.of("Namespace", "Service"),
            lambda resources, _: networks(
                self.control_plane.mesh_networks,
                resources,
                cluster=self.cluster,
                root=self.config.root_namespace,
                domain=self.domain,
            ),
        )
        return found

    @cached_property
    def known(self) -> Known:
        """What destinations depend on."""
        keep, of = self.memory.while_same, self.declared.of
        root = self.config.root_namespace
        private = PRIVATE in self.config.destination_rule_exports
        rules: RuleIndex = keep(
            "rules",
            of("DestinationRule"),
            lambda found, before: RuleIndex(
                found, root, private, self.domain, () if before is None else before.made
            ),
        )
        instances: InstanceIndex = keep(
            "instances",
            of(*_INSTANCES),
            lambda found, before: InstanceIndex(
                found,
                self.cluster,
                self.config.trust_domain,
                self.domain,
                None if before is None else before.known,
                keep("slices", (), lambda _, __: Memory(20_000)),
            ),
        )
        servers: Servers = keep(
            "servers", of("PeerAuthentication"), lambda found, _: Servers(found, root)
        )
        aliases = self.config.trust_domain_aliases
        names = self.registry.names
        found: Known = keep(
            "known",
            (rules, instances, servers, self.registry),
            lambda _, before: Known(rules, instances, servers, aliases, names),
        )
        return found

    def scope(self, namespace: str, sidecar: Resource | None) -> SidecarScope:
        """What the proxies of a namespace see to which a Sidecar applies."""
        # The scope keeps its Sidecar, so that its identity stays its own.
        found: SidecarScope = self.of_scopes.of(
            ("scope", namespace, id(sidecar)),
            lambda: self._scope_builder.scope(namespace, sidecar),
        )
        return found

    @property
    def of_scopes(self) -> Memory[Any]:
        """What is remembered while services and VirtualServices stay what they are."""
        inputs = (self.registry, self.virtual_services)
        return self.memory.while_same("scopes", inputs, lambda _, before: Memory())

    def telling_labels(self, labels: Mapping[str, str]) -> Labels:
        """Of a workload's labels those that decide what it is sent for outbound traffic."""
        return _chosen(labels, self._telling)

    def rules(self, scope: SidecarScope, labels: Mapping[str, str]) -> ClientRules:
        """The DestinationRules that clients with these labels apply."""
        selected = _chosen(labels, self._selecting)
        rules = self.known.rules
        found: ClientRules = rules.clients.of(
            (scope, selected), lambda: ClientRules(rules, scope, dict(selected))
        )
        return found

    def remembered(self, make: "Callable[[Mesh], T]") -> T:
        """What a part keeps of earlier proxies of this mesh, made when it is first asked for."""
        found = self.memory.parts.get(make)
        if found is None:
            found = self.memory.parts[make] = make(self)
        return cast(T, found)

    @cached_property
    def _telling(self) -> frozenset[str]:
        """Names of labels that sources of VirtualServices or selectors of rules look at."""
        sources = self.declared.of("VirtualService")
        return self._selecting.union(
            name for each in sources for labels in _sources(each.spec) for name in labels
        )

    @cached_property
    def _selecting(self) -> frozenset[str]:
        """Names of labels that selectors of rules look at."""
        return frozenset(
            name
            for rule in self.declared.of("DestinationRule")
            for name in (rule.spec.get("workloadSelector") or {}).get("matchLabels") or ()
        )

    @cached_property
    def _scope_builder(self) -> ScopeBuilder:
        return ScopeBuilder(
            self.registry,
            self.virtual_services,
            exclusions=self.features.has("sidecar_exclusions"),
            picks_best=self.features.has("best_namespace"),
            results=self.memory.while_same("imports", (self.registry,), lambda _, __: Memory()),
        )


def _chosen(labels: Mapping[str, str], names: Container[str]) -> Labels:
    return tuple(sorted((name, value) for name, value in labels.items() if name in names))


def _sources(spec: Mapping[str, Any]) -> Iterator[Mapping[str, str]]:
    for kind in ("http", "tcp", "tls"):
        for block in spec.get(kind) or ():
            for match in block.get("match") or ():
                yield match.get("sourceLabels") or {}


def build_mesh(
    control_plane: ControlPlane,
    declared: Declarations,
    *,
    version: str,
    cluster: str,
    domain: str,
    notes: tuple[str, ...] = (),
    before: Mesh | None = None,
) -> Mesh:
    """The mesh that a control plane and its resources make.

    Args:
        control_plane: The control plane.
        declared: All resources, with ages that are known or assumed.
        version: Istio's version; empty: not known.
        cluster: Kubernetes cluster id.
        domain: DNS domain of the cluster.
        notes: What had to be assumed of the resources.
        before: An earlier mesh, of which all is taken over that is the same.
    """
    if before is not None and before.control_plane == control_plane:
        return replace(before, declared=declared, notes=notes)
    return Mesh(
        control_plane,
        declared,
        mesh_config(control_plane.mesh_config),
        features(version, control_plane.environment),
        cluster,
        domain,
        notes,
    )
