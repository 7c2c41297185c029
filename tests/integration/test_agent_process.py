"""The agent as a process beside a real Envoy and a real broker."""

import http.server
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, Message, Producer, TopicPartition

from meshscope.events.codec import decode
from meshscope.events.facts import PolicyBody, PolicyShard, Snapshot
from meshscope.events.topics import DEAD_LETTER, POLICIES, REQUESTS, SNAPSHOTS
from meshscope.sandbox.client import SandboxClient
from meshscope.transport.partition import partition_of

pytestmark = pytest.mark.integration

SOON = 20.0


class Log:
    """What stands on the topics of the data plane, read again from the start each time."""

    def __init__(self, brokers: str) -> None:
        self._brokers = brokers

    def facts(self) -> list[Any]:
        return [fact for fact, _ in self._records()]

    def partitions(self, proxy: str) -> set[int | None]:
        """Where the snapshots of a proxy stand."""
        return {
            partition
            for fact, partition in self._records()
            if isinstance(fact, Snapshot) and fact.proxy == proxy
        }

    def _records(self) -> list[tuple[Any, int | None]]:
        consumer = Consumer(
            {
                "bootstrap.servers": self._brokers,
                "group.id": f"test-{time.monotonic_ns()}",
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "log_level": 0,
            }
        )
        partitions = [
            TopicPartition(topic.name, number, OFFSET_BEGINNING)
            for topic in (SNAPSHOTS, POLICIES)
            for number in range(topic.partitions)
        ]
        consumer.assign(partitions)
        found: list[tuple[Any, int | None]] = []
        ended: set[tuple[str | None, int | None]] = set()
        until = time.monotonic() + SOON
        while len(ended) < len(partitions):
            assert time.monotonic() < until, "the topics cannot be read to their end"
            message = consumer.poll(0.2)
            if message is None:
                continue
            if message.error() is not None:
                ended.add((message.topic(), message.partition()))
            else:
                found.append((decode(message.value() or b""), message.partition()))
        consumer.close()
        return found

    def snapshots(self, proxy: str) -> list[Snapshot]:
        mine = [f for f in self.facts() if isinstance(f, Snapshot) and f.proxy == proxy]
        return sorted(mine, key=lambda snapshot: (snapshot.started_at, snapshot.sequence))

    def wait_for(self, proxy: str, condition: Callable[[Snapshot], bool]) -> Snapshot:
        """The last snapshot of a proxy, once it is as wanted."""
        until = time.monotonic() + SOON
        last: list[Snapshot] = []
        while time.monotonic() < until:
            last = self.snapshots(proxy)
            if last and condition(last[-1]):
                return last[-1]
            time.sleep(0.1)
        raise AssertionError(f"no such snapshot of {proxy}; the last one: {last[-1:]}")


@contextmanager
def agent(
    brokers: str, admin: str, folder: Path, **settings: str
) -> Iterator[subprocess.Popen[bytes]]:
    environ = dict(os.environ) | {
        "MESHSCOPE_BROKERS": brokers,
        "MESHSCOPE_AGENT_ADMIN": admin,
        "MESHSCOPE_AGENT_SPOOL": str(folder / "agent.spool"),
        "MESHSCOPE_AGENT_POLL_SECONDS": "0.2",
        **{f"MESHSCOPE_AGENT_{name.upper()}": value for name, value in settings.items()},
    }
    with (folder / "agent.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "meshscope.agent"], env=environ, stdout=log, stderr=log
        )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(15)


def admin_of(sandbox: SandboxClient, proxy: str) -> str:
    return f"http://{next(p.admin for p in sandbox.status().proxies if p.proxy == proxy)}"


def test_policies_state_and_changes_reach_the_log(
    sandbox: SandboxClient, broker: str, tmp_path: Path
) -> None:
    log = Log(broker)
    proxy = "cart-1.shop"
    with agent(broker, admin_of(sandbox, proxy), tmp_path) as process:
        first = log.wait_for(proxy, lambda s: s.state.live == "LIVE" and s.state.connected is True)
        assert first.istio_version == "1.29.6"
        assert first.coverage_unexplained == 0
        assert first.state.certificate_identity == "spiffe://cluster.local/ns/shop/sa/cart"

        # The worker that has this partition is the one that would miss the Pod's snapshots.
        place = partition_of(f"{first.cluster}/{proxy}".encode(), SNAPSHOTS.partitions)
        assert log.partitions(proxy) == {place}

        facts = log.facts()
        shards = {f.digest: f for f in facts if isinstance(f, PolicyShard)}
        bodies = {f.digest for f in facts if isinstance(f, PolicyBody)}
        assert {s.digest for s in first.shards} <= shards.keys()
        named = {e.digest for s in first.shards for e in shards[s.digest].entries}
        assert named <= bodies

        sandbox.state("01-authz-tightened")
        changed = log.wait_for(proxy, lambda s: s.root != first.root)
        moved = {
            s.kind
            for s in changed.shards
            if s.digest not in {other.digest for other in first.shards}
        }
        assert moved == {"authorization"}

        sandbox.reject(proxy, "lds")
        rejected = log.wait_for(proxy, lambda s: bool(s.state.rejected))
        assert "absent" in rejected.state.rejected[0].details
        assert rejected.root == changed.root

        sandbox.disconnect(proxy, True)
        log.wait_for(proxy, lambda s: s.state.connected is False)
        assert process.poll() is None


