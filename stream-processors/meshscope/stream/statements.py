"""What is said about a proxy: drifts that open, repeat and close, and verdicts, fact by fact."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Final, Literal

import msgspec

from meshscope.events.facts import (
    Cause,
    Drift,
    EquivalentDifference,
    Snapshot,
    Verdict,
)
from meshscope.policy.canonical import content_bytes, digest_bytes
from meshscope.policy.source import ResourceRef
from meshscope.projection.limits import Limit
from meshscope.stream import clock_skew
from meshscope.stream.broadcast import Declaration
from meshscope.stream.clipping import (
    MAX_TEXT,
    clipped,
    first_equivalents,
    first_fields,
    first_lines,
)
from meshscope.stream.delivery import Delivery
from meshscope.stream.expectation import CONFIGURATION, LANES, Expectation, lane
from meshscope.stream.findings import Findings
from meshscope.stream.judgement import Difference, Judgement
from meshscope.stream.outbox import Outbox
from meshscope.stream.record import OpenDrift, ProxyRecord, Said, Window
from meshscope.stream.silence import silent_at
from meshscope.stream.step import Now, Step, World

MAX_OPEN: Final = 1_000
"""Drifts of one proxy that are open at a time; the verdict counts the others too."""

PENDING_MS: Final = 60_000
"""What is missing is asked for again within seconds; an agent that is there answers."""


class Statements:
    """Builds the next record of a proxy, fact by fact."""

    def __init__(self, record: ProxyRecord, world: World, now: Now) -> None:
        self._record = record
        self._world = world
        self._now = now
        self._outbox = Outbox(record, world.log_epoch)
        self._findings = Findings(record, self._outbox, now, self._is_due)
        self._open = dict(record.open)
        self._windows = record.windows
        self._said = record.said
        self._pending_since = record.pending_since

    def expect(self, expectation: Expectation) -> None:
        """Start the convergence window of each lane in which the expectation changed."""
        known = self._record.windows
        self._windows = {
            name: known[name]
            if name in known and known[name].expected == expectation.lanes[name]
            else Window(
                expectation.lanes[name],
                until=self._now.monotonic + self._world.timing.windows[name],
                since=self._now.monotonic,
            )
            for name in LANES
        }

    def deliver(self, found: Delivery) -> None:
        """Open, repeat and close what was found about delivery and loading."""
        needs_time = self._findings.take(found)
        if needs_time and any(drift.cause for drift in self._open.values()):
            self._windows = {
                name: replace(window, until=self._now.monotonic + self._world.timing.windows[name])
                for name, window in self._windows.items()
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
        if keep and self._said:
            return self.nothing()
        self._verdict(verdict, declared, reason=reason, differences=len(self._open))
        return Step(self._finished(), wake_at=self._wake_at(self._repeat_at(self._said_at())))

    def pending(self, reason: str, missing: tuple[str, ...], declaration: Declaration) -> Step:
        """Shards or bodies are missing. The last verdict stays while they may be on their way."""
        if self._pending_since is None:
            self._pending_since = self._now.monotonic
        late_at = self._pending_since + PENDING_MS
        is_late = self._now.monotonic >= late_at
        step = self.cannot_say(reason, keep=not is_late, declared=declaration.digest)
        times = (step.wake_at, None if is_late else late_at)
        return replace(step, missing=missing, wake_at=self._wake_at(*times))

    def nothing(self) -> Step:
        """There is nothing that a verdict could be about."""
        repeat_at = self._repeat_at(self._findings.said_at())
        return Step(self._finished(), wake_at=self._wake_at(repeat_at))

    def _said_at(self) -> Iterator[int]:
        """When what is said again if it stays so was said last."""
        yield from self._findings.said_at()
        if self._said:
            yield self._said.at

    def _repeat_at(self, said_at: Iterable[int]) -> int | None:
        """Monotonic time at which the first of what was said is to be said again."""
        first = min(said_at, default=None)
        if first is None:
            return None
        left = first + self._world.timing.repeat - self._now.utc
        return self._now.monotonic + max(1_000, left)

    def _wake_at(self, *others: int | None) -> int | None:
        """Monotonic time at which to look again."""
        times = [each for each in (self._findings.wake_at, *others) if each is not None]
        silent = silent_at(self._record, self._world.timing)
        if silent > self._now.monotonic:
            times.append(silent)
        return min(times, default=None)

    def say(self, judgement: Judgement, declaration: Declaration) -> Step:
        """Open, repeat and close drifts, and give the verdict."""
        self._pending_since = None
        differing = {str(each.key): each for each in judgement.differences}
        self._findings.compare(
            self._windows[CONFIGURATION].since,
            (each.key for each in judgement.differences if not self._is_converging(each)),
            self._open,
        )
        for key in sorted(self._open.keys() - differing.keys()):
            if self._outbox.is_full:
                return Step(self._finished(), wake_at=self._now.monotonic)
            self._close(key, declaration.digest)
        held: list[str] = []
        later: list[str] = []
        for key, difference in differing.items():
            if self._outbox.is_full:
                return Step(self._finished(), wake_at=self._now.monotonic)
            name = lane(difference.key.kind)
            converging = self._is_converging(difference)
            if key in self._open:
                if converging and not self._same_anomaly(key, difference):
                    # It stays what it was until the proxy had its time.
                    later.append(name)
                else:
                    self._repeat(key, difference, declaration)
            elif converging:
                held.append(name)
            elif len(self._open) < MAX_OPEN:
                self._add(difference, declaration)
        self._verdict(
            judgement.verdict if not held else "drift" if self._open else "converging",
            declaration.digest,
            reason=judgement.reason or _converging(len(held)),
            unverifiable=judgement.unverifiable,
            equivalents=judgement.equivalents,
            notes=(*judgement.notes, *_lacking(declaration)),
            differences=len(differing) - len(held),
            policies=judgement.policies,
        )
        repeat_at = self._repeat_at(
            (*self._said_at(), *(drift.said_at for drift in self._open.values()))
        )
        times = (self._windows[name].until for name in (*held, *later))
        return Step(self._finished(), wake_at=self._wake_at(*times, repeat_at))

    def _finished(self) -> ProxyRecord:
        return replace(
            self._record,
            pending_since=self._pending_since,
            revision=self._outbox.revision,
            windows=self._windows,
            open=self._open,
            conditions=self._findings.since,
            findings=self._findings.open,
            accepted=self._findings.accepted,
            said=self._said,
            outbox=self._outbox.facts,
        )

    def _is_converging(self, difference: Difference) -> bool:
        return self._now.monotonic < self._windows[lane(difference.key.kind)].until

    def _add(self, difference: Difference, declaration: Declaration) -> None:
        identity = self._outbox.next_id()
        self._drift("opened", identity, identity, self._now.utc, difference, declaration)

    def _repeat(self, key: str, difference: Difference, declaration: Declaration) -> None:
        known = self._open[key]
        if not self._same_anomaly(key, difference):
            self._close(key, declaration.digest)
            self._add(difference, declaration)
            return
        if self._is_due(known.said_at) or known.looks != _looks(difference, declaration):
            identity = self._outbox.next_id()
            self._drift("open", identity, known.episode, known.opened_at, difference, declaration)

    def _is_due(self, said_at: int) -> bool:
        """Whether to say once more what was said then, or will have been: clocks are set back."""
        return not 0 <= self._now.utc - said_at < self._world.timing.repeat

    def _cause_of(self, difference: Difference) -> Cause | None:
        known = self._open.get(str(difference.key))
        return self._findings.cause(difference.key, known)

    def _same_anomaly(self, key: str, difference: Difference) -> bool:
        """Whether an open drift is evidence of the anomaly that it was evidence of before.

        Its cause names the anomaly, or else code and sources do.
        """
        known, cause = self._open[key], self._cause_of(difference)
        if known.cause or cause:
            return known.cause == cause
        return (known.code, known.sources) == (difference.code, difference.sources)

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
        cause = self._cause_of(difference)
        observed_at = max(opened_at, self._now.utc)
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
            cause=cause,
        )
        self._outbox.put(
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
                expected=clipped(difference.expected),
                observed=clipped(difference.observed),
                snapshot=snapshot.id,
                declared=declaration.digest,
                opened_at=opened_at,
                observed_at=observed_at,
                fields=first_fields(difference.fields),
                sources=difference.sources,
                resource_versions=_versions(difference, declaration),
                witness=difference.witness if len(difference.witness) <= MAX_TEXT * 4 else "",
                revision=self._outbox.revision,
                cause=cause,
            )
        )

    def _close(self, key: str, declared: str) -> None:
        drift = self._open.pop(key)
        self._outbox.put(closing(self._record, drift, declared, self._outbox, self._now))

    def _verdict(
        self,
        verdict: str,
        declared: str,
        *,
        reason: str = "",
        unverifiable: Iterable[str] = (),
        equivalents: Sequence[EquivalentDifference] = (),
        notes: Iterable[str] = (),
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
            reason=clipped(reason),
            unverifiable=first_lines(unverifiable),
            equivalent=len(equivalents),
            differences=differences,
            policies=policies,
            coverage=_coverage(snapshot),
            equivalents=first_equivalents(equivalents),
            notes=first_lines(filter(None, (*notes, clock_skew.note(self._record.clock_skew)))),
        )
        looks = digest_bytes("verdict", content_bytes(fact))
        said = self._said
        if said and said.looks == looks and not self._is_due(said.at):
            return
        self._said = Said(verdict, looks, self._now.utc)
        self._outbox.put(
            replace(
                fact,
                id=self._outbox.next_id(),
                snapshot=snapshot.id,
                declared=declared,
                observed_at=self._now.utc,
                revision=self._outbox.revision,
            )
        )


def closing(
    record: ProxyRecord, drift: OpenDrift, declared: str, outbox: Outbox, now: Now
) -> Drift:
    """The fact that a drift is over."""
    return Drift(
        id=outbox.next_id(),
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
        observed_at=max(drift.opened_at, now.utc),
        sources=drift.sources,
        revision=outbox.revision,
        cause=drift.cause,
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


def _lacking(declaration: Declaration) -> Iterator[str]:
    """The limit of a verdict on what is not all that is declared."""
    if problems := declaration.problems:
        yield Limit.MISSING_RESOURCES.note(
            f"{len(problems)} problems of the source of declarations leave something out, which "
            f"then looks as if nobody had declared it; correct them, the first: {problems[0]}"
        )


def _converging(held: int) -> str:
    if not held:
        return ""
    return f"{held} difference{'s' if held > 1 else ''} within the convergence window"


def _coverage(snapshot: Snapshot) -> float:
    explained = snapshot.coverage_consumed + snapshot.coverage_ignored
    total = explained + snapshot.coverage_unexplained
    return round(explained / total, 4) if total else 0.0
