"""Single decisions of the join: windows, pending bodies, repetition, what cannot be compared."""

from dataclasses import replace

import pytest
from join_simulation import (
    Broker,
    Clock,
    open_drifts,
    open_findings,
    run,
    settle,
    start,
    verdicts,
)
from small_mesh import CLUSTER, ORIGIN, Held, held, resource, sync

from meshscope.analysis.delivery_codes import DISCONNECTED, UNSEEN
from meshscope.events.codec import encode
from meshscope.events.facts import Drift, ProxyState, Verdict
from meshscope.events.resource import Resource
from meshscope.events.topics import SNAPSHOTS
from meshscope.stream.decoding import Declared, Mark, Scope
from meshscope.stream.expectation import CONFIGURATION, ENDPOINTS
from meshscope.stream.join import FORGET_MS, Join
from meshscope.stream.record import dump, load
from meshscope.stream.statements import MAX_OPEN, PENDING_MS
from meshscope.stream.step import Timing
from meshscope.transport.partition import partition_of

SCOPE = Scope(ORIGIN, CLUSTER)
PROXY = "p1.shop"
TIMING = Timing({CONFIGURATION: 10_000, ENDPOINTS: 30_000})


class Mesh:
    def __init__(self, **declared: int) -> None:
        self.broker = Broker()
        self.clock = Clock()
        self.sequence = 0
        self.declared: dict[str, int] = declared
        self.published: list[Held] = []
        self.restart()

    def restart(self) -> None:
        self.join: Join = start(self.broker, self.clock, TIMING)
        self.declare(**self.declared)
        self.join.broadcast(Mark(SCOPE, sync({})))
        for made in self.published:
            self.bodies(made)
        self.join.caught_up()
        self.work()

    def declare(self, **policies: int) -> None:
        self.declared = policies
        made = resource("r", policies)
        self.join.broadcast(Declared(SCOPE, made.key(ORIGIN, CLUSTER), made))

    def hold(self, *, bodies: bool = True, state: ProxyState | None = None, **kept: int) -> Held:
        self.sequence += 1
        made = held(PROXY, kept, self.sequence, state=state)
        if bodies:
            self.published.append(made)
            self.bodies(made)
        run(self.join.snapshot(f"{CLUSTER}/{PROXY}", 0, made.snapshot))
        return made

    def bodies(self, made: Held) -> None:
        for fact in made.policies.values():
            self.join.broadcast(fact)  # type: ignore[arg-type]

    def work(self) -> None:
        while run(self.join.work()):
            pass

    def wait(self, ms: int) -> None:
        self.clock.advance(ms)
        self.work()

    @property
    def verdict(self) -> str:
        return verdicts(self.broker.facts)[PROXY]

    @property
    def drifts(self) -> set[str]:
        return {key.split("/")[-1] or "e1" for _, key in open_drifts(self.broker.facts)}

    @property
    def last(self) -> Verdict:
        return [each for each in self.broker.facts if isinstance(each, Verdict)][-1]


def in_sync(**kept: int) -> Mesh:
    mesh = Mesh(**kept)
    mesh.hold(**kept)
    assert mesh.verdict == "in-sync"
    settle(mesh.join, mesh.clock, 60_000)
    return mesh


def test_what_changes_in_the_proxy_alone_is_drift_at_once() -> None:
    mesh = in_sync(a=1)
    mesh.hold(a=2)
    assert mesh.verdict == "drift"
    assert mesh.drifts == {"a"}


def test_a_proxy_has_time_to_take_in_what_is_newly_declared() -> None:
    mesh = in_sync(a=1)
    mesh.declare(a=2)
    mesh.work()
    assert mesh.verdict == "converging"
    mesh.wait(9_999)
    assert mesh.drifts == set()
    mesh.wait(1)
    assert mesh.verdict == "drift"
    assert mesh.drifts == {"a"}


