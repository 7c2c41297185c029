"""What is remembered of earlier declarations changes nothing."""

from collections.abc import Iterator, Mapping

import pytest
from generated_mesh import GeneratedMesh, changes, generate

from meshscope.events.resource import Resource
from meshscope.projection import meshes
from meshscope.projection.project import project
from meshscope.stream.expectation import expect

MESH = generate(sidecars=130, services=125)
PROXIES = [MESH.proxies[number] for number in (0, 7, 25, 33, 40, 72, 101, 111)]
CHANGES = tuple(changes(MESH))


@pytest.fixture(autouse=True)
def nothing_known() -> Iterator[None]:
    meshes.forget()
    yield
    meshes.forget()


def said(mesh: GeneratedMesh, resources: Mapping[str, Resource]) -> list[object]:
    """All that is said of the proxies."""
    declared = tuple(resources[name] for name in sorted(resources))
    found: list[object] = []
    for proxy in PROXIES:
        projection = project(mesh.control_plane, declared, proxy)
        policies = dict(projection.policies)
        sources = {key: policy.sources for key, policy in policies.items()}
        expected = expect(projection)
        digests = {p: (one.meaning, one.digest) for p, one in expected.pieces.items()}
        digests |= {"whole": expected.whole, **expected.lanes}
        found.append((policies, sources, projection.unverifiable, projection.notes, digests))
    return found


@pytest.mark.parametrize(("kind", "name", "changed"), CHANGES, ids=[kind for kind, *_ in CHANGES])
def test_a_change_gives_what_a_fresh_projection_gives(
    kind: str, name: str, changed: Resource
) -> None:
    """A resource is changed, and changed back, with all that is remembered of before."""
    after = {**MESH.resources, name: changed}
    expected = said(MESH, after)
    meshes.forget()
    before = said(MESH, MESH.resources)
    assert expected != before, f"the change of {kind} means nothing for these proxies"

    assert said(MESH, after) == expected
    assert said(MESH, MESH.resources) == before


def test_resources_that_come_and_go_leave_nothing_behind() -> None:
    gone = {name for _, name, _ in CHANGES}
    without = {name: one for name, one in MESH.resources.items() if name not in gone}
    expected = said(MESH, without)
    meshes.forget()
    before = said(MESH, MESH.resources)

    assert said(MESH, without) == expected
    assert said(MESH, MESH.resources) == before
