"""The sidecars that resources imply: of Pods, and of workloads whose Pods are not among them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv4Address
from typing import Any, Final
from zlib import crc32

from meshscope.analysis.mesh import declared_mesh, has_sidecar
from meshscope.cli.identity import Pods, with_node
from meshscope.events.control_plane import ControlPlane
from meshscope.events.proxy import ProxyInputs
from meshscope.events.resource import Resource
from meshscope.inference.result import Inference
from meshscope.watcher.control_plane import DEFAULT_REVISION, REVISION_LABEL

WORKLOADS: Final = frozenset(
    {
        ("apps", "Deployment"),
        ("apps", "StatefulSet"),
        ("apps", "DaemonSet"),
        ("argoproj.io", "Rollout"),
    }
)
"""Group and kind of what makes Pods of a template."""

_RANGE: Final = int(IPv4Address("198.18.0.0"))
_SIZE: Final = 1 << 17
"""Addresses for Pods that do not exist yet: the network for benchmarks, which nobody routes."""

Settings = Callable[[str], ControlPlane]
Infer = Callable[[Mapping[str, Any]], Inference]


@dataclass(frozen=True, slots=True)
class KnownProxies:
    """The sidecars of one declaration.

    Attributes:
        resources: The declaration, with a Pod for each workload that has none.
        proxies: What projections must know of each, by `pod.namespace`.
        without: Pods and workloads without a sidecar: name and reason.
    """

    resources: tuple[Resource, ...]
    proxies: Mapping[str, ProxyInputs]
    without: Mapping[str, str]


def known_proxies(resources: Sequence[Resource], settings: Settings, infer: Infer) -> KnownProxies:
    """Find them.

    Args:
        resources: Everything that is declared.
        settings: The settings of a revision.
        infer: Reads the node of a proxy.
    """
    mesh = declared_mesh(settings(DEFAULT_REVISION), resources)
    planned: list[Resource] = []
    for pod in _planned(resources):
        revision = mesh.wanted_revision(pod.namespace, pod.labels) or DEFAULT_REVISION
        if revision != DEFAULT_REVISION and REVISION_LABEL not in pod.labels:
            # As the injector does.
            pod = replace(pod, labels={**pod.labels, REVISION_LABEL: revision})
        planned.append(pod)
    complete = (*resources, *planned)
    mesh = declared_mesh(settings(DEFAULT_REVISION), complete)
    pods = Pods(complete)
    proxies: dict[str, ProxyInputs] = {}
    without: dict[str, str] = {}
    for name, pod in sorted(mesh.pods.items()):
        if name in mesh.awaited:
            node = pods.node(name, settings(pods.revision(name)).mesh_config)
            if node is not None:
                proxies[name] = infer(with_node({"configs": []}, node)).proxy
        elif not has_sidecar(pod):
            known = pod.namespace in mesh.namespaces
            without[name] = (
                "it has no sidecar and asks for none"
                if known
                else f"it has no sidecar, and Namespace {pod.namespace}, which may ask for one, is "
                "not among the resources"
            )
    return KnownProxies(complete, proxies, without)


def _planned(resources: Sequence[Resource]) -> Iterator[Resource]:
    """A Pod for each workload that has none among the resources."""
    labels: dict[str, list[Mapping[str, str]]] = {}
    for each in resources:
        if (each.group, each.kind) == ("", "Pod"):
            labels.setdefault(each.namespace, []).append(each.labels)
    for each in resources:
        if (each.group, each.kind) not in WORKLOADS:
            continue
        selector = (each.spec.get("selector") or {}).get("matchLabels") or {}
        template = each.spec.get("template") or {}
        metadata = template.get("metadata") or {}
        own = _texts(metadata.get("labels"))
        wanted = selector or own
        if not any(wanted.items() <= found.items() for found in labels.get(each.namespace, ())):
            yield _pod(each, own, _texts(metadata.get("annotations")), template.get("spec") or {})


def _pod(
    workload: Resource,
    labels: Mapping[str, str],
    annotations: Mapping[str, str],
    spec: Mapping[str, Any],
) -> Resource:
    place = crc32(f"{workload.namespace}/{workload.kind}/{workload.name}".encode())
    address = str(IPv4Address(_RANGE + place % _SIZE))
    return Resource(
        "",
        "v1",
        "Pod",
        workload.namespace,
        workload.name,
        labels,
        annotations,
        body={"spec": spec, "status": {"podIP": address, "podIPs": [{"ip": address}]}},
        origin=workload.origin,
        line=workload.line,
    )


def _texts(value: object) -> dict[str, str]:
    if not isinstance(value, dict):
        return {}
    return {key: str(item) for key, item in value.items()}
