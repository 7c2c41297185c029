"""Workloads as far as resources tell: Pods, and what Pods will be made of."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from meshscope.declarations.reading import Json, labels, mapping, mappings, number, text
from meshscope.events.resource import Resource

_TEMPLATES: Final[Mapping[str, tuple[str, ...]]] = {
    "Deployment": ("template",),
    "StatefulSet": ("template",),
    "DaemonSet": ("template",),
    "ReplicaSet": ("template",),
    "Rollout": ("template",),
    "DeploymentConfig": ("template",),
    "Job": ("template",),
    "CronJob": ("jobTemplate", "spec", "template"),
}
"""Kinds that hold a template of Pods, and where below `spec`."""

WORKLOAD_KINDS: Final = frozenset(("Pod", "WorkloadEntry", "WorkloadGroup", *_TEMPLATES))


@dataclass(frozen=True, eq=False)
class Workload:
    """Something that selectors can select. Equality is identity.

    Attributes:
        resource: What declares it.
        labels, annotations: Of its Pods.
        spec: Of its Pods; empty for what runs outside of Kubernetes.
        account: Its service account.
    """

    resource: Resource
    labels: Mapping[str, str]
    annotations: Mapping[str, str] = field(default_factory=dict)
    spec: Json = field(default_factory=dict)
    account: str = "default"

    @property
    def namespace(self) -> str:
        """Where it lies."""
        return self.resource.namespace

    def port(self, target: int | str, protocol: str = "TCP") -> int:
        """A port by number, or by the name that a container gives it; 0: it has no such name."""
        if isinstance(target, int):
            return target
        for container in self.containers():
            for _, port in mappings(container, "ports"):
                if text(port, "name") == target and port.get("protocol", "TCP") == protocol:
                    return number(port, "containerPort")
        return 0

    def containers(self) -> Iterator[Json]:
        """Its containers."""
        for _, container in mappings(self.spec, "containers"):
            yield container


def workloads(resources: Iterable[Resource]) -> Iterator[Workload]:
    """The workloads among resources. One that a Deployment and its Pods declare comes twice."""
    for resource in resources:
        found = _workload(resource)
        if found is not None:
            yield found


def _workload(resource: Resource) -> Workload | None:
    if resource.kind == "Pod":
        if text(mapping(resource.body, "status"), "phase") in ("Succeeded", "Failed"):
            return None
        return _of_pod(resource, resource.labels, resource.annotations, resource.spec)
    if resource.kind == "WorkloadEntry":
        own = {**resource.labels, **labels(resource.spec, "labels")}
        return Workload(resource, own, account=text(resource.spec, "serviceAccount") or "default")
    if resource.kind == "WorkloadGroup":
        metadata, template = mapping(resource.spec, "metadata"), mapping(resource.spec, "template")
        own = {**labels(metadata, "labels"), **labels(template, "labels")}
        return Workload(resource, own, account=text(template, "serviceAccount") or "default")
    if resource.kind in _TEMPLATES:
        template = mapping(resource.spec, *_TEMPLATES[resource.kind])
        return _of_pod(
            resource,
            labels(template, "metadata", "labels"),
            labels(template, "metadata", "annotations"),
            mapping(template, "spec"),
        )
    return None


def _of_pod(
    resource: Resource, own: Mapping[str, str], annotations: Mapping[str, str], spec: Any
) -> Workload:
    account = text(spec, "serviceAccountName") or "default"
    return Workload(resource, own, annotations, spec, account)
