"""What an agent does about trouble at its own side: a disk, a configuration that nobody foresaw."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest
from confluent_kafka import Producer

from meshscope.agent import process
from meshscope.agent.admin import Admin
from meshscope.agent.delivery import Delivery
from meshscope.agent.process import CERTIFICATES, DUMP, Loop
from meshscope.agent.publication import Publisher
from meshscope.agent.requests import Asked, Requests
from meshscope.agent.settings import AgentSettings
from meshscope.agent.signs import CLUSTERS, ROUTES, STATS
from meshscope.agent.spool import Record, Spool, SpoolError
from meshscope.events.codec import decode
from meshscope.events.facts import Snapshot
from meshscope.events.topics import POLICIES, SNAPSHOTS
from meshscope.transport.log_epoch import LogEpochReader

EMPTY_DUMP = b'{"configs": [{"@type": "type.googleapis.com/envoy.admin.v3.ListenersConfigDump"}]}'


@dataclass
class Envoy:
    """An admin interface with nothing behind it."""

    version: int = 0
    asked: list[str] = field(default_factory=list)

    async def get(self, path: str) -> bytes:
        self.asked.append(path)
        stats = f'cluster_manager.cds.version_text: "{self.version}"\n'.encode()
        return {
            STATS: stats,
            ROUTES: b"{}",
            CLUSTERS: b"{}",
            CERTIFICATES: b"{}",
            DUMP: EMPTY_DUMP,
        }[path]


class NoRequests:
    def read(self, *_: Any) -> Asked:
        return Asked(frozenset())


class OneLog:
    def current(self, *_: Any) -> str:
        return "log"


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    with Spool(tmp_path / "spool", 100_000, SNAPSHOTS.name) as made:
        yield made


def delivery(spool: Spool) -> Delivery:
    """To a broker that nobody listens as."""
    return Delivery(
        lambda: Producer({"bootstrap.servers": "127.0.0.1:1", "log_level": 0}), spool, lambda: 1
    )


def loop(envoy: Envoy, spool: Spool) -> Loop:
    return Loop(
        settings=AgentSettings(),
        admin=cast("Admin", envoy),
        spool=spool,
        delivery=delivery(spool),
        requests=cast("Requests", NoRequests()),
        log_epoch=cast("LogEpochReader", OneLog()),
        version="1",
        publisher=Publisher("life", 1),
        now_ms=lambda: 1,
    )


def snapshots(spool: Spool) -> list[Snapshot]:
    found = [decode(each.record.value or b"") for each in spool.after(0, 100)]
    return [fact for fact in found if isinstance(fact, Snapshot)]


def no_writes(spool: Spool, no: bool) -> None:
    """Let SQLite refuse to write, as it does where the disk is full or broken."""
    spool._db.execute(f"PRAGMA query_only = {int(no)}")


async def test_a_configuration_that_nobody_foresaw_is_told_and_ends_nothing(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    envoy = Envoy()
    agent = loop(envoy, spool)
    await agent.step()

    def stumbles(*_: Any) -> None:
        raise KeyError("a field of tomorrow")

    with monkeypatch.context() as patch:
        patch.setattr(process, "infer", stumbles)
        envoy.version = 1
        await agent.step()
    told = snapshots(spool)[-1].state.error
    assert "could not be understood: KeyError: 'a field of tomorrow'" in told
    await agent.step()
    assert [bool(each.state.error) for each in snapshots(spool)] == [False, True, False]


async def test_a_disk_that_is_full_is_told_once_and_everything_is_said_later(
    spool: Spool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    envoy = Envoy()
    agent = loop(envoy, spool)
    no_writes(spool, True)
    for _ in range(3):
        await agent.step()
    assert envoy.asked.count(DUMP) == 1, "the disk says nothing of the configuration"
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert "see whether its disk is full" in caplog.text

    no_writes(spool, False)
    await agent.step()
    assert [each.sequence for each in snapshots(spool)] == [1]
    assert snapshots(spool)[0].state.error == ""
    assert "the spool can be written again" in caplog.text


def test_what_the_broker_has_waits_until_the_disk_takes_its_deletion(
    spool: Spool, caplog: pytest.LogCaptureFixture
) -> None:
    spool.put([Record(POLICIES.name, b"k", b"v")])
    sender = delivery(spool)
    sender._acknowledged.append(spool.after(0, 1)[0].number)
    no_writes(spool, True)
    for _ in range(3):
        sender.step()
    assert len(caplog.records) == 1
    assert not sender.idle
    no_writes(spool, False)
    sender.step()
    assert len(spool) == 0


def test_an_agent_that_cannot_begin_says_why(spool: Spool) -> None:
    no_writes(spool, True)
    with pytest.raises(SpoolError, match=r"spool cannot be written \(.*\): see whether its disk"):
        spool.begin_life(1)


async def test_dropped_snapshots_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with Spool(tmp_path / "small", 5_000, SNAPSHOTS.name) as spool:
        envoy = Envoy()
        agent = loop(envoy, spool)
        for envoy.version in range(20):
            await agent.step()
        assert 0 < len(snapshots(spool)) < 20
    assert "snapshots that later ones replace were dropped" in caplog.text
