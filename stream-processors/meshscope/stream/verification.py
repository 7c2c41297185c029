"""The decision on one proxy: its record, what is declared and what is held → record and facts.

    receive   a snapshot came: the newer one counts
    verify    what is expected against what is held; drifts open, change and close
    leave     the proxy is gone: everything about it closes

Pure: time comes in as a value, and what must be published lies in the outbox of the record.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Literal

import msgspec

from meshscope.events import convert
from meshscope.events.codec import encode
from meshscope.events.facts import Drift, FieldDifference, Snapshot, Verdict
from meshscope.policy.canonical import IR_VERSION, content_bytes, digest_bytes
from meshscope.policy.source import ResourceRef
from meshscope.stream.broadcast import Declaration, Unready
from meshscope.stream.expectation import (
    CONFIGURATION,
    ENDPOINTS,
    LANES,
    Expectation,
    Expectations,
    lane,
    meaning_root,
)
from meshscope.stream.judgement import Difference, Judge, Judgement
from meshscope.stream.observation import Missing, observe
from meshscope.stream.policy_store import PolicyStore
from meshscope.stream.record import OpenDrift, ProxyRecord, Said, Window

MAX_OPEN: Final = 1_000
"""Drifts of one proxy that are open at a time; the verdict counts the others too."""

MAX_OUTBOX_FACTS: Final = 100
MAX_OUTBOX_BYTES: Final = 300_000
"""A record is one value on a topic; what does not fit is published in the next step."""

MAX_TEXT: Final = 1_000
MAX_FIELDS: Final = 40
MAX_UNVERIFIABLE: Final = 100


@dataclass(frozen=True, slots=True)
class Now:
    """One moment: monotonic time for windows, UTC for facts; both in milliseconds."""

    monotonic: int
    utc: int


@dataclass(frozen=True, slots=True)
class Timing:
    """Windows and repetition, in milliseconds.

    Attributes:
        windows: Convergence window by lane.
        repeat: After this time a drift that is still open, and a verdict, are published again.
    """

    windows: Mapping[str, int] = field(
        default_factory=lambda: {CONFIGURATION: 10_000, ENDPOINTS: 30_000}, hash=False
    )
    repeat: int = 24 * 60 * 60 * 1000


@dataclass(frozen=True, slots=True)
class World:
    """What all decisions have in common.

    Attributes:
        log_epoch: Id of the broker's log; part of every fact's id.
    """

    expectations: Expectations
    policies: PolicyStore
    judge: Judge
    timing: Timing
    log_epoch: str


@dataclass(frozen=True, slots=True)
class Step:
    """What follows for a proxy.

    Attributes:
        record: Its record now.
        missing: Shards and bodies without which nothing can be said.
        wake_at: Monotonic time at which to look again, whatever happens.
        failure: What a projection or comparison stumbled over; the verdict says so.
    """

    record: ProxyRecord
    missing: tuple[str, ...] = ()
    wake_at: int | None = None
    failure: Exception | None = None


def receive(
    record: ProxyRecord | None, snapshot: Snapshot, partition: int, life: str
) -> ProxyRecord:
    """A snapshot came; one that is not newer than the known one changes nothing.

    Args:
        life: Unique; names the record if the proxy had none.
    """
    if record is None:
        return ProxyRecord(partition, life, snapshot)
    if _age(snapshot) <= _age(record.snapshot):
        return record if record.partition == partition else replace(record, partition=partition)
    return replace(record, snapshot=snapshot, partition=partition)


def verify(record: ProxyRecord, declaration: Declaration | Unready, world: World, now: Now) -> Step:
    """Compare what is declared with what the proxy holds; the outbox must be empty."""
    writer = _Writer(record, world, now)
    if isinstance(declaration, Unready):
        return writer.cannot_say(declaration.reason, keep=True)
    obstacle = _obstacle(record.snapshot)
    if obstacle is not None:
        return writer.cannot_say(obstacle[1], verdict=obstacle[0], declared=declaration.digest)
    try:
        inputs = convert.proxy_inputs(record.snapshot)
        expectation = world.expectations.expectation(declaration, inputs)
        writer.expect(expectation)
        found = _judgement(record.snapshot, declaration, expectation, world)
    except Exception as failure:
        # A resource or a configuration that nobody thought of must not stop the others.
        reason = f"verification failed: {type(failure).__name__}: {failure}"
        step = writer.cannot_say(reason, declared=declaration.digest)
        return replace(step, failure=failure)
    if isinstance(found, Missing):
        reason = f"{len(found.digests)} shards or policies of the snapshot have not come yet"
        step = writer.cannot_say(reason, keep=True, declared=declaration.digest)
        return replace(step, missing=found.digests)
    return writer.say(found, declaration)


def leave(record: ProxyRecord, log_epoch: str, now: Now) -> ProxyRecord:
    """The proxy left: its drifts close, and its record goes once that is published."""
    facts: list[Drift | Verdict] = []
    revision = record.revision
    for drift in record.open.values():
        revision += 1
        facts.append(
            _closed(record, drift, "", fact_id(log_epoch, record.life, revision), revision, now)
        )
    revision += 1
    snapshot = record.snapshot
    facts.append(
        Verdict(
            id=fact_id(log_epoch, record.life, revision),
            proxy=snapshot.proxy,
            cluster=snapshot.cluster,
            verdict="gone",
            snapshot=snapshot.id,
            declared="",
            observed_at=now.utc,
            reason="its agent has gone",
            revision=revision,
        )
    )
    return replace(record, revision=revision, open={}, outbox=tuple(facts), gone=True)


def fact_id(log_epoch: str, life: str, revision: int) -> str:
    """Id of the fact of this number about a proxy."""
    return digest_bytes("fact", f"{log_epoch}:{life}:{revision}".encode())


def _age(snapshot: Snapshot) -> tuple[int, str, int]:
    return snapshot.started_at, snapshot.epoch, snapshot.sequence


def _obstacle(snapshot: Snapshot) -> tuple[Literal["unknown", "unverifiable"], str] | None:
    """Why a snapshot cannot be compared, whatever is declared."""
    if snapshot.ir_version != IR_VERSION:
        return "unverifiable", (
            f"the agent speaks version {snapshot.ir_version} of the vocabulary, this worker "
            f"version {IR_VERSION}; run the same version of both"
        )
    if snapshot.state.error:
        return "unknown", snapshot.state.error
    return None


def _judgement(
    snapshot: Snapshot, declaration: Declaration, expectation: Expectation, world: World
) -> Judgement | Missing:
    if (
        expectation.closed
        and expectation.policies
        and not snapshot.state.incomplete
        and expectation.root == meaning_root(snapshot.shards)
    ):
        return Judgement("in-sync", policies=expectation.policies)
    projection = world.expectations.projection(declaration, convert.proxy_inputs(snapshot))
    observed = observe(snapshot.shards, expectation, projection, world.policies)
    return (
        observed if isinstance(observed, Missing) else world.judge(projection, observed, snapshot)
    )


class _Writer:
    """Builds the next record of a proxy, fact by fact."""

    def __init__(self, record: ProxyRecord, world: World, now: Now) -> None:
        self._record = record
        self._world = world
        self._now = now
        self._facts: list[Drift | Verdict] = []
        self._bytes = 0
        self._revision = record.revision
        self._open = dict(record.open)
        self._windows = record.windows
        self._said = record.said

    def expect(self, expectation: Expectation) -> None:
        """Start the convergence window of each lane in which the expectation changed."""
        known = self._record.windows
        self._windows = {
            name: known[name]
            if name in known and known[name].expected == expectation.lanes[name]
            else Window(
                expectation.lanes[name], self._now.monotonic + self._world.timing.windows[name]
            )
            for name in LANES
        }

    def cannot_say(
        self,
        reason: str,
        *,
        verdict: Literal["unknown", "unverifiable"] = "unknown",
        keep: bool = False,
        declared: str = "",
    ) -> Step:
        """There is nothing to compare; with `keep`, the last verdict stays if there is one.

        Drifts stay open: that nothing is seen is no sign that they are over.
        """
        if not (keep and self._said):
            self._verdict(verdict, declared, reason=reason, differences=len(self._open))
        return Step(self._finished())

    def say(self, judgement: Judgement, declaration: Declaration) -> Step:
        """Open, repeat and close drifts, and give the verdict."""
        differing = {str(each.key): each for each in judgement.differences}
        for key in sorted(self._open.keys() - differing.keys()):
            if self._full:
                return Step(self._finished(), wake_at=self._now.monotonic)
            self._close(key, declaration.digest)
        held: list[str] = []
        for key, difference in differing.items():
            if self._full:
                return Step(self._finished(), wake_at=self._now.monotonic)
            name = lane(difference.key.kind)
            if key in self._open:
                self._repeat(key, difference, declaration)
            elif self._now.monotonic < self._windows[name].until:
                held.append(name)
            elif len(self._open) < MAX_OPEN:
                self._add(key, difference, declaration)
        self._verdict(
            judgement.verdict if not held else "drift" if self._open else "converging",
            declaration.digest,
            reason=judgement.reason or _converging(len(held)),
            unverifiable=judgement.unverifiable,
            equivalent=judgement.equivalent,
            differences=len(differing) - len(held),
            policies=judgement.policies,
        )
        repeats = [drift.said_at for drift in self._open.values()]
        repeats += [self._said.at] if self._said else []
        next_repeat = min(repeats) + self._world.timing.repeat - self._now.utc
        times = [self._windows[name].until for name in held]
        return Step(
            self._finished(),
            wake_at=min([*times, self._now.monotonic + max(1_000, next_repeat)]),
        )

    def _finished(self) -> ProxyRecord:
        return replace(
            self._record,
            revision=self._revision,
            windows=self._windows,
            open=self._open,
            said=self._said,
            outbox=tuple(self._facts),
        )

    @property
    def _full(self) -> bool:
        return len(self._facts) >= MAX_OUTBOX_FACTS or self._bytes >= MAX_OUTBOX_BYTES

    def _publish(self, fact: Drift | Verdict) -> None:
        self._facts.append(fact)
        self._bytes += len(encode(fact))

    def _next_id(self) -> str:
        self._revision += 1
        return fact_id(self._world.log_epoch, self._record.life, self._revision)

    def _add(self, key: str, difference: Difference, declaration: Declaration) -> None:
        identity = self._next_id()
        self._drift("opened", identity, identity, self._now.utc, difference, declaration)

    def _repeat(self, key: str, difference: Difference, declaration: Declaration) -> None:
        known = self._open[key]
        if (known.code, known.sources) != (difference.code, difference.sources):
            # Code and sources name the anomaly, so this is evidence of another one from now on.
            self._close(key, declaration.digest)
            self._add(key, difference, declaration)
            return
        due = self._now.utc - known.said_at >= self._world.timing.repeat
        if due or known.looks != _looks(difference, declaration):
            self._drift(
                "open", self._next_id(), known.episode, known.opened_at, difference, declaration
            )

    def _drift(
        self,
        status: Literal["opened", "open"],
        identity: str,
        episode: str,
        opened_at: int,
        difference: Difference,
        declaration: Declaration,
    ) -> None:
        snapshot = self._record.snapshot
        key = str(difference.key)
        self._open[key] = OpenDrift(
            episode=episode,
            key=key,
            kind=difference.key.kind.value,
            code=difference.code,
            change=difference.change,
            effect=difference.effect,
            sources=difference.sources,
            opened_at=opened_at,
            looks=_looks(difference, declaration),
            said_at=self._now.utc,
        )
        self._publish(
            Drift(
                id=identity,
                episode=episode,
                status=status,
                proxy=snapshot.proxy,
                cluster=snapshot.cluster,
                kind=difference.key.kind.value,
                key=key,
                code=difference.code,
                change=difference.change,
                effect=difference.effect,
                expected=_clip(difference.expected),
                observed=_clip(difference.observed),
                snapshot=snapshot.id,
                declared=declaration.digest,
                opened_at=opened_at,
                observed_at=self._now.utc,
                fields=tuple(
                    FieldDifference(each.path, _clip(each.expected), _clip(each.observed))
                    for each in difference.fields[:MAX_FIELDS]
                ),
                sources=difference.sources,
                resource_versions=_versions(difference, declaration),
                witness=difference.witness if len(difference.witness) <= MAX_TEXT * 4 else "",
                revision=self._revision,
            )
        )

    def _close(self, key: str, declared: str) -> None:
        drift = self._open.pop(key)
        identity = self._next_id()
        self._publish(_closed(self._record, drift, declared, identity, self._revision, self._now))

    def _verdict(
        self,
        verdict: str,
        declared: str,
        *,
        reason: str = "",
        unverifiable: Iterable[str] = (),
        equivalent: int = 0,
        differences: int = 0,
        policies: int = 0,
    ) -> None:
        snapshot = self._record.snapshot
        fact = Verdict(
            id="",
            proxy=snapshot.proxy,
            cluster=snapshot.cluster,
            verdict=verdict,
            snapshot="",
            declared="",
            observed_at=0,
            reason=_clip(reason),
            unverifiable=_first(unverifiable),
            equivalent=equivalent,
            differences=differences,
            policies=policies,
            coverage=_coverage(snapshot),
        )
        looks = digest_bytes("verdict", content_bytes(fact))
        said = self._said
        if said and said.looks == looks and self._now.utc - said.at < self._world.timing.repeat:
            return
        self._said = Said(verdict, looks, self._now.utc)
        self._publish(
            replace(
                fact,
                id=self._next_id(),
                snapshot=snapshot.id,
                declared=declared,
                observed_at=self._now.utc,
                revision=self._revision,
            )
        )


def _closed(
    record: ProxyRecord, drift: OpenDrift, declared: str, identity: str, revision: int, now: Now
) -> Drift:
    return Drift(
        id=identity,
        episode=drift.episode,
        status="closed",
        proxy=record.snapshot.proxy,
        cluster=record.snapshot.cluster,
        kind=drift.kind,
        key=drift.key,
        code=drift.code,
        change=drift.change,
        effect=drift.effect,
        expected="",
        observed="",
        snapshot=record.snapshot.id,
        declared=declared,
        opened_at=drift.opened_at,
        observed_at=now.utc,
        sources=drift.sources,
        revision=revision,
    )


def _looks(difference: Difference, declaration: Declaration) -> str:
    return digest_bytes(
        "difference",
        msgspec.json.encode((difference, _versions(difference, declaration))),
    )


def _versions(difference: Difference, declaration: Declaration) -> tuple[str, ...]:
    refs = [ResourceRef(each.kind, each.namespace, each.name) for each in difference.sources]
    known = declaration.versions
    return tuple(f"{ref}@{known[ref]}" for ref in refs if ref in known)


def _converging(held: int) -> str:
    if not held:
        return ""
    return f"{held} difference{'s' if held > 1 else ''} within the convergence window"


def _coverage(snapshot: Snapshot) -> float:
    explained = snapshot.coverage_consumed + snapshot.coverage_ignored
    total = explained + snapshot.coverage_unexplained
    return round(explained / total, 4) if total else 0.0


def _first(lines: Iterable[str]) -> tuple[str, ...]:
    listed = [_clip(line) for line in lines]
    rest = len(listed) - MAX_UNVERIFIABLE
    return (*listed[:MAX_UNVERIFIABLE], *([f"… and {rest} more"] if rest > 0 else []))


def _clip(text: str) -> str:
    return text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]}… ({len(text)} characters)"