def test_a_proxy_that_takes_it_in_was_never_in_drift() -> None:
    mesh = in_sync(a=1)
    mesh.declare(a=2)
    mesh.work()
    mesh.wait(5_000)
    mesh.hold(a=2)
    mesh.wait(60_000)
    assert mesh.verdict == "in-sync"
    assert not any(isinstance(fact, Drift) for fact in mesh.broker.facts)


def test_endpoints_converge_in_a_window_of_their_own() -> None:
    mesh = in_sync(a=1, e1=1)
    mesh.declare(a=1, e1=2)
    mesh.work()
    mesh.wait(29_999)
    assert mesh.verdict == "converging"
    mesh.hold(a=2, e1=1)
    assert mesh.drifts == {"a"}, "the window of endpoints is not that of configuration"
    mesh.wait(1)
    assert mesh.drifts == {"a", "e1"}


def test_a_restart_goes_on_with_what_is_left_of_a_window() -> None:
    mesh = in_sync(a=1)
    mesh.declare(a=2)
    mesh.work()
    mesh.restart()
    mesh.wait(9_999)
    assert mesh.verdict == "converging"
    mesh.wait(1)
    assert mesh.verdict == "drift"


def test_a_restart_keeps_an_open_drift_and_says_nothing() -> None:
    mesh = in_sync(a=1)
    mesh.hold(a=2)
    before = len(mesh.broker.facts)
    mesh.restart()
    mesh.wait(1_000)
    assert len(mesh.broker.facts) == before
    mesh.hold(a=1)
    assert [fact.status for fact in mesh.broker.facts if isinstance(fact, Drift)] == [
        "opened",
        "closed",
    ]


def test_a_drift_that_comes_back_is_another_one() -> None:
    mesh = in_sync(a=1)
    for value in (2, 1, 2):
        mesh.hold(a=value)
    opened = [fact for fact in mesh.broker.facts if isinstance(fact, Drift)]
    assert [fact.status for fact in opened] == ["opened", "closed", "opened"]
    assert opened[0].episode == opened[1].episode != opened[2].episode


def test_an_open_drift_that_looks_different_is_told_again() -> None:
    mesh = in_sync(a=1)
    mesh.hold(a=2)
    mesh.hold(a=3)
    drifts = [fact for fact in mesh.broker.facts if isinstance(fact, Drift)]
    assert [fact.status for fact in drifts] == ["opened", "open"]
    assert drifts[0].episode == drifts[1].episode
    assert "3" in drifts[1].observed


def withdrawn_while_open() -> Mesh:
    """An open drift of a policy that is no longer declared, which the proxy still holds."""
    mesh = in_sync(a=1)
    mesh.hold(a=2)
    mesh.declare()
    mesh.work()
    mesh.wait(9_999)
    assert statuses(mesh) == ["opened"], "the proxy still has time to follow"
    return mesh


def statuses(mesh: Mesh) -> list[str]:
    return [fact.status for fact in mesh.broker.facts if isinstance(fact, Drift)]


def test_an_open_drift_stays_what_it_was_while_the_proxy_has_time() -> None:
    mesh = withdrawn_while_open()
    mesh.hold()
    mesh.wait(60_000)
    assert mesh.verdict == "in-sync"
    assert statuses(mesh) == ["opened", "closed"]


def test_an_open_drift_becomes_another_when_the_proxy_had_its_time() -> None:
    mesh = withdrawn_while_open()
    mesh.wait(1)
    assert statuses(mesh) == ["opened", "closed", "opened"]
    assert mesh.drifts == {"a"}


def test_what_is_still_open_is_told_daily() -> None:
    mesh = in_sync(a=1)
    mesh.hold(a=2)
    day = TIMING.repeat
    told = len(mesh.broker.facts)
    mesh.wait(day - 1)
    assert len(mesh.broker.facts) == told
    mesh.wait(1_000)
    repeated = mesh.broker.facts[told:]
    assert [getattr(fact, "status", "verdict") for fact in repeated] == ["open", "verdict"]


