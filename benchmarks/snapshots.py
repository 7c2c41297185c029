"""100,000 snapshots of 2,000 proxies through broker, stream worker and sink.

    python benchmarks/snapshots.py [--snapshots 100000] [--proxies 2000] [--seed 1]

The proxies are copies of those of a recorded mesh (`cloned_mesh.py`; needs the recorded meshes in
`../shared` or `MESHSCOPE_SHARED`), with 100 to 139 policies each. Three in ten snapshots change the
configuration, half of those return to the declared one; the others say a new state only. Some come
after a later one of the same proxy, some twice. On one machine, one after the other:

* *bare Faust*: an app that reads the snapshots and does nothing (`bare_faust.py`);
* *bare insert*: the rows of the snapshots are ready; only the insert is timed;
* *pipeline*: one stream worker and one sink at the same time, from their start until the worker has
  committed every snapshot and every drift that is open is in the history.

Checked in the end: the open drifts are what `project` and `compare` say of what each proxy holds at
last; every fact on the topics stands once in the history. What this leaves out: broker, engine,
worker and sink share the cores; the broker is in memory; resources do not change meanwhile (see
`change_to_anomaly.py`), and there is no network between the parts.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "fixtures"))

from cloned_mesh import Clone, Story, clones, declared, origins
from confluent_kafka import KafkaException
from embedded import running_store
from history_mesh import History, SinkProcess
from join_simulation import open_drifts
from sink import bare
from stream_mesh import MeshBroker

from meshscope.comparison import compare
from meshscope.events import convert
from meshscope.events.codec import decode, encode
from meshscope.events.facts import (
    Anomaly,
    Drift,
    Finding,
    PartitionOffset,
    PolicyBody,
    PolicyShard,
    Snapshot,
    Sync,
    Verdict,
)
from meshscope.events.resource import Resource
from meshscope.events.topics import (
    ANOMALIES,
    CONTROL_PLANE_STATE,
    DRIFT,
    POLICIES,
    RESOURCES,
    SNAPSHOTS,
)
from meshscope.projection.project import project
from meshscope.stream.app import APP_ID
from meshscope.watcher.control_plane import DEFAULT_REVISION, control_plane

ORIGIN = "directory"
DEADLINE_SECONDS = 3_600.0
TABLES = {
    Snapshot: "snapshots",
    PolicyShard: "policy_shards",
    PolicyBody: "policies",
    Drift: "drift",
    Finding: "findings",
    Verdict: "verdicts",
    Anomaly: "anomalies",
}
OpenDrifts = Mapping[tuple[str, str], tuple[str, str]]


def declare(broker: MeshBroker, resources: Sequence[Resource], cluster: str) -> None:
    """Publish what a watcher publishes of a directory that does not change."""
    now = int(time.time() * 1000)
    ends: Counter[int] = Counter()
    for resource in resources:
        fact = convert.declared_resource(resource, ORIGIN, cluster, now)
        broker.send(RESOURCES, resource.key(ORIGIN, cluster).encode(), encode(fact))
    broker.flush()
    for record in broker.records(RESOURCES):
        ends[record.partition] += 1
    plane = control_plane(resources, revision=DEFAULT_REVISION).control_plane
    state = convert.control_plane_state(plane, ORIGIN, cluster, now)
    broker.send(CONTROL_PLANE_STATE, f"{ORIGIN}/{cluster}/{plane.revision}".encode(), encode(state))
    mark = Sync(
        origin=ORIGIN,
        cluster=cluster,
        epoch="benchmark",
        log_epoch=broker.epoch,
        count=len(resources),
        revision="1",
        observed_at=now,
        offsets=tuple(PartitionOffset(*each) for each in sorted(ends.items())),
    )
    broker.send(CONTROL_PLANE_STATE, f"sync/{ORIGIN}/{cluster}".encode(), encode(mark))
    broker.flush()


def expected(
    resources: Sequence[Resource], cloned: Sequence[Clone], last: Mapping[int, int]
) -> OpenDrifts:
    """Differences of what every proxy holds at last, by proxy and key."""
    plane = control_plane(resources, revision=DEFAULT_REVISION).control_plane
    found: dict[tuple[str, str], tuple[str, str]] = {}
    for number, place in last.items():
        clone = cloned[number]
        observed = {policy.key: policy for policy in clone.contents[place]}
        for each in compare(project(plane, resources, clone.inputs), observed).drift:
            found[clone.inputs.proxy, str(each.key)] = (each.expected, each.observed)
    return found


def open_in(broker: MeshBroker) -> OpenDrifts:
    """Drifts that are open for who reads the topic."""
    return {
        place: (drift.expected, drift.observed)
        for place, drift in open_drifts(broker.facts()).items()
    }


def bare_faust(broker: MeshBroker, count: int) -> tuple[float, float]:
    """Seconds, and seconds of CPU, of a Faust app that does nothing with `count` snapshots."""
    program = Path(__file__).with_name("bare_faust.py")
    said = subprocess.run(  # noqa: S603
        [sys.executable, str(program), broker.address, str(count)],
        capture_output=True,
        text=True,
        check=True,
        timeout=DEADLINE_SECONDS,
    )
    seconds, cpu = said.stdout.splitlines()[-1].split()
    return float(seconds), float(cpu)


class StreamWorkerProcess:
    """`python -m meshscope.stream`."""

    def __init__(self, broker: MeshBroker, home: Path) -> None:
        self.log = home / "worker.log"
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "meshscope.stream"],
                stdout=output,
                stderr=output,
                env={
                    **os.environ,
                    "MESHSCOPE_BROKERS": broker.address,
                    "MESHSCOPE_DATA_DIR": str(home / "worker"),
                    "MESHSCOPE_CONVERGENCE_SECONDS": "1",
                    "MESHSCOPE_ENDPOINTS_CONVERGENCE_SECONDS": "1",
                },
            )

    def kill(self) -> None:
        """End it; nothing of it is needed any more."""
        self.process.kill()
        self.process.wait()


def pipeline(
    broker: MeshBroker, history: History, home: Path, count: int, wanted: OpenDrifts
) -> tuple[float, float, float]:
    """Seconds from start to end, and seconds of CPU of worker and sink."""
    began = time.monotonic()
    worker = StreamWorkerProcess(broker, home)
    sink = SinkProcess(broker, history, home / "sink.log", MESHSCOPE_HISTORY_BATCH_SECONDS="1")
    try:
        processes = [psutil.Process(each.process.pid) for each in (worker, sink)]

        def wait(condition: Callable[[], bool], what: str) -> None:
            while not _holds(condition):
                for each in (worker, sink):
                    if each.process.poll() is not None:
                        raise SystemExit(f"{what}: {each.log.read_text()[-4000:]}")
                if time.monotonic() - began > DEADLINE_SECONDS:
                    raise SystemExit(f"not in {DEADLINE_SECONDS:.0f} s: {what}")
                # Seldom, since who asks uses the cores that are measured.
                time.sleep(1.0)

        wait(lambda: committed(broker) >= count, "the worker commits every snapshot")
        wait(lambda: open_in(broker) == wanted, "the open drifts are what they should be")
        wait(lambda: kept(history) == distinct(broker), "the history holds every fact")
        seconds = time.monotonic() - began
        cpu = [sum(process.cpu_times()[:2]) for process in processes]
        return seconds, cpu[0], cpu[1]
    finally:
        worker.kill()
        sink.kill()


def _holds(condition: Callable[[], bool]) -> bool:
    """Whether a condition holds; a broker that is too busy to tell is asked again."""
    try:
        return condition()
    except KafkaException as error:
        print(f"asked again: {error}", file=sys.stderr)
        return False


def committed(broker: MeshBroker) -> int:
    """Snapshots that the worker has done with."""
    return sum(max(0, each) for each in broker.committed(SNAPSHOTS, APP_ID).values())


def kept(history: History) -> Counter[str]:
    """Facts in the history by table, each counted once."""
    counts = history.counts(final=True)
    return Counter({table: counts.get(table, 0) for table in TABLES.values()})


def distinct(broker: MeshBroker) -> Counter[str]:
    """Facts on the topics by table, each counted once although it may stand there twice."""
    identities: dict[str, set[str]] = {}
    for topic in (SNAPSHOTS, POLICIES, DRIFT, ANOMALIES):
        for record in broker.records(topic):
            fact = decode(record.value or b"", *topic.facts)
            identity = fact.digest if isinstance(fact, PolicyShard | PolicyBody) else fact.id
            identities.setdefault(TABLES[type(fact)], set()).add(identity)
    return Counter({table: len(found) for table, found in identities.items()})


def rate(name: str, count: int, seconds: float, cpu: float) -> str:
    """A line about a rate."""
    return f"{name}: {count / seconds:,.0f}/s, {count / cpu:,.0f} per second of CPU"


def main() -> None:
    """Run, check and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--snapshots", type=int, default=100_000)
    parser.add_argument("--proxies", type=int, default=2_000)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    made_of = origins()
    cloned = clones(made_of, given.proxies)
    resources = declared(cloned, made_of)
    story = Story(cloned, given.snapshots, given.seed, int(time.time() * 1000))
    with tempfile.TemporaryDirectory(prefix="meshscope-benchmark-") as folder:
        home = Path(folder)
        broker = MeshBroker(home / "broker.log")
        try:
            declare(broker, resources, cloned[0].inputs.cluster)
            snapshots = []
            for topic, key, value in story.records():
                broker.send(SNAPSHOTS if topic == SNAPSHOTS.name else POLICIES, key, value)
                if len(broker.producer) > 50_000:
                    broker.flush()
                if topic == SNAPSHOTS.name:
                    snapshots.append((SNAPSHOTS, key, value))
            broker.flush()
            wanted = expected(resources, cloned, story.last)
            print(
                f"{len(snapshots)} snapshots on the topic, {given.snapshots} of them different, of "
                f"{given.proxies} proxies; {len(wanted)} drifts of "
                f"{len({proxy for proxy, _ in wanted})} proxies are open in the end"
            )
            faust_seconds, faust_cpu = bare_faust(broker, len(snapshots))
            print(rate("bare Faust", len(snapshots), faust_seconds, faust_cpu))
            with running_store(home / "store") as store:
                rows_seconds, rows_cpu = bare(History("127.0.0.1", store.port), snapshots)
                print(rate("bare insert", len(snapshots), rows_seconds, rows_cpu))
                history = History("127.0.0.1", store.port)
                seconds, worker_cpu, sink_cpu = pipeline(
                    broker, history, home, len(snapshots), wanted
                )
                facts = distinct(broker)
                print(
                    rate("worker", len(snapshots), seconds, worker_cpu)
                    + f", {faust_cpu / worker_cpu:.3f} of bare Faust's"
                )
                print(rate("sink", facts.total(), seconds, sink_cpu))
                print(f"facts: {dict(facts)}; in the history: {dict(kept(history))}")
                if facts != kept(history):
                    raise SystemExit("facts were lost or doubled")
        finally:
            broker.kill()


if __name__ == "__main__":
    main()
