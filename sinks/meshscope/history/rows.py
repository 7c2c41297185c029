"""From records to rows: pure, one function per fact."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from meshscope.events import facts
from meshscope.events.codec import PoisonValue, decode
from meshscope.events.resource import key_parts
from meshscope.events.topics import RESOURCES, SNAPSHOTS, Topic
from meshscope.policy.canonical import digest_bytes

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a record stands and when the broker took it.

    Attributes:
        log_epoch: Id of the log, since a broker in memory counts from 0 again.
        broker_at: Milliseconds.
    """

    log_epoch: str
    topic: str
    partition: int
    offset: int
    broker_at: int


@dataclass(frozen=True, slots=True)
class TableRow:
    """A row for a table."""

    table: str
    row: Row


def instant(milliseconds: int) -> datetime:
    """A time for ClickHouse; what lies outside of its calendar becomes its nearest end.

    A clock that is wrong by years must not make a row unwritable.
    """
    return datetime.fromtimestamp(min(max(milliseconds, 0), 10_413_791_999_999) / 1000, UTC)


def row_of(topic: Topic, place: Place, key: bytes | None, value: bytes | None) -> TableRow | None:
    """The row that a record becomes; None: this topic's tombstones are not kept.

    Raises:
        PoisonValue: The record cannot be read.
    """
    if value is None:
        return _tombstone(topic, place, key or b"")
    fact = decode(value, *topic.facts)
    table, columns = _COLUMNS[type(fact)]
    own_id = getattr(fact, "id", None)
    event_id = own_id or digest_bytes("record", (key or b"") + b"\x00" + value)
    return TableRow(table, columns(fact) | _place_columns(place, event_id))


def _place_columns(place: Place, event_id: str) -> dict[str, Any]:
    return {
        "event_id": event_id,
        "broker_at": instant(place.broker_at),
        "log_epoch": place.log_epoch,
        "kafka_topic": place.topic,
        "kafka_partition": place.partition,
        "kafka_offset": place.offset,
    }


def _tombstone(topic: Topic, place: Place, key: bytes) -> TableRow | None:
    seed = f"{place.log_epoch}/{place.topic}/{place.partition}/{place.offset}"
    at = _place_columns(place, digest_bytes("tombstone", seed.encode()))
    gone = {"deleted": True, "observed_at": instant(place.broker_at)}
    text = key.decode(errors="replace")
    if topic is RESOURCES:
        try:
            origin, cluster, group, kind, namespace, name = key_parts(text)
        except ValueError as error:
            raise PoisonValue(f"a tombstone: {error}") from error
        return TableRow(
            "resources",
            _EMPTY_RESOURCE
            | {
                "origin": origin,
                "cluster": cluster,
                "api_group": group,
                "kind": kind,
                "namespace": namespace,
                "name": name,
            }
            | gone
            | at,
        )
    if topic is SNAPSHOTS:
        cluster, _, proxy = text.rpartition("/")
        namespace = proxy.rpartition(".")[2]
        return TableRow(
            "snapshots",
            _EMPTY_SNAPSHOT
            | {
                "cluster": cluster,
                "proxy": proxy,
                "namespace": namespace,
                "config_at": instant(place.broker_at),
            }
            | gone
            | at,
        )
    return None


def _source(source: facts.Source) -> str:
    return f"{source.kind} {source.namespace}/{source.name}"


def _resource(fact: facts.DeclaredResource) -> dict[str, Any]:
    return {
        "observed_at": instant(fact.observed_at),
        "origin": fact.origin,
        "cluster": fact.cluster,
        "api_group": fact.group,
        "version": fact.version,
        "kind": fact.kind,
        "namespace": fact.namespace,
        "name": fact.name,
        "deleted": False,
        "labels": dict(fact.labels),
        "annotations": dict(fact.annotations),
        "created_at": fact.created_at,
        "uid": fact.uid,
        "resource_version": fact.resource_version,
        "file": fact.file,
        "line": fact.line,
        "body": fact.body.decode(),
    }


