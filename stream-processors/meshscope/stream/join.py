"""The join of control plane and data plane, over records that somebody else stores.

Everything that happens is one of: a record of a broadcast topic, a snapshot, the passing of time.
The join decides; a `Records` keeps, and a `Publish` sends. Order of a step, see `ProxyRecord`:
state with its outbox, the facts of the outbox, state without it.
"""

import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import replace
from typing import Final, Protocol
from uuid import uuid4

from meshscope.analysis.mesh import DEFAULT_REVISION
from meshscope.events.facts import PolicyRequest, Snapshot
from meshscope.events.resource import Resource
from meshscope.events.topics import SNAPSHOTS
from meshscope.stream.agenda import Agenda
from meshscope.stream.broadcast import Broadcast, Change, Unready
from meshscope.stream.clock_skew import SkewBounds
from meshscope.stream.decoding import BroadcastEvent
from meshscope.stream.expectation import Expectations
from meshscope.stream.judgement import Judge, Project
from meshscope.stream.judgements import Judgements
from meshscope.stream.pairs import Pairs
from meshscope.stream.pods import is_unseen, unseen
from meshscope.stream.record import ProxyRecord, Statement
from meshscope.stream.silence import is_silent
from meshscope.stream.step import Now, Step, Timing, World
from meshscope.stream.verification import leave, receive, verify
from meshscope.transport.partition import partition_of

log = logging.getLogger(__name__)

FORGET_MS: Final = 2 * 24 * 60 * 60 * 1000
"""Shards and bodies that are not mentioned for so long are forgotten. Agents say daily what their
proxies hold."""

Compute = Callable[[Callable[[], Step]], Awaitable[Step]]
"""Runs a decision; the shell does so outside of its event loop."""


class Records(Protocol):
    """Where the records of this worker's proxies are kept."""

    def get(self, proxy: str) -> ProxyRecord | None:
        """The record of a proxy."""

    async def put(self, proxy: str, record: ProxyRecord, *, durable: bool) -> None:
        """Keep a record; with `durable`, return only when it would survive this process."""

    async def remove(self, proxy: str, partition: int) -> None:
        """Forget a proxy."""


class Publish(Protocol):
    """Sends facts; each call returns when the broker has them all."""

    async def facts(self, record: ProxyRecord, facts: Iterable[Statement]) -> None:
        """Publish what was found about a proxy, in this order."""

    async def request(self, request: PolicyRequest) -> None:
        """Ask the agent of a proxy for shards and bodies."""


async def at_once(decision: Callable[[], Step]) -> Step:
    """Run a decision in place."""
    return decision()


