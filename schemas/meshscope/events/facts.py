"""The facts on the topics, one frozen dataclass per Avro schema in `avro/`.

Times are UTC in milliseconds since 1970. Ids are hexadecimal digests: a fact that is delivered
twice is recognised by its id. Policies' contents and resources' bodies travel as canonical JSON in
bytes, since their shapes belong to `meshscope.policy` and to Kubernetes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal


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


Change = Literal["missing", "extra", "different"]


@dataclass(frozen=True, slots=True)
class FieldDifference:
    """One field in which a policy differs, in the words of the resource."""

    path: str
    expected: str
    observed: str


@dataclass(frozen=True, slots=True)
class Cause:
    """What makes something an anomaly, and which one.

    Attributes:
        code: `MSC-…`.
        subject: What it is about, in words; it names the anomaly where no resource does.
        resource: The resource responsible; None: none, or it is not known.
    """

    code: str
    subject: str
    resource: Source | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """How a proxy gets its configuration and takes it in is not as it should be, at one time.

    Attributes:
        id, episode, status, snapshot, opened_at, observed_at, revision: As in `Drift`.
        key: What it is about, unique among the findings of a proxy.
        cause: The anomaly that it is evidence of.
        expected, observed: What should be, and what is.
    """

    id: str
    episode: str
    status: Literal["opened", "open", "closed"]
    proxy: str
    cluster: str
    key: str
    cause: Cause
    expected: str
    observed: str
    snapshot: str
    opened_at: int
    observed_at: int
    revision: int = 0


@dataclass(frozen=True, slots=True)
class Drift:
    """A difference between what a proxy should hold and what it holds, at one time.

    Attributes:
        id: Unique for this fact; a fact that is sent twice has one id, and a drift that returns
            has another.
        episode: Id of the fact with which it opened.
        status: `opened`, `open` (still there, but looks different, or for the daily repetition) or
            `closed` (expected and observed are then empty: they agree).
        proxy, cluster: Whose.
        key: Policy key.
        code: `MSC-1xxx`.
        change, effect: See the comparison.
        expected, observed: In the words of the resource.
        fields: The fields that differ; empty for `missing` and `extra`.
        sources: Resources responsible.
        snapshot: Id of the snapshot that it was computed from.
        declared: Digest of the declared policy set that it was compared with.
        resource_versions: `kind ns/name@resourceVersion` of the sources.
        opened_at, observed_at: Times.
        witness: JSON of a request that shows it; empty: none yet.
        revision: Number of this fact among all about the proxy, from 1, or since it came back
            after it was gone; within an episode the highest counts.
        cause: Why the proxy does not hold what it should, where a finding explains it; the drift is
            then evidence of that anomaly, and not of one of its own.
    """

    id: str
    episode: str
    status: Literal["opened", "open", "closed"]
    proxy: str
    cluster: str
    kind: str
    key: str
    code: str
    change: str
    effect: str
    expected: str
    observed: str
    snapshot: str
    declared: str
    opened_at: int
    observed_at: int
    fields: tuple[FieldDifference, ...] = ()
    sources: tuple[Source, ...] = ()
    resource_versions: tuple[str, ...] = ()
    witness: str = ""
    revision: int = 0
    cause: Cause | None = None


@dataclass(frozen=True, slots=True)
class EquivalentDifference:
    """A policy that differs from what is declared in form only; fields as in `Drift`."""

    key: str
    code: str
    change: str
    expected: str
    observed: str
    fields: tuple[FieldDifference, ...] = ()
    sources: tuple[Source, ...] = ()


@dataclass(frozen=True, slots=True)
class Verdict:
    """What verification says of one proxy at one time.

    Attributes:
        id: As in `Drift`.
        verdict: `in-sync`, `converging` (differences within the convergence window), `drift`,
            `unverifiable`, `unknown` (nothing to compare with yet) or `gone` (the proxy left).
        reason: Why it is not known or not verifiable; empty otherwise.
        unverifiable: Policy keys or kinds of which nothing can be said, each with its reason.
        equivalent: Number of differences in form only.
        differences: Number of differences that are drift.
        policies: Number of policies that were compared.
        snapshot, declared: Inputs, as in `Drift`.
        coverage: Share of the dump that was explained, 0 to 1.
        revision: As in `Drift`.
        equivalents: The first of the differences in form only.
        notes: Limits of this verdict (`MSC-5xxx`).
    """

    id: str
    proxy: str
    cluster: str
    verdict: str
    snapshot: str
    declared: str
    observed_at: int
    reason: str = ""
    unverifiable: tuple[str, ...] = ()
    equivalent: int = 0
    differences: int = 0
    policies: int = 0
    coverage: float = 0.0
    revision: int = 0
    equivalents: tuple[EquivalentDifference, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Evidence:
    """One drift or finding as evidence of an anomaly; a finding has no change and no effect."""

    episode: str
    proxy: str
    key: str
    change: str
    effect: str
    expected: str
    observed: str
    snapshot: str


@dataclass(frozen=True, slots=True)
class Anomaly:
    """An inconsistency that somebody should look at; the record's key is `fingerprint`.

    Attributes:
        id: Digest of fingerprint, episode, status and content; the CloudEvents id.
        fingerprint: Stable over restarts: cluster, layer, code, resource (else proxy and key).
        episode: Digest of the fingerprint and the time it opened: one life of the anomaly.
        status: `opened`, `updated` or `resolved`.
        layer: `declaration`, `translation`, `delivery`, `loading` or `enforcement`.
        code: `MSC-…`.
        severity: `critical`, `warning` or `info`.
        title: One sentence.
        resource: Resource responsible; None: not known.
        proxies: Blast radius.
        evidence: At most 100 drifts and findings; `evidence_count` is their number.
        repair: What to do; empty: nothing is known.
    """

    id: str
    fingerprint: str
    episode: str
    status: Literal["opened", "updated", "resolved"]
    cluster: str
    layer: str
    code: str
    severity: str
    title: str
    opened_at: int
    updated_at: int
    resolved_at: int | None = None
    resource: Source | None = None
    proxies: tuple[str, ...] = ()
    evidence: tuple[Evidence, ...] = ()
    evidence_count: int = 0
    repair: str = ""
