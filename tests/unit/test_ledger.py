"""Anomalies are published before their state is kept, in time, and forgotten long after."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import pytest
from join_simulation import Clock, run

from meshscope.analysis.lifecycle import (
    COALESCE_MS,
    MAX_HELD,
    MAX_PROXIES,
    AnomalyState,
    Held,
    take,
)
from meshscope.events.facts import Anomaly, Drift, Source
from meshscope.events.topics import EVIDENCE
from meshscope.policy.canonical import digest_bytes
from meshscope.stream.ledger import FORGET_EVERY_MS, FORGET_MS, AnomalyRecord, Ledger, dump, load

MAX_RECORD_BYTES = 1_000_000


def drift(episode: str = "e1", revision: int = 1, **changed: object) -> Drift:
    made = Drift(
        id=f"{episode}-{revision}",
        episode=episode,
        status="opened",
        proxy="cart-1.shop",
        cluster="one",
        kind="authorization",
        key="authorization/8080/plaintext/http",
        code="MSC-1081",
        change="missing",
        effect="exposes",
        expected="ALLOW",
        observed="nothing",
        snapshot="s",
        declared="d",
        opened_at=0,
        observed_at=Clock().utc,
        sources=(Source("AuthorizationPolicy", "shop", "cart-callers"),),
        revision=revision,
    )
    return replace(made, **changed)  # type: ignore[arg-type]


@dataclass
class Kept:
    """`AnomalyRecords`, and what was published, in the order of both."""

    records: dict[str, AnomalyRecord] = field(default_factory=dict)
    done: list[str] = field(default_factory=list)
    refuses: bool = False

    def get(self, key: str) -> AnomalyRecord | None:
        return self.records.get(key)

    def items(self) -> Iterator[tuple[str, AnomalyRecord]]:
        yield from self.records.items()

    async def put(self, key: str, value: AnomalyRecord, *, durable: bool) -> None:
        self.records[key] = load(dump(value))
        self.done.append("kept")

    async def remove(self, key: str, partition: int) -> None:
        del self.records[key]
        self.done.append("removed")

    async def publish(self, anomaly: Anomaly) -> None:
        if self.refuses:
            raise TimeoutError
        self.done.append(anomaly.status)


def ledger(kept: Kept, clock: Clock) -> Ledger:
    made = Ledger(kept, kept.publish, clock)
    made.own(kept.records)
    return made


def test_an_anomaly_is_published_before_its_state_is_kept() -> None:
    kept = Kept(refuses=True)
    anomalies = ledger(kept, Clock())
    with pytest.raises(TimeoutError):
        run(anomalies.evidence(drift(), 0))
    assert kept.records == {}, "its evidence is read again"
    kept.refuses = False
    run(anomalies.evidence(drift(), 0))
    run(anomalies.evidence(drift(), 0))
    assert kept.done == ["opened", "kept"]


def test_updates_that_waited_are_published_also_by_a_successor() -> None:
    kept, clock = Kept(), Clock()
    run(ledger(kept, clock).evidence(drift(), 0))
    run(ledger(kept, clock).evidence(drift("e2", 2), 0))
    assert kept.done == ["opened", "kept", "kept"]
    successor = ledger(kept, clock)
    clock.advance(COALESCE_MS)
    run(successor.work())
    run(successor.work())
    assert kept.done[3:] == ["updated", "kept"]


def test_what_changes_nothing_that_is_told_is_settled_without_a_word() -> None:
    kept, clock = Kept(), Clock()
    anomalies = ledger(kept, clock)
    run(anomalies.evidence(drift(), 0))
    run(anomalies.evidence(drift(revision=2), 0))
    for _ in range(3):
        clock.advance(COALESCE_MS)
        run(anomalies.work())
    assert kept.done == ["opened", "kept", "kept"]


def test_what_was_resolved_long_ago_is_forgotten() -> None:
    assert EVIDENCE.retention_ms is not None
    assert EVIDENCE.retention_ms < FORGET_MS
    kept, clock = Kept(), Clock()
    anomalies = ledger(kept, clock)
    run(anomalies.evidence(drift(), 0))
    run(anomalies.evidence(drift("other", proxy="p", sources=()), 0))
    run(anomalies.evidence(drift(revision=2, status="closed"), 0))
    assert len(kept.records) == 2
    clock.advance(FORGET_MS)
    run(anomalies.work())
    assert len(kept.records) == 2
    clock.advance(FORGET_EVERY_MS)
    run(anomalies.work())
    assert [each.state.open.keys() for each in kept.records.values()] == [{"other"}]
    run(anomalies.evidence(drift("again", 3), 0))
    assert kept.done[-2:] == ["opened", "kept"]


def full() -> AnomalyState:
    """The anomaly of a large mesh that lost its control plane, as far as it is remembered."""
    episodes = (digest_bytes("episode", str(number).encode()) for number in range(MAX_HELD))
    held = {
        episode: Held(
            number,
            f"workload-{number % 1_000}-{episode[:10]}-{episode[10:15]}.some-namespace",
            "alters",
            None,
            Source("DestinationRule", f"namespace-{number % 50}", f"service-{number % 3_000}"),
        )
        for number, episode in enumerate(episodes)
    }
    return AnomalyState("f" * 32, "one", "MSC-3004", "t", None, open=held)


def test_an_anomaly_of_a_whole_mesh_fits_into_a_record() -> None:
    state = full()
    known = next(iter(state.open.values())).proxy
    assert take(state, drift("one more", proxy=known)) is state
    for number in range(3):
        state = take(state, drift(f"new {number}", proxy=f"new-{number}.shop"))
    assert len(state.open) == MAX_HELD + 3, "a proxy of which nothing is known counts still"
    more = {
        f"{number:032x}": Held(1, f"p-{number}.shop", "alters", None)
        for number in range(MAX_PROXIES - 3)
    }
    state = replace(state, open={**state.open, **more})
    assert take(state, drift("another", proxy="another.shop")) is state
    assert len(dump(AnomalyRecord(0, state))) < MAX_RECORD_BYTES
    closed = take(state, drift("new 1", 2, status="closed"))
    assert len(closed.open) == MAX_HELD + MAX_PROXIES - 1
