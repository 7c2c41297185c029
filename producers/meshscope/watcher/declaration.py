"""What a source declares, and the records that say it: values in, records out."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from meshscope.events import convert
from meshscope.events.codec import OversizedValue, decode, encode
from meshscope.events.facts import PartitionOffset, Sync
from meshscope.events.resource import Resource
from meshscope.events.topics import CONTROL_PLANE_STATE, RESOURCES
from meshscope.watcher.control_plane import control_plane, revisions
from meshscope.watcher.problem import LOSES_INPUT, Problem
from meshscope.watcher.source import Changed, Identity, Listed, identity

PUBLISHED: Final[Mapping[str, frozenset[str] | None]] = {
    # API group → kinds; None: all kinds of the group. What decides about a sidecar's configuration
    # and nothing else: Secrets never leave the source, nor do ConfigMaps, whose mesh configuration
    # is published as settings of the control plane.
    "": frozenset({"Endpoints", "Namespace", "Node", "Pod", "Service", "ServiceAccount"}),
    "discovery.k8s.io": frozenset({"EndpointSlice"}),
    "extensions.istio.io": None,
    "gateway.networking.k8s.io": None,
    "multicluster.x-k8s.io": frozenset({"ServiceExport", "ServiceImport"}),
    "networking.istio.io": None,
    "security.istio.io": None,
    "telemetry.istio.io": None,
}
"""The closed table of resources that are published."""


@dataclass(frozen=True, slots=True)
class Record:
    """A record for the broker; without a value it is a tombstone."""

    topic: str
    key: str
    value: bytes | None


@dataclass(frozen=True, slots=True)
class Scope:
    """Who declares, and for which cluster; both are parts of every key.

    Attributes:
        version, environment: Version and switches of istiod that are known otherwise, see
            `control_plane`.
    """

    origin: str
    cluster: str
    version: str = ""
    environment: Mapping[str, str] | None = None

    def owns(self, topic: str, key: str) -> bool:
        """Whether a record of a topic is one of this scope, sync marks aside."""
        parts = key.split("/")
        # Names hold no slash, but the id of a cluster may.
        tail = 4 if topic == RESOURCES.name else 1
        return parts[0] == self.origin and "/".join(parts[1:-tail]) == self.cluster

    @property
    def mark_key(self) -> str:
        """Key of its sync mark."""
        return f"sync/{self.origin}/{self.cluster}"


@dataclass(frozen=True, slots=True)
class Declaration:
    """Everything that a source declares now.

    Attributes:
        resources: All of them, also those that are not published.
        records: The records that say it, by topic and key, without tombstones and marks.
        count: Number of resources among the records.
        revision: Of the source.
        problems: What is wrong, for the operator.
    """

    resources: Mapping[Identity, Resource] = field(default_factory=dict)
    records: Mapping[tuple[str, str], Record] = field(default_factory=dict)
    revision: str = ""
    problems: tuple[str, ...] = ()

    @property
    def count(self) -> int:
        """Number of resources that are published."""
        return sum(topic == RESOURCES.name for topic, _ in self.records)


def declare(
    before: Declaration, event: Listed | Changed, scope: Scope, observed_at: int
) -> Declaration:
    """What is declared after an event of the source.

    Records of resources that stayed as they were are taken over, with the time at which they were
    observed.
    """
    resources = {} if isinstance(event, Listed) else dict(before.resources)
    if isinstance(event, Changed):
        for gone in event.deleted:
            resources.pop(gone, None)
    resources.update((identity(resource), resource) for resource in event.resources)

    records: dict[tuple[str, str], Record] = {}
    problems = [str(problem) for problem in event.problems if problem.code in LOSES_INPUT]
    for name, resource in resources.items():
        if not _is_published(resource):
            continue
        key = resource.key(scope.origin, scope.cluster)
        place = (RESOURCES.name, key)
        if before.resources.get(name) == resource and place in before.records:
            records[place] = before.records[place]
            continue
        try:
            records[place] = _resource_record(resource, key, scope, observed_at)
        except (OversizedValue, ValueError) as error:
            problems.append(f"{resource.origin}:{resource.line}: {resource.ref}: {error}")
    for record, found in _settings(resources.values(), scope, observed_at):
        problems += map(str, found)
        known = before.records.get((record.topic, record.key))
        records[record.topic, record.key] = known if _same(known, record) and known else record
    return Declaration(resources, records, event.revision, tuple(problems))


def difference(before: Declaration, after: Declaration) -> tuple[Record, ...]:
    """The records that turn what was published into what is declared."""
    return (
        *(record for place, record in after.records.items() if before.records.get(place) != record),
        *_tombstones(before.records, after),
    )


def full_list(declaration: Declaration, known: Iterable[tuple[str, str]]) -> tuple[Record, ...]:
    """All records, and tombstones for what stands on the topics and is declared no more."""
    return (*declaration.records.values(), *_tombstones(known, declaration))


def _tombstones(known: Iterable[tuple[str, str]], after: Declaration) -> Iterable[Record]:
    return (Record(topic, key, None) for topic, key in known if (topic, key) not in after.records)


def sync_mark(
    declaration: Declaration,
    scope: Scope,
    *,
    epoch: str,
    log_epoch: str,
    ends: Mapping[int, int],
    observed_at: int,
) -> Record:
    """The record that says that the whole declaration was published.

    Args:
        epoch: Id of this list.
        log_epoch, ends: Log of the topic of resources, and the end of each of its partitions.
    """
    mark = Sync(
        origin=scope.origin,
        cluster=scope.cluster,
        epoch=epoch,
        log_epoch=log_epoch,
        count=declaration.count,
        revision=declaration.revision,
        observed_at=observed_at,
        offsets=tuple(PartitionOffset(*end) for end in sorted(ends.items())),
        problems=declaration.problems[:MOST_PROBLEMS],
    )
    return Record(CONTROL_PLANE_STATE.name, scope.mark_key, encode(mark))


MOST_PROBLEMS: Final = 100
"""Problems that a mark carries; the log has all of them."""


def _is_published(resource: Resource) -> bool:
    kinds = PUBLISHED.get(resource.group, frozenset())
    return kinds is None or resource.kind in kinds


def _resource_record(resource: Resource, key: str, scope: Scope, observed_at: int) -> Record:
    fact = convert.declared_resource(resource, scope.origin, scope.cluster, observed_at)
    return Record(RESOURCES.name, key, encode(fact))


def _settings(
    resources: Iterable[Resource], scope: Scope, observed_at: int
) -> Iterable[tuple[Record, tuple[Problem, ...]]]:
    found = tuple(resources)
    for revision in revisions(found):
        declared = control_plane(
            found, version=scope.version, revision=revision, environment=scope.environment
        )
        state = convert.control_plane_state(
            declared.control_plane, scope.origin, scope.cluster, observed_at
        )
        key = f"{scope.origin}/{scope.cluster}/{revision}"
        yield Record(CONTROL_PLANE_STATE.name, key, encode(state)), declared.problems


def _same(known: Record | None, record: Record) -> bool:
    """Whether two records of settings differ in nothing but the time of observation."""
    if known is None or known.value is None or record.value is None:
        return False
    one, other = decode(known.value), decode(record.value)
    return bool(replace(one, observed_at=0) == replace(other, observed_at=0))
