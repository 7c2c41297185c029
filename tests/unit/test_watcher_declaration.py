"""What a source declares → the records that say it."""

from collections.abc import Iterable

from hypothesis import given, settings
from hypothesis import strategies as st

from meshscope.events.codec import decode
from meshscope.events.facts import ControlPlaneState, Sync
from meshscope.events.resource import Resource
from meshscope.events.topics import CONTROL_PLANE_STATE, RESOURCES
from meshscope.watcher.declaration import (
    Declaration,
    Record,
    Scope,
    declare,
    difference,
    full_list,
    sync_mark,
)
from meshscope.watcher.problem import Problem, ProblemCode
from meshscope.watcher.source import Changed, Listed, identity

SCOPE = Scope("directory", "a/b")


def service(name: str, port: int = 80) -> Resource:
    return Resource(
        "", "v1", "Service", "shop", name, body={"spec": {"port": port}}, origin="f.yaml#1", line=3
    )


def config_map(mesh: str, name: str = "istio") -> Resource:
    return Resource("", "v1", "ConfigMap", "istio-system", name, body={"data": {"mesh": mesh}})


def listed(*resources: Resource) -> Declaration:
    return declare(Declaration(), Listed(resources, "r1"), SCOPE, 1)


def keys(records: Iterable[Record]) -> list[str]:
    return [record.key for record in records]


def test_only_what_decides_is_published() -> None:
    secret = Resource("", "v1", "Secret", "shop", "s", body={"data": {"k": "canary"}})
    other = Resource("example.com", "v1", "VirtualService", "shop", "x")
    declared = listed(service("cart"), secret, other, config_map("a: 1"))
    assert keys(declared.records.values()) == [
        "directory/a/b//Service/shop/cart",
        "directory/a/b/default",
    ]
    assert declared.count == 1


def test_a_change_publishes_what_changed_and_deletes_what_is_gone() -> None:
    before = listed(service("a"), service("b"), service("c"))
    event = Changed((service("a", 81),), (identity(service("b")),), "r2")
    after = declare(before, event, SCOPE, 2)
    records = difference(before, after)
    assert [(r.key.rpartition("/")[2], r.value is None) for r in records] == [
        ("a", False),
        ("b", True),
    ]
    assert after.revision == "r2"


def test_settings_are_published_again_only_if_they_differ() -> None:
    before = listed(config_map("trustDomain: a"))
    moved = Changed((config_map("trustDomain: a\n"), service("x")), (), "r2")
    assert keys(difference(before, declare(before, moved, SCOPE, 2))) == [
        "directory/a/b//Service/shop/x"
    ]
    changed = declare(before, Changed((config_map("trustDomain: b"),), (), "r2"), SCOPE, 2)
    (record,) = difference(before, changed)
    assert record.topic == CONTROL_PLANE_STATE.name
    state: ControlPlaneState = decode(record.value or b"", ControlPlaneState)
    assert state.mesh_config == b'{"trustDomain":"b"}'


def test_every_revision_has_settings_and_loses_them() -> None:
    before = listed(config_map("a: 1"), config_map("b: 1", "istio-canary"))
    assert sorted(keys(before.records.values())) == [
        "directory/a/b/canary",
        "directory/a/b/default",
    ]
    gone = Changed((), (identity(config_map("", "istio-canary")),), "r2")
    (record,) = difference(before, declare(before, gone, SCOPE, 2))
    assert (record.key, record.value) == ("directory/a/b/canary", None)


def test_problems_that_lose_input_are_told() -> None:
    problems = (
        Problem("f.yaml", 1, "broken", "error", ProblemCode.UNREADABLE),
        Problem("f.yaml", 2, "mistyped", "error", ProblemCode.UNKNOWN_FIELD),
    )
    large = Resource("", "v1", "Node", "", "big", body={"x": "y" * 1_000_000}, origin="g", line=7)
    bad = config_map("a: [")
    declared = declare(Declaration(), Listed((large, bad), "r", problems), SCOPE, 1)
    assert [problem.split(":")[0] for problem in declared.problems] == ["f.yaml", "g", ""]
    assert "more than 900000" in declared.problems[1]
    assert "data.mesh" in declared.problems[2]
    assert declared.count == 0


def test_a_scope_owns_its_own_records_only() -> None:
    resources, state = RESOURCES.name, CONTROL_PLANE_STATE.name
    for topic, key, owned in (
        (resources, "directory/a/b//Service/shop/x", True),
        (resources, "directory/a//Service/shop/x", False),
        (resources, "kubernetes/a/b//Service/shop/x", False),
        (resources, "directory/a/b/c//Service/shop/x", False),
        (state, "directory/a/b/default", True),
        (state, "directory/a/default", False),
        (state, "sync/directory/a/b", False),
    ):
        assert SCOPE.owns(topic, key) is owned


def test_a_mark_says_what_was_published() -> None:
    record = sync_mark(
        listed(service("a")), SCOPE, epoch="e", log_epoch="l", ends={1: 5, 0: 2}, observed_at=9
    )
    assert record.key == "sync/directory/a/b"
    mark: Sync = decode(record.value or b"", Sync)
    assert (mark.epoch, mark.log_epoch, mark.count, mark.revision) == ("e", "l", 1, "r1")
    assert [(each.partition, each.offset) for each in mark.offsets] == [(0, 2), (1, 5)]


RESOURCE_SETS = st.dictionaries(st.sampled_from("abcd"), st.integers(80, 82), max_size=4).map(
    lambda ports: tuple(service(name, port) for name, port in ports.items())
)


@settings(deadline=None)
@given(st.lists(RESOURCE_SETS, min_size=1, max_size=5), RESOURCE_SETS)
def test_what_stands_is_what_is_declared_last(
    lists: list[tuple[Resource, ...]], left_over: tuple[Resource, ...]
) -> None:
    """Whatever stood there before, and over whatever changes, as a reader of the topics sees it."""
    stands = {place: record.value for place, record in listed(*left_over).records.items()}
    declared = listed(*lists[0])
    records = list(full_list(declared, list(stands)))
    for resources in lists[1:]:
        names = {identity(resource) for resource in resources}
        deleted = tuple(name for name in declared.resources if name not in names)
        after = declare(declared, Changed(resources, deleted, ""), SCOPE, 2)
        records += difference(declared, after)
        declared = after
    for record in records:
        stands[record.topic, record.key] = record.value
    final = {place: record.value for place, record in declared.records.items()}
    assert {place: value for place, value in stands.items() if value is not None} == final
