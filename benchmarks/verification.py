"""How long it takes to verify a whole generated mesh, at first and after one change of each kind.

    python benchmarks/verification.py [--sidecars 2000] [--services 1000] [--workers 2]

The mesh is that of `tests/fixtures/generated_mesh.py`. Its snapshots are at hand: what every proxy
holds is worked out beforehand, in processes that end before anything is measured. Each worker then
is a process with the real join over its share of the proxies (every n-th, as a topic's partitions
share them out), with storage and outlet in memory:

* *everything*: from the last record of the declaration to a verdict on every proxy, with nothing
  known before. Ten times a second an endpoint moves meanwhile;
* *after a change*: from the changed resource's record to a new look at every proxy that it concerns
  (all of the cluster), while its proxies still hold what they held. The convergence window is 0 s,
  so what differs is compared in full and said; with a window less would be to say. The change is
  then taken back, and the verdicts must be what they were.

One proxy in a hundred holds something that is not declared. The slowest worker counts. The figures
leave out: reading records from a broker and writing to it, Faust, agents, a machine on which
other things run. Peak memory is that of the largest worker after everything.
"""

import argparse
import multiprocessing
import os
import pickle
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "fixtures"))

from generated_mesh import CLUSTER, GeneratedMesh, changes, generate, moved_endpoint
from held_mesh import Held, hold

from meshscope.events.facts import (
    Drift,
    Finding,
    PolicyRequest,
    Sync,
    Verdict,
)
from meshscope.events.resource import Resource
from meshscope.projection.project import project
from meshscope.stream.decoding import Declared, Mark, Scope, Settings
from meshscope.stream.join import Join
from meshscope.stream.record import ProxyRecord
from meshscope.stream.step import Now, Timing
from meshscope.stream.wiring import judge

ENDPOINT_SECONDS = 0.1
SCOPE = Scope("kubernetes", CLUSTER)
WINDOWS = {"configuration": 0, "endpoints": 0}


@dataclass
class Store:
    """Records and facts in memory."""

    records: dict[str, ProxyRecord] = field(default_factory=dict)
    verdicts: dict[str, str] = field(default_factory=dict)
    drifts: int = 0

    def get(self, proxy: str) -> ProxyRecord | None:
        return self.records.get(proxy)

    async def put(self, proxy: str, record: ProxyRecord, *, durable: bool) -> None:
        self.records[proxy] = record

    async def remove(self, proxy: str, partition: int) -> None:
        del self.records[proxy]

    async def facts(self, record: ProxyRecord, facts: Iterable[Drift | Finding | Verdict]) -> None:
        for fact in facts:
            if isinstance(fact, Verdict):
                self.verdicts[fact.proxy] = fact.verdict
            else:
                self.drifts += 1

    async def request(self, request: PolicyRequest) -> None:
        raise AssertionError(f"everything is there, yet {request} was asked for")


def run(coroutine: Coroutine[Any, Any, object]) -> None:
    """Run what never waits, without an event loop."""
    try:
        coroutine.send(None)
    except StopIteration:
        return
    raise AssertionError("the coroutine waits")


