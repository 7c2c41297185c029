"""What inference makes of every captured sidecar and of the recorded sandbox mesh."""

from collections import Counter
from pathlib import Path

import pytest
from dumps import capture_dump, demo_dump
from shared_data import shared

from meshscope.inference.config_dump import read_config_dump
from meshscope.inference.infer import infer
from meshscope.inference.result import Inference
from meshscope.policy.endpoints import Endpoint, Endpoints
from meshscope.policy.key import PolicyKey
from meshscope.policy.kinds import Kind

pytestmark = pytest.mark.conformance

MESHES = ("bookshop", "bookshop-1.29", "bookinfo", "random-public")
DEMO_PROXIES = (
    "cart-1.shop",
    "cart-2.shop",
    "catalog-v1-1.shop",
    "catalog-v2-1.shop",
    "frontend-1.shop",
    "intruder-1.guest",
    "payments-1.payments",
)
WANTED = 0.995


def dump_files(mesh: str) -> list[Path]:
    """The dumps of all states, those that a real istiod left outdated among them."""
    root = shared("captures", mesh, "states")
    return sorted(
        path for folder in ("dumps", "stale") for path in root.glob(f"*/{folder}/*.json*")
    )


@pytest.mark.parametrize("mesh", MESHES)
def test_coverage_of_all_captures(mesh: str, capsys: pytest.CaptureFixture[str]) -> None:
    leaves = unexplained = ignored = 0
    where: Counter[str] = Counter()
    files = dump_files(mesh)

    for path in files:
        inference = infer(read_config_dump(path.read_bytes(), str(path)))
        assert inference.incomplete == (), path
        coverage = inference.coverage
        leaves += coverage.leaves
        unexplained += coverage.unexplained
        ignored += coverage.ignored
        where.update(coverage.unexplained_at)

    with capsys.disabled():
        print(
            f"\n{mesh}: {len(files)} dumps, {leaves} leaves, {ignored} ignored, "
            f"{unexplained} unexplained ({1 - unexplained / leaves:.4%} explained)"
        )
        for leaf_path, count in where.most_common(5):
            print(f"  {count:6} {leaf_path}")
    assert 1 - unexplained / leaves >= WANTED


def demo_states() -> list[str]:
    return sorted(path.name for path in shared("demo-mesh", "states").iterdir())


def test_the_recorded_sandbox_mesh_is_explained_completely() -> None:
    for state in demo_states():
        for proxy in DEMO_PROXIES:
            inference = infer(demo_dump(state, proxy))
            assert dict(inference.coverage.unexplained_at) == {}, (state, proxy)
            assert not any(key.kind is Kind.EXTENSION for key in inference.policies)
            assert inference.proxy.proxy == proxy


def differing(one: Inference, other: Inference) -> set[PolicyKey]:
    """Keys of policies that two proxies do not share."""
    return {
        key
        for key in one.policies.keys() | other.policies.keys()
        if key not in one.policies
        or key not in other.policies
        or one.policies[key].digest != other.policies[key].digest
    }


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("books-v1-qgckn.catalog", "books-v2-zwkqs.catalog"),
        ("queue-0.orders", "queue-1.orders"),
    ],
)
def test_replicas_share_their_policies(one: str, other: str) -> None:
    first = infer(capture_dump("bookshop", "000-base", one))
    second = infer(capture_dump("bookshop", "000-base", other))

    apart = differing(first, second)

    # A headless service has a listener per pod other than the own one, and what is near depends on
    # the zone; nothing else tells replicas apart.
    assert {key.kind for key in apart} <= {Kind.OUTBOUND_LISTENER, Kind.ENDPOINTS}
    assert first.proxy.zone != second.proxy.zone
    for key in apart:
        if key.kind is Kind.ENDPOINTS:
            assert without_preference(first, key) == without_preference(second, key)


def without_preference(inference: Inference, key: PolicyKey) -> set[Endpoint]:
    """The endpoints of a policy, however near they are."""
    content = inference.policies[key].content
    assert isinstance(content, Endpoints)
    return {endpoint for locality in content.localities for endpoint in locality.endpoints}


def test_replicas_of_the_sandbox_differ_only_in_where_they_listen_and_how_they_are_called() -> None:
    first = infer(demo_dump("00-base", "cart-1.shop"))
    second = infer(demo_dump("00-base", "cart-2.shop"))

    apart = differing(first, second)

    egress = {key for key in apart if "127.21.0." in str(key)}
    named = apart - egress
    assert {key.kind for key in egress} == {Kind.OUTBOUND_LISTENER, Kind.HTTP_CONNECTION}
    assert {
        key
        for key in named
        if first.policies[key].content.without_names()
        != second.policies[key].content.without_names()
    } == set()
