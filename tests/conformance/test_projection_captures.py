"""What is projected for every recorded proxy is what it holds.

Per kind: keys and digests are the same on both sides, but for what is said to be unverifiable.
"""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache

import pytest
from recorded_meshes import (
    BASE,
    MESHES,
    environment,
    inferred,
    mesh_config,
    recorded,
    resources,
    version,
)
from shared_data import shared

from meshscope.events.control_plane import ControlPlane
from meshscope.inference.config_dump import read_config_dump
from meshscope.inference.infer import infer
from meshscope.inference.result import Inference
from meshscope.policy.key import PolicyKey
from meshscope.policy.kinds import Kind
from meshscope.policy.policy import Policy
from meshscope.policy.request_authentication import RequestAuthentication
from meshscope.policy.source import ResourceRef
from meshscope.projection.project import project
from meshscope.projection.result import Projection

pytestmark = pytest.mark.conformance

FLOOR = {
    "demo-mesh": 4_391,
    "bookshop": 141_577,
    "bookshop-1.29": 141_577,
    "random-public": 56_743,
    "bookinfo": 14_718,
}
"""Equal policies per mesh; only ever raised."""

CHANGED = ("bookshop", "bookshop-1.29", "bookinfo")
STALE = 15
"""Dumps that a real control plane left outdated."""


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
    counts: Counter[str] = Counter()
    for (_, verdict), count in table.items():
        counts[verdict] += count
    assert counts["equal"] >= FLOOR[mesh]
    assert counts["unverifiable"] == 0  # Every patch in the recorded meshes is modelled.


@pytest.mark.parametrize("mesh", CHANGED)
def test_what_changed_a_proxy_is_seen_in_what_it_held_before(mesh: str) -> None:
    unseen = []
    for state, proxy in changed(mesh):
        observed = inferred(mesh, BASE, proxy)
        expected = project(control_plane(mesh, state), resources(mesh, state), observed.proxy)
        if not expected.unverifiable and not differs(expected, observed):
            unseen.append(f"{state} {proxy}")
    assert unseen == []


def test_what_a_control_plane_left_outdated_is_seen() -> None:
    mesh, found = "bookshop-1.29", 0
    for path in sorted(shared("captures", mesh, "states").glob("*/stale/*")):
        state = path.parent.parent.name
        observed = infer(read_config_dump(path.read_bytes(), str(path)))
        expected = project(control_plane(mesh, state), resources(mesh, state), observed.proxy)
        assert differs(expected, observed), path
        found += 1
    assert found == STALE


def changed(mesh: str) -> Iterator[tuple[str, str]]:
    """States and the proxies whose configuration the state's change changed."""
    for state in sorted(shared("captures", mesh, "states").iterdir()):
        said = state / "changed.json"
        pods = {f"{r.name}.{r.namespace}" for r in resources(mesh, BASE) if r.kind == "Pod"}
        for proxy, entry in json.loads(said.read_text()).items() if said.exists() else ():
            if entry["changed"] and proxy in pods:
                yield state.name, proxy


def differs(expected: Projection, observed: Inference) -> bool:
    """Whether a policy differs, or the VirtualServices that it is said to come from."""
    return any(
        wanted is None or found is None or wanted.digest != found.digest or routed(wanted, found)
        for key in expected.policies.keys() | observed.policies.keys()
        for wanted, found in [(expected.policies.get(key), observed.policies.get(key))]
    )


def routed(one: Policy, other: Policy) -> bool:
    """Whether listeners name different VirtualServices."""
    return one.key.kind is Kind.OUTBOUND_LISTENER and virtual_services(one) != virtual_services(
        other
    )


def virtual_services(policy: Policy) -> frozenset[ResourceRef]:
    return frozenset(source for source in policy.sources if source.kind == "VirtualService")


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
