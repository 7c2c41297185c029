"""Agents whose clocks are wrong: versions decide, and the operator is told of the clocks."""

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from pipeline import Pipeline, running_pipeline

from meshscope.events.codec import encode
from meshscope.events.topics import SNAPSHOTS
from meshscope.history.rows import Place, row_of
from meshscope.sandbox.client import SandboxClient

pytestmark = pytest.mark.integration

HOUR = 3600
AHEAD, BEHIND, SET_BACK = "cart-1.shop", "cart-2.shop", "frontend-1.shop"
PROXIES = {AHEAD, BEHIND, SET_BACK}


@pytest.fixture
def pipeline(sandbox_process: "object", tmp_path: Path) -> Iterator[Pipeline]:
    resources: Path = sandbox_process.paths.resources  # type: ignore[attr-defined]
    with running_pipeline(tmp_path, resources) as made:
        yield made


def in_sync(pipeline: Pipeline) -> set[str]:
    return {name for name, each in pipeline.verdicts().items() if each.verdict == "in-sync"}


def open_drifts(pipeline: Pipeline) -> set[tuple[str, str]]:
    newest = {(fact.proxy, fact.key): fact for fact in pipeline.drifts()}
    return {(proxy, fact.kind) for (proxy, _), fact in newest.items() if fact.status != "closed"}


def test_wrong_clocks_change_no_decision_and_no_duration(
    sandbox: SandboxClient, pipeline: Pipeline
) -> None:
    began = time.time_ns() // 1_000_000
    pipeline.start_watcher()
    pipeline.start_worker()
    pipeline.start_agent(AHEAD, clock=HOUR)
    pipeline.start_agent(BEHIND, clock=-HOUR)
    pipeline.start_agent(SET_BACK, clock=HOUR)
    pipeline.until(lambda: in_sync(pipeline) == PROXIES)

    # A clock is set back, and the agent's new life has no spool that would know of the old one.
    pipeline.stop(SET_BACK)
    pipeline.start_agent(SET_BACK, spool="another-spool")
    lives = pipeline.snapshots(SET_BACK)
    pipeline.until(lambda: len({each.epoch for each in pipeline.snapshots(SET_BACK)}) == 2)
    assert pipeline.snapshots(SET_BACK)[-1].started_at < lives[0].started_at

    sandbox.declare("01-authz-tightened")
    sandbox.remove_rbac(SET_BACK)
    cart = {(AHEAD, "authorization"), (BEHIND, "authorization")}
    pipeline.until(lambda: open_drifts(pipeline) >= cart | {(SET_BACK, "authorization")})
    pipeline.until(lambda: len(pipeline.open_anomalies()) > 1)

    sandbox.heal()
    sandbox.state("00-base")
    pipeline.until(lambda: in_sync(pipeline) == PROXIES and not pipeline.open_anomalies())
    assert open_drifts(pipeline) == set()
    ended = time.time_ns() // 1_000_000

    for fact in (*pipeline.drifts(), *pipeline.verdicts().values()):
        assert began <= fact.observed_at <= ended
    for drift in pipeline.drifts():
        assert began <= drift.opened_at <= drift.observed_at
    for anomaly in pipeline.anomalies():
        assert began <= anomaly.opened_at <= anomaly.updated_at <= ended
        assert anomaly.resolved_at is None or anomaly.opened_at <= anomaly.resolved_at <= ended

    notes = {
        proxy: [note for note in verdict.notes if note.startswith("MSC-5010")]
        for proxy, verdict in pipeline.verdicts().items()
    }
    # At least so much is certain: a record may have been on its way for a while.
    assert re.search(r"at least (59|60) min ahead", notes[AHEAD][0])
    assert re.search(r"at least 59 min behind", notes[BEHIND][0])
    assert notes[SET_BACK] == []

    for proxy, offset in ((AHEAD, HOUR), (BEHIND, -HOUR)):
        snapshot = pipeline.snapshots(proxy)[-1]
        assert snapshot.config_at <= snapshot.observed_at
        row = row_of(SNAPSHOTS, Place("log", SNAPSHOTS.name, 0, 0, ended), b"key", encode(snapshot))
        assert row is not None
        apart = row.row["observed_at"] - row.row["broker_at"]
        assert abs(apart.total_seconds() - offset) < 60
