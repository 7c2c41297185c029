"""How long it takes from a changed resource to an anomaly on its topic.

Starts the embedded stack in a directory of its own, with a convergence window of 0 s, and declares
two states in turn while the proxies stay as they are: each change opens the anomaly about the
cart's access rules, or resolves it. Measured: from the moment the changed files lie in the watched
directory to the record on `meshscope.anomalies` that says so.

Left out: the convergence window, which is added in practice; the way from an API server to a
directory; a mesh that is larger than seven proxies; a broker that writes to disk.

    python benchmarks/change_to_anomaly.py [CHANGES]
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from confluent_kafka import OFFSET_END, Consumer, TopicPartition

from meshscope.embedded.settings import StackSettings
from meshscope.events.codec import decode
from meshscope.events.facts import Anomaly
from meshscope.events.topics import ANOMALIES
from meshscope.sandbox.client import SandboxClient

STATES = ("01-authz-tightened", "00-base")
START_SECONDS = 60.0
ANSWER_SECONDS = 30.0


def main(changes: int) -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory(prefix="meshscope-benchmark-") as home:
        environ = os.environ | {"MESHSCOPE_HOME": home, "MESHSCOPE_CONVERGENCE_SECONDS": "0"}
        stack = subprocess.Popen(
            [sys.executable, "-m", "meshscope.cli", "up"], env=environ, stdout=subprocess.DEVNULL
        )
        try:
            measure(Path(home), changes, environ)
        finally:
            stack.terminate()
            stack.wait(30)


def measure(home: Path, changes: int, environ: dict[str, str]) -> None:
    """Change resources and wait for what follows, `changes` times."""
    wait_until_in_sync(environ)
    client = SandboxClient(home / "sandbox")
    consumer = Consumer(
        {
            "bootstrap.servers": StackSettings(home).brokers,
            "group.id": "benchmark",
            "enable.auto.commit": False,
            "fetch.wait.max.ms": 20,
        }
    )
    consumer.assign(
        [TopicPartition(ANOMALIES.name, p, OFFSET_END) for p in range(ANOMALIES.partitions)]
    )
    consumer.poll(1.0)
    seconds: list[float] = []
    for number in range(changes):
        status = "opened" if number % 2 == 0 else "resolved"
        client.declare(STATES[number % 2])
        began = time.monotonic()
        wait_for(consumer, status)
        seconds.append(time.monotonic() - began)
    consumer.close()
    ordered = sorted(seconds)
    print(
        f"{changes} changes: p50 {statistics.median(ordered):.2f} s, "
        f"p99 {ordered[int(len(ordered) * 0.99) - 1]:.2f} s, max {ordered[-1]:.2f} s"
    )


def wait_until_in_sync(environ: dict[str, str]) -> None:
    """Wait until the command line says that every proxy is in sync."""
    until = time.monotonic() + START_SECONDS
    command = [sys.executable, "-m", "meshscope.cli", "drift", "-o", "json"]
    while time.monotonic() < until:
        done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)  # noqa: S603
        if done.returncode == 0 and done.stdout.count('"in-sync"') == 7:
            return
        time.sleep(0.5)
    raise SystemExit(f"the stack is not in sync: {done.stdout[-2000:]} {done.stderr[-2000:]}")


def wait_for(consumer: Consumer, status: str) -> None:
    """Wait until an anomaly about the changed policy has the status."""
    until = time.monotonic() + ANSWER_SECONDS
    while time.monotonic() < until:
        message = consumer.poll(0.05)
        if message is None or message.error() is not None:
            continue
        anomaly: Anomaly = decode(message.value() or b"", Anomaly)
        if anomaly.status == status:
            return
    raise SystemExit(f"no anomaly was {status} within {ANSWER_SECONDS:.0f} s")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 500)
