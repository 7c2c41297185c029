"""Pods of which no snapshot has arrived: what is remembered of them until one does."""

from meshscope.analysis.delivery import UNSEEN_STATE
from meshscope.analysis.mesh import DEFAULT_REVISION, REVISION
from meshscope.events import convert
from meshscope.events.facts import ProxyState, Snapshot
from meshscope.events.proxy import ProxyInputs
from meshscope.events.resource import Resource
from meshscope.policy.canonical import IR_VERSION
from meshscope.stream.record import ProxyRecord

NO_EPOCH = ""
"""Epoch of the snapshot that stands for none; every real one is newer."""


def unseen(pod: Resource, cluster: str, partition: int, life: str) -> ProxyRecord:
    """The record of a Pod of which nothing has been heard.

    Args:
        pod: The Pod.
        cluster: Its cluster.
        partition: That in which its snapshots would be.
        life: Unique name of the record.
    """
    proxy = ProxyInputs(
        proxy=f"{pod.name}.{pod.namespace}",
        cluster=cluster,
        namespace=pod.namespace,
        labels=pod.labels,
        annotations=pod.annotations,
        service_account=pod.spec.get("serviceAccountName") or "",
        revision=pod.labels.get(REVISION) or DEFAULT_REVISION,
    )
    snapshot = Snapshot(
        id="",
        epoch=NO_EPOCH,
        sequence=0,
        started_at=0,
        root="",
        ir_version=IR_VERSION,
        observed_at=0,
        config_at=0,
        state=ProxyState(live=UNSEEN_STATE, error="no snapshot of this Pod has arrived"),
        **convert.proxy_fields(proxy),
    )
    return ProxyRecord(partition, life, snapshot)


def is_unseen(record: ProxyRecord) -> bool:
    """Whether no snapshot has arrived."""
    return record.snapshot.epoch == NO_EPOCH
