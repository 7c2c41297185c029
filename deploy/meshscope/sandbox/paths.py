"""Where a sandbox keeps its files. The only place that knows the names."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

HOME_VARIABLE = "MESHSCOPE_HOME"
"""Directory of everything that MeshScope writes on this machine; default `~/.meshscope`."""


def default_directory(environment: Mapping[str, str] = os.environ) -> Path:
    """The sandbox's directory when none is given: `$MESHSCOPE_HOME/sandbox`."""
    home = environment.get(HOME_VARIABLE)
    return (Path(home) if home else Path.home() / ".meshscope") / "sandbox"


@dataclass(frozen=True, slots=True)
class ProxyPaths:
    """The working directory of one Envoy. Socket names are relative to it, hence short."""

    directory: Path

    SDS_SOCKET = "sds.sock"
    XDS_SOCKET = "xds.sock"

    @property
    def bootstrap(self) -> Path:
        return self.directory / "bootstrap.json"

    @property
    def log(self) -> Path:
        """Envoy's own log."""
        return self.directory / "envoy.log"

    @property
    def access_log(self) -> Path:
        """Envoy's standard output: the access log, one JSON object a line."""
        return self.directory / "access.log"

    @property
    def pid(self) -> Path:
        return self.directory / "envoy.pid"


@dataclass(frozen=True, slots=True)
class SandboxPaths:
    """Layout of one sandbox directory."""

    directory: Path

    @property
    def marker(self) -> Path:
        """Says that this directory belongs to a sandbox and may be emptied by the next one."""
        return self.directory / "sandbox.json"

    @property
    def control_socket(self) -> Path:
        """Exists exactly while the sandbox is ready for commands."""
        return self.directory / "control.sock"

    @property
    def resources(self) -> Path:
        """What the control plane declares: Istio and Kubernetes resources as YAML files."""
        return self.directory / "resources"

    @property
    def proxies(self) -> Path:
        return self.directory / "proxies"

    def proxy(self, proxy: str) -> ProxyPaths:
        return ProxyPaths(self.proxies / proxy)
