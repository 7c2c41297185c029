"""The Faust app: the shell around the join and the ledger; the only place that imports faust.

    snapshots ─► agent ─► join ─► drift, evidence, requests      state: table `proxies`
    evidence  ─► agent ─► ledger ─► anomalies                    state: table `anomalies`
    resources, control-plane state, policies ─► reader without a group (every worker, everything)
                                             └► agent that only puts poison aside (one worker each)

No exception leaves an agent, because Faust would acknowledge the message all the same: poison goes
to the dead letters, whatever else fails ends the process before the offset is committed.
"""

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Final

import faust
from faust.types import TP

from meshscope.events.codec import PoisonValue, decode
from meshscope.events.facts import Drift, Finding
from meshscope.events.topics import (
    CONTROL_PLANE_STATE,
    DEAD_LETTER,
    EVIDENCE,
    POLICIES,
    RESOURCES,
    SNAPSHOTS,
    Topic,
)
from meshscope.stream import decoding, ledger, record
from meshscope.stream.broadcast_reader import BroadcastReader
from meshscope.stream.clock_skew import SeenEnds, SkewBounds, skew_bounds
from meshscope.stream.expectation import CONFIGURATION, ENDPOINTS
from meshscope.stream.failure import EXIT_POISONED, EXIT_RESTART, stop_at_once
from meshscope.stream.faust_guard import guard, read_again, when_recovered
from meshscope.stream.gaps import GapDetector
from meshscope.stream.join import Join
from meshscope.stream.judgement import Judge, Project
from meshscope.stream.ledger import AnomalyRecord, Ledger
from meshscope.stream.outlet import Headers, Outlet, own_headers
from meshscope.stream.passed_over import PassedOver
from meshscope.stream.record import ProxyRecord
from meshscope.stream.settings import WorkerSettings
from meshscope.stream.step import Now, Step, Timing
from meshscope.stream.tables import StateTable
from meshscope.stream.watchdog import Watchdog, still_there
from meshscope.transport.sending_time import sent_at

log = logging.getLogger(__name__)

APP_ID: Final = "meshscope-verification"
TICK_SECONDS: Final = 0.05
STATUS_SECONDS: Final = 1.0
PROGRESS_SECONDS: Final = 2.0
EPOCH_SECONDS: Final = 2.0
READY_SECONDS: Final = 30.0
"""A worker that is given records but does not get its state for so long starts again."""

EpochNow = Callable[[], str | None]
"""The broker's log epoch; None: the broker is away. Blocks."""


def utc_ms() -> int:
    """UTC in milliseconds."""
    return time.time_ns() // 1_000_000


def monotonic_ms() -> int:
    """Monotonic time in milliseconds."""
    return time.monotonic_ns() // 1_000_000


def this_moment() -> Now:
    """The time, on both clocks."""
    return Now(monotonic_ms(), utc_ms())