class Worker:
    """A join over a share of the proxies."""

    def __init__(self, mesh: GeneratedMesh, held: Held) -> None:
        self.mesh = mesh
        self.store = Store()
        self.moved = 0
        self.next_move = 0.0
        for snapshot in held.snapshots:
            proxy = f"{snapshot.cluster}/{snapshot.proxy}"
            self.store.records[proxy] = ProxyRecord(0, proxy, snapshot)
        self.join = Join(project, judge, Timing(WINDOWS), "log", self.store, self.store, self._now)
        self.join.own(((proxy, CLUSTER) for proxy in self.store.records), {0})
        for fact in held.facts.values():
            self.join.broadcast(fact)
        for resource_ in mesh.resources.values():
            self.declare(resource_)
        self.join.broadcast(Settings(SCOPE, "default", mesh.control_plane))
        mark = Sync("kubernetes", CLUSTER, "list", "log", len(mesh.resources), "1", 1)
        self.join.broadcast(Mark(SCOPE, mark))
        self.join.caught_up()

    def _now(self) -> Now:
        return Now(time.monotonic_ns() // 1_000_000, time.time_ns() // 1_000_000)

    def declare(self, declared: Resource) -> None:
        """A resource's record came."""
        self.join.broadcast(Declared(SCOPE, declared.key("kubernetes", CLUSTER), declared))

    def look(self, *, moving: bool = True) -> float:
        """Seconds until everything was looked at that is due now; endpoints move meanwhile."""
        began = time.monotonic()
        self.next_move = began + ENDPOINT_SECONDS
        for proxy in self.join.due():
            if moving and time.monotonic() >= self.next_move:
                self.next_move += ENDPOINT_SECONDS
                self.declare(moved_endpoint(self.mesh, self.moved)[1])
                self.moved += 1
            run(self.join.look(proxy))
        return time.monotonic() - began

    def settle(self) -> None:
        """Put the endpoints back, and look until nothing is due."""
        for name, declared in self.mesh.resources.items():
            if name.startswith("EndpointSlice/"):
                self.declare(declared)
        while self.join.due():
            pass
        self.join.caught_up()
        self.look(moving=False)


def measure(path: Path, sidecars: int, services: int) -> Iterator[tuple[str, object]]:
    """The figures of one worker, each with its name."""
    held: Held = pickle.loads(path.read_bytes())  # noqa: S301, written by `prepare`
    mesh = generate(sidecars, services)
    worker = Worker(mesh, held)
    yield "everything", worker.look()
    worker.settle()
    yield "memory", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    verdicts = dict(worker.store.verdicts)
    yield "verdicts", Counter(verdicts.values())
    yield "an endpoint moved", _after(worker, *moved_endpoint(mesh, 3), verdicts)
    for what, name, changed in changes(mesh):
        yield what, _after(worker, name, changed, verdicts)
    began = dict(mesh.control_plane.mesh_config)
    other = replace(mesh.control_plane, mesh_config=began | {"connectTimeout": "7s"})
    worker.join.broadcast(Settings(SCOPE, "default", other))
    yield "mesh configuration", worker.look()
    yield "memory after all", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10


def _after(worker: Worker, name: str, changed: Resource, verdicts: dict[str, str]) -> float:
    worker.declare(changed)
    seconds = worker.look(moving=name.split("/")[0] != "EndpointSlice")
    worker.declare(worker.mesh.resources[name])
    worker.settle()
    if worker.store.verdicts != verdicts:
        raise SystemExit(f"after {name} was changed and changed back, verdicts differ")
    return seconds


def prepare(path: Path, sidecars: int, services: int, worker: int, workers: int) -> None:
    """Write what the proxies of a worker hold."""
    mesh = generate(sidecars, services)
    path.write_bytes(pickle.dumps(hold(mesh, mesh.proxies[worker::workers])))


def work(path: Path, sidecars: int, services: int, say: Callable[[object], None]) -> None:
    """Measure in a process of its own, and tell figure by figure."""
    for figure in measure(path, sidecars, services):
        say(figure)
    say(None)


def _print(name: str, values: list[Any]) -> None:
    if name == "verdicts":
        print(f"{name}: {dict(sum(values, Counter()))}")
    elif name.startswith("memory"):
        print(f"{name}: {max(values)} MiB")
    else:
        print(f"{name}: {max(values):.2f} s", flush=True)


def main() -> None:
    """Prepare, measure, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sidecars", type=int, default=2_000)
    parser.add_argument("--services", type=int, default=1_000)
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    size = (given.sidecars, given.services)
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory(prefix="meshscope-benchmark-") as folder:
        paths = [Path(folder) / f"{number}" for number in range(given.workers)]
        preparing = [
            context.Process(target=prepare, args=(path, *size, number, given.workers))
            for number, path in enumerate(paths)
        ]
        for process in preparing:
            process.start()
        for process in preparing:
            process.join()
        everything = [pickle.loads(path.read_bytes()) for path in paths]  # noqa: S301
        print(
            f"{given.sidecars} sidecars, {given.services} services, "
            f"{len(set().union(*(held.classes for held in everything)))} classes of proxies, "
            f"{len(set().union(*(held.policies for held in everything)))} distinct policies; "
            f"{given.workers} workers on {os.cpu_count()} cores",
            flush=True,
        )
        pipes = [context.Pipe() for _ in paths]
        measuring = [
            context.Process(target=work, args=(path, *size, there.send))
            for path, (_, there) in zip(paths, pipes, strict=True)
        ]
        for process in measuring:
            process.start()
        while all(figures := [here.recv() for here, _ in pipes]):
            _print(figures[0][0], [value for _, value in figures])
        for process in measuring:
            process.join()


if __name__ == "__main__":
    main()
