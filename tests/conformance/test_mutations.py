"""No damage to what a proxy holds goes unseen, and no other way to write it is taken for damage.

Some hundred mutants of the dumps in `tests/data` are tried; with `--mutants 10000` also so many of
all recorded meshes, which takes some minutes and prints a table.
"""

from collections.abc import Iterator
from random import Random

import pytest
from dumps import DATA, capture_dump
from mutations.operator import Expect
from mutations.proof import Table, prove
from mutations.table import OPERATORS
from mutations.verdicts import Subject
from recorded_meshes import BASE, environment, mesh_config, resources, version
from shared_data import shared

from meshscope.events.control_plane import ControlPlane

pytestmark = pytest.mark.conformance

SEED = 20_261
FEW = 600
MESHES = ("bookshop", "bookshop-1.29", "random-public", "bookinfo")
SUBJECTS_PER_MESH = 13
RICH = (
    ("bookshop", "000-base", "api-v1-pz5sh.storefront"),
    ("bookshop", "009-vs-mirror", "web-v1-hds5k.storefront"),
    ("bookshop", "021-vs-tcp", "payments-v1-pdcq2.orders"),
    ("bookshop", "027-dr-lb-hash", "books-v1-qgckn.catalog"),
    ("bookshop", "028-dr-lb-kinds", "api-v1-pz5sh.storefront"),
    ("bookshop", "043-ap-audit", "payments-v1-pdcq2.orders"),
    ("bookshop", "044-ap-custom-grpc", "web-v1-hds5k.storefront"),
    ("bookshop", "045-ap-custom-http", "search-v1-fmcc7.catalog"),
    ("bookshop", "047-ap-conditions", "api-v1-pz5sh.storefront"),
    ("bookshop", "048-ap-not-fields", "orders-v1-zmffj.orders"),
    ("bookshop", "053-ap-root-namespace", "books-v1-qgckn.catalog"),
    ("bookshop", "061-ra-second-issuer", "api-v1-pz5sh.storefront"),
    ("bookshop", "085-mesh-trust-alias", "reviews-v1-r2mh2.catalog"),
    ("bookshop-1.29", "000-base", "books-v1-qgckn.catalog"),
    ("bookshop-1.29", "044-ap-custom-grpc", "web-v1-hds5k.storefront"),
    ("bookshop-1.29", "047-ap-conditions", "api-v1-pz5sh.storefront"),
    ("random-public", "0003-seed", "auto-w4qcr.alpha"),
    ("random-public", "0016-seed", "api-1-bn5vz.beta"),
    ("random-public", "0050-seed", "peers-0.gamma"),
    ("random-public", "0079-seed", "back-ptk5r.gamma"),
)
"""Dumps that hold what few others do: mirrors, hashing, external authorization, conditions."""


def subject(mesh: str, state: str, proxy: str) -> Subject | None:
    control_plane = ControlPlane(
        version="{}.{}".format(*version(mesh)),
        mesh_config=mesh_config(mesh, state),
        environment=environment(mesh),
    )
    return Subject.of(
        f"{mesh} {state} {proxy}",
        capture_dump(mesh, state, proxy),
        control_plane,
        resources(mesh, state),
        capture_dump(mesh, BASE, proxy),
    )


def local() -> list[Subject]:
    """The dumps in `tests/data`; all of them are in sync."""
    found = []
    for path in sorted(DATA.glob("*/dumps/*/*.json.gz")):
        mesh, _, state, name = path.relative_to(DATA).parts
        known = subject(mesh, state, name.removesuffix(".json.gz"))
        assert known is not None, path
        found.append(known)
    return found


def of_all_meshes() -> Iterator[Subject]:
    """Some dumps of every recorded mesh that are fully verified, other proxies in other states."""
    yield from (known for one in RICH if (known := subject(*one)) is not None)
    for mesh in MESHES:
        captured = sorted(shared("captures", mesh, "states").iterdir())
        states = [path for path in captured if any(path.glob("dumps/*"))]
        step = max(1, len(states) // SUBJECTS_PER_MESH)
        for index, path in enumerate(states[::step]):
            dumps = sorted(path.glob("dumps/*"))
            name = dumps[index * 5 % len(dumps)].name
            known = subject(mesh, path.name, name.removesuffix(".gz").removesuffix(".json"))
            if known is not None:
                yield known


def shown(table: Table, capsys: pytest.CaptureFixture[str]) -> None:
    with capsys.disabled():
        print(f"\n{table}")
        for survivor in table.survivors:
            print(f"  {survivor}")


def test_the_operators_are_many_and_some_are_neutral() -> None:
    names = [operator.name for operator in OPERATORS]
    neutral = [operator for operator in OPERATORS if operator.expect is Expect.NEUTRAL]

    assert len(set(names)) == len(names)
    assert len(names) - len(neutral) >= 40
    assert len(neutral) >= 10


def test_mutants_of_some_dumps() -> None:
    table = prove(local(), OPERATORS, FEW, Random(SEED))  # noqa: S311 - no secret

    assert not table.survivors, "\n".join(table.survivors)
    assert table.mutants() == FEW


def test_mutants_of_all_meshes(
    pytestconfig: pytest.Config, capsys: pytest.CaptureFixture[str]
) -> None:
    mutants = pytestconfig.getoption("mutants")
    if not mutants:
        pytest.skip("takes some minutes: --mutants 10000")
    random = Random(pytestconfig.getoption("mutants_seed"))  # noqa: S311 - no secret
    table = prove(tuple(of_all_meshes()), OPERATORS, mutants, random)

    shown(table, capsys)
    assert table.survivors == []
    assert table.mutants() == mutants
