"""What every part of a projection reads, and what it contributes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_address
from typing import Any

from meshscope.events.proxy import ProxyInputs
from meshscope.projection.destinations.client_rules import ClientRules
from meshscope.projection.fragments import Layer
from meshscope.projection.inbound.ports import Interception
from meshscope.projection.mesh import Labels, Mesh
from meshscope.projection.result import Unverifiable
from meshscope.projection.sidecar_scope import SidecarScope
from meshscope.projection.workload import Workload


@dataclass(frozen=True, slots=True, eq=False)
class Context:
    """A proxy in its mesh.

    Attributes:
        mesh: What all proxies share.
        proxy: The proxy's inputs.
        workload: Its workload.
        scope: What it sees.
    """

    mesh: Mesh
    proxy: ProxyInputs
    workload: Workload
    scope: SidecarScope

    @property
    def labels(self) -> Labels:
        """Labels that decide what it is sent for outbound traffic."""
        return self.mesh.telling_labels(self.workload.labels)

    @property
    def rules(self) -> ClientRules:
        """The DestinationRules that it applies."""
        return self.mesh.rules(self.scope, self.workload.labels)

    @property
    def families(self) -> frozenset[int]:
        """Versions of IP that it has addresses of; IPv4 if none is known."""
        return _families(self.proxy.addresses)

    @property
    def interception(self) -> Interception:
        """How its connections are captured."""
        return self.proxy.interception

    @property
    def own_ports(self) -> frozenset[int]:
        """Ports of listeners that its agent gave it, at the wildcard address."""
        metadata = self.proxy.metadata
        named = (metadata.get(name) for name in ("ENVOY_STATUS_PORT", "ENVOY_PROMETHEUS_PORT"))
        return frozenset(int(port) for port in named if port)

    @property
    def unprivileged(self) -> bool:
        """Whether it cannot open ports below 1024."""
        return str(self.proxy.metadata.get("UNPRIVILEGED_POD", "")).lower() == "true"

    @property
    def proxy_config(self) -> Mapping[str, Any]:
        """ProxyConfig that the proxy was started with."""
        found: Mapping[str, Any] = self.proxy.metadata.get("PROXY_CONFIG") or {}
        return found


@lru_cache(maxsize=100_000)
def _families(addresses: tuple[str, ...]) -> frozenset[int]:
    return frozenset(ip_address(address).version for address in addresses) or frozenset((4,))


@dataclass(frozen=True, slots=True)
class Contribution:
    """What a part says.

    Attributes:
        layers: Policies, with every possible outcome.
        unverifiable: Parts of which nothing can be said.
        notes: Limits.
    """

    layers: tuple[Layer, ...] = ()
    unverifiable: tuple[Unverifiable, ...] = ()
    notes: tuple[str, ...] = ()


Part = Callable[[Context], Contribution]
