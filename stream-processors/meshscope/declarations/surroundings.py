"""What the checks look at: all resources, indexed, and what is known to be complete."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import Any, Final, TypeVar, cast

from meshscope.declarations.finding import Lacking, absent
from meshscope.declarations.reading import labels
from meshscope.declarations.workloads import WORKLOAD_KINDS, Workload, workloads
from meshscope.events.control_plane import ControlPlane
from meshscope.events.resource import Resource
from meshscope.projection.declared.declarations import declarations
from meshscope.projection.declared.discovery import discovered
from meshscope.projection.mesh import DEFAULT_DOMAIN, Mesh, build_mesh

T = TypeVar("T")

GROUPS: Final[Mapping[str, str]] = {
    "AuthorizationPolicy": "security.istio.io",
    "DestinationRule": "networking.istio.io",
    "EnvoyFilter": "networking.istio.io",
    "Gateway": "networking.istio.io",
    "MutatingWebhookConfiguration": "admissionregistration.k8s.io",
    "Namespace": "",
    "PeerAuthentication": "security.istio.io",
    "Pod": "",
    "RequestAuthentication": "security.istio.io",
    "Secret": "",
    "Service": "",
    "ServiceAccount": "",
    "ServiceEntry": "networking.istio.io",
    "Sidecar": "networking.istio.io",
    "Telemetry": "telemetry.istio.io",
    "TrafficExtension": "extensions.istio.io",
    "ValidatingWebhookConfiguration": "admissionregistration.k8s.io",
    "VirtualService": "networking.istio.io",
    "WasmPlugin": "extensions.istio.io",
    "WorkloadEntry": "networking.istio.io",
    "WorkloadGroup": "networking.istio.io",
}
"""Kinds that checks ask for, with their API groups: other groups use the same names."""


@dataclass(frozen=True, eq=False)
class Surroundings:
    """Everything that is declared. Equality is identity.

    Attributes:
        control_plane: The control plane.
        resources: All resources.
        complete: What is not among the resources does not exist. Else a namespace's workloads or
            services count as known if there is one of them.
        today: What ends before is over.
    """

    control_plane: ControlPlane
    resources: tuple[Resource, ...]
    complete: bool = False
    today: date = date.min

    def of(self, kind: str) -> tuple[Resource, ...]:
        """The resources of a kind, in the order given."""
        return self._by_kind.get(kind, ())

    def within(self, kind: str, *namespaces: str) -> tuple[Resource, ...]:
        """The resources of a kind in some namespaces, namespace after namespace."""
        known = self._by_place
        return tuple(
            one for name in dict.fromkeys(namespaces) for one in known.get((kind, name), ())
        )

    def kept(self, make: "Callable[[Surroundings], T]") -> T:
        """What a check works out once for all resources, when it is first asked for."""
        if make not in self._kept:
            self._kept[make] = make(self)
        return cast(T, self._kept[make])

    def named(self, kind: str, namespace: str, name: str) -> Resource | None:
        """A resource by its name; None: there is none."""
        return self._by_name.get((kind, namespace, name))

    @property
    def root(self) -> str:
        """The root namespace."""
        return self.mesh.config.root_namespace

    @property
    def domain(self) -> str:
        """DNS domain of the cluster."""
        return self.mesh.domain

    @cached_property
    def mesh(self) -> Mesh:
        """The mesh that projections work with; resources of unknown age count as the oldest."""
        plane = self.control_plane
        seen, notes = discovered(self.resources, plane.mesh_config.get("discoverySelectors") or ())
        return build_mesh(
            plane,
            declarations(seen),
            version=plane.version,
            cluster=plane.environment.get("CLUSTER_ID") or "Kubernetes",
            domain=DEFAULT_DOMAIN,
            notes=notes,
        )

    @cached_property
    def workloads(self) -> Mapping[str, tuple[Workload, ...]]:
        """All workloads by namespace."""
        found: dict[str, list[Workload]] = defaultdict(list)
        for workload in workloads(r for r in self.resources if r.kind in WORKLOAD_KINDS):
            found[workload.namespace].append(workload)
        return {namespace: tuple(some) for namespace, some in found.items()}

    @cached_property
    def all_workloads(self) -> tuple[Workload, ...]:
        """All workloads."""
        return tuple(one for some in self.workloads.values() for one in some)

    def selected(self, namespace: str, wanted: Mapping[str, str]) -> tuple[Workload, ...]:
        """The workloads that labels select; those of the root namespace select everywhere."""
        among = self.all_workloads if namespace == self.root else self.workloads.get(namespace, ())
        return tuple(one for one in among if wanted.items() <= one.labels.items())

    def lacks_workloads(self, namespace: str, *codes: str) -> Lacking | None:
        """That the workloads of a namespace are not known; None: they are."""
        if self.complete or (namespace != self.root and namespace in self.workloads):
            return None
        where = "all namespaces" if namespace == self.root else f"namespace {namespace}"
        return Lacking(codes, absent(f"workloads of {where}"))

    def lacks_services(self, namespace: str, *codes: str) -> Lacking | None:
        """That the services of a namespace are not known; None: they are."""
        if self.complete or namespace in self._served:
            return None
        return Lacking(codes, absent(f"services of namespace {namespace}"))

    def lacks_namespaces(self, *codes: str) -> Lacking | None:
        """That it is not known which namespaces there are; None: it is."""
        if self.complete or self.of("Namespace"):
            return None
        return Lacking(codes, absent("Namespaces"))

    @cached_property
    def namespaces(self) -> Mapping[str, Mapping[str, str]]:
        """Labels of the namespaces that are declared or hold something, by name."""
        held: dict[str, Mapping[str, str]] = {
            resource.namespace: {} for resource in self.resources if resource.namespace
        }
        return {**held, **{one.name: one.labels for one in self.of("Namespace")}}

    @cached_property
    def _served(self) -> frozenset[str]:
        return frozenset(service.namespace for service in self.of("Service"))

    @cached_property
    def _by_kind(self) -> Mapping[str, tuple[Resource, ...]]:
        found: dict[str, list[Resource]] = defaultdict(list)
        for resource in self.resources:
            if not foreign(resource):
                found[resource.kind].append(resource)
        return {kind: tuple(some) for kind, some in found.items()}

    @cached_property
    def _by_place(self) -> Mapping[tuple[str, str], tuple[Resource, ...]]:
        found: dict[tuple[str, str], list[Resource]] = defaultdict(list)
        for some in self._by_kind.values():
            for resource in some:
                found[resource.kind, resource.namespace].append(resource)
        return {place: tuple(some) for place, some in found.items()}

    @cached_property
    def _kept(self) -> dict[Any, Any]:
        return {}

    @cached_property
    def _by_name(self) -> Mapping[tuple[str, str, str], Resource]:
        return {
            (one.kind, one.namespace, one.name): one for one in self.resources if not foreign(one)
        }


def foreign(resource: Resource) -> bool:
    """Whether a resource only has the name of a kind that is looked at, such as the Gateway of the
    Gateway API."""
    return resource.kind in GROUPS and resource.group != GROUPS[resource.kind]


def selector_of(resource: Resource) -> Mapping[str, str] | None:
    """The labels that a resource selects workloads by; None: it selects none by labels."""
    for field, key in (("selector", "matchLabels"), ("workloadSelector", "labels")):
        if resource.spec.get(field) is not None:
            found = labels(resource.spec, field, key) or labels(resource.spec, field, "matchLabels")
            return found or None
    return None


def targets(resource: Resource) -> bool:
    """Whether a policy is for a gateway, waypoint or service instead of workloads."""
    return bool(resource.spec.get("targetRef") or resource.spec.get("targetRefs"))


def words(names: Iterable[str]) -> str:
    """Names for readers: the first few, in the order given, each once."""
    found = list(dict.fromkeys(names))
    shown = ", ".join(found[:4])
    return shown if len(found) <= 4 else f"{shown} and {len(found) - 4} more"
