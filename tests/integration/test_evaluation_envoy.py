"""`evaluate` against real Envoys that serve recorded configurations: the same for every request."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager
from hashlib import sha256
from pathlib import Path
from random import Random

import pytest
from dumps import DATA
from real_envoy.client import Tokens
from real_envoy.run import Comparison, compared
from shared_data import shared

from meshscope.inference.config_dump import read_config_dump

pytestmark = pytest.mark.integration

REQUESTS = 100
"""For each configuration in the small run."""
CONFIGURATIONS = (
    "000-base/api-v1-pz5sh.storefront",
    "000-base/orders-v1-zmffj.orders",
    "086-mesh-path-normalization/books-v1-qgckn.catalog",
)
MESHES = ("bookshop", "random-public", "bookshop-1.29")
MOST = 260
"""Configurations of the large run."""


@pytest.fixture(scope="module")
def tokens() -> Tokens:
    return Tokens()


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_envoy_does_what_evaluate_says(name: str, tokens: Tokens, tmp_path: Path) -> None:
    path = DATA / "bookshop" / "dumps" / f"{name}.json.gz"
    with _compared(path, tokens, tmp_path) as comparison:
        counts = _agree(comparison, REQUESTS, Random(name))  # noqa: S311
    assert counts["forwarded"] > REQUESTS // 4
    assert counts["answered"] + counts["closed"] > REQUESTS // 10


def test_envoys_of_all_recorded_meshes_do_what_evaluate_says(
    tokens: Tokens, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> None:
    """Many requests over many configurations."""
    count = request.config.getoption("--envoy-requests")
    if not count:
        pytest.skip("give --envoy-requests")
    seed = request.config.getoption("--envoy-seed")
    paths = list(_recorded(Random(seed)))  # noqa: S311
    total: Counter[str] = Counter()
    for path in paths:
        with _compared(path, tokens, tmp_path_factory.mktemp("envoy")) as comparison:
            chance = Random(f"{seed} {path}")  # noqa: S311
            total += _agree(comparison, count // len(paths) + 1, chance)
    print(f"\n{len(paths)} configurations, {total}")


def _recorded(chance: Random) -> Iterator[Path]:
    """Dumps that differ, of all meshes in turn."""
    seen: set[bytes] = set()
    of_mesh = []
    for mesh in MESHES:
        found = sorted(shared("captures", mesh, "states").glob("*/dumps/*"))
        chance.shuffle(found)
        of_mesh.append(found)
    for paths in zip(*of_mesh, strict=False):
        for path in paths:
            digest = sha256(path.read_bytes()).digest()
            if digest not in seen and len(seen) < MOST:
                seen.add(digest)
                yield path


def _compared(path: Path, tokens: Tokens, directory: Path) -> AbstractContextManager[Comparison]:
    return compared(read_config_dump(path.read_bytes(), str(path)), directory, tokens)


def _agree(comparison: Comparison, count: int, chance: Random) -> Counter[str]:
    """Ask, and count what became of the requests."""
    counts: Counter[str] = Counter()
    for found in comparison.random(count, chance):
        assert not found.verdict.wrong, str(comparison.shrunk(found))
        counts["open" if found.verdict.is_open else found.trace.outcome.result] += 1
    return counts
