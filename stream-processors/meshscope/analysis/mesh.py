"""What a declaration says about trust, revisions and injection: the other side of findings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

from meshscope.events.control_plane import ControlPlane
from meshscope.events.resource import Resource
from meshscope.events.x509 import UnreadableCertificate, read_certificates

DEFAULT_REVISION: Final = "default"
DEFAULT_TRUST_DOMAIN: Final = "cluster.local"
ROOT_CONFIG_MAP: Final = "istio-ca-root-cert"
REVISION: Final = "istio.io/rev"
INJECTION: Final = "istio-injection"
INJECT: Final = "sidecar.istio.io/inject"
SIDECAR: Final = "istio-proxy"
OTHER_PROXIES: Final = frozenset(("router", "waypoint", "ztunnel"))
"""Arguments of the container of what is no sidecar."""

UNTOUCHED: Final = frozenset(
    ("kube-system", "kube-public", "kube-node-lease", "local-path-storage")
)
"""Namespaces into which Istio never injects."""


@dataclass(frozen=True, eq=False)
class DeclaredMesh:
    """Namespaces, Pods, trust. Equality is identity.

    Attributes:
        trust_domains: That of the mesh and its aliases; empty: not known.
        roots: Serial numbers of the roots that a namespace's Pods are given; namespaces of which
            that is not known are left out.
        namespaces: Labels by name.
        pods: Pods by `name.namespace`.
        revisions: Names of revisions, and of tags by the revision that they stand for.
    """

    trust_domains: frozenset[str]
    roots: Mapping[str, frozenset[str]] = field(default_factory=dict)
    namespaces: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    pods: Mapping[str, Resource] = field(default_factory=dict)
    revisions: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def awaited(self) -> Mapping[str, Resource]:
        """The Pods of which snapshots should come, by `name.namespace`: they have a sidecar, or
        should have one."""
        return {
            name: pod
            for name, pod in self.pods.items()
            if is_running(pod) and (has_sidecar(pod) or self.asks_for_sidecar(pod))
        }

    def asks_for_sidecar(self, pod: Resource) -> bool:
        """Whether a sidecar should have been injected into a Pod (istio.io, "Installing the
        Sidecar")."""
        labels = self.namespaces.get(pod.namespace)
        if (
            labels is None
            or pod.namespace in UNTOUCHED
            or pod.spec.get("hostNetwork")
            or not _containers(pod)
            # Gateways and the like are proxies themselves.
            or any(container.get("name") == SIDECAR for container in _containers(pod))
        ):
            return False
        wish = pod.labels.get(INJECT) or pod.annotations.get(INJECT)
        if wish:
            return wish == "true" and labels.get(INJECTION) != "disabled"
        if labels.get(INJECTION):
            return labels[INJECTION] == "enabled"
        return bool(labels.get(REVISION))

    def wanted_revision(self, namespace: str, pod_labels: Mapping[str, str]) -> str | None:
        """The revision whose sidecar a Pod should have; None: none, or it cannot be told.

        Istio's order (istio.io, "Installing the Sidecar", "Canary Upgrades"): a namespace's
        `istio-injection` counts before its `istio.io/rev`, and labels of the Pod decide where the
        namespace has neither.
        """
        labels = self.namespaces.get(namespace)
        if labels is None or pod_labels.get(INJECT) == "false":
            return None
        if labels.get(INJECTION):
            name = DEFAULT_REVISION if labels[INJECTION] == "enabled" else ""
        else:
            name = labels.get(REVISION, "")
            if not name and pod_labels.get(INJECT) == "true":
                name = pod_labels.get(REVISION, DEFAULT_REVISION)
        # A name that no control plane has may be a tag whose meaning was not declared.
        return self.revisions.get(name)


def declared_mesh(control_plane: ControlPlane, resources: Sequence[Resource]) -> DeclaredMesh:
    """Find all of that in what is declared."""
    of_kind: dict[str, list[Resource]] = {}
    for resource in resources:
        if resource.kind in _KINDS:
            of_kind.setdefault(resource.kind, []).append(resource)
    return DeclaredMesh(
        trust_domains=_trust_domains(control_plane),
        roots=_roots(of_kind.get("ConfigMap", ())),
        namespaces={each.name: each.labels for each in of_kind.get("Namespace", ())},
        pods={f"{each.name}.{each.namespace}": each for each in of_kind.get("Pod", ())},
        revisions=_revisions(control_plane, of_kind),
    )


_KINDS: Final = frozenset(
    ("ConfigMap", "Deployment", "MutatingWebhookConfiguration", "Namespace", "Pod")
)


def _trust_domains(control_plane: ControlPlane) -> frozenset[str]:
    if "mesh_config" in control_plane.assumed:
        return frozenset()
    settings = control_plane.mesh_config
    return frozenset(
        (
            settings.get("trustDomain") or DEFAULT_TRUST_DOMAIN,
            *(settings.get("trustDomainAliases") or ()),
        )
    )


def _roots(config_maps: Sequence[Resource]) -> dict[str, frozenset[str]]:
    found = {}
    for each in config_maps:
        pem = (each.body.get("data") or {}).get("root-cert.pem")
        if each.name != ROOT_CONFIG_MAP or not isinstance(pem, str):
            continue
        try:
            certificates = read_certificates(pem.encode(), "root")
        except UnreadableCertificate:
            # Then it is not known which roots these Pods are given.
            continue
        if certificates:
            found[each.namespace] = frozenset(root.serial for root in certificates)
    return found


def _revisions(
    control_plane: ControlPlane, of_kind: Mapping[str, Sequence[Resource]]
) -> dict[str, str]:
    found = {control_plane.revision: control_plane.revision}
    for each in of_kind.get("Deployment", ()):
        if each.labels.get("app") == "istiod":
            name = each.labels.get(REVISION, DEFAULT_REVISION)
            found[name] = name
    for each in of_kind.get("MutatingWebhookConfiguration", ()):
        tag, revision = each.labels.get("istio.io/tag"), each.labels.get(REVISION)
        if tag and revision:
            found[tag] = revision
    return found


def has_sidecar(pod: Resource) -> bool:
    """Whether a Pod has Istio's proxy as a sidecar: a container, or a native one."""
    return any(
        container.get("name") == SIDECAR and not OTHER_PROXIES & set(container.get("args") or ())
        for container in _containers(pod)
    )


def _containers(pod: Resource) -> tuple[Mapping[str, Any], ...]:
    return (*(pod.spec.get("containers") or ()), *(pod.spec.get("initContainers") or ()))


def is_running(pod: Resource) -> bool:
    """Whether a Pod runs; one whose phase is not told, as in a file, does."""
    phase = (pod.body.get("status") or {}).get("phase", "Running")
    return bool(phase == "Running")