def test_missing_bodies_are_pending_and_asked_for_with_patience() -> None:
    mesh = in_sync(a=1)
    made = mesh.hold(a=2, b=1, bodies=False)
    assert mesh.verdict == "in-sync", "the last verdict stays"
    assert mesh.broker.requests == []
    mesh.wait(1_000)
    assert len(mesh.broker.requests) == 1
    assert set(mesh.broker.requests[0].digests) <= set(made.policies)
    for _ in range(60):
        mesh.wait(1_000)
    assert 4 <= len(mesh.broker.requests) <= 7
    mesh.bodies(made)
    mesh.work()
    assert mesh.verdict == "drift"
    asked = len(mesh.broker.requests)
    mesh.wait(600_000)
    assert len(mesh.broker.requests) == asked


def test_what_does_not_come_for_long_leaves_no_verdict_standing() -> None:
    mesh = in_sync(a=1)
    made = mesh.hold(a=2, bodies=False)
    mesh.restart()
    mesh.wait(PENDING_MS - 1)
    assert mesh.verdict == "in-sync"
    mesh.wait(1)
    assert mesh.verdict == "unknown"
    assert "have not come yet" in mesh.last.reason
    mesh.bodies(made)
    mesh.work()
    assert mesh.verdict == "drift"
    mesh.hold(a=3, bodies=False)
    assert mesh.verdict == "drift", "what is missing now has its time again"


def test_only_bodies_that_differ_are_needed() -> None:
    mesh = in_sync(a=1, b=1)
    full = held(PROXY, {"a": 2, "b": 1}, 9)
    mesh.join.broadcast(next(f for f in full.policies.values() if hasattr(f, "entries")))
    run(mesh.join.snapshot(f"{CLUSTER}/{PROXY}", 0, full.snapshot))
    mesh.wait(1_000)
    assert len(mesh.broker.requests[0].digests) == 1


@pytest.mark.parametrize("is_mentioned", [False, True])
def test_bodies_that_no_agent_mentions_for_days_are_forgotten_and_asked_for_when_needed(
    is_mentioned: bool,
) -> None:
    """Endpoints change all the time, so what was ever published would take all memory."""
    mesh = in_sync(a=1)
    made = mesh.hold(a=2)
    for _ in range(2):
        mesh.wait(FORGET_MS)
        made = mesh.hold(a=2, bodies=is_mentioned)
        mesh.declare(a=1)
    mesh.declare(a=3)
    mesh.work()
    mesh.wait(2_000)
    assert bool(mesh.broker.requests) is not is_mentioned
    mesh.bodies(made)
    mesh.wait(60_000)
    assert "3" in [fact for fact in mesh.broker.facts if isinstance(fact, Drift)][-1].expected


def test_nothing_is_said_before_a_complete_list() -> None:
    broker, clock = Broker(), Clock()
    join = start(broker, clock, TIMING)
    join.caught_up()
    made = resource("r", {"a": 1})
    join.broadcast(Declared(SCOPE, made.key(ORIGIN, CLUSTER), made))
    run(join.snapshot(f"{CLUSTER}/{PROXY}", 0, held(PROXY, {}).snapshot))
    assert verdicts(broker.facts) == {PROXY: "unknown"}
    assert "no complete list" in [f for f in broker.facts if isinstance(f, Verdict)][-1].reason
    join.broadcast(Mark(SCOPE, sync({0: 5})))
    settle(join, clock)
    assert verdicts(broker.facts) == {PROXY: "unknown"}
    join.read_up_to(0, 5)
    settle(join, clock)
    assert verdicts(broker.facts) == {PROXY: "drift"}


def test_what_could_not_be_read_of_the_declaration_is_a_limit_of_every_verdict() -> None:
    mesh = in_sync(a=1)
    assert mesh.last.notes == ()
    problems = ("b.yaml:1: not valid YAML", "c.yaml:7: too large")
    mesh.join.broadcast(Mark(SCOPE, replace(sync({}), problems=problems)))
    mesh.work()
    assert mesh.verdict == "in-sync"
    (note,) = mesh.last.notes
    assert note.startswith("MSC-5007: 2 problems of the source")
    assert note.endswith("the first: b.yaml:1: not valid YAML")
    mesh.join.broadcast(Mark(SCOPE, sync({})))
    mesh.work()
    assert mesh.last.notes == ()


