"""The stream worker against a real broker."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer
from join_simulation import open_drifts, verdicts
from small_mesh import CLUSTER, ORIGIN, judge, policy, project, resource
from stream_mesh import Inputs, MeshBroker, Worker, until

from meshscope.events.codec import decode, encode
from meshscope.events.control_plane import ControlPlane
from meshscope.events.facts import Anomaly, PolicyRequest
from meshscope.events.proxy import ProxyInputs
from meshscope.events.topics import (
    ANOMALIES,
    CONTROL_PLANE_STATE,
    DEAD_LETTER,
    EVIDENCE,
    POLICIES,
    REQUESTS,
    RESOURCES,
    SNAPSHOTS,
)
from meshscope.stream.app import APP_ID
from meshscope.transport.partition import partition_of

pytestmark = pytest.mark.integration


@pytest.fixture
def broker(mesh_broker: MeshBroker) -> MeshBroker:
    return mesh_broker


@pytest.fixture
def inputs(broker: MeshBroker) -> Inputs:
    return Inputs(broker)


@pytest.fixture
def start(broker: MeshBroker, tmp_path: Path) -> Iterator[Callable[..., Worker]]:
    workers: list[Worker] = []

    def make(**settings: str) -> Worker:
        worker = Worker(broker, tmp_path / f"worker-{len(workers)}", **settings)
        workers.append(worker)
        return worker

    yield make
    for worker in workers:
        if worker.process.poll() is None:
            worker.kill()


def expected(inputs: Inputs) -> dict[tuple[str, str], str]:
    """Open drifts as the pure functions give them for the final inputs."""
    declared = [inputs.resources[key] for key in sorted(inputs.resources)]
    found: dict[tuple[str, str], str] = {}
    for proxy, policies in inputs.proxies.items():
        projection = project(ControlPlane(), declared, ProxyInputs(proxy, CLUSTER, "shop"))
        observed = {made.key: made for made in (policy(*each) for each in policies.items())}
        verdict = judge(projection, observed, None)  # type: ignore[arg-type]
        for difference in verdict.differences:
            found[proxy, str(difference.key)] = f"{difference.expected}|{difference.observed}"
    return found


def found(broker: MeshBroker) -> dict[tuple[str, str], str]:
    drifts = open_drifts(broker.facts())
    return {place: f"{drift.expected}|{drift.observed}" for place, drift in drifts.items()}


def agree(inputs: Inputs, seconds: float = 30.0, what: Callable[[], object] = str) -> None:
    """Wait until the published drift is what it should be."""
    inputs.broker.flush()
    wanted = expected(inputs)
    until(
        lambda: found(inputs.broker) == wanted,
        seconds,
        lambda: f"{found(inputs.broker)} is not {wanted}\n{what()}",
    )


def anomalies(broker: MeshBroker) -> dict[str, Anomaly]:
    newest: dict[str, Anomaly] = {}
    for each in broker.records(ANOMALIES):
        newest[(each.key or b"").decode()] = decode(each.value or b"", Anomaly)
    return newest


def test_drift_appears_and_closes_and_so_does_its_anomaly(
    inputs: Inputs, start: Callable[..., Worker]
) -> None:
    broker = inputs.broker
    inputs.declare(resource("r1", {"a": 1, "b": 1, "e1": 1}))
    inputs.mark()
    inputs.hold("p1.shop", {"a": 1, "b": 1, "e1": 1})
    worker = start()
    worker.wait_ready()
    until(lambda: verdicts(broker.facts()) == {"p1.shop": "in-sync"}, 10, worker.tail)

    inputs.hold("p1.shop", {"a": 2, "b": 1, "e1": 1})
    agree(inputs, what=worker.tail)
    opened = until(lambda: anomalies(broker), 10)
    assert [each.status for each in opened.values()] == ["opened"]
    until(lambda: verdicts(broker.facts()) == {"p1.shop": "drift"}, 10)

    inputs.hold("p1.shop", {"a": 1, "b": 1, "e1": 1})
    agree(inputs, what=worker.tail)
    until(lambda: {each.status for each in anomalies(broker).values()} == {"resolved"}, 10)

    inputs.declare(resource("r1", {"a": 3, "b": 1, "e1": 1}))
    agree(inputs, what=worker.tail)
    inputs.leave("p1.shop")
    agree(inputs, what=worker.tail)
    until(lambda: verdicts(broker.facts()) == {"p1.shop": "gone"}, 10)
    assert worker.status()["ms_offset_gaps_total"] == 0
    assert worker.stop() == 0

    record = broker.records(ANOMALIES)[0]
    assert record.headers["ce_specversion"] == b"1.0"
    assert record.headers["ce_type"] == b"io.meshscope.anomaly.opened"
    assert record.headers["ce_subject"] == record.key
    assert record.headers["content-type"] == b"avro/binary"


def test_a_killed_worker_goes_on_where_it_was(inputs: Inputs, start: Callable[..., Worker]) -> None:
    broker = inputs.broker
    inputs.declare(resource("r1", {"a": 1, "b": 1}))
    inputs.mark()
    for number in range(6):
        inputs.hold(f"p{number}.shop", {"a": number % 2, "b": 1})
    worker = start()
    agree(inputs, 40, worker.tail)
    episodes = {drift.episode for drift in open_drifts(broker.facts()).values()}

    worker.kill()
    inputs.hold("p0.shop", {"a": 1, "b": 1})
    worker.start()
    agree(inputs, 40, worker.tail)
    worker.kill()
    inputs.declare(resource("r2", {"c": 1}))
    worker.start()
    agree(inputs, 40, worker.tail)

    drifts = open_drifts(broker.facts())
    kept = {drift.episode for (proxy, key), drift in drifts.items() if key.endswith("/a")}
    assert kept < episodes, "an open drift keeps its episode over restarts"
    until(lambda: worker.status().get("ready"), 30, worker.tail)
    ids: dict[str, Any] = {}
    for fact in broker.facts():
        assert ids.setdefault(fact.id, fact) == fact
    assert worker.status()["ms_offset_gaps_total"] == 0
    until(
        lambda: sum(max(0, each) for each in broker.committed(SNAPSHOTS, APP_ID).values()) == 7,
        20,
        lambda: broker.committed(SNAPSHOTS, APP_ID),
    )


def test_two_workers_share_the_proxies(inputs: Inputs, start: Callable[..., Worker]) -> None:
    inputs.declare(resource("r1", {"a": 1}))
    inputs.mark()
    for number in range(12):
        inputs.hold(f"p{number}.shop", {"a": number % 2})
    one = start()
    one.wait_ready()
    two = start()
    until(
        lambda: (
            one.status().get("ready")
            and two.status().get("ready")
            and len(one.status()["partitions"]) == len(two.status()["partitions"]) == 2
        ),
        40,
        lambda: one.tail() + two.tail(),
    )
    inputs.declare(resource("r2", {"b": 1}))
    agree(inputs, 30, lambda: one.tail() + two.tail())
    assert one.status()["proxies"] + two.status()["proxies"] == 12

    one.kill()
    inputs.declare(resource("r3", {"c": 1}))
    for number in range(12):
        inputs.hold(f"p{number}.shop", {"a": 1, "b": number % 3})
    agree(inputs, 60, two.tail)
    assert two.status()["ms_offset_gaps_total"] == 0


def test_poison_on_every_topic_is_put_aside_once(
    inputs: Inputs, start: Callable[..., Worker]
) -> None:
    broker = inputs.broker
    inputs.declare(resource("r1", {"a": 1}))
    topics = (RESOURCES, CONTROL_PLANE_STATE, POLICIES, SNAPSHOTS, EVIDENCE)
    wrong_place = encode(PolicyRequest("p", "c", (), 1))
    for topic in topics:
        broker.send(topic, b"key", b"poison", headers={"from": b"test"})
        broker.send(topic, b"\xff", wrong_place)
        broker.send(topic, None, None)
    # As large as a record may be, so that its dead letter with its headers is larger.
    large = Producer({"bootstrap.servers": broker.address, "message.max.bytes": 2_000_000})
    large.produce(EVIDENCE.name, key=b"key", value=b"x" * 1_048_000)
    assert large.flush(20) == 0
    inputs.mark()
    inputs.hold("p1.shop", {"a": 2})
    worker = start()
    agree(inputs, 40, worker.tail)
    letters = until(
        lambda: (all_ := broker.records(DEAD_LETTER)) and len(all_) >= 16 and all_,
        20,
        lambda: [each.headers for each in broker.records(DEAD_LETTER)] + [worker.tail()],
    )
    places = {
        (each.headers["ms-topic"].decode(), each.headers["ms-partition"], each.headers["ms-offset"])
        for each in letters
    }
    assert len(places) == len(letters) == 16
    assert {topic for topic, _, _ in places} == {topic.name for topic in topics}
    first = next(
        each
        for each in letters
        if each.value == b"poison" and each.headers["ms-topic"] == SNAPSHOTS.name.encode()
    )
    assert first.key == b"key"
    assert first.headers["from"] == b"test"
    assert b"single-object" in first.headers["ms-error"]

    worker.stop()
    worker.start()
    worker.wait_ready()
    inputs.hold("p1.shop", {"a": 1})
    agree(inputs, 40, worker.tail)
    assert len(broker.records(DEAD_LETTER)) == 16


def test_missing_bodies_are_asked_for(inputs: Inputs, start: Callable[..., Worker]) -> None:
    broker = inputs.broker
    inputs.declare(resource("r1", {"a": 1}))
    inputs.mark()
    inputs.hold("p1.shop", {"a": 2}, bodies=False)
    worker = start()
    requests = until(lambda: broker.records(REQUESTS), 40, worker.tail)
    request = decode(requests[0].value or b"", PolicyRequest)
    assert request.proxy == "p1.shop"
    assert len(request.digests) == 1
    assert verdicts(broker.facts()) == {"p1.shop": "unknown"}
    inputs.hold("p1.shop", {"a": 2})
    agree(inputs, 20, worker.tail)


def neighbours(place: Callable[[str], str], partitions: int) -> tuple[str, str]:
    """Two names whose records stand in one partition."""
    first = "n0"
    wanted = partition_of(place(first).encode(), partitions)
    names = (f"n{number}" for number in range(1, 1_000))
    second = next(
        name for name in names if partition_of(place(name).encode(), partitions) == wanted
    )
    return first, second


def test_records_that_the_broker_passed_over_are_read_after_all(
    inputs: Inputs, start: Callable[..., Worker]
) -> None:
    """It shows the third record of a partition after the fourth."""
    broker = inputs.broker
    one, other = neighbours(lambda name: resource(name, {}).key(ORIGIN, CLUSTER), 4)
    proxy, neighbour = neighbours(lambda name: f"{CLUSTER}/{name}.shop", 4)
    inputs.declare(resource(one, {"a": 1}))
    inputs.declare(resource(other, {"b": 1}))
    inputs.mark()
    inputs.hold(f"{proxy}.shop", {"a": 1, "b": 1})
    inputs.hold(f"{neighbour}.shop", {"a": 1, "b": 1})
    worker = start(HIDES_ONCE_OF=f"{RESOURCES.name},{SNAPSHOTS.name}")
    until(lambda: set(verdicts(broker.facts()).values()) == {"in-sync"}, 30, worker.tail)

    inputs.hold(f"{proxy}.shop", {"a": 2, "b": 1})
    inputs.hold(f"{neighbour}.shop", {"a": 1, "b": 2})
    agree(inputs, 10, worker.tail)
    inputs.declare(resource(one, {"a": 3}))
    inputs.declare(resource(other, {"b": 2}))
    agree(inputs, 10, worker.tail)
    assert worker.status()["ms_offset_gaps_total"] == 0
    until(
        lambda: max(broker.committed(SNAPSHOTS, APP_ID).values()) == 4,
        10,
        lambda: broker.committed(SNAPSHOTS, APP_ID),
    )


def test_a_broker_with_a_new_log_ends_the_worker_which_then_starts_afresh(
    inputs: Inputs, start: Callable[..., Worker]
) -> None:
    broker = inputs.broker
    inputs.declare(resource("r1", {"a": 1}))
    inputs.mark()
    inputs.hold("p1.shop", {"a": 2})
    worker = start()
    agree(inputs, 40, worker.tail)

    broker.kill()
    broker.start()
    assert worker.process.wait(60) == 75, worker.tail()
    again = Inputs(broker)
    again.declare(resource("r1", {"a": 1}))
    again.mark()
    again.hold("p1.shop", {"a": 3})
    worker.start()
    agree(again, 40, worker.tail)


def test_a_worker_waits_for_its_broker(broker: MeshBroker, start: Callable[..., Worker]) -> None:
    broker.kill()
    worker = start()
    until(lambda: "waiting for topic" in worker.tail(), 20, worker.tail)
    broker.start()
    inputs = Inputs(broker)
    inputs.declare(resource("r1", {"a": 1}))
    inputs.mark()
    inputs.hold("p1.shop", {"a": 2})
    agree(inputs, 40, worker.tail)


def test_the_small_mesh_has_one_key_per_resource() -> None:
    assert resource("r1", {}).key(ORIGIN, CLUSTER) == "directory/one/test/Rule/shop/r1"