def _control_plane(fact: facts.ControlPlaneState) -> dict[str, Any]:
    return {
        "observed_at": instant(fact.observed_at),
        "origin": fact.origin,
        "cluster": fact.cluster,
        "revision": fact.revision,
        "version": fact.version,
        "mesh_config": fact.mesh_config.decode(),
        "mesh_networks": fact.mesh_networks.decode(),
        "environment": dict(fact.environment),
        "assumed": list(fact.assumed),
    }


def _sync(fact: facts.Sync) -> dict[str, Any]:
    return {
        "observed_at": instant(fact.observed_at),
        "origin": fact.origin,
        "cluster": fact.cluster,
        "epoch": fact.epoch,
        "count": fact.count,
        "revision": fact.revision,
        "problems": list(fact.problems),
    }


def _snapshot(fact: facts.Snapshot) -> dict[str, Any]:
    state = fact.state
    return {
        "observed_at": instant(fact.observed_at),
        "config_at": instant(fact.config_at),
        "cluster": fact.cluster,
        "proxy": fact.proxy,
        "namespace": fact.namespace,
        "deleted": False,
        "epoch": fact.epoch,
        "sequence": fact.sequence,
        "started_at": instant(fact.started_at),
        "root": fact.root,
        "ir_version": fact.ir_version,
        "live": state.live,
        "connected": state.connected,
        "rejected_types": [update.type for update in state.rejected],
        "rejected_resources": [update.resource for update in state.rejected],
        "rejected_details": [update.details for update in state.rejected],
        "rejected_at": [instant(update.at) for update in state.rejected],
        "warming": list(state.warming),
        "draining": state.draining,
        "versions": dict(state.versions),
        "certificate_expires_at": instant(state.certificate_expires_at),
        "certificate_identity": state.certificate_identity,
        "incomplete": list(state.incomplete),
        "error": state.error,
        "shards": {f"{shard.kind}/{shard.shard}": shard.digest for shard in fact.shards},
        "policies": sum(shard.count for shard in fact.shards),
        "unreferenced": list(fact.unreferenced),
        "labels": dict(fact.labels),
        "annotations": dict(fact.annotations),
        "service_account": fact.service_account,
        "addresses": list(fact.addresses),
        "node_name": fact.node_name,
        "region": fact.region,
        "zone": fact.zone,
        "sub_zone": fact.sub_zone,
        "network": fact.network,
        "dns_domain": fact.dns_domain,
        "istio_version": fact.istio_version,
        "revision": fact.revision,
        "interception": fact.interception,
        "metadata": fact.metadata.decode(),
        "coverage_consumed": fact.coverage_consumed,
        "coverage_ignored": fact.coverage_ignored,
        "coverage_unexplained": fact.coverage_unexplained,
        "agent_version": fact.agent_version,
    }


def _shard(fact: facts.PolicyShard) -> dict[str, Any]:
    return {
        "digest": fact.digest,
        "kind": fact.kind,
        "shard": fact.shard,
        "ir_version": fact.ir_version,
        "keys": [entry.key for entry in fact.entries],
        "digests": [entry.digest for entry in fact.entries],
        "sources": [", ".join(map(_source, entry.sources)) for entry in fact.entries],
    }


def _body(fact: facts.PolicyBody) -> dict[str, Any]:
    return {
        "digest": fact.digest,
        "kind": fact.kind,
        "ir_version": fact.ir_version,
        "content": fact.content.decode(),
    }


def _drift(fact: facts.Drift) -> dict[str, Any]:
    return {
        "observed_at": instant(fact.observed_at),
        "opened_at": instant(fact.opened_at),
        "cluster": fact.cluster,
        "proxy": fact.proxy,
        "episode": fact.episode,
        "status": fact.status,
        "kind": fact.kind,
        "key": fact.key,
        "code": fact.code,
        "change": fact.change,
        "effect": fact.effect,
        "expected": fact.expected,
        "observed": fact.observed,
        "field_paths": [field.path for field in fact.fields],
        "field_expected": [field.expected for field in fact.fields],
        "field_observed": [field.observed for field in fact.fields],
        "sources": [_source(source) for source in fact.sources],
        "resource_versions": list(fact.resource_versions),
        "snapshot": fact.snapshot,
        "declared": fact.declared,
        "witness": fact.witness,
        "cause_code": fact.cause.code if fact.cause else "",
        "cause_subject": fact.cause.subject if fact.cause else "",
        "cause_resource": _resource_of(fact.cause),
        "revision": fact.revision,
    }