def test_a_broker_that_is_away_costs_nothing_but_time(
    sandbox: SandboxClient, broker: str, tmp_path: Path
) -> None:
    proxy = "cart-2.shop"
    admin = admin_of(sandbox, proxy)
    with agent("127.0.0.1:1", admin, tmp_path) as process:
        until = time.monotonic() + SOON
        while not _spooled(tmp_path):
            assert time.monotonic() < until, (tmp_path / "agent.log").read_text()
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
        process.wait(5)
    with agent(broker, admin, tmp_path):
        log = Log(broker)
        log.wait_for(proxy, lambda s: s.sequence == 1)
        until = time.monotonic() + SOON
        while len({s.epoch for s in log.snapshots(proxy)}) < 2:
            assert time.monotonic() < until, "the spooled snapshot of the first life is missing"
            time.sleep(0.1)


def _spooled(folder: Path) -> int:
    with sqlite3.connect(folder / "agent.spool") as database:
        try:
            return int(database.execute("SELECT count(*) FROM record").fetchone()[0])
        except sqlite3.OperationalError:
            return 0


class Broken(http.server.BaseHTTPRequestHandler):
    """An admin interface that answers 500."""

    def do_GET(self) -> None:
        self.send_response(500)
        self.end_headers()
        self.wfile.write(b"out of luck")

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def broken_admin() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Broken)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def hanging_admin() -> Iterator[str]:
    """Takes connections and never answers."""
    listener = socket.create_server(("127.0.0.1", 0))
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    listener.close()


def test_an_envoy_that_answers_500_is_said_to_be_unreachable(
    broken_admin: str, broker: str, tmp_path: Path
) -> None:
    with agent(broker, broken_admin, tmp_path, proxy="lost-1.shop", cluster="lab"):
        snapshot = Log(broker).wait_for("lost-1.shop", lambda s: s.state.live == "UNREACHABLE")
    assert "answered 500: out of luck" in snapshot.state.error
    assert snapshot.shards == ()


def test_an_envoy_that_hangs_is_said_to_be_unreachable(
    hanging_admin: str, broker: str, tmp_path: Path
) -> None:
    with agent(
        broker,
        hanging_admin,
        tmp_path,
        proxy="hung-1.shop",
        cluster="lab",
        admin_timeout_seconds="0.5",
    ):
        snapshot = Log(broker).wait_for("hung-1.shop", lambda s: s.state.live == "UNREACHABLE")
    assert "was not answered within 0.5 s" in snapshot.state.error


def test_a_request_that_cannot_be_read_becomes_one_dead_letter(
    broken_admin: str, broker: str, tmp_path: Path
) -> None:
    proxy, other = "poisoned-1.shop", "spared-1.shop"
    with agent(broker, broken_admin, tmp_path, proxy=proxy, cluster="lab"):
        Log(broker).wait_for(proxy, lambda s: s.state.live == "UNREACHABLE")
        producer = Producer({"bootstrap.servers": broker})
        for key in (proxy, other):
            producer.produce(REQUESTS.name, key=f"lab/{key}", value=b"no request")
        assert producer.flush(10) == 0
        letters = dead_letters(broker, f"lab/{proxy}".encode())
    (letter,) = letters
    headers = dict(letter.headers() or [])
    assert letter.value() == b"no request"
    assert (headers["ms-topic"], headers["ms-error-code"]) == (REQUESTS.name.encode(), b"poison")
    assert b"single-object" in (headers["ms-error"] or b"")


def dead_letters(brokers: str, key: bytes) -> list[Message]:
    """Dead letters with a key, once there is one."""
    consumer = Consumer(
        {"bootstrap.servers": brokers, "group.id": f"test-{time.monotonic_ns()}", "log_level": 0}
    )
    consumer.assign([TopicPartition(DEAD_LETTER.name, 0, OFFSET_BEGINNING)])
    until = time.monotonic() + SOON
    found: list[Message] = []
    while not found:
        assert time.monotonic() < until, f"no dead letter with the key {key!r}"
        message = consumer.poll(0.2)
        if message is not None and message.error() is None and message.key() == key:
            found.append(message)
    consumer.close()
    return found


def test_wrong_settings_are_named(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "meshscope.agent"],
        env=dict(os.environ) | {"MESHSCOPE_AGENT_ADMIN": "http://10.0.0.1:15000"},
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert done.returncode == 2
    assert "MESHSCOPE_AGENT_ADMIN" in done.stderr