def test_a_mark_of_another_log_does_not_count() -> None:
    broker, clock = Broker(), Clock()
    join = start(broker, clock, TIMING)
    join.caught_up()
    join.broadcast(Mark(SCOPE, sync({}, log_epoch="before")))
    run(join.snapshot(f"{CLUSTER}/{PROXY}", 0, held(PROXY, {}).snapshot))
    assert "earlier log" in [f for f in broker.facts if isinstance(f, Verdict)][-1].reason


def test_a_projection_that_fails_is_told_and_closes_nothing() -> None:
    mesh = in_sync(a=1)
    mesh.hold(a=2)
    mesh.declare(boom=1)
    mesh.work()
    assert mesh.verdict == "unknown"
    assert "nobody thought of boom" in mesh.last.reason
    told = len(mesh.broker.facts)
    settle(mesh.join, mesh.clock, TIMING.repeat)
    assert mesh.broker.facts[told:] == [mesh.last], "what is unknown is told daily, too"
    assert mesh.drifts == {"a"}
    mesh.declare(a=2)
    mesh.work()
    assert mesh.verdict == "in-sync"


@pytest.mark.parametrize(
    ("change", "verdict", "reason"),
    [
        ({"state": ProxyState(error="the admin interface does not answer")}, "unknown", "admin"),
        ({"ir_version": 0}, "unverifiable", "version 0 of the vocabulary"),
    ],
)
def test_a_snapshot_that_cannot_be_compared_keeps_its_drifts(
    change: dict[str, object], verdict: str, reason: str
) -> None:
    mesh = in_sync(a=1)
    mesh.hold(a=2)
    snapshot = replace(held(PROXY, {}, 9).snapshot, **change)
    run(mesh.join.snapshot(f"{CLUSTER}/{PROXY}", 0, snapshot))
    assert mesh.verdict == verdict
    assert reason in mesh.last.reason
    assert mesh.drifts == {"a"}


def test_a_proxy_that_leaves_closes_its_drifts_and_comes_back_as_another() -> None:
    mesh = in_sync(a=1)
    mesh.hold(a=2)
    run(mesh.join.snapshot(f"{CLUSTER}/{PROXY}", 0, None))
    assert mesh.verdict == "gone"
    assert mesh.drifts == set()
    assert mesh.join.proxies == 0
    mesh.hold(a=2)
    mesh.wait(10_000)
    assert mesh.drifts == {"a"}
    ids = [fact.id for fact in mesh.broker.facts]
    assert len(set(ids)) == len(ids)


def test_a_badly_wrong_proxy_is_told_in_steps_that_fit_into_records() -> None:
    mesh = in_sync(a=1)
    mesh.hold(**{f"x{number}": 1 for number in range(MAX_OPEN + 50)})
    mesh.work()
    assert len(open_drifts(mesh.broker.facts)) == MAX_OPEN
    assert mesh.last.differences == MAX_OPEN + 51
    assert all(len(data) < 900_000 for _, data in mesh.broker.changelog if data)


def test_a_record_is_read_as_it_was_written() -> None:
    mesh = in_sync(a=1)
    mesh.hold(a=2)
    data = next(data for _, data in reversed(mesh.broker.changelog) if data)
    record = load(data, 5_000)
    assert dump(record, 5_000) == data
    assert encode(record.snapshot)
    with pytest.raises(ValueError, match="format 00"):
        load(b"\x00" + data[1:], 0)


CUT_OFF = ProxyState(connected=False)
CONNECTED = ProxyState(connected=True)


def findings(mesh: Mesh) -> set[str]:
    return {key for _, key in open_findings(mesh.broker.facts)}


