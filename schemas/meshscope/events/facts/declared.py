"""What the watcher says: resources, the control plane, and that a list is complete."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class DeclaredResource:
    """A resource of the control plane as it stands; a tombstone on its key says it is gone.

    Attributes:
        origin: Who declares it: `kubernetes`, or `directory` for a directory of YAML.
        cluster: Kubernetes cluster id.
        body: JSON of the manifest without its metadata.
        created_at: RFC 3339; None: not known.
        file, line: Where it stands, for files.
        observed_at: When the watcher saw it.
    """

    origin: str
    cluster: str
    group: str
    version: str
    kind: str
    namespace: str
    name: str
    body: bytes
    observed_at: int
    labels: Mapping[str, str] = field(default_factory=dict, hash=False)
    annotations: Mapping[str, str] = field(default_factory=dict, hash=False)
    created_at: str | None = None
    uid: str = ""
    resource_version: str = ""
    file: str = ""
    line: int = 0


@dataclass(frozen=True, slots=True)
class ControlPlaneState:
    """Version and settings of one revision of the control plane, see `ControlPlane`.

    Attributes:
        mesh_config, mesh_networks: JSON.
    """

    origin: str
    cluster: str
    revision: str
    version: str
    mesh_config: bytes
    mesh_networks: bytes
    observed_at: int
    environment: Mapping[str, str] = field(default_factory=dict, hash=False)
    assumed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PartitionOffset:
    """A place in the log: the next offset to be written after some record."""

    partition: int
    offset: int


@dataclass(frozen=True, slots=True)
class Sync:
    """A full list of resources was read and published.

    A reader holds the whole list once it has read the topic of resources up to `offsets`. Counting
    records would not do, because changes that follow alter the count.

    Attributes:
        epoch: Id of this list.
        log_epoch: Log to which `offsets` belong; a broker in memory starts a new one.
        count: Number of resources in the list.
        revision: `resourceVersion` of the list, or a digest of the files.
        offsets: End of each partition of the topic of resources after the list was written.
        problems: Documents that could not be read and are therefore missing from the list.
    """

    origin: str
    cluster: str
    epoch: str
    log_epoch: str
    count: int
    revision: str
    observed_at: int
    offsets: tuple[PartitionOffset, ...] = ()
    problems: tuple[str, ...] = ()
