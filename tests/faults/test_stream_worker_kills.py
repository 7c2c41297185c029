"""Two workers under load, one of them killed again and again: P3 and P4 of the promises.

Every third kill hits a worker that shares the load with the other one at that moment, those
between them at any moment, while partitions are shared out or state is recovered. `MESHSCOPE_KILLS`
sets the number of kills (ten are the promise), `MESHSCOPE_FAULT_SEED` the seed.
"""

import os
import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from join_simulation import open_drifts
from small_mesh import CLUSTER, judge, policy, project, resource
from stream_mesh import Inputs, MeshBroker, Worker, until

from meshscope.analysis.anomaly import fingerprint
from meshscope.events.codec import decode
from meshscope.events.control_plane import ControlPlane
from meshscope.events.facts import Anomaly, Drift, Snapshot
from meshscope.events.proxy import ProxyInputs
from meshscope.events.topics import ANOMALIES, EVIDENCE, SNAPSHOTS, Topic
from meshscope.stream.app import APP_ID
from meshscope.stream.record import load

pytestmark = pytest.mark.faults

CHANGELOG = Topic(f"{APP_ID}-proxies-changelog", "", "", (), "")
KILLS = int(os.environ.get("MESHSCOPE_KILLS", "10"))
SEED = int(os.environ.get("MESHSCOPE_FAULT_SEED", str(random.SystemRandom().randrange(1 << 30))))
PROXIES = 60


@pytest.fixture
def broker(mesh_broker: MeshBroker) -> MeshBroker:
    return mesh_broker


def expected(inputs: Inputs) -> dict[tuple[str, str], tuple[str, str]]:
    declared = [inputs.resources[key] for key in sorted(inputs.resources)]
    found = {}
    for proxy, policies in inputs.proxies.items():
        projection = project(ControlPlane(), declared, ProxyInputs(proxy, CLUSTER, "shop"))
        observed = {made.key: made for made in (policy(*each) for each in policies.items())}
        for each in judge(projection, observed, None).differences:  # type: ignore[arg-type]
            found[proxy, str(each.key)] = (each.expected, each.observed)
    return found


def found(broker: MeshBroker) -> dict[tuple[str, str], tuple[str, str]]:
    return {
        place: (drift.expected, drift.observed)
        for place, drift in open_drifts(broker.facts()).items()
    }


def test_final_drift_survives_kills(broker: MeshBroker, tmp_path: Path) -> None:
    print(f"seed {SEED}, {KILLS} kills")
    chance = random.Random(SEED)  # noqa: S311
    inputs = Inputs(broker)
    inputs.declare(resource("r0", {"a": 1, "b": 1, "e1": 1}))
    inputs.mark()
    workers = [
        Worker(broker, tmp_path / f"worker-{number}", MESHSCOPE_SESSION_TIMEOUT_SECONDS="3")
        for number in range(2)
    ]
    try:
        for number in range(KILLS):
            if number % 3 == 0:
                _load_until(inputs, chance, lambda: _share(workers))
            else:
                moment = time.monotonic() + chance.uniform(0.5, 4.0)
                _load_until(inputs, chance, lambda moment=moment: time.monotonic() > moment)
            victim = chance.choice(workers)
            victim.kill()
            victim.start()
        for number in range(PROXIES):
            _hold(inputs, f"p{number}.shop", chance)
        broker.flush()
        wanted = expected(inputs)
        until(
            lambda: _supervise(workers) and found(broker) == wanted,
            90,
            lambda: f"seed {SEED}: {_apart(found(broker), wanted)}\n{_story(broker, wanted)}",
        )
        causes = {fingerprint(drift) for drift in open_drifts(broker.facts()).values()}
        until(lambda: _open_anomalies(broker) == causes, 30, lambda: _open_anomalies(broker))
        _assert_nothing_was_lost_or_said_otherwise(broker)
        assert [worker.status()["ms_offset_gaps_total"] for worker in workers] == [0, 0]
        written = len(broker.records(SNAPSHOTS))
        until(
            lambda: (
                sum(max(0, each) for each in broker.committed(SNAPSHOTS, APP_ID).values())
                == written
            ),
            60,
            lambda: f"{broker.committed(SNAPSHOTS, APP_ID)} of {written}",
        )
    finally:
        for worker in workers:
            worker.kill()


