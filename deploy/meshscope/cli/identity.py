"""Whose a configuration dump is."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from meshscope.events.resource import Resource
from meshscope.inference.config_dump import section_name

_BOOTSTRAP: Final = "envoy.admin.v3.BootstrapConfigDump"
_LOCALITY: Final = {
    "region": "topology.kubernetes.io/region",
    "zone": "topology.kubernetes.io/zone",
    "sub_zone": "topology.istio.io/subzone",
}
_INTERCEPTION: Final = "sidecar.istio.io/interceptionMode"
_CLUSTER: Final = "Kubernetes"
"""What istiod calls the cluster that it runs in, unless it was told otherwise."""


class Pods:
    """The Pods among the resources, and what their proxies say of themselves."""

    def __init__(self, resources: Iterable[Resource]) -> None:
        self._pods: dict[str, Resource] = {}
        self._nodes: dict[str, Resource] = {}
        for resource in resources:
            if (resource.group, resource.kind) == ("", "Pod"):
                self._pods[f"{resource.name}.{resource.namespace}"] = resource
            elif (resource.group, resource.kind) == ("", "Node"):
                self._nodes[resource.name] = resource

    def __contains__(self, proxy: str) -> bool:
        return proxy in self._pods

    def node(self, proxy: str) -> Mapping[str, Any] | None:
        """The `Node` that a sidecar of this Pod bootstraps with; None: there is no such Pod.

        As far as the Pod decides it: version and metadata that the injector adds are not known.
        """
        pod = self._pods.get(proxy)
        if pod is None:
            return None
        status: Any = pod.body.get("status") or {}
        addresses = [entry.get("ip", "") for entry in status.get("podIPs") or ()]
        addresses = addresses or [status.get("podIP") or ""]
        where = self._nodes.get(pod.spec.get("nodeName") or "")
        return {
            "id": f"sidecar~{addresses[0]}~{proxy}~{pod.namespace}.svc.cluster.local",
            "metadata": {
                "CLUSTER_ID": _CLUSTER,
                "NAMESPACE": pod.namespace,
                "LABELS": dict(pod.labels),
                "ANNOTATIONS": dict(pod.annotations),
                "SERVICE_ACCOUNT": pod.spec.get("serviceAccountName") or "default",
                "NODE_NAME": pod.spec.get("nodeName") or "",
                "INSTANCE_IPS": ",".join(addresses),
                "INTERCEPTION_MODE": pod.annotations.get(_INTERCEPTION) or "REDIRECT",
            },
            "locality": {
                field: where.labels[label]
                for field, label in _LOCALITY.items()
                if where is not None and label in where.labels
            },
        }


def has_node(dump: Mapping[str, Any]) -> bool:
    """Whether a dump says of which proxy it is; those of istiod do not."""
    return any(
        bool(((config.get("bootstrap") or {}).get("node") or {}).get("id"))
        for config in dump["configs"]
        if section_name(config) == _BOOTSTRAP
    )


def with_node(dump: Mapping[str, Any], node: Mapping[str, Any]) -> Mapping[str, Any]:
    """The dump as if the proxy had said who it is."""
    own = {"@type": f"type.googleapis.com/{_BOOTSTRAP}", "bootstrap": {"node": node}}
    others = [config for config in dump["configs"] if section_name(config) != _BOOTSTRAP]
    return {**dump, "configs": [own, *others]}
