"""The edges of the stream worker: decoding, settings, headers, gaps, what is stuck, exit codes."""

import subprocess
import sys

import pytest
from small_mesh import CLUSTER, ORIGIN, held, policy, resource, sync

from meshscope.events import convert
from meshscope.events.codec import PoisonValue, encode
from meshscope.events.control_plane import ControlPlane
from meshscope.events.facts import Anomaly, PolicyBody, ProxyState
from meshscope.events.topics import CONTROL_PLANE_STATE, POLICIES, RESOURCES
from meshscope.policy.key import PolicyKey
from meshscope.policy.policy import Policy
from meshscope.projection.result import Projection
from meshscope.stream import cloudevents
from meshscope.stream.decoding import (
    Declared,
    Forgotten,
    Mark,
    Scope,
    Settings,
    broadcast_event,
    snapshot,
)
from meshscope.stream.gaps import GapDetector
from meshscope.stream.judgement import Judgement
from meshscope.stream.settings import InvalidSettings, from_environment
from meshscope.stream.watchdog import Watchdog, still_there
from meshscope.stream.wiring import judge

RESOURCE = resource("r", {"a": 1})
KEY = RESOURCE.key(ORIGIN, CLUSTER).encode()
FACT = encode(convert.declared_resource(RESOURCE, ORIGIN, CLUSTER, 1))


def test_a_resource_and_its_tombstone() -> None:
    event = broadcast_event(RESOURCES.name, KEY, FACT)
    assert isinstance(event, Declared)
    assert event.scope == Scope(ORIGIN, CLUSTER)
    assert event.resource is not None
    assert event.resource.spec == RESOURCE.spec
    gone = broadcast_event(RESOURCES.name, KEY, None)
    assert gone == Declared(Scope(ORIGIN, CLUSTER), KEY.decode(), None)


def test_a_cluster_may_have_slashes_in_its_name() -> None:
    event = broadcast_event(RESOURCES.name, b"kubernetes/projects/x/Pod-group/Pod/ns/name", None)
    assert isinstance(event, Declared)
    assert event.scope == Scope("kubernetes", "projects/x/Pod-group"[: len("projects/x")])


def test_settings_and_marks() -> None:
    value = encode(convert.control_plane_state(ControlPlane(), ORIGIN, CLUSTER, 1))
    event = broadcast_event(CONTROL_PLANE_STATE.name, b"directory/one/default", value)
    assert event == Settings(Scope(ORIGIN, CLUSTER), "default", ControlPlane())
    mark = broadcast_event(CONTROL_PLANE_STATE.name, b"sync/directory/one", encode(sync({})))
    assert mark == Mark(Scope(ORIGIN, CLUSTER), sync({}))
    gone = broadcast_event(CONTROL_PLANE_STATE.name, b"sync/directory/one", None)
    assert gone == Mark(Scope(ORIGIN, CLUSTER), None)


def test_a_policy_of_another_vocabulary_is_passed_over() -> None:
    fact = PolicyBody("d", "egress", 0, b"whatever that was")
    assert broadcast_event(POLICIES.name, b"d", encode(fact)) == Forgotten()


@pytest.mark.parametrize(
    ("topic", "key", "value", "says"),
    [
        (RESOURCES.name, None, FACT, "without a key"),
        (RESOURCES.name, b"\xff", FACT, "no UTF-8"),
        (RESOURCES.name, b"a/b", FACT, "is not origin/cluster"),
        (RESOURCES.name, KEY + b"x", FACT, "the key says"),
        (RESOURCES.name, KEY, FACT[:-3], "broken DeclaredResource"),
        (CONTROL_PLANE_STATE.name, b"sync/x/y", encode(sync({})), "the key says"),
        (CONTROL_PLANE_STATE.name, b"x", encode(sync({})), "neither"),
        (
            POLICIES.name,
            b"d",
            encode(PolicyBody("d", "egress", 1, b"{}")),
            "PolicyBody d: Object missing",
        ),
        (
            POLICIES.name,
            b"d",
            encode(PolicyBody("d", "nonsense", 1, b"{}")),
            "'nonsense' is not a valid Kind",
        ),
        (
            POLICIES.name,
            b"d",
            encode(PolicyBody("d", "extension", 1, convert.policy_body(policy("a", 1)).content)),
            "the key says 'd'",
        ),
    ],
)
def test_what_cannot_be_read_is_poison(
    topic: str, key: bytes | None, value: bytes, says: str
) -> None:
    with pytest.raises(PoisonValue, match=says):
        broadcast_event(topic, key, value)


def test_a_snapshot_under_the_key_of_another_proxy_is_poison() -> None:
    value = encode(held("p1.shop", {}).snapshot)
    assert snapshot(b"one/p1.shop", value).proxy == "p1.shop"
    with pytest.raises(PoisonValue, match=r"the key says 'one/p2\.shop'"):
        snapshot(b"one/p2.shop", value)


def test_settings_have_defaults() -> None:
    settings = from_environment(
        {"MESHSCOPE_BROKERS": "a:1, b:2", "MESHSCOPE_DATA_DIR": "/d", "MESHSCOPE_STUCK_SECONDS": ""}
    )
    assert settings.convergence_ms == 10_000
    assert settings.stuck_s == 30.0


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("MESHSCOPE_BROKERS", "", "MESHSCOPE_BROKERS is not set"),
        ("MESHSCOPE_BROKERS", "localhost", "'localhost' is not host:port"),
        ("MESHSCOPE_DATA_DIR", "", "MESHSCOPE_DATA_DIR is not set"),
        ("MESHSCOPE_CONVERGENCE_SECONDS", "soon", "'soon' is not a number of seconds"),
        ("MESHSCOPE_CONVERGENCE_SECONDS", "-1", "must be at least 0"),
        ("MESHSCOPE_SESSION_TIMEOUT_SECONDS", "nan", "must be at least 1"),
    ],
)
def test_wrong_settings_say_what_to_change(name: str, value: str, says: str) -> None:
    environment = {"MESHSCOPE_BROKERS": "a:1", "MESHSCOPE_DATA_DIR": "/d", name: value}
    with pytest.raises(InvalidSettings, match=says):
        from_environment(environment)