class StreamWorker:
    """One process of the stream processors.

    Args:
        settings: How it runs.
        project, judge: The two decisions that it joins.
        log_epoch: Id of the broker's log at the start.
        epoch_now: Asks for that id again.
    """

    def __init__(
        self,
        settings: WorkerSettings,
        project: Project,
        judge: Judge,
        log_epoch: str,
        epoch_now: EpochNow,
    ) -> None:
        self._settings = settings
        self._log_epoch = log_epoch
        self._epoch_now = epoch_now
        self._threads = ThreadPoolExecutor(1, thread_name_prefix="verification")
        self._asking = ThreadPoolExecutor(1, thread_name_prefix="log-epoch")
        self._lock = asyncio.Lock()
        self._ready = asyncio.Event()
        self._is_recovered = False
        self._partitions: set[int] = set()
        self._gaps = GapDetector()
        self._ends = SeenEnds()
        self._poison_in_a_row: dict[str, int] = {}
        self._counts = {"snapshots": 0, "evidence": 0, "poison": 0}

        self.app = _faust_app(settings)
        guard(self.app)
        when_recovered(self.app, self._recovered)
        self._outlet = Outlet(self._send)
        self._proxies: StateTable[ProxyRecord] = StateTable(
            self._table("proxies"),
            self._send,
            lambda value: record.dump(value, monotonic_ms()),
            lambda data: record.load(data, monotonic_ms()),
            _lost,
            partial(read_again, self.app),
        )
        self._anomalies: StateTable[AnomalyRecord] = StateTable(
            self._table("anomalies"),
            self._send,
            ledger.dump,
            ledger.load,
            _lost,
            partial(read_again, self.app),
        )
        self._join = Join(
            project,
            judge,
            Timing(
                {
                    CONFIGURATION: settings.convergence_ms,
                    ENDPOINTS: settings.endpoints_convergence_ms,
                },
                settings.repeat_ms,
                settings.silence_ms,
            ),
            log_epoch,
            self._proxies,
            self._outlet,
            this_moment,
            self._compute,
        )
        self._ledger = Ledger(self._anomalies, self._outlet.anomaly, this_moment)
        self._reader = BroadcastReader(settings.broker, self._join)
        self._passed_over = PassedOver(settings.broker)

        self._agent("snapshots", (SNAPSHOTS,), self._snapshot)
        self._agent("evidence", (EVIDENCE,), self._evidence)
        self._agent("resources", (RESOURCES,), self._inspect)
        self._agent("policies", (POLICIES,), self._inspect)
        self._agent("control-plane-state", (CONTROL_PLANE_STATE,), self._inspect)
        self.app.on_partitions_revoked.connect(self._revoked)
        self.app.on_partitions_assigned.connect(self._assigned)
        self.app.task(partial(self._forever, self._reader.run))
        self.app.task(partial(self._forever, self._work))
        self.app.task(partial(self._forever, self._watch_epoch))
        self.app.task(partial(self._forever, self._watch_progress))
        self.app.task(partial(self._forever, self._tell))

    # What comes in

    async def _snapshot(self, message: Any) -> None:
        proxy = _key(message)
        snapshot = None if message.value is None else decoding.snapshot(message.key, message.value)
        async with self._lock:
            await self._join.snapshot(
                proxy, message.partition, snapshot, self._skew_bounds(message)
            )
        self._counts["snapshots"] += 1

    def _skew_bounds(self, message: Any) -> SkewBounds | None:
        """What a record says of the clock of its sender; None: nothing."""
        sent = sent_at(own_headers(message.headers))
        if sent is None:
            return None
        place = (message.topic, message.partition, message.offset)
        return skew_bounds(sent, utc_ms(), self._ends.age(*place, monotonic_ms()))

    async def _evidence(self, message: Any) -> None:
        fact: Drift | Finding = decode(message.value or b"", Drift, Finding)
        async with self._lock:
            await self._ledger.evidence(fact, message.partition)
        self._counts["evidence"] += 1

    async def _inspect(self, message: Any) -> None:
        decoding.broadcast_event(message.topic, message.key, message.value)

    def _agent(
        self, name: str, topics: tuple[Topic, ...], handle: Callable[[Any], Awaitable[None]]
    ) -> None:
        channel = self.app.topic(*(topic.name for topic in topics), schema=_raw())

        async def consume(stream: Any) -> None:
            async for event in stream.events():
                await self._handle(name, event.message, handle)

        self.app.agent(channel, name=name, concurrency=1)(consume)

    async def _handle(
        self, name: str, message: Any, handle: Callable[[Any], Awaitable[None]]
    ) -> None:
        # The first records after a rebalance may come a moment before its end is told.
        try:
            await asyncio.wait_for(self._ready.wait(), READY_SECONDS)
        except TimeoutError as error:
            stop_at_once(EXIT_RESTART, "records came, but the tables were never recovered", error)
        try:
            expected = self._next_offset(message.topic, message.partition)
            for passed_over in await self._passed_over.before(message, expected):
                await self._process(name, passed_over, handle)
            await self._process(name, message, handle)
        except Exception as error:
            stop_at_once(EXIT_RESTART, f"{_place(message)} could not be processed", error)

    async def _process(
        self, name: str, message: Any, handle: Callable[[Any], Awaitable[None]]
    ) -> None:
        self._gaps.saw(message.topic, message.partition, message.offset)
        try:
            await handle(message)
            self._poison_in_a_row[message.topic] = 0
        except PoisonValue as error:
            await self._put_aside(name, message, error)

    async def _put_aside(self, name: str, message: Any, error: PoisonValue) -> None:
        place = _place(message)
        in_a_row = self._poison_in_a_row.get(message.topic, 0) + 1
        self._poison_in_a_row[message.topic] = in_a_row
        if in_a_row > self._settings.max_poison:
            stop_at_once(
                EXIT_POISONED,
                f"{in_a_row} records of {message.topic} in a row cannot be read, the last at "
                f"{place}: {error}; see who writes that topic",
            )
        log.warning("%s goes to the dead letters: %s", place, error)
        self._counts["poison"] += 1
        await self._outlet.dead_letter(message, f"stream.{name}", error, utc_ms())

    # What happens by itself

    async def _work(self) -> None:
        """Look at proxies that a change, a deadline or a body made due."""
        while True:
            if self._is_recovered and not self._ready.is_set():
                await self._take_over()
            if self._ready.is_set():
                async with self._lock:
                    if self._ready.is_set():
                        await self._join.await_pods()
                for proxy in self._join.due():
                    async with self._lock:
                        if not self._ready.is_set():
                            break
                        await self._join.look(proxy)
                async with self._lock:
                    if self._ready.is_set():
                        await self._ledger.work()
            await asyncio.sleep(TICK_SECONDS)

    async def _watch_epoch(self) -> None:
        """A broker that begins a new log makes all offsets and all state meaningless."""
        loop = asyncio.get_running_loop()
        while True:
            epoch = await loop.run_in_executor(self._asking, self._epoch_now)
            if epoch is not None and epoch != self._log_epoch:
                stop_at_once(EXIT_RESTART, "the broker began a new log, so everything starts anew")
            await asyncio.sleep(EPOCH_SECONDS)

    async def _watch_progress(self) -> None:
        """A consumer that is alive but stuck is replaced by one that starts again."""
        watchdog = Watchdog(self._settings.stuck_s)
        while True:
            await asyncio.sleep(PROGRESS_SECONDS)
            if not self._ready.is_set():
                continue
            done = self._progress()
            asked = monotonic_ms()
            begins, ends = await self._reader.bounds(done)
            for place, end in ends.items():
                self._ends.saw(*place, end, asked)
            stuck = watchdog.stuck(still_there(done, begins), ends, time.monotonic())
            if stuck and self._ready.is_set():
                stop_at_once(EXIT_RESTART, f"nothing was read for too long from {stuck}")

    def _progress(self) -> dict[tuple[str, int], int]:
        """Next offset to be processed, of the partitions that this worker has."""
        return {
            (topic, number): self._next_offset(topic, number)
            for topic in (SNAPSHOTS.name, EVIDENCE.name)
            for number in self._partitions
        }

    def _next_offset(self, topic: str, partition: int) -> int:
        seen = self._gaps.next_offset(topic, partition)
        if seen is None:
            # Not the position: what was fetched may have been lost before an agent saw it.
            seen = self.app.consumer._committed_offset.get(TP(topic, partition))
        return seen or 0

    async def _tell(self) -> None:
        """Keep the status file up to date."""
        while True:
            status = {
                "ready": self._ready.is_set() and self._reader.caught_up,
                "partitions": sorted(self._partitions),
                "proxies": self._join.proxies,
                "log_epoch": self._log_epoch,
                "ms_offset_gaps_total": self._gaps.total,
                "broadcast_poison": self._reader.poison,
                **self._counts,
            }
            path = self._settings.data_dir / "status.json"
            temporary = path.with_suffix(".tmp")
            temporary.write_text(json.dumps(status))
            temporary.replace(path)
            await asyncio.sleep(STATUS_SECONDS)

    async def _forever(self, task: Callable[[], Awaitable[None]]) -> None:
        try:
            await task()
        except Exception as error:
            stop_at_once(EXIT_RESTART, f"{task.__name__} failed", error)

    async def _compute(self, decision: Callable[[], Step]) -> Step:
        # Outside of the event loop, so that heartbeats and the readers go on meanwhile.
        return await asyncio.get_running_loop().run_in_executor(self._threads, decision)

    # Partitions come and go

    async def _revoked(self, app: Any, revoked: Any, **_: Any) -> None:
        self._pause()
        async with self._lock:
            # Whatever was being written is complete now, before others read the changelogs.
            log.info("partitions are being shared out anew")

    async def _assigned(self, app: Any, assigned: Any, **_: Any) -> None:
        now = {tp.partition for tp in assigned if tp.topic == SNAPSHOTS.name}
        # What was recovered until now was so for an earlier assignment.
        self._pause()
        async with self._lock:
            others = set(range(SNAPSHOTS.partitions)) - now
            self._proxies.release(others)
            self._anomalies.release(others)
            self._partitions = now
            self._gaps.forget()

    def _pause(self) -> None:
        self._ready.clear()
        self._is_recovered = False

    def _recovered(self) -> None:
        self._is_recovered = True

    async def _take_over(self) -> None:
        """Go on with what the tables hold."""
        async with self._lock:
            if not self._is_recovered:
                return
            self._proxies.recover(self._partitions)
            self._anomalies.recover(self._partitions)
            self._join.own(
                ((proxy, known.snapshot.cluster) for proxy, known in self._proxies.items()),
                self._partitions,
            )
            self._ledger.own(dict(self._anomalies.items()))
            self._ready.set()
        log.info(
            "partitions %s with %d proxies are ours", sorted(self._partitions), self._join.proxies
        )

    def _table(self, name: str) -> Any:
        return self.app.Table(
            name,
            # These types, and only these, make a table keep raw bytes.
            key_type=bytes,
            value_type=bytes,
            partitions=SNAPSHOTS.partitions,
        )

    async def _send(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        partition: int | None,
        headers: Headers | None,
    ) -> Awaitable[Any]:
        producer = await self.app.maybe_start_producer()
        acknowledged: Awaitable[Any] = await producer.send(
            topic, key, value, partition, None, headers
        )
        return acknowledged


