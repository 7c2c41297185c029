"""What agents say: what a proxy holds and how it is, and what a reader asks of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class ShardDigest:
    """Digest of the policies of one kind and shard in a snapshot, and their number.

    Attributes:
        digest: Key of the `PolicyShard`.
        meaning: Digest of keys and contents alone, see `Shard.meaning`.
    """

    kind: str
    shard: int
    digest: str
    count: int
    meaning: str = ""


@dataclass(frozen=True, slots=True)
class RejectedUpdate:
    """An update that Envoy refused and what it said.

    Attributes:
        type: Section of the dump: `listeners`, `clusters`, `routes`, `endpoints`, `secrets`.
        resource: Name of the resource; empty where Envoy does not tell.
        details: Envoy's message.
        at: Time of the last attempt; 0: not told.
    """

    type: str
    resource: str
    details: str
    at: int = 0


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate that a proxy holds, as far as it matters for trust.

    Attributes:
        role: `workload`: the proxy shows it to its peers; `root`: it trusts what this one signed.
        serial: Serial number, hexadecimal, without leading zeros.
        identity: URI in it, such as `spiffe://cluster.local/ns/shop/sa/cart`; empty: none.
        valid_from, expires_at: Times; 0: not told.
    """

    role: str
    serial: str
    identity: str = ""
    valid_from: int = 0
    expires_at: int = 0


@dataclass(frozen=True, slots=True)
class ProxyState:
    """How a proxy is, as far as its admin interface shows.

    Attributes:
        live: Envoy's own word: `LIVE`, `DRAINING`, `PRE_INITIALIZING`, `INITIALIZING`, or
            `UNREACHABLE` where the admin interface does not answer.
        connected: Connection to the control plane; None: not told.
        rejected: Updates that it refused and that no later one replaced.
        warming: Names of resources that wait for something.
        draining: Number of listeners or filter chains that are being drained.
        versions: Last accepted version per type (`cds`, `lds`).
        certificate_expires_at: Of the first certificate to expire; 0: none or not told.
        certificate_identity: URI in the workload's certificate; empty: not told.
        incomplete: What cannot be verified because the configuration dump lacked a section:
            `kind: reason`, one line per kind of policy.
        error: Why there is no newer configuration, for the operator; empty: there is.
        certificates: Those of the workload and the roots that it trusts.
    """

    live: str = "LIVE"
    connected: bool | None = None
    rejected: tuple[RejectedUpdate, ...] = ()
    warming: tuple[str, ...] = ()
    draining: int = 0
    versions: Mapping[str, str] = field(default_factory=dict, hash=False)
    certificate_expires_at: int = 0
    certificate_identity: str = ""
    incomplete: tuple[str, ...] = ()
    error: str = ""
    certificates: tuple[Certificate, ...] = ()


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What one proxy holds at one time.

    Attributes:
        id: Digest of producer epoch, sequence and content.
        epoch: Id of the agent's life; a restart makes a new one.
        sequence: Number of the snapshot in that life, from 1.
        started_at: When that life began; it orders epochs.
        proxy, cluster …, metadata: See `ProxyInputs`; `metadata` is JSON.
        root: Digest over `shards`; equal roots mean equal policies.
        shards: One per kind and shard that has policies.
        coverage_consumed, coverage_ignored, coverage_unexplained: Leaves of the dump.
        ir_version: Version of the vocabulary.
        unreferenced: Keys of policies (`str(PolicyKey)`) that no listener leads to.
        config_at: When the configuration was read; `observed_at` may be later where only the
            state changed.
    """

    id: str
    epoch: str
    sequence: int
    started_at: int
    proxy: str
    cluster: str
    namespace: str
    root: str
    ir_version: int
    observed_at: int
    config_at: int
    state: ProxyState
    shards: tuple[ShardDigest, ...] = ()
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
    interception: str = "REDIRECT"
    metadata: bytes = b"{}"
    coverage_consumed: int = 0
    coverage_ignored: int = 0
    coverage_unexplained: int = 0
    unreferenced: tuple[str, ...] = ()
    agent_version: str = ""


@dataclass(frozen=True, slots=True)
class Source:
    """A resource by name, see `ResourceRef`."""

    kind: str
    namespace: str
    name: str


@dataclass(frozen=True, slots=True)
class ShardEntry:
    """One policy in a shard: key, digest of its content, and its sources."""

    key: str
    digest: str
    sources: tuple[Source, ...] = ()


@dataclass(frozen=True, slots=True)
class PolicyShard:
    """The policies of one kind and shard of a proxy; the record's key is `digest`."""

    digest: str
    kind: str
    shard: int
    ir_version: int
    entries: tuple[ShardEntry, ...]


@dataclass(frozen=True, slots=True)
class PolicyBody:
    """The content of a policy as canonical JSON; the record's key is `digest`."""

    digest: str
    kind: str
    ir_version: int
    content: bytes


@dataclass(frozen=True, slots=True)
class PolicyRequest:
    """A reader lacks shards or bodies that this proxy's agent has announced."""

    proxy: str
    cluster: str
    digests: tuple[str, ...]
    observed_at: int
