"""Rows per second and core through the sink, against the bare insert of the same rows.

    python benchmarks/sink.py [--snapshots 20000] [--rounds 3]

Snapshots of 2,000 proxies in their real shape (one digest per kind and shard) and policy bodies of
about one kilobyte are written to a broker in memory. Each round, on one machine and engine:

* *bare*: the rows are decoded and built beforehand; only `Store.insert` is timed, in chunks as
  large as the sink's;
* *sink*: `python -m meshscope.history` on a fresh group and database, from its first row in
  ClickHouse to its last.

Both are given as rows per second, and per second of CPU of the process that sends rows. What this
leaves out: the engine is chDB on the same cores as broker and sink, not a ClickHouse server on
others; the broker is in memory and sends without compression; nothing else writes at the same time;
there is no TLS. The figure that carries over is the ratio, more than the rates.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "fixtures"))

from embedded import running_store
from history_mesh import NOON, History, SinkProcess, snapshot
from stream_mesh import MeshBroker

from meshscope.events import facts
from meshscope.events.codec import encode
from meshscope.events.topics import POLICIES, SNAPSHOTS, Topic
from meshscope.history.batch import Batch, Kept
from meshscope.history.rows import Place, row_of
from meshscope.history.store import Store

CHUNK_ROWS = 10_000
PROXIES = 2_000
SHARDS = 24
POLICIES_PER_SHARD = 5
Record = tuple[Topic, bytes, bytes | None]


def records(snapshots: int) -> list[Record]:
    """Snapshots, and a body in every tenth place as an agent that finds new policies sends them."""
    made: list[Record] = []
    for number in range(snapshots):
        proxy = f"cart-{number % PROXIES}.shop"
        fact = snapshot(
            number,
            proxy=proxy,
            shards=tuple(
                facts.ShardDigest(
                    "http_route", shard, f"{number:08x}{shard:02x}" * 4, POLICIES_PER_SHARD
                )
                for shard in range(SHARDS)
            ),
            labels={"app": "cart", "version": "v1", "pod-template-hash": f"{number % PROXIES:x}"},
            state=facts.ProxyState(versions={"cds": str(number), "lds": str(number)}),
        )
        made.append((SNAPSHOTS, f"lab/{proxy}".encode(), encode(fact)))
        if number % 10 == 0:
            content = json.dumps({"number": number, "rules": ["x" * 40] * 20}).encode()
            body = facts.PolicyBody(f"{number:032x}", "http_route", 1, content)
            made.append((POLICIES, body.digest.encode(), encode(body)))
    return made


def bare(history: History, given: list[Record]) -> tuple[float, float]:
    """Seconds, and seconds of CPU of this process, for inserting rows that are ready."""
    history.migrate()
    batches, batch = [], Batch()
    for offset, (topic, key, value) in enumerate(given):
        place = Place("log", topic.name, 0, offset, NOON)
        row = row_of(topic, place, key, value)
        if row is not None:
            batch.add(row.table, Kept(place, row.row, key, value, None), 0.0)
        if batch.count == CHUNK_ROWS:
            batches.append(batch)
            batch = Batch()
    chunks = [chunk for each in [*batches, batch] for chunk in each.chunks()]
    store = Store(history.client, history.database)
    began, cpu = time.monotonic(), time.process_time()
    for number, chunk in enumerate(chunks):
        store.insert(chunk, f"{history.database} {number}")
    return time.monotonic() - began, time.process_time() - cpu


def through_sink(
    broker: MeshBroker, history: History, count: int, group: str, log: Path
) -> tuple[float, float]:
    """Seconds, and seconds of CPU of the sink, from its first row to its last."""
    sink = SinkProcess(
        broker,
        history,
        log,
        MESHSCOPE_HISTORY_GROUP=group,
        MESHSCOPE_HISTORY_BATCH_SECONDS="1",
        MESHSCOPE_HISTORY_BATCH_ROWS=str(CHUNK_ROWS),
    )
    try:
        process = psutil.Process(sink.process.pid)
        while not sink.said("assigned"):
            time.sleep(0.005)
        began, cpu = time.monotonic(), sum(process.cpu_times()[:2])
        while history.total() < count:
            if sink.process.poll() is not None:
                raise SystemExit(sink.tail())
            # Seldom, since the engine that answers is the one that is measured.
            time.sleep(0.25)
        return time.monotonic() - began, sum(process.cpu_times()[:2]) - cpu
    finally:
        sink.kill()


def main() -> None:
    """Print one line per round, and the median ratio."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--snapshots", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    made = records(given.snapshots)
    size = sum(len(value or b"") for _, _, value in made) / len(made)
    print(f"{len(made)} records of {size:.0f} bytes")
    ratios = []
    with tempfile.TemporaryDirectory(prefix="meshscope-benchmark-") as folder:
        home = Path(folder)
        broker = MeshBroker(home / "broker.log")
        try:
            for topic, key, value in made:
                broker.send(topic, key, value)
                if len(broker.producer) > 50_000:
                    broker.flush()
            broker.flush()
            with running_store(home / "store") as store:
                for number in range(given.rounds):
                    alone = bare(History("127.0.0.1", store.port), made)
                    history = History("127.0.0.1", store.port)
                    whole = through_sink(
                        broker, history, len(made), f"g{number}", home / f"{number}.log"
                    )
                    lost_or_doubled = history.total(final=True) - len(made)
                    rates = [len(made) / seconds for seconds in (*alone, *whole)]
                    ratios.append(rates[2] / rates[0])
                    print(
                        f"bare {rates[0]:.0f}/s ({rates[1]:.0f} per CPU second), "
                        f"sink {rates[2]:.0f}/s ({rates[3]:.0f} per CPU second), "
                        f"ratio {ratios[-1]:.2f}, lost or doubled {lost_or_doubled}"
                    )
        finally:
            broker.kill()
    print(f"median ratio {sorted(ratios)[len(ratios) // 2]:.2f}")


if __name__ == "__main__":
    main()
