"""How long it takes to infer policies from a configuration dump, against the bare parsing of it.

    python benchmarks/inference.py [--rounds 15] [DUMP…]

Without arguments the recorded dumps of `tests/data` are taken. Each is printed as Envoy prints it
(indented), with fields and lists without order in another order than recorded. Measured, in one
process, as the ratio to `orjson.loads` of the same bytes:

* *cold*: `read_config_dump` and `infer`, with nothing known;
* *cold, remembering*: the same with empty `Readings`, which are filled;
* *known*: the same dump in another order, with what was read of it before;
* *shared*: a dump of which one resource in twelve has changed, in another order, likewise.

The median CPU time of the rounds counts; of all dumps the mean is printed, and the worst. Left out:
where the bytes come from, and what is done with the policies.
"""

import argparse
import gzip
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import orjson

from meshscope.inference.config_dump import read_config_dump
from meshscope.inference.infer import infer
from meshscope.inference.readings import Readings

DATA = Path(__file__).parents[1] / "tests" / "data" / "bookshop" / "dumps"
UNORDERED = frozenset(
    (
        "dynamic_active_clusters",
        "dynamic_endpoint_configs",
        "dynamic_listeners",
        "dynamic_route_configs",
    )
)
CHANGED_SHARE = 1 / 12


def reordered(value: Any, random: Random, name: str = "") -> Any:
    """The same JSON with fields, and lists without order, in another order."""
    if isinstance(value, dict):
        names = random.sample(list(value), len(value))
        return {key: reordered(value[key], random, key) for key in names}
    if isinstance(value, list):
        items = [reordered(item, random) for item in value]
        return random.sample(items, len(items)) if name in UNORDERED else items
    return value


def printed(dump: Any, random: Random) -> bytes:
    """The bytes of a dump in another order, as Envoy indents."""
    return json.dumps(reordered(dump, random), indent=1).encode()


def changed(dump: Any, random: Random) -> Any:
    """A copy of which some resources differ."""
    copy = orjson.loads(orjson.dumps(dump))
    for section in copy["configs"]:
        for name, entries in section.items():
            for entry in entries if name in UNORDERED else ():
                if random.random() < CHANGED_SHARE:
                    entry = entry.get("active_state", entry)
                    for resource in entry.values():
                        if isinstance(resource, dict):
                            resource["changed"] = random.random()
    return copy


def seconds(run: Callable[[], object], rounds: int) -> float:
    """The median CPU time of a call: what other processes do meanwhile is not its business."""
    times = []
    for _ in range(rounds):
        began = time.process_time()
        run()
        times.append(time.process_time() - began)
    return statistics.median(times)


def ratios(dump: Any, rounds: int) -> dict[str, float]:
    """The figures of a dump."""
    random = Random(7)  # noqa: S311 - an order, not a secret
    text, again = printed(dump, random), printed(dump, random)
    others = iter([printed(changed(dump, random), random) for _ in range(rounds)])
    known = Readings()
    infer(read_config_dump(text, "dump"), known)

    def inferred(data: bytes, readings: Readings | None) -> None:
        infer(read_config_dump(data, "dump"), readings)

    bare = seconds(lambda: orjson.loads(text), rounds)
    measured = {
        "cold": seconds(lambda: inferred(text, None), rounds),
        "cold, remembering": seconds(lambda: inferred(text, Readings()), rounds),
        "known": seconds(lambda: inferred(again, known), rounds),
        "shared": seconds(lambda: inferred(next(others), known), rounds),
    }
    return {name: found / bare for name, found in measured.items()}


def read(path: Path) -> Any:
    """A recorded dump, packed or not."""
    data = path.read_bytes()
    return orjson.loads(gzip.decompress(data) if path.suffix == ".gz" else data)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("dumps", nargs="*", type=Path)
    given = parser.parse_args()
    paths = given.dumps or sorted(path for path in DATA.rglob("*.json*") if path.is_file())
    found = [ratios(read(path), given.rounds) for path in paths]
    print(f"{len(found)} dumps, times of orjson.loads:")
    for name in found[0]:
        values = [one[name] for one in found]
        print(f"{name}: mean {statistics.mean(values):.1f}, worst {max(values):.1f}")


if __name__ == "__main__":
    main()
