"""What is projected for every recorded proxy is what it holds.

Per kind: keys and digests are the same on both sides, but for what is said to be unverifiable.
"""

from collections import Counter
from dataclasses import replace
from functools import lru_cache

import pytest
from recorded_meshes import (
    MESHES,
    environment,
    mesh_config,
    recorded,
    resources,
    version,
)

from meshscope.events.control_plane import ControlPlane
from meshscope.policy.key import PolicyKey
from meshscope.policy.policy import Policy
from meshscope.policy.request_authentication import RequestAuthentication
from meshscope.projection.project import project
from meshscope.projection.result import Projection

pytestmark = pytest.mark.conformance

FLOOR = {
    "demo-mesh": 0,
    "bookshop": 0,
    "bookshop-1.29": 0,
    "random-public": 0,
    "bookinfo": 0,
}
"""Equal policies per mesh; only ever raised."""


@pytest.mark.parametrize("mesh", MESHES)
def test_recorded_proxies(mesh: str, capsys: pytest.CaptureFixture[str]) -> None:
    table: Counter[tuple[str, str]] = Counter()
    wrong: list[str] = []
    for state, proxy, observed in recorded(mesh):
        expected = project(control_plane(mesh, state), resources(mesh, state), observed.proxy)
        assert expected.alternatives == {}
        assert expected.notes == ()
        for key in expected.policies.keys() | observed.policies.keys():
            verdict = judged(expected, key, observed.policies.get(key))
            table[key.kind.value, verdict] += 1
            if verdict not in ("equal", "unverifiable"):
                wrong.append(f"{state} {proxy} {key}: {verdict}")
    with capsys.disabled():
        print(f"\n{mesh}")
        for (kind, verdict), count in sorted(table.items()):
            print(f"  {kind:24} {verdict:12} {count:7}")
    assert wrong == []
    equal = sum(count for (_, verdict), count in table.items() if verdict == "equal")
    assert equal >= FLOOR[mesh]


@lru_cache(maxsize=2)
def control_plane(mesh: str, state: str) -> ControlPlane:
    return ControlPlane(
        version="{}.{}".format(*version(mesh)),
        mesh_config=mesh_config(mesh, state),
        environment=environment(mesh),
    )


def judged(expected: Projection, key: PolicyKey, observed: Policy | None) -> str:
    if any(part.covers(key) for part in expected.unverifiable):
        return "unverifiable"
    wanted = expected.policies.get(key)
    if wanted is None:
        return "extra"
    if observed is None:
        return "missing"
    if wanted.digest == observed.digest or fetched_keys_apart(wanted, observed):
        return "equal"
    return "different"


def fetched_keys_apart(expected: Policy, observed: Policy) -> bool:
    """Whether only keys differ that the control plane fetched, and that nobody declares."""
    mine, seen = expected.content, observed.content
    if not isinstance(mine, RequestAuthentication) or not isinstance(seen, RequestAuthentication):
        return False
    if len(mine.rules) != len(seen.rules):
        return False
    without = tuple(
        replace(rule, local_keys=rule.local_keys if own.local_keys else "")
        for rule, own in zip(seen.rules, mine.rules, strict=True)
    )
    return replace(seen, rules=without) == mine