def _faust_app(settings: WorkerSettings) -> Any:
    return faust.App(
        APP_ID,
        broker=[f"kafka://{server.strip()}" for server in settings.broker.split(",")],
        datadir=settings.data_dir / "faust",
        store="memory://",
        web_enabled=False,
        autodiscover=False,
        topic_disable_leader=True,
        topic_partitions=SNAPSHOTS.partitions,
        table_standby_replicas=0,
        consumer_auto_offset_reset="earliest",
        broker_session_timeout=settings.session_timeout_s,
        broker_heartbeat_interval=settings.session_timeout_s / 4,
        broker_request_timeout=max(30.0, settings.session_timeout_s * 2),
        broker_commit_interval=1.0,
        producer_acks=-1,
        producer_request_timeout=40.0,
        # A dead letter may be a little larger than the largest record there can be.
        producer_max_request_size=DEAD_LETTER.max_message_bytes,
        stream_wait_empty=True,
        worker_redirect_stdouts=False,
    )


def _raw() -> Any:
    # Faust would drop, or die of, what its own codecs cannot decode.
    return faust.Schema(
        key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw"
    )


def _place(message: Any) -> str:
    return f"{message.topic}[{message.partition}]@{message.offset}"


def _key(message: Any) -> str:
    if message.key is None:
        raise PoisonValue("a record without a key")
    try:
        return str(message.key.decode())
    except UnicodeDecodeError as error:
        raise PoisonValue(f"a key that is no UTF-8: {message.key!r}") from error


def _lost(error: BaseException) -> None:
    stop_at_once(EXIT_RESTART, "state could not be written to its changelog", error)
