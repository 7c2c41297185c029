"""The agent's loop: look for signs, read, infer, publish."""

import asyncio
import logging
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field

from confluent_kafka import Producer

from meshscope.agent.admin import Admin, AdminError
from meshscope.agent.delivery import Delivery, producer_config
from meshscope.agent.publication import Held, Publisher, answer, held, publish
from meshscope.agent.requests import Requests
from meshscope.agent.settings import AgentSettings
from meshscope.agent.signs import CLUSTERS, ROUTES, STATS, Signs, read_signs, refused, wants_dump
from meshscope.agent.spool import Record, Spool, SpoolError
from meshscope.agent.state import (
    certificates,
    incomplete_lines,
    proxy_state,
    refused_updates,
    rejected_update,
    unreachable,
)
from meshscope.events.facts import Certificate, ProxyState
from meshscope.events.proxy import ProxyInputs
from meshscope.events.topics import SNAPSHOTS
from meshscope.inference.config_dump import UnreadableConfigDump, read_config_dump
from meshscope.inference.infer import infer
from meshscope.inference.readings import Readings
from meshscope.inference.result import Inference
from meshscope.transport.log_epoch import LogEpochReader

log = logging.getLogger(__name__)

DUMP = "/config_dump?include_eds"
CERTIFICATES = "/certs"
CERTIFICATES_EVERY_SECONDS = 60.0
LOG_EPOCH_EVERY_SECONDS = 5.0
DELIVERY_STEP_SECONDS = 0.02
REMEMBERED_BYTES = 16 << 20
"""JSON of one proxy's resources that need not be read again when others change."""