def _finding(fact: facts.Finding) -> dict[str, Any]:
    return {
        "observed_at": instant(fact.observed_at),
        "opened_at": instant(fact.opened_at),
        "cluster": fact.cluster,
        "proxy": fact.proxy,
        "episode": fact.episode,
        "status": fact.status,
        "key": fact.key,
        "code": fact.cause.code,
        "subject": fact.cause.subject,
        "resource": _resource_of(fact.cause),
        "expected": fact.expected,
        "observed": fact.observed,
        "snapshot": fact.snapshot,
        "revision": fact.revision,
    }


def _resource_of(cause: facts.Cause | None) -> str:
    return _source(cause.resource) if cause and cause.resource else ""


def _verdict(fact: facts.Verdict) -> dict[str, Any]:
    return {
        "observed_at": instant(fact.observed_at),
        "cluster": fact.cluster,
        "proxy": fact.proxy,
        "verdict": fact.verdict,
        "reason": fact.reason,
        "unverifiable": list(fact.unverifiable),
        "equivalent": fact.equivalent,
        "equivalent_keys": [each.key for each in fact.equivalents],
        "equivalent_expected": [each.expected for each in fact.equivalents],
        "equivalent_observed": [each.observed for each in fact.equivalents],
        "equivalent_sources": [", ".join(map(_source, each.sources)) for each in fact.equivalents],
        "differences": fact.differences,
        "policies": fact.policies,
        "coverage": fact.coverage,
        "notes": list(fact.notes),
        "snapshot": fact.snapshot,
        "declared": fact.declared,
        "revision": fact.revision,
    }


def _anomaly(fact: facts.Anomaly) -> dict[str, Any]:
    return {
        "updated_at": instant(fact.updated_at),
        "opened_at": instant(fact.opened_at),
        "resolved_at": None if fact.resolved_at is None else instant(fact.resolved_at),
        "cluster": fact.cluster,
        "fingerprint": fact.fingerprint,
        "episode": fact.episode,
        "status": fact.status,
        "layer": fact.layer,
        "code": fact.code,
        "severity": fact.severity,
        "title": fact.title,
        "resource": "" if fact.resource is None else _source(fact.resource),
        "proxies": list(fact.proxies),
        "evidence_count": fact.evidence_count,
        "evidence_proxies": [evidence.proxy for evidence in fact.evidence],
        "evidence_keys": [evidence.key for evidence in fact.evidence],
        "evidence_expected": [evidence.expected for evidence in fact.evidence],
        "evidence_observed": [evidence.observed for evidence in fact.evidence],
        "repair": fact.repair,
    }


_COLUMNS: Final[dict[type, tuple[str, Callable[[Any], dict[str, Any]]]]] = {
    facts.DeclaredResource: ("resources", _resource),
    facts.ControlPlaneState: ("control_plane", _control_plane),
    facts.Sync: ("syncs", _sync),
    facts.Snapshot: ("snapshots", _snapshot),
    facts.PolicyShard: ("policy_shards", _shard),
    facts.PolicyBody: ("policies", _body),
    facts.Drift: ("drift", _drift),
    facts.Finding: ("findings", _finding),
    facts.Verdict: ("verdicts", _verdict),
    facts.Anomaly: ("anomalies", _anomaly),
}
"""Table and columns of each fact that is kept."""

TABLES: Final = tuple(table for table, _ in _COLUMNS.values())

_EMPTY_RESOURCE: Final = _resource(
    facts.DeclaredResource("", "", "", "", "", "", "", b"", observed_at=0)
)
_EMPTY_SNAPSHOT: Final = _snapshot(
    facts.Snapshot("", "", 0, 0, "", "", "", "", 0, 0, 0, facts.ProxyState(live=""))
)
