"""Comparing only what differs says what comparing everything says."""

import pytest
from generated_mesh import changes, generate
from held_mesh import hold

from meshscope.events import convert
from meshscope.events.resource import Resource
from meshscope.projection.project import project
from meshscope.stream.broadcast import Declaration
from meshscope.stream.expectation import Expectations
from meshscope.stream.judgements import Judgements
from meshscope.stream.observation import Missing, observe
from meshscope.stream.pairs import Pairs
from meshscope.stream.policy_store import PolicyStore
from meshscope.stream.step import Timing, World
from meshscope.stream.verification import judgement
from meshscope.stream.wiring import judge

MESH = generate(sidecars=130, services=125)
PROXIES = [MESH.proxies[number] for number in (0, 7, 25, 33, 40, 72, 101, 111)]
HELD = hold(MESH, PROXIES)
CHANGES = tuple(changes(MESH))


@pytest.fixture(scope="module")
def world() -> World:
    store = PolicyStore()
    for fact in HELD.facts.values():
        store.add(fact)
    return World(Expectations(project), store, Pairs(), Judgements(), judge, Timing(), "log")


@pytest.mark.parametrize(("kind", "name", "changed"), CHANGES, ids=[kind for kind, *_ in CHANGES])
def test_what_is_equal_need_not_be_compared(
    kind: str, name: str, changed: Resource, world: World
) -> None:
    for resources in (MESH.resources, {**MESH.resources, name: changed}):
        declared = tuple(resources[each] for each in sorted(resources))
        digest = f"{kind}{resources is MESH.resources}"
        declaration = Declaration(digest, MESH.control_plane, declared, {})
        for snapshot in HELD.snapshots:
            proxy = convert.proxy_inputs(snapshot)
            expectation = world.expectations.expectation(declaration, snapshot)
            projection = project(MESH.control_plane, declared, proxy)
            everything = observe(snapshot.shards, expectation, world.policies)
            assert not isinstance(everything, Missing)

            found = judgement(snapshot, expectation, world)

            assert found == judge(projection, everything, snapshot)