@dataclass(slots=True)
class Loop:
    """One agent at work. `now_ms` and `monotonic` are parameters so that a clock can be wrong."""

    settings: AgentSettings
    admin: Admin
    spool: Spool
    delivery: Delivery
    requests: Requests
    log_epoch: LogEpochReader
    version: str
    publisher: Publisher
    now_ms: Callable[[], int]
    monotonic: Callable[[], float] = time.monotonic
    signs: Signs | None = None
    held: Held | None = None
    inference: Inference | None = None
    certificates: tuple[Certificate, ...] = ()
    refused: frozenset[str] = frozenset()
    last_state: ProxyState | None = None
    epoch_of_log: str = ""
    error: str = ""
    spool_error: str = ""
    readings: Readings = field(default_factory=lambda: Readings(REMEMBERED_BYTES))
    _due: dict[str, float] = field(default_factory=dict)

    def _is_due(self, what: str, every: float) -> bool:
        now = self.monotonic()
        if now < self._due.get(what, 0.0):
            return False
        self._due[what] = now + every
        return True

    async def run(self, stopped: asyncio.Event) -> None:
        """Work until `stopped` is set."""
        while not stopped.is_set():
            began = self.monotonic()
            await self.step()
            while not stopped.is_set():
                self.delivery.step()
                left = self.settings.poll_seconds - (self.monotonic() - began)
                if left <= 0:
                    break
                pause = left if self.delivery.idle else min(left, DELIVERY_STEP_SECONDS)
                await _wait(stopped, pause)

    async def step(self) -> None:
        """Look once at the proxy and put into the spool what there is to say."""
        await self._look_at_the_log()
        try:
            await self._look_at_the_proxy()
            state = self._state()
        except AdminError as error:
            self._tell(str(error))
            self.signs = None
            state = unreachable(self.last_state, str(error))
        what = self.held or self._nothing_held()
        if what is None:
            return
        publication = publish(self.publisher, what, state, self.now_ms(), self.version)
        if not self._keep(publication.records):
            # The publisher stays as it was, so the same is said again when there is room.
            return
        for reason in publication.oversized:
            log.error("what is too large is not published: %s", reason)
        self.publisher = publication.publisher
        self.last_state = state
        asked = self.requests.read(what.proxy, self.now_ms())
        answers = () if self.held is None else answer(self.held, asked.digests)
        self._keep((*asked.unreadable, *answers))

    def _keep(self, records: tuple[Record, ...]) -> bool:
        """Put records into the spool; whether they are there."""
        dropped = self.spool.dropped
        try:
            self.spool.put(records)
        except SpoolError as error:
            if str(error) != self.spool_error:
                log.error("%s", error)
            self.spool_error = str(error)
            return False
        if self.spool_error:
            log.info("the spool can be written again")
        self.spool_error = ""
        if self.spool.dropped > dropped:
            log.warning(
                "the spool is full: %s snapshots that later ones replace were dropped",
                self.spool.dropped - dropped,
            )
        return True

    async def _look_at_the_log(self) -> None:
        """Everything is announced again on a new log, and daily."""
        if self._is_due("log epoch", LOG_EPOCH_EVERY_SECONDS):
            # In a thread: a broker that is away answers after seconds, and the proxy is looked at
            # meanwhile.
            epoch = await asyncio.to_thread(self.log_epoch.current, SNAPSHOTS.name, 1.0)
            if epoch is not None and epoch != self.epoch_of_log:
                if self.epoch_of_log:
                    log.info("the broker has a new log, everything is published again")
                    self.publisher = self.publisher.forget()
                    self.delivery.renew()
                    self.requests.renew()
                self.epoch_of_log = epoch
        if self._is_due("announce", self.settings.announce_seconds):
            self.publisher = self.publisher.forget()

    async def _look_at_the_proxy(self) -> None:
        try:
            signs = read_signs(
                await self.admin.get(STATS),
                await self.admin.get(ROUTES),
                await self.admin.get(CLUSTERS),
            )
            if self._is_due("certificates", CERTIFICATES_EVERY_SECONDS):
                self.certificates = certificates(await self.admin.get(CERTIFICATES))
        except ValueError as error:
            raise AdminError(f"the admin interface does not answer like Envoy: {error}") from error
        changed = wants_dump(self.signs, signs)
        due = self._is_due("refresh", self.settings.refresh_seconds)
        if changed or due or self.error:
            await self._read_configuration()
        self.refused = refused(self.signs, signs, self.refused)
        self.signs = signs

    async def _read_configuration(self) -> None:
        read_at = self.now_ms()
        answer = await self.admin.get(DUMP)
        try:
            dump = read_config_dump(answer, self.settings.admin + DUMP)
            inference = await asyncio.to_thread(infer, dump, self.readings)
        except UnreadableConfigDump as error:
            self._tell(str(error))
            return
        except Exception as error:
            # A configuration that nobody thought of. An agent that ends over it could not say so,
            # and what was said of its proxy before would stand.
            self._tell(
                f"the configuration could not be understood: {type(error).__name__}: {error}; "
                f"report it, with what GET {self.settings.admin}{DUMP} says"
            )
            return
        self._tell("")
        coverage = inference.coverage
        self.inference = inference
        self.held = held(
            inference.proxy,
            inference.policies.values(),
            read_at,
            (coverage.consumed, coverage.ignored, coverage.unexplained),
            map(str, inference.unreferenced),
        )

    def _state(self) -> ProxyState:
        signs = self.signs or Signs()
        if self.inference is None:
            return proxy_state(signs, (), (), (), self.certificates, self.error)
        loaded = self.inference.state
        return proxy_state(
            signs,
            refused_updates(map(rejected_update, loaded.rejected), self.refused),
            loaded.warming,
            incomplete_lines(self.inference.incomplete),
            self.certificates,
            self.error,
        )

    def _nothing_held(self) -> Held | None:
        """What there is to say of a proxy that never answered: its name, if it is known."""
        if not self.settings.proxy:
            return None
        namespace = self.settings.proxy.rpartition(".")[2]
        inputs = ProxyInputs(self.settings.proxy, self.settings.cluster, namespace)
        return held(inputs, (), 0, (0, 0, 0), ())

    def _tell(self, error: str) -> None:
        if error and error != self.error:
            log.warning("%s", error)
        if self.error and not error:
            log.info("the configuration can be read again")
        self.error = error


async def _wait(stopped: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(stopped.wait(), seconds)
    except TimeoutError:
        return


async def run(settings: AgentSettings, stopped: asyncio.Event, version: str) -> int:
    """Run one agent until `stopped`; returns how many records stay in the spool."""

    def now_ms() -> int:
        return time.time_ns() // 1_000_000

    epoch = uuid.uuid4().hex
    with Spool(settings.spool, settings.spool_bytes, SNAPSHOTS.name) as spool:
        client_id = f"meshscope-agent-{epoch[:8]}"

        def make_producer() -> Producer:
            return Producer(producer_config(settings.brokers, client_id))

        delivery = Delivery(make_producer, spool, now_ms)
        async with Admin(settings.admin, settings.admin_timeout_seconds) as admin:
            loop = Loop(
                settings=settings,
                admin=admin,
                spool=spool,
                delivery=delivery,
                requests=Requests(settings.brokers, client_id),
                log_epoch=LogEpochReader(settings.brokers, client_id),
                version=version,
                publisher=Publisher(epoch, spool.begin_life(now_ms())),
                now_ms=now_ms,
            )
            try:
                await loop.run(stopped)
            finally:
                loop.requests.close()
        return delivery.close(timeout_seconds=5.0)
