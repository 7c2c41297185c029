"""The decision on one proxy: its record, what is declared and what is held → record and facts.

    receive   a snapshot came: the newer one counts
    verify    what is expected against what is held; drifts open, change and close
    leave     the proxy is gone: everything about it closes

Pure: time comes in as a value, and what must be published lies in the outbox of the record.
"""

from dataclasses import replace
from typing import Final, Literal

from meshscope.events.facts import Snapshot, Verdict
from meshscope.policy.canonical import IR_VERSION
from meshscope.stream import findings
from meshscope.stream.broadcast import Declaration, Unready
from meshscope.stream.clock_skew import SkewBounds, skew
from meshscope.stream.delivery import delivery
from meshscope.stream.expectation import Expectation
from meshscope.stream.judgement import Judgement
from meshscope.stream.observation import Missing, observe
from meshscope.stream.outbox import Outbox
from meshscope.stream.pairs import can_be_paired
from meshscope.stream.pods import is_unseen
from meshscope.stream.record import ProxyRecord
from meshscope.stream.silence import is_silent, silenced
from meshscope.stream.statements import Statements, closing
from meshscope.stream.step import Now, Step, World

MAX_PAST: Final = 8
"""Earlier lives of an agent that are remembered. What is read once more after a worker died does
not go back further."""


def receive(
    record: ProxyRecord | None,
    snapshot: Snapshot,
    partition: int,
    life: str,
    now: Now,
    bounds: SkewBounds | None = None,
) -> ProxyRecord:
    """A snapshot came; one that is not newer than the known one changes nothing.

    Within a life of the agent sequence numbers decide, and between lives the order of the log, in
    which an agent that starts puts what an earlier life left before its own. Clocks decide nothing:
    one that was set back would make a new life look like the past.

    Args:
        life: Unique; names the record if the proxy had none.
        now: The time.
        bounds: What the record says of the clock of the proxy's agent; None: nothing.
    """
    if record is None:
        record = ProxyRecord(partition, life, snapshot, heard_at=now.monotonic)
    elif record.partition != partition:
        record = replace(record, partition=partition)
    known = record.snapshot
    if snapshot.epoch in record.past or (
        snapshot.epoch == known.epoch and snapshot.sequence < known.sequence
    ):
        return record
    if snapshot.epoch != known.epoch:
        record = replace(record, past=(known.epoch, *record.past)[:MAX_PAST])
    if snapshot != known:
        record = replace(record, snapshot=snapshot, heard_at=now.monotonic, pending_since=None)
    clock_skew = record.clock_skew if bounds is None else skew(record.clock_skew, bounds)
    return record if clock_skew == record.clock_skew else replace(record, clock_skew=clock_skew)


def verify(record: ProxyRecord, declaration: Declaration | Unready, world: World, now: Now) -> Step:
    """Compare what is declared with what the proxy holds; the outbox must be empty."""
    if is_silent(record, world.timing, now):
        record = silenced(record)
    said = Statements(record, world, now)
    if isinstance(declaration, Unready):
        return said.cannot_say(declaration.reason, keep=True)
    mesh = world.expectations.mesh(declaration)
    if is_unseen(record):
        said.deliver(delivery(record, world.expectations.inputs(record.snapshot), mesh, (), now))
        return said.nothing()
    obstacle = _obstacle(record.snapshot)
    if obstacle is not None:
        said.deliver(delivery(record, world.expectations.inputs(record.snapshot), mesh, (), now))
        return said.cannot_say(obstacle[1], verdict=obstacle[0], declared=declaration.digest)
    try:
        expectation = world.expectations.expectation(declaration, record.snapshot)
        said.expect(expectation)
        inputs = world.expectations.inputs(record.snapshot)
        said.deliver(delivery(record, inputs, mesh, expectation.patches, now))
        found = judgement(record.snapshot, expectation, world)
    except Exception as failure:
        # A resource or a configuration that nobody thought of must not stop the others.
        reason = f"verification failed: {type(failure).__name__}: {failure}"
        step = said.cannot_say(reason, declared=declaration.digest)
        return replace(step, failure=failure)
    if isinstance(found, Missing):
        reason = f"{len(found.digests)} shards or policies of the snapshot have not come yet"
        return said.pending(reason, found.digests, declaration)
    return said.say(found, declaration)


def leave(record: ProxyRecord, log_epoch: str, now: Now) -> ProxyRecord:
    """The proxy left: its drifts close, and its record goes once that is published."""
    outbox = Outbox(record, log_epoch)
    for drift in record.open.values():
        outbox.put(closing(record, drift, "", outbox, now))
    for finding in record.findings.values():
        outbox.put(findings.closing(record, finding, outbox, now))
    snapshot = record.snapshot
    if not is_unseen(record):
        outbox.put(
            Verdict(
                id=outbox.next_id(),
                proxy=snapshot.proxy,
                cluster=snapshot.cluster,
                verdict="gone",
                snapshot=snapshot.id,
                declared="",
                observed_at=now.utc,
                reason="its agent has gone",
                revision=outbox.revision,
            )
        )
    return replace(
        record,
        revision=outbox.revision,
        open={},
        findings={},
        outbox=outbox.facts,
        gone=True,
    )


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


def judgement(snapshot: Snapshot, expectation: Expectation, world: World) -> Judgement | Missing:
    """What a comparison says of a snapshot; only shards that differ are compared in full."""

    def judged() -> Judgement | Missing:
        if can_be_paired(expectation, snapshot):
            return world.pairs.judgement(expectation, snapshot, world.policies, world.judge)
        observed = observe(snapshot.shards, expectation, world.policies)
        if isinstance(observed, Missing):
            return observed
        return world.judge(expectation.projection, observed, snapshot)

    return world.judgements.of(expectation, snapshot, judged)