def _load_until(inputs: Inputs, chance: random.Random, ended: Callable[[], bool]) -> None:
    """About 80 changes a second until something is so."""
    deadline = time.monotonic() + 40
    while not ended():
        assert time.monotonic() < deadline, f"seed {SEED}: the workers never share the load"
        for _ in range(10):
            _change(inputs, chance)
            time.sleep(0.01)


def _share(workers: list[Worker]) -> bool:
    """Whether both workers have partitions and have read something since they got them."""
    found = [worker.status() for worker in workers]
    return _supervise(workers) and all(
        each.get("ready") and each["partitions"] and each["snapshots"] > 20 for each in found
    )


def _supervise(workers: list[Worker]) -> bool:
    """Start workers again that asked for it, as a supervisor does."""
    for worker in workers:
        code = worker.process.poll()
        if code is not None:
            assert code == 75, worker.tail()
            print(f"a worker asked to be started again: {worker.tail()[-300:]}")
            worker.start()
    return True


def _change(inputs: Inputs, chance: random.Random) -> None:
    if chance.random() < 0.03:
        name = f"r{chance.randrange(4)}"
        proxy = f"p{chance.randrange(PROXIES)}.shop"
        policies = {chance.choice("abcd"): chance.randrange(3), "e1": chance.randrange(2)}
        inputs.declare(resource(name, policies, [proxy, "*"][: chance.randrange(1, 3)]))
    elif chance.random() < 0.03 and inputs.proxies:
        inputs.leave(chance.choice(sorted(inputs.proxies)))
    else:
        _hold(inputs, f"p{chance.randrange(PROXIES)}.shop", chance)


def _hold(inputs: Inputs, proxy: str, chance: random.Random) -> None:
    inputs.hold(proxy, {name: chance.randrange(3) for name in ("a", "b", "e1")})


def _apart(one: dict[tuple[str, str], object], two: dict[tuple[str, str], object]) -> str:
    differing = {key for key in one.keys() | two.keys() if one.get(key) != two.get(key)}
    return f"{len(differing)} differ: " + ", ".join(
        f"{key} {one.get(key)} should be {two.get(key)}" for key in sorted(differing)[:5]
    )


def _story(broker: MeshBroker, wanted: dict[tuple[str, str], tuple[str, str]]) -> str:
    """Everything about one proxy that is not as it should be."""
    now = found(broker)
    apart = sorted(key for key in now.keys() | wanted.keys() if now.get(key) != wanted.get(key))
    proxy = apart[0][0] if apart else ""
    lines = [
        f"snapshot {each.partition}@{each.offset} "
        + (decode(each.value, Snapshot).id if each.value else "gone")
        for each in broker.records(SNAPSHOTS)
        if (each.key or b"").decode() == f"{CLUSTER}/{proxy}"
    ]
    for fact in broker.facts():
        if fact.proxy == proxy:
            what = fact.key if isinstance(fact, Drift) else fact.reason
            word = fact.status if isinstance(fact, Drift) else fact.verdict
            lines.append(f"fact {fact.revision} {word} {what} {fact.snapshot} {fact.observed_at}")
    for each in broker.records(CHANGELOG):
        if (each.key or b"").decode() == f"{CLUSTER}/{proxy}":
            record = load(each.value, 0) if each.value else None
            lines.append(
                f"state {each.partition}@{each.offset} "
                + (
                    f"{record.revision} {record.snapshot.id} {len(record.outbox)} {record.gone}"
                    if record
                    else "removed"
                )
            )
    return "\n".join(lines)


def _open_anomalies(broker: MeshBroker) -> set[str]:
    newest: dict[str, Anomaly] = {}
    for record in broker.records(ANOMALIES):
        anomaly = decode(record.value or b"", Anomaly)
        newest[anomaly.fingerprint] = anomaly
    return {name for name, anomaly in newest.items() if anomaly.status != "resolved"}


def _assert_nothing_was_lost_or_said_otherwise(broker: MeshBroker) -> None:
    """A fact that was sent twice is the same fact; drifts and evidence are the same facts."""
    facts: dict[str, object] = {}
    raw = 0
    for fact in broker.facts():
        raw += 1
        assert facts.setdefault(fact.id, fact) == fact
    evidence = {decode(each.value or b"", Drift).id for each in broker.records(EVIDENCE)}
    drifts = {fact.id for fact in facts.values() if isinstance(fact, Drift)}
    assert evidence == drifts
    print(f"{len(facts)} facts, {raw - len(facts)} of them sent twice, {len(drifts)} drifts")
