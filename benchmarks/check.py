"""Seconds and peak memory of `meshscope check` over many configuration dumps.

    python benchmarks/check.py [--dumps 500]

The dumps of the recorded bookshop mesh and its resources (of the shared captures, see
`tests/fixtures/shared_data.py`) are taken over and over until there are enough, each time as the
dumps of further replicas, under other names of pods. The command runs in a process of its own. Its
time and peak memory are printed beside those of the same command over a tenth of the dumps, so that
one sees what grows, and beside the time that bare parsing of the same files takes. Left out: dumps
of a larger mesh than was recorded, in which every dump is larger and dumps have less in common.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import orjson

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "fixtures"))

from shared_data import shared

STATE = shared("captures", "bookshop", "states", "000-base")


def replicas(folder: Path, count: int) -> float:
    """Write dumps of replicas; returns the seconds in which they can be parsed."""
    recorded = [(path, path.read_bytes()) for path in sorted((STATE / "dumps").iterdir())]
    parsing = 0.0
    for number in range(count):
        path, data = recorded[number % len(recorded)]
        pod, namespace = path.name.removesuffix(".json").rsplit(".", 1)
        replica = f"{pod}-{number}"
        own = data.replace(pod.encode(), replica.encode())
        (folder / f"{replica}.{namespace}.json").write_bytes(own)
        began = time.perf_counter()
        orjson.loads(own)
        parsing += time.perf_counter() - began
    return parsing


def check(dumps: Path) -> tuple[float, int]:
    """Seconds and peak memory in MiB of the command."""
    began = time.perf_counter()
    command = [
        *(sys.executable, "-m", "meshscope.cli", "check", "-o", "json"),
        *("--resources", str(STATE / "resources.yaml"), "--config-dump", str(dumps)),
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)  # noqa: S603
    _, status, used = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in (0, 1, 3):
        raise SystemExit(f"the command ended with {process.returncode}")
    return seconds, used.ru_maxrss >> 10


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--dumps", type=int, default=500)
    given = parser.parse_args()
    for count in (given.dumps // 10, given.dumps):
        with tempfile.TemporaryDirectory(prefix="meshscope-benchmark-") as folder:
            parsing = replicas(Path(folder), count)
            size = sum(path.stat().st_size for path in Path(folder).iterdir()) / 2**20
            seconds, memory = check(Path(folder))
        print(
            f"{count} dumps ({size:.0f} MiB): {seconds:.1f} s, "
            f"{seconds / parsing:.1f} times bare parsing, peak memory {memory} MiB"
        )


if __name__ == "__main__":
    main()