class Join:
    """What a worker knows and has to do.

    Args:
        project, judge: The two decisions that are joined.
        log_epoch: Id of the broker's log.
        records, publish: Storage and outlet.
        clock: The time.
        compute: Runs decisions.
        new_life: Makes unique names of records.
    """

    def __init__(
        self,
        project: Project,
        judge: Judge,
        timing: Timing,
        log_epoch: str,
        records: Records,
        publish: Publish,
        clock: Callable[[], Now],
        compute: Compute = at_once,
        new_life: Callable[[], str] = lambda: uuid4().hex,
    ) -> None:
        self._broadcast = Broadcast(log_epoch)
        self._world = World(
            Expectations(project),
            self._broadcast.policies,
            Pairs(),
            Judgements(),
            judge,
            timing,
            log_epoch,
        )
        self._agenda = Agenda()
        self._partitions: frozenset[int] = frozenset()
        self._changed: set[str] = set()
        self._records = records
        self._publish = publish
        self._clock = clock
        self._compute = compute
        self._new_life = new_life
        self._forget_at = clock().monotonic + FORGET_MS

    @property
    def proxies(self) -> int:
        """Number of proxies that this worker looks after."""
        return len(self._agenda)

    def broadcast(self, event: BroadcastEvent) -> None:
        """A record of a broadcast topic was read."""
        now = self._clock().monotonic
        if now >= self._forget_at:
            self._broadcast.policies.forget()
            self._forget_at = now + FORGET_MS
        self._note(self._broadcast.apply(event))

    def read_up_to(self, partition: int, offset: int) -> None:
        """The topic of resources was read that far in a partition."""
        for change in self._broadcast.read_up_to(partition, offset):
            self._note(change)

    def caught_up(self) -> None:
        """Everything that stood on the broadcast topics at the start was read."""
        self._broadcast.caught_up()
        self._agenda.everything()
        self._changed |= self._broadcast.clusters

    def own(self, proxies: Iterable[tuple[str, str]], partitions: Iterable[int]) -> None:
        """Look after these proxies (id, cluster) from now on, and after no others.

        Args:
            partitions: Those of the topic of snapshots in which these and new ones lie.
        """
        self._partitions = frozenset(partitions)
        self._changed |= self._broadcast.clusters
        self._agenda = Agenda()
        for proxy, cluster in proxies:
            self._agenda.add(proxy, cluster)

    async def snapshot(
        self,
        proxy: str,
        partition: int,
        snapshot: Snapshot | None,
        bounds: SkewBounds | None = None,
    ) -> None:
        """A snapshot was read; None: the proxy has gone. For `bounds` see `receive`."""
        record = await self._settled(proxy)
        if snapshot is None:
            if record is not None:
                await self._leave(proxy, record)
                self._changed.add(record.snapshot.cluster)
            return
        received = receive(record, snapshot, partition, self._new_life(), self._clock(), bounds)
        if received is record:
            return
        self._agenda.track(proxy, snapshot.cluster)
        await self._look(proxy, received, known=record)

    async def work(self) -> bool:
        """Look at the proxies that are due; whether there were any."""
        await self.await_pods()
        due = self._agenda.due(self._clock().monotonic)
        for proxy in due:
            await self.look(proxy)
        return bool(due)

    def due(self) -> list[str]:
        """Take the proxies off the agenda that must be looked at now."""
        return self._agenda.due(self._clock().monotonic)

    async def await_pods(self) -> None:
        """Remember the Pods of this worker's partitions of which snapshots should come.

        Looked for when the declaration of a cluster has changed, and when a proxy has gone.
        """
        changed, self._changed = self._changed, set()
        for cluster in changed:
            for name, pod in (self._awaited(cluster) or {}).items():
                proxy = f"{cluster}/{name}"
                partition = partition_of(proxy.encode(), SNAPSHOTS.partitions)
                if partition in self._partitions and self._records.get(proxy) is None:
                    self._agenda.track(proxy, cluster)
                    record = unseen(pod, cluster, partition, self._new_life())
                    await self._look(proxy, record, known=None)

    def _awaited(self, cluster: str) -> Mapping[str, Resource] | None:
        """The Pods of which snapshots should come; None: that is not known yet."""
        declaration = self._broadcast.declaration(cluster, DEFAULT_REVISION)
        if isinstance(declaration, Unready):
            return None
        return self._world.expectations.mesh(declaration).awaited

    async def look(self, proxy: str) -> None:
        """Verify a proxy as it is known."""
        record = await self._settled(proxy)
        if record is None:
            self._agenda.remove(proxy)
        elif self._is_old_news(record) and self._is_not_awaited(record.snapshot):
            await self._leave(proxy, record)
        else:
            await self._look(proxy, record, known=record)

    def _is_old_news(self, record: ProxyRecord) -> bool:
        return is_unseen(record) or is_silent(record, self._world.timing, self._clock())

    def _is_not_awaited(self, snapshot: Snapshot) -> bool:
        awaited = self._awaited(snapshot.cluster)
        return awaited is not None and snapshot.proxy not in awaited

    async def _leave(self, proxy: str, record: ProxyRecord) -> None:
        await self._commit(proxy, leave(record, self._world.log_epoch, self._clock()))
        self._agenda.remove(proxy)

    def next_time(self) -> int | None:
        """Monotonic time at which something becomes due, if nothing happens before."""
        return self._agenda.next_time()

    def _note(self, change: Change) -> None:
        if change.cluster is not None:
            self._changed.add(change.cluster)
            self._agenda.declared(change.cluster)
        if change.digest is not None:
            self._agenda.arrived(change.digest)

    async def _settled(self, proxy: str) -> ProxyRecord | None:
        """The record of a proxy, after what its outbox still holds was published."""
        record = self._records.get(proxy)
        if record is None or not record.outbox:
            return record
        return await self._send(proxy, record)

    async def _look(self, proxy: str, record: ProxyRecord, known: ProxyRecord | None) -> None:
        now = self._clock()
        declaration = self._broadcast.declaration(record.snapshot.cluster, record.snapshot.revision)
        step = await self._compute(lambda: verify(record, declaration, self._world, now))
        if step.failure is not None:
            log.error("verification of %s failed", proxy, exc_info=step.failure)
        if step.record != known:
            await self._commit(proxy, step.record)
        ask = self._agenda.settle(proxy, self._clock().monotonic, step.missing, step.wake_at)
        if any(digest in self._world.policies for digest in step.missing):
            # It came while the decision was being computed from what there was before.
            self._agenda.add(proxy, record.snapshot.cluster)
        elif ask:
            await self._publish.request(
                PolicyRequest(record.snapshot.proxy, record.snapshot.cluster, ask, now.utc)
            )

    async def _commit(self, proxy: str, record: ProxyRecord) -> None:
        await self._records.put(proxy, record, durable=bool(record.outbox))
        if record.outbox:
            await self._send(proxy, record)

    async def _send(self, proxy: str, record: ProxyRecord) -> ProxyRecord | None:
        await self._publish.facts(record, record.outbox)
        if record.gone:
            await self._records.remove(proxy, record.partition)
            return None
        sent = replace(record, outbox=())
        await self._records.put(proxy, sent, durable=False)
        return sent