def test_a_wrong_setting_ends_the_process_with_2() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "meshscope.stream"], env={}, capture_output=True, timeout=60
    )
    assert done.returncode == 2
    assert done.stderr.decode().startswith("meshscope.stream: MESHSCOPE_BROKERS is not set")


def test_anomalies_are_cloud_events() -> None:
    anomaly = Anomaly(
        id="i",
        fingerprint="f",
        episode="e",
        status="resolved",
        cluster="one",
        layer="delivery",
        code="MSC-1011",
        severity="critical",
        title="t",
        opened_at=0,
        updated_at=1_700_000_000_123,
    )
    assert dict(cloudevents.headers(anomaly)) == {
        "ce_specversion": b"1.0",
        "ce_type": b"io.meshscope.anomaly.resolved",
        "ce_source": b"/meshscope/anomalies/one",
        "ce_id": b"i",
        "ce_time": b"2023-11-14T22:13:20.123Z",
        "ce_subject": b"f",
        "content-type": b"avro/binary",
    }


def test_skipped_offsets_are_counted() -> None:
    gaps = GapDetector()
    assert [gaps.saw("t", 0, offset) for offset in (5, 6, 9, 7, 10)] == [0, 0, 2, 0, 0]
    assert gaps.saw("t", 1, 3) == 0
    assert gaps.total == 2
    gaps.forget()
    assert gaps.saw("t", 0, 100) == 0


def test_standing_still_with_something_to_read_is_being_stuck() -> None:
    watchdog = Watchdog(10)
    place = ("t", 0)
    assert watchdog.stuck({place: 5}, {place: 9}, 0) == []
    assert watchdog.stuck({place: 5}, {place: 9}, 10) == []
    assert watchdog.stuck({place: 5}, {place: 9}, 11) == [place]
    assert watchdog.stuck({place: 6}, {place: 9}, 12) == []
    assert watchdog.stuck({place: 9}, {place: 9}, 100) == []
    assert watchdog.stuck({place: 9}, {place: 10}, 101) == []
    assert watchdog.stuck({}, {}, 200) == []
    assert watchdog.stuck({place: 9}, {place: 10}, 201) == [], "it was another worker's meanwhile"


def test_a_partition_behind_the_backlog_of_another_is_not_stuck() -> None:
    watchdog = Watchdog(10)
    long, short = ("t", 0), ("t", 1)
    ends = {long: 1_000, short: 9}
    for now in range(0, 100, 5):
        assert watchdog.stuck({long: now * 10, short: 5}, ends, now) == []
    # What was ahead of it is done now; what comes to the other one since then is not.
    assert watchdog.stuck({long: 1_000, short: 5}, ends, 100) == []
    for now in (105, 110):
        assert watchdog.stuck({long: 900 + now, short: 5}, {long: 2_000, short: 9}, now) == []
    assert watchdog.stuck({long: 1_020, short: 5}, {long: 2_000, short: 9}, 111) == [short]


def test_partitions_that_stand_still_do_not_wait_for_each_other() -> None:
    watchdog = Watchdog(10)
    done, ends = {("t", 0): 5, ("t", 1): 5}, {("t", 0): 9, ("t", 1): 9}
    assert watchdog.stuck(done, ends, 0) == []
    assert watchdog.stuck(done, ends, 11) == sorted(done)


def test_where_retention_left_nothing_there_is_nothing_to_read() -> None:
    """A worker that was away for so long that its commits are gone, too."""
    watchdog, place, other = Watchdog(10), ("t", 0), ("t", 1)
    done = still_there({place: 0, other: 7}, {place: 9, other: 3})
    assert done == {place: 9, other: 7}
    for now in (0, 11):
        assert watchdog.stuck(done, {place: 9, other: 7}, now) == []


class TestWiring:
    """The real comparison behind the join."""

    def test_a_difference_becomes_drift(self) -> None:
        found = judge(projection(a=1), observed(a=2), held("p1.shop", {}).snapshot)
        assert found.verdict in {"drift", "unverifiable"}
        same = judge(projection(e1=1), observed(e1=1), held("p1.shop", {}).snapshot)
        assert same == Judgement("in-sync", policies=1)

    def test_what_a_dump_lacks_is_unverifiable(self) -> None:
        lacking = ProxyState(incomplete=("endpoints: no EndpointsConfigDump",))
        found = judge(projection(e1=1), observed(), held("p1.shop", {}, state=lacking).snapshot)
        assert found.verdict == "unverifiable"
        assert found.differences == ()
        assert "no EndpointsConfigDump" in found.unverifiable[0]

    def test_a_section_without_a_kind_concerns_every_kind(self) -> None:
        lacking = ProxyState(incomplete=("something",))
        found = judge(projection(e1=1), observed(), held("p1.shop", {}, state=lacking).snapshot)
        assert found.verdict == "unverifiable"
        assert "lacks something" in found.unverifiable[0]

    def test_nothing_on_either_side_is_unknown_with_a_reason(self) -> None:
        found = judge(projection(), observed(), held("p1.shop", {}).snapshot)
        assert found.verdict == "unknown"
        assert found.reason


def projection(**policies: int) -> Projection:
    return Projection(observed(**policies))


def observed(**policies: int) -> dict[PolicyKey, Policy]:
    return {made.key: made for made in (policy(*each) for each in policies.items())}