def causes(mesh: Mesh) -> set[str]:
    found = open_drifts(mesh.broker.facts).values()
    return {drift.cause.code if drift.cause else "" for drift in found}


def test_a_proxy_that_is_cut_off_is_told_when_that_lasts() -> None:
    mesh = in_sync(a=1)
    mesh.hold(a=1, state=CUT_OFF)
    assert findings(mesh) == set()
    mesh.wait(DISCONNECTED.after_ms - 1)
    assert findings(mesh) == set()
    mesh.wait(1)
    assert findings(mesh) == {"connection"}
    mesh.restart()
    assert findings(mesh) == {"connection"}
    mesh.hold(a=1, state=CONNECTED)
    assert findings(mesh) == set()


def test_how_long_it_lasts_survives_a_restart() -> None:
    mesh = in_sync(a=1)
    mesh.hold(a=1, state=CUT_OFF)
    mesh.restart()
    mesh.wait(DISCONNECTED.after_ms - 1)
    assert findings(mesh) == set()
    mesh.wait(1)
    assert findings(mesh) == {"connection"}


def test_what_a_cut_off_proxy_cannot_take_in_is_evidence_of_that() -> None:
    mesh = in_sync(a=1)
    mesh.hold(a=1, state=CUT_OFF)
    mesh.declare(a=2)
    mesh.work()
    mesh.wait(30_000)
    assert causes(mesh) == {DISCONNECTED.code}
    # Connected again, it has its time to take it in.
    mesh.hold(a=1, state=CONNECTED)
    assert causes(mesh) == {DISCONNECTED.code}
    mesh.wait(9_999)
    assert causes(mesh) == {DISCONNECTED.code}
    mesh.wait(1)
    assert causes(mesh) == {""}, "then it is a drift of its own"


def test_what_it_takes_in_once_it_is_connected_was_never_an_anomaly_of_its_own() -> None:
    mesh = in_sync(a=1)
    mesh.hold(a=1, state=CUT_OFF)
    mesh.declare(a=2)
    mesh.work()
    mesh.wait(30_000)
    mesh.hold(a=1, state=CONNECTED)
    mesh.wait(5_000)
    mesh.hold(a=2, state=CONNECTED)
    assert mesh.drifts == set()
    told = [fact for fact in mesh.broker.facts if isinstance(fact, Drift)]
    assert {fact.cause.code for fact in told if fact.cause} == {DISCONNECTED.code}
    assert all(fact.cause for fact in told)


def test_a_drift_that_was_there_before_is_not_explained() -> None:
    mesh = in_sync(a=1)
    mesh.hold(a=2, state=CONNECTED)
    mesh.hold(a=2, state=CUT_OFF)
    mesh.wait(30_000)
    assert causes(mesh) == {""}


def test_a_proxy_that_does_not_answer_keeps_its_findings() -> None:
    mesh = in_sync(a=1)
    mesh.hold(a=1, state=CUT_OFF)
    mesh.wait(30_000)
    mesh.hold(a=1, state=ProxyState(live="UNREACHABLE", error="no answer"))
    mesh.wait(UNSEEN.after_ms)
    assert findings(mesh) == {"connection", "snapshot"}
    mesh.hold(a=1, state=CONNECTED)
    assert findings(mesh) == set()


def test_a_proxy_that_leaves_closes_its_findings() -> None:
    mesh = in_sync(a=1)
    mesh.hold(a=1, state=CUT_OFF)
    mesh.wait(30_000)
    run(mesh.join.snapshot(f"{CLUSTER}/{PROXY}", 0, None))
    assert findings(mesh) == set()


POD = Resource(
    "", "v1", "Pod", "shop", "p1", body={"spec": {"containers": [{"name": "istio-proxy"}]}}
)


def declare_pod(mesh: Mesh, pod: Resource | None = POD) -> None:
    mesh.join.broadcast(Declared(SCOPE, POD.key(ORIGIN, CLUSTER), pod))
    mesh.work()


