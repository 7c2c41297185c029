"""The control plane's version and settings: what resources alone do not say."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class ControlPlane:
    """Settings of one istiod revision.

    Attributes:
        version: Istio's version, such as `1.29.6`; empty: not known; that of each proxy counts.
        revision: Revision name; `default` if there is only one.
        mesh_config: MeshConfig as parsed from ConfigMap `istio` (or `istio-<revision>`), as given,
            without Istio's defaults.
        mesh_networks: MeshNetworks as parsed.
        environment: istiod's switches, such as `PILOT_ENABLE_ALPN_FILTER`, as far as they are
            known; others have Istio's default for the version.
        assumed: What was not found and is assumed to be default: `mesh_config`, `mesh_networks`,
            `environment`, `version`. Results that depend on it say so.
    """

    version: str = ""
    revision: str = "default"
    mesh_config: Mapping[str, Any] = field(default_factory=dict, hash=False)
    mesh_networks: Mapping[str, Any] = field(default_factory=dict, hash=False)
    environment: Mapping[str, str] = field(default_factory=dict, hash=False)
    assumed: tuple[str, ...] = ()
