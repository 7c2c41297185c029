"""What a projection must know of a proxy."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class ProxyInputs:
    """The inputs of `project` that come from the proxy itself: its node, and its Pod if known.

    Attributes:
        proxy: `pod.namespace`.
        cluster: Kubernetes cluster id (`CLUSTER_ID`), such as `Kubernetes`.
        namespace: Namespace of the Pod.
        labels: Labels of the node metadata. Where a Pod resource of that name exists, a projection
            uses the Pod's labels instead, because node metadata goes stale.
        annotations: Annotations of the node metadata.
        service_account: Its service account.
        addresses: Own IP addresses, the first one is the primary one.
        node_name: Kubernetes node that it runs on.
        region, zone, sub_zone: Locality.
        network: Network id.
        dns_domain: Such as `shop.svc.cluster.local`.
        istio_version: Of the proxy.
        revision: Istio revision of the proxy (`default`).
        interception: `REDIRECT`, `TPROXY` or `NONE`.
        metadata: The whole node metadata as given, for what EnvoyFilters match and rare features
            read.
    """

    proxy: str
    cluster: str
    namespace: str
    labels: Mapping[str, str] = field(default_factory=dict, hash=False)
    annotations: Mapping[str, str] = field(default_factory=dict, hash=False)
    service_account: str = ""
    addresses: tuple[str, ...] = ()
    node_name: str = ""
    region: str = ""
    zone: str = ""
    sub_zone: str = ""
    network: str = ""
    dns_domain: str = ""
    istio_version: str = ""
    revision: str = "default"
    interception: Literal["REDIRECT", "TPROXY", "NONE"] = "REDIRECT"
    metadata: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @property
    def id(self) -> str:
        """Proxy id over all clusters: `cluster/pod.namespace`."""
        return f"{self.cluster}/{self.proxy}"
