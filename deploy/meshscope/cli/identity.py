"""Whose a configuration dump is."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from meshscope.events.resource import Resource
from meshscope.inference.config_dump import section_name
from meshscope.watcher.control_plane import DEFAULT_REVISION, REVISION_LABEL, image_version

_BOOTSTRAP: Final = "envoy.admin.v3.BootstrapConfigDump"
_LOCALITY: Final = {
    "region": "topology.kubernetes.io/region",
    "zone": "topology.kubernetes.io/zone",
    "sub_zone": "topology.istio.io/subzone",
}
_INTERCEPTION: Final = "sidecar.istio.io/interceptionMode"
_CLUSTER: Final = "Kubernetes"
"""What istiod calls the cluster that it runs in, unless it was told otherwise."""
_TRUST_DOMAIN: Final = "cluster.local"
_CONTAINER: Final = "istio-proxy"
_METADATA: Final = "ISTIO_META_"
"""Prefix of the variables by which the injector hands metadata to a sidecar."""


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

    def revision(self, proxy: str) -> str:
        """The revision of istiod that injected a Pod's sidecar."""
        pod = self._pods.get(proxy)
        return (pod.labels.get(REVISION_LABEL) if pod else None) or DEFAULT_REVISION

    def node(self, proxy: str, mesh_config: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """The `Node` that the proxy of this Pod bootstraps with; None: there is no such Pod."""
        pod = self._pods.get(proxy)
        if pod is None:
            return None
        status: Any = pod.body.get("status") or {}
        addresses = [entry.get("ip", "") for entry in status.get("podIPs") or ()]
        addresses = addresses or [status.get("podIP") or ""]
        container = _sidecar(pod)
        where = self._nodes.get(pod.spec.get("nodeName") or "")
        return {
            "id": f"{_kind(container)}~{addresses[0]}~{proxy}~{pod.namespace}.svc.cluster.local",
            "metadata": {
                "CLUSTER_ID": _CLUSTER,
                "NAMESPACE": pod.namespace,
                "LABELS": dict(pod.labels),
                "ANNOTATIONS": dict(pod.annotations),
                "SERVICE_ACCOUNT": pod.spec.get("serviceAccountName") or "default",
                "NODE_NAME": pod.spec.get("nodeName") or "",
                "INSTANCE_IPS": ",".join(addresses),
                "INTERCEPTION_MODE": pod.annotations.get(_INTERCEPTION) or "REDIRECT",
                "ISTIO_VERSION": image_version(str(container.get("image") or "")),
                "MESH_ID": _mesh_id(mesh_config),
                **_handed_over(container),
            },
            "locality": {
                field: where.labels[label]
                for field, label in _LOCALITY.items()
                if where is not None and label in where.labels
            },
        }


def _sidecar(pod: Resource) -> Mapping[str, Any]:
    """The container of the proxy, which is an init container where sidecars are native."""
    containers = (
        *(pod.spec.get("containers") or ()),
        *(pod.spec.get("initContainers") or ()),
    )
    return next((found for found in containers if found.get("name") == _CONTAINER), {})


def _kind(container: Mapping[str, Any]) -> str:
    """The type of proxy that a container runs, by its arguments: `proxy router …`."""
    match container.get("args"):
        case ["proxy", str(kind), *_]:
            return kind
        case _:
            return "sidecar"


def _handed_over(container: Mapping[str, Any]) -> Mapping[str, str]:
    return {
        variable["name"].removeprefix(_METADATA): variable["value"]
        for variable in container.get("env") or ()
        if variable.get("name", "").startswith(_METADATA) and isinstance(variable.get("value"), str)
    }


def _mesh_id(mesh_config: Mapping[str, Any]) -> str:
    """The mesh's id, for which the trust domain stands in."""
    default = mesh_config.get("defaultConfig") or {}
    return default.get("meshId") or mesh_config.get("trustDomain") or _TRUST_DOMAIN


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


def node_of(dump: Mapping[str, Any]) -> Mapping[str, Any]:
    """The part of a dump that says of which proxy it is."""
    own = [config for config in dump["configs"] if section_name(config) == _BOOTSTRAP]
    return {**dump, "configs": own}
