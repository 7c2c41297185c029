"""What every worker knows of the whole mesh: a fold over the broadcast topics.

Within a partition records come in order; between partitions any interleaving gives the same state.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import msgspec

from meshscope.events.control_plane import ControlPlane
from meshscope.events.facts import PolicyBody, PolicyShard, Sync
from meshscope.events.resource import Resource
from meshscope.policy.canonical import digest_bytes
from meshscope.policy.source import ResourceRef
from meshscope.stream.decoding import BroadcastEvent, Declared, Mark, Scope, Settings
from meshscope.stream.policy_store import PolicyStore

ORIGINS = ("kubernetes", "directory")
"""Whose declarations proxies are compared with, where several are there: what is configured goes
before what a repository intends."""

# Keys of maps are sorted: their order has no meaning, and producers need not agree on one.
_encode = msgspec.json.Encoder(order="deterministic").encode

_ASSUMED = ("mesh_config", "mesh_networks", "environment", "version")


@dataclass(frozen=True, slots=True)
class Declaration:
    """Everything that a control plane declares, at one time.

    Attributes:
        digest: Of all that a projection reads.
        versions: `resourceVersion` by resource, where there is one.
        problems: What is declared and missing among the resources, since it could not be read.
    """

    digest: str
    control_plane: ControlPlane
    resources: tuple[Resource, ...]
    versions: Mapping[ResourceRef, str]
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Unready:
    """Why there is nothing to compare with yet."""

    reason: str


@dataclass(frozen=True, slots=True)
class Change:
    """What an event touched: the declarations for a cluster, or a shard or body that came."""

    cluster: str | None = None
    digest: str | None = None


class Broadcast:
    """Declared resources, settings of control planes, marks, shards and bodies.

    Args:
        log_epoch: The broker's log; marks of another log are ignored.
    """

    def __init__(self, log_epoch: str) -> None:
        self.policies = PolicyStore()
        self._log_epoch = log_epoch
        self._resources: dict[Scope, dict[str, tuple[Resource, str]]] = {}
        self._control_planes: dict[Scope, dict[str, ControlPlane]] = {}
        self._marks: dict[Scope, Sync] = {}
        self._read: dict[int, int] = {}
        self._complete: set[Scope] = set()
        self._caught_up = False
        self._declarations: dict[tuple[str, str], Declaration] = {}

    def apply(self, event: BroadcastEvent) -> Change:
        """Take in what a record says."""
        match event:
            case Declared(scope, key, resource):
                return self._declare(scope, key, resource)
            case Settings(scope, revision, control_plane):
                planes = self._control_planes.setdefault(scope, {})
                if planes.get(revision) == control_plane:
                    return Change()
                if control_plane is None:
                    del planes[revision]
                else:
                    planes[revision] = control_plane
                return self._changed(scope)
            case Mark(scope, sync):
                return self._mark(scope, sync)
            case PolicyShard() | PolicyBody():
                self.policies.add(event)
                return Change(digest=event.digest)
        return Change()

    def read_up_to(self, partition: int, offset: int) -> tuple[Change, ...]:
        """All records of the topic of resources below `offset` in a partition were applied."""
        self._read[partition] = max(offset, self._read.get(partition, 0))
        return tuple(change for scope in self._marks if (change := self._check(scope)).cluster)

    def caught_up(self) -> None:
        """What stood on the topics when this worker started was read.

        Before that the state is one that was overtaken long ago, and so would be its verdicts.
        """
        self._caught_up = True

    @property
    def clusters(self) -> frozenset[str]:
        """The clusters of which a complete list of resources was read."""
        return frozenset(scope.cluster for scope in self._complete)

    def declaration(self, cluster: str, revision: str) -> Declaration | Unready:
        """What is declared for the proxies of a cluster and revision."""
        known = self._declarations.get((cluster, revision))
        if known is not None:
            return known
        if not self._caught_up:
            return Unready("the broadcast topics are still being read")
        scopes = [
            scope for origin in ORIGINS if (scope := Scope(origin, cluster)) in self._complete
        ]
        if not scopes:
            return Unready(self._why_unready(cluster))
        declaration = self._declare_all(scopes[0], revision)
        self._declarations[cluster, revision] = declaration
        return declaration

    def _declare(self, scope: Scope, key: str, resource: Resource | None) -> Change:
        resources = self._resources.setdefault(scope, {})
        if resource is None:
            if resources.pop(key, None) is None:
                return Change()
            return self._changed(scope)
        digest = _digest(resource)
        known = resources.get(key)
        resources[key] = (resource, digest)
        same = known is not None and known[1] == digest
        # Version and place are reported, so they are kept up to date, but decide nothing.
        return self._changed(scope) if not same else self._restate(scope)

    def _restate(self, scope: Scope) -> Change:
        self._drop_declarations(scope)
        return Change()

    def _changed(self, scope: Scope) -> Change:
        self._drop_declarations(scope)
        return Change(cluster=scope.cluster)

    def _drop_declarations(self, scope: Scope) -> None:
        for cluster, revision in list(self._declarations):
            if cluster == scope.cluster:
                del self._declarations[cluster, revision]

    def _mark(self, scope: Scope, sync: Sync | None) -> Change:
        if sync is None:
            self._marks.pop(scope, None)
            if scope not in self._complete:
                return Change()
            self._complete.discard(scope)
            return self._changed(scope)
        known = self._marks.get(scope)
        self._marks[scope] = sync
        if scope in self._complete and known is not None and known.problems != sync.problems:
            return self._changed(scope)
        return self._check(scope)

    def _check(self, scope: Scope) -> Change:
        """Whether the list of a scope is complete now; once it is, changes keep it so."""
        sync = self._marks[scope]
        if scope in self._complete or sync.log_epoch != self._log_epoch:
            return Change()
        if any(self._read.get(each.partition, 0) < each.offset for each in sync.offsets):
            return Change()
        self._complete.add(scope)
        return self._changed(scope)

    def _why_unready(self, cluster: str) -> str:
        marks = [sync for scope, sync in self._marks.items() if scope.cluster == cluster]
        if not marks:
            others = sorted({scope.cluster for scope in self._marks})
            known = f"; lists were read for {', '.join(others)}" if others else ""
            return f"no complete list of the resources of cluster {cluster!r} was published{known}"
        if all(sync.log_epoch != self._log_epoch for sync in marks):
            return "the list of resources belongs to an earlier log; the watcher publishes it again"
        return "the list of resources is still being read"

    def _declare_all(self, scope: Scope, revision: str) -> Declaration:
        held = self._resources.get(scope, {})
        ordered = [held[key] for key in sorted(held)]
        control_plane = self._control_plane(scope, revision)
        digests = [digest for _, digest in ordered]
        return Declaration(
            digest=digest_bytes("declaration", _encode((control_plane, digests))),
            control_plane=control_plane,
            resources=tuple(resource for resource, _ in ordered),
            versions={
                resource.ref: resource.resource_version
                for resource, _ in ordered
                if resource.resource_version
            },
            problems=self._marks[scope].problems,
        )

    def _control_plane(self, scope: Scope, revision: str) -> ControlPlane:
        planes = self._control_planes.get(scope, {})
        if revision in planes:
            return planes[revision]
        if len(planes) == 1:
            # A proxy of a revision tag, or one that does not tell: there is no other it could be.
            return next(iter(planes.values()))
        return ControlPlane(revision=revision, assumed=_ASSUMED)


def _digest(resource: Resource) -> str:
    return digest_bytes(
        "resource", _encode(replace(resource, uid="", resource_version="", origin="", line=0))
    )