def test_a_pod_of_which_no_snapshot_comes_is_told() -> None:
    mesh = Mesh(a=1)
    declare_pod(mesh)
    mesh.wait(UNSEEN.after_ms - 1)
    assert mesh.broker.facts == []
    mesh.wait(1)
    assert findings(mesh) == {"snapshot"}
    mesh.hold(a=1)
    assert findings(mesh) == set()
    assert mesh.verdict == "in-sync"


def test_what_is_said_of_a_pod_that_is_never_heard_of_is_told_daily() -> None:
    """Or Kafka would forget an anomaly that is open, in a mesh in which nothing else happens."""
    mesh = Mesh(a=1)
    declare_pod(mesh)
    mesh.wait(UNSEEN.after_ms)
    for day in range(1, 4):
        settle(mesh.join, mesh.clock, TIMING.repeat)
        assert len(mesh.broker.facts) == 1 + day


def test_before_a_complete_list_no_pod_is_forgotten() -> None:
    mesh = Mesh(a=1)
    declare_pod(mesh)
    mesh.wait(UNSEEN.after_ms)
    mesh.join = start(mesh.broker, mesh.clock, TIMING)
    mesh.work()
    assert findings(mesh) == {"snapshot"}


def test_a_pod_that_is_heard_of_in_time_is_not() -> None:
    mesh = Mesh(a=1)
    declare_pod(mesh)
    mesh.wait(5_000)
    mesh.hold(a=1)
    mesh.wait(UNSEEN.after_ms)
    assert findings(mesh) == set()


def test_a_pod_that_vanishes_unheard_of_is_forgotten() -> None:
    mesh = Mesh(a=1)
    declare_pod(mesh)
    mesh.wait(UNSEEN.after_ms)
    declare_pod(mesh, None)
    assert findings(mesh) == set()
    assert mesh.join.proxies == 0
    assert verdicts(mesh.broker.facts) == {}, "it never was a proxy"


def test_a_pod_whose_agent_ends_is_awaited_again() -> None:
    mesh = Mesh(a=1)
    declare_pod(mesh)
    mesh.hold(a=1)
    run(mesh.join.snapshot(f"{CLUSTER}/{PROXY}", 0, None))
    mesh.work()
    mesh.wait(UNSEEN.after_ms)
    assert findings(mesh) == {"snapshot"}


def test_a_pod_of_which_nothing_is_heard_any_more_is_not_what_it_was() -> None:
    mesh = Mesh(a=1)
    declare_pod(mesh)
    mesh.hold(a=1, state=CONNECTED)
    mesh.wait(TIMING.silence - 1)
    assert mesh.verdict == "in-sync"
    mesh.restart()
    declare_pod(mesh)
    mesh.wait(1)
    assert mesh.verdict == "unknown"
    assert "nothing has been heard of its agent" in mesh.last.reason
    mesh.wait(UNSEEN.after_ms)
    assert findings(mesh) == {"snapshot"}
    mesh.hold(a=1, state=CONNECTED)
    assert mesh.verdict == "in-sync"
    assert findings(mesh) == set()


def test_a_proxy_without_a_pod_of_which_nothing_is_heard_any_more_has_gone() -> None:
    mesh = in_sync(a=1)
    mesh.hold(a=2)
    mesh.wait(TIMING.silence)
    assert mesh.verdict == "gone"
    assert mesh.drifts == set()
    assert mesh.join.proxies == 0


def test_an_agent_that_says_the_same_every_day_is_heard() -> None:
    mesh = in_sync(a=1)
    for _ in range(10):
        mesh.wait(TIMING.repeat)
        mesh.hold(a=1)
    assert mesh.verdict == "in-sync"


def test_pods_of_other_workers_partitions_are_theirs() -> None:
    mesh = Mesh(a=1)
    mine = partition_of(f"{CLUSTER}/{PROXY}".encode(), SNAPSHOTS.partitions)
    mesh.join.own((), {mine + 1})
    declare_pod(mesh)
    mesh.wait(UNSEEN.after_ms)
    assert mesh.join.proxies == 0
