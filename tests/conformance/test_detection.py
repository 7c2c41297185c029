"""Nothing that a change did to a proxy is missed, and no proxy is suspected that it left alone.

The declared resources of a state are compared with the base dump of every proxy; `changed.json`
says which of them the change really reached.
"""

import json
from collections import Counter

import pytest
from recorded_meshes import BASE, environment, inferred, mesh_config, resources, version
from shared_data import shared

from meshscope.comparison.comparator import compare
from meshscope.comparison.verdict import ProxyVerdict
from meshscope.events.control_plane import ControlPlane
from meshscope.projection.project import project

pytestmark = pytest.mark.conformance


def verdict_on(mesh: str, state: str, proxy: str) -> ProxyVerdict:
    held = inferred(mesh, BASE, proxy)
    control_plane = ControlPlane(
        version=".".join(map(str, version(mesh))),
        mesh_config=mesh_config(mesh, state),
        environment=environment(mesh),
    )
    expected = project(control_plane, resources(mesh, state), held.proxy)
    return compare(expected, held.policies, unreferenced=held.unreferenced)


@pytest.mark.parametrize("mesh", ["bookshop", "bookinfo"])
def test_every_change_is_found_and_nothing_else(
    mesh: str, capsys: pytest.CaptureFixture[str]
) -> None:
    found: Counter[str] = Counter()
    wrong: list[tuple[str, str, str]] = []
    for state in sorted(shared("captures", mesh, "states").iterdir()):
        if state.name == BASE:
            continue
        pods = {f"{r.name}.{r.namespace}" for r in resources(mesh, state.name) if r.kind == "Pod"}
        changed = json.loads((state / "changed.json").read_text())
        based = {
            path.name.removesuffix(".json") for path in (state.parent / BASE / "dumps").iterdir()
        }
        for proxy in sorted(changed.keys() & pods & based):
            verdict = verdict_on(mesh, state.name, proxy)
            if verdict.drift:
                outcome = "drift"
            elif verdict.equivalent:
                outcome = "only names"
            else:
                outcome = verdict.verdict
            found[outcome] += 1
            if changed[proxy]["changed"] != (outcome not in ("in-sync",)):
                wrong.append((state.name, proxy, outcome))
            if outcome == "unverifiable":
                assert all(part.source is not None for part in verdict.unverifiable)
    with capsys.disabled():
        print(f"\n{mesh}: {dict(found)}")
    assert wrong == []
