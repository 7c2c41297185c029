"""The recorded configuration: what istiod served each proxy, and the resources it was made from."""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass
from enum import Enum
from importlib.resources.abc import Traversable
from typing import Any

from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.endpoint.v3.endpoint_pb2 import ClusterLoadAssignment
from envoy.config.listener.v3.listener_pb2 import Listener
from envoy.config.route.v3.route_pb2 import RouteConfiguration

from meshscope.sandbox import protos
from meshscope.sandbox.errors import SandboxDataError
from meshscope.sandbox.model import MeshIndex, data_directory


class Variant(Enum):
    """Which of the two recordings is served."""

    PLAIN = "xds"
    """The declared resources alone."""

    PROBE = "xds-probe"
    """The declared resources and `probe.yaml`: inbound listeners hold the route for probes."""


@dataclass(frozen=True, slots=True)
class Resources:
    """Everything that one proxy is served. Messages are values: never change one in place."""

    clusters: tuple[Cluster, ...]
    endpoints: tuple[ClusterLoadAssignment, ...]
    listeners: tuple[Listener, ...]
    routes: tuple[RouteConfiguration, ...]
    withheld: frozenset[str] = frozenset()
    """Endpoint assignments that the server keeps silent about, so that their clusters warm."""


class Recording:
    """Reads the recorded mesh. Conversion to protobuf is done once per proxy and state."""

    def __init__(
        self, index: MeshIndex, variant: Variant = Variant.PLAIN, data: Traversable | None = None
    ) -> None:
        self._index = index
        self._variant = variant
        self._data = data or data_directory()
        self._cache: dict[tuple[str, str], Resources] = {}

    def resources(self, state: str, proxy: str) -> Resources:
        """What istiod served a proxy in a state.

        Raises:
            CommandRefused: no such state or proxy.
            SandboxDataError: the recording lacks it or cannot be read.
        """
        key = (self._index.state(state).id, self._index.proxy(proxy).proxy)
        if key not in self._cache:
            self._cache[key] = self._read(*key)
        return self._cache[key]

    def declarations(self, state: str) -> dict[str, str]:
        """Everything declared in a state: file name → YAML, Kubernetes objects included.

        Raises:
            CommandRefused: no such state.
            SandboxDataError: a file cannot be read.
        """
        directories = [self._data / "states" / self._index.state(state).id]
        directories.append(self._data / "kubernetes")
        files: list[Traversable] = []
        try:
            for directory in directories:
                files += [file for file in directory.iterdir() if file.name.endswith(".yaml")]
            if self._variant is Variant.PROBE:
                files.append(self._data / "probe.yaml")
            return {file.name: file.read_text("utf-8") for file in files}
        except OSError as error:
            raise SandboxDataError(f"cannot read the resources of {state}: {error}") from error

    def bootstrap(self, proxy: str) -> dict[str, Any]:
        """The recorded Envoy bootstrap of a proxy, with placeholders for its sockets."""
        file = self._data / "bootstrap" / f"{proxy}.json"
        try:
            document: dict[str, Any] = json.loads(file.read_bytes())
        except (OSError, ValueError) as error:
            raise SandboxDataError(f"cannot read the bootstrap {file}: {error}") from error
        return document

    def _read(self, state: str, proxy: str) -> Resources:
        archive = self._data / f"{self._variant.value}.zip"
        member = f"{state}/{proxy}.json"
        try:
            with archive.open("rb") as stream, zipfile.ZipFile(stream) as files:
                recorded = json.loads(files.read(member))
            return Resources(
                clusters=tuple(protos.parse(item, Cluster) for item in recorded["cds"]),
                endpoints=tuple(
                    protos.parse(item, ClusterLoadAssignment) for item in recorded["eds"]
                ),
                listeners=tuple(protos.parse(item, Listener) for item in recorded["lds"]),
                routes=tuple(protos.parse(item, RouteConfiguration) for item in recorded["rds"]),
            )
        except (OSError, zipfile.BadZipFile, ValueError, KeyError) as error:
            raise SandboxDataError(f"cannot read {member} in {archive}: {error}") from error
