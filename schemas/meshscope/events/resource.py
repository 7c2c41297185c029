"""A resource that the control plane declares, or that a directory of YAML holds."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from meshscope.policy.source import ResourceRef


@dataclass(frozen=True, slots=True)
class Resource:
    """One Istio, Gateway API or Kubernetes resource.

    Attributes:
        group: API group, empty for the core group.
        version: API version without the group, such as `v1`.
        kind: Kind as in its manifest.
        namespace: Empty for cluster-scoped resources.
        name: Its name.
        labels, annotations: From its metadata.
        created_at: `creationTimestamp`, RFC 3339 UTC with seconds; None where it is not known, as
            in files. Age decides between candidates in Istio, so None is not the same as old.
        body: The manifest without its metadata: `spec`, `data`, `status` … as parsed. Of the
            metadata of Pods what names their owner is left: `generateName`, `ownerReferences`.
        uid, resource_version: From the API server; empty for files.
        origin: Where it was read: file path, with `#n` for the n-th document, or `kubernetes`.
        line: Line at which it begins in that file; 0: not known.
    """

    group: str
    version: str
    kind: str
    namespace: str
    name: str
    labels: Mapping[str, str] = field(default_factory=dict, hash=False)
    annotations: Mapping[str, str] = field(default_factory=dict, hash=False)
    created_at: str | None = None
    body: Mapping[str, Any] = field(default_factory=dict, hash=False)
    uid: str = ""
    resource_version: str = ""
    origin: str = ""
    line: int = 0

    @property
    def ref(self) -> ResourceRef:
        """Its name for reports."""
        return ResourceRef(self.kind, self.namespace, self.name)

    @property
    def spec(self) -> Mapping[str, Any]:
        """Its `spec`, empty if it has none."""
        spec: Mapping[str, Any] = self.body.get("spec") or {}
        return spec

    def key(self, origin: str, cluster: str) -> str:
        """Key of its record on the topic of resources."""
        return f"{origin}/{cluster}/{self.group}/{self.kind}/{self.namespace}/{self.name}"


def key_parts(key: str) -> tuple[str, str, str, str, str, str]:
    """Origin, cluster, group, kind, namespace and name that `Resource.key` made a key of.

    Raises:
        ValueError: It is no such key.
    """
    if key.count("/") < 5:
        raise ValueError(f"key {key!r} is not origin/cluster/group/kind/namespace/name")
    # Names in Kubernetes hold no slash, but the id of a cluster may.
    origin, *cluster, group, kind, namespace, name = key.split("/")
    return origin, "/".join(cluster), group, kind, namespace, name
