"""The facts on the topics, one frozen dataclass per Avro schema in `avro/`.

Times are UTC in milliseconds since 1970. Ids are hexadecimal digests: a fact that is delivered
twice is recognised by its id. Policies' contents and resources' bodies travel as canonical JSON in
bytes, since their shapes belong to `meshscope.policy` and to Kubernetes.
"""

from meshscope.events.facts.declared import (
    ControlPlaneState,
    DeclaredResource,
    PartitionOffset,
    Sync,
)
from meshscope.events.facts.found import (
    Anomaly,
    Cause,
    Change,
    Drift,
    EquivalentDifference,
    Evidence,
    FieldDifference,
    Finding,
    Verdict,
)
from meshscope.events.facts.held import (
    Certificate,
    PolicyBody,
    PolicyRequest,
    PolicyShard,
    ProxyState,
    RejectedUpdate,
    ShardDigest,
    ShardEntry,
    Snapshot,
    Source,
)

__all__ = [
    "Anomaly",
    "Cause",
    "Certificate",
    "Change",
    "ControlPlaneState",
    "DeclaredResource",
    "Drift",
    "EquivalentDifference",
    "Evidence",
    "FieldDifference",
    "Finding",
    "PartitionOffset",
    "PolicyBody",
    "PolicyRequest",
    "PolicyShard",
    "ProxyState",
    "RejectedUpdate",
    "ShardDigest",
    "ShardEntry",
    "Snapshot",
    "Source",
    "Sync",
    "Verdict",
]
