"""The table of topics: what is on them, how long, and who writes it."""

from dataclasses import dataclass

from meshscope.events import facts

DAY_MS = 24 * 60 * 60 * 1000


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic.

    Attributes:
        name: `meshscope.<plane>.<fact>`.
        key: What a record's key says.
        says: What a record says, in one sentence.
        facts: Dataclasses of the values; empty: raw bytes.
        written_by: The process that writes it.
        compacted: The last record of each key is kept.
        retention_ms: Older records are deleted; None: never.
        partitions: Number of partitions. Topics that are read together per proxy have the same.
        kept: Its facts go into the history.
        max_message_bytes: Largest record; None: as the broker has it (Kafka: about a megabyte).
    """

    name: str
    key: str
    says: str
    facts: tuple[type, ...]
    written_by: str
    compacted: bool = False
    retention_ms: int | None = None
    partitions: int = 4
    kept: bool = True
    max_message_bytes: int | None = None

    @property
    def config(self) -> dict[str, str]:
        """Kafka's settings of the topic."""
        policies = [
            *(["compact"] if self.compacted else []),
            *(["delete"] if self.retention_ms is not None else []),
        ]
        settings = {
            "cleanup.policy": ",".join(policies),
            "compression.type": "producer",
            # The broker's time, not the producer's: retention goes by it, and Kafka refuses
            # records from the future.
            "message.timestamp.type": "LogAppendTime",
        }
        if self.retention_ms is not None:
            settings["retention.ms"] = str(self.retention_ms)
        if self.max_message_bytes is not None:
            settings["max.message.bytes"] = str(self.max_message_bytes)
        return settings


RESOURCES = Topic(
    "meshscope.control-plane.resources",
    "origin/cluster/group/kind/namespace/name",
    "One Istio, Gateway API or Kubernetes resource; a tombstone says that it is gone.",
    (facts.DeclaredResource,),
    "watcher",
    compacted=True,
)
CONTROL_PLANE_STATE = Topic(
    "meshscope.control-plane.state",
    "origin/cluster/revision, or sync/origin/cluster",
    "The control plane's version and settings, and marks that a full list was read.",
    (facts.ControlPlaneState, facts.Sync),
    "watcher",
    compacted=True,
    partitions=1,
)
SNAPSHOTS = Topic(
    "meshscope.data-plane.snapshots",
    "proxy id",
    "What one proxy holds: its inputs, its state, and digests of its policies.",
    (facts.Snapshot,),
    "agent",
    compacted=True,
)
POLICIES = Topic(
    "meshscope.data-plane.policies",
    "digest",
    "A shard or the body of one policy, content-addressed, once for the whole mesh.",
    (facts.PolicyShard, facts.PolicyBody),
    "agent",
    compacted=True,
    retention_ms=7 * DAY_MS,
)
REQUESTS = Topic(
    "meshscope.data-plane.requests",
    "proxy id",
    "Shards and bodies that a reader lacks and that the proxy's agent should publish again.",
    (facts.PolicyRequest,),
    "stream worker",
    retention_ms=DAY_MS,
    partitions=1,
    kept=False,
)
DRIFT = Topic(
    "meshscope.verification.drift",
    "proxy id",
    "A difference or finding opened, still there, or closed; and the verdict on a proxy.",
    (facts.Drift, facts.Finding, facts.Verdict),
    "stream worker",
    retention_ms=7 * DAY_MS,
)
EVIDENCE = Topic(
    "meshscope.verification.evidence",
    "fingerprint of the anomaly",
    "The same drifts and findings once more, so that all evidence of one anomaly is read by one "
    "worker.",
    (facts.Drift, facts.Finding),
    "stream worker",
    retention_ms=7 * DAY_MS,
    kept=False,
)
ANOMALIES = Topic(
    "meshscope.anomalies",
    "fingerprint",
    "An anomaly opened, updated or resolved. Public interface, with CloudEvents headers.",
    (facts.Anomaly,),
    "stream worker",
    compacted=True,
    retention_ms=30 * DAY_MS,
)
DEAD_LETTER = Topic(
    "meshscope.dead-letter",
    "key of the record",
    "A record that could not be processed, its bytes untouched, with the error in headers.",
    (),
    "any",
    retention_ms=30 * DAY_MS,
    partitions=1,
    kept=False,
    # The record with some more headers, so a little more than the largest record there can be.
    max_message_bytes=2 * 1024 * 1024,
)

TOPICS: tuple[Topic, ...] = (
    RESOURCES,
    CONTROL_PLANE_STATE,
    SNAPSHOTS,
    POLICIES,
    REQUESTS,
    DRIFT,
    EVIDENCE,
    ANOMALIES,
    DEAD_LETTER,
)
