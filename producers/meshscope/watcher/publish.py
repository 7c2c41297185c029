"""The watcher at work: from a source to the topics."""

import asyncio
import logging
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from confluent_kafka import Producer

from meshscope.events.topics import CONTROL_PLANE_STATE, RESOURCES
from meshscope.transport.log_epoch import LogEpochReader
from meshscope.watcher.declaration import (
    Declaration,
    Scope,
    declare,
    difference,
    full_list,
    sync_mark,
)
from meshscope.watcher.directory import DirectorySource
from meshscope.watcher.outbox import Outbox, producer_config
from meshscope.watcher.settings import WatcherSettings
from meshscope.watcher.source import Changed, Listed, ResourceSource
from meshscope.watcher.standing import BrokerAway, Standing, read_standing

log = logging.getLogger(__name__)

LOG_EPOCH_EVERY_SECONDS: Final = 2.0
DELIVERY_STEP_SECONDS: Final = 0.01
IDLE_STEP_SECONDS: Final = 0.5
CLOSE_SECONDS: Final = 5.0


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


@dataclass(slots=True)
class Watcher:
    """Publishes what a source declares.

    The order is: resources and tombstones, acknowledged; then the mark that says that all of it is
    there. On a log that is new to it, at the start or after the broker lost its own, it publishes
    everything, with tombstones for what stands there and is declared no more.
    """

    source: ResourceSource
    scope: Scope
    outbox: Outbox
    epoch_now: Callable[[], str | None]
    standing: Callable[[], Standing]
    now_ms: Callable[[], int] = _now_ms
    _declaration: Declaration | None = None
    _published: Declaration | None = None
    _log_epoch: str = ""
    _mark_due: bool = False
    _known: frozenset[tuple[str, str]] = frozenset()
    _told: str = ""
    _woken: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self, stopped: asyncio.Event) -> int:
        """Work until `stopped`; returns how many records were not acknowledged by then.

        Raises:
            Exception: The source ended or failed.
        """
        source = asyncio.create_task(self._take_events())
        broker = asyncio.create_task(self._follow_the_log())
        stopping = asyncio.create_task(stopped.wait())
        tasks: tuple[asyncio.Task[Any], ...] = (source, broker, stopping)
        try:
            while not any(task.done() for task in tasks):
                self._step()
                pause = IDLE_STEP_SECONDS if self.outbox.is_empty else DELIVERY_STEP_SECONDS
                await self._pause(stopping, pause)
            for task in (source, broker):
                if task.done():
                    task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        self._step()
        return self.outbox.close(CLOSE_SECONDS)

    async def _take_events(self) -> None:
        async for event in self.source.events():
            self._take(event)
        raise RuntimeError(f"the source {self.scope.origin} ended")

    def _take(self, event: Listed | Changed) -> None:
        before = self._declaration or Declaration()
        self._declaration = declare(before, event, self.scope, self.now_ms())
        # The source has told of its own problems.
        known = {*before.problems, *map(str, event.problems)}
        for problem in self._declaration.problems:
            if problem not in known:
                log.error("not published: %s", problem)
        self._woken.set()

    async def _follow_the_log(self) -> None:
        while True:
            # In threads: a broker that is away answers after seconds.
            epoch = await asyncio.to_thread(self.epoch_now)
            if epoch is None:
                self._tell(f"the broker or topic {RESOURCES.name} is away; waiting for it")
            elif epoch != self._log_epoch:
                await self._begin(epoch)
            else:
                self._tell("")
            await asyncio.sleep(LOG_EPOCH_EVERY_SECONDS if self._log_epoch else IDLE_STEP_SECONDS)

    async def _begin(self, epoch: str) -> None:
        """Find out what stands in a log that is new to this process; then publish into it."""
        try:
            standing = await asyncio.to_thread(self.standing)
        except BrokerAway as error:
            self._tell(str(error))
            return
        if self._log_epoch:
            log.info("the broker has a new log, everything is published again")
        self._tell("")
        self.outbox.begin(standing.ends[RESOURCES.name])
        self._log_epoch = epoch
        self._published = None
        self._known = standing.places
        self._woken.set()

    def _step(self) -> None:
        """Hand over what is declared and not published, and the mark behind it."""
        declaration = self._declaration
        if declaration is None or not self._log_epoch:
            return
        if declaration is not self._published:
            if self._published is None:
                self.outbox.put(full_list(declaration, self._known))
            else:
                self.outbox.put(difference(self._published, declaration))
            self._published = declaration
            self._mark_due = True
        self.outbox.step()
        if self._mark_due and self.outbox.is_empty:
            self._mark_due = False
            mark = sync_mark(
                declaration,
                self.scope,
                epoch=uuid.uuid4().hex,
                log_epoch=self._log_epoch,
                ends=self.outbox.ends,
                observed_at=self.now_ms(),
            )
            self.outbox.put((mark,))
            self.outbox.step()
            log.info("%s resources are published", declaration.count)

    async def _pause(self, stopping: asyncio.Task[bool], seconds: float) -> None:
        woken = asyncio.create_task(self._woken.wait())
        await asyncio.wait({woken, stopping}, timeout=seconds, return_when="FIRST_COMPLETED")
        woken.cancel()
        self._woken.clear()

    def _tell(self, message: str) -> None:
        if message and message != self._told:
            log.warning("%s", message)
        elif self._told and not message:
            log.info("the broker answers")
        self._told = message


def build_watcher(settings: WatcherSettings) -> Watcher:
    """The watcher of a directory."""
    source = DirectorySource(settings.directory)
    scope = Scope(source.origin, settings.cluster, settings.istio_version, settings.istiod_env)
    client_id = f"meshscope-watcher-{uuid.uuid4().hex[:8]}"
    reader = LogEpochReader(settings.brokers, client_id)
    topics = (RESOURCES.name, CONTROL_PLANE_STATE.name)
    return Watcher(
        source=source,
        scope=scope,
        outbox=Outbox(lambda: Producer(producer_config(settings.brokers, client_id))),
        epoch_now=lambda: reader.current(RESOURCES.name),
        standing=lambda: read_standing(settings.brokers, topics, scope),
    )
