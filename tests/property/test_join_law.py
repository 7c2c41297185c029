"""The law of the join: final drifts and findings are a function of the final inputs, and of nothing
else.

Inputs come in any interleaving of their partitions, snapshots in any order and repeatedly, workers
die between any two writes and lose what nobody waited for; at the end the open drifts and findings
are those that the pure functions give for what stands in the topics.
"""

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from join_simulation import (
    Broker,
    Clock,
    Died,
    open_drifts,
    open_findings,
    run,
    settle,
    start,
    verdicts,
)
from small_mesh import CLUSTER, ORIGIN, Held, held, judge, policy, project, resource, sync

from meshscope.analysis.delivery import conditions
from meshscope.analysis.mesh import declared_mesh
from meshscope.events import convert
from meshscope.events.control_plane import ControlPlane
from meshscope.events.facts import Cause, ProxyState, RejectedUpdate, Verdict
from meshscope.events.proxy import ProxyInputs
from meshscope.stream.decoding import BroadcastEvent, Declared, Mark, Scope
from meshscope.stream.join import Join

SCOPE = Scope(ORIGIN, CLUSTER)
NAMES = st.sampled_from(["a", "b", "c", "e1", "e2"])
POLICIES = st.dictionaries(NAMES, st.integers(-1, 2), max_size=4)
PROXIES = ["p1.shop", "p2.shop"]
STATES = [
    ProxyState(),
    ProxyState(),
    ProxyState(connected=False),
    ProxyState(rejected=(RejectedUpdate("endpoints", "outbound|80||e1", "no address"),)),
    ProxyState(warming=("clusters/outbound|80||e2",)),
]


@dataclass
class Scenario:
    """What stands in the topics, in the order of its partitions."""

    resources: list[list[BroadcastEvent]]
    snapshots: list[tuple[str, Held | None]]
    policies: list[BroadcastEvent] = field(default_factory=list)


@st.composite
def scenarios(draw: st.DrawFn) -> Scenario:
    partitions: list[list[BroadcastEvent]] = [[], []]
    for _ in range(draw(st.integers(0, 6))):
        number = draw(st.integers(0, 3))
        made = resource(
            f"r{number}",
            draw(POLICIES),
            draw(st.sampled_from([["*"], ["p1.shop"], ["p2.shop"]])),
        )
        gone = draw(st.integers(0, 4)) == 0
        key = made.key(ORIGIN, CLUSTER)
        partitions[number % 2].append(Declared(SCOPE, key, None if gone else made))
    snapshots: list[tuple[str, Held | None]] = []
    sequence = dict.fromkeys(PROXIES, 0)
    for _ in range(draw(st.integers(1, 6))):
        proxy = draw(st.sampled_from(PROXIES))
        if draw(st.integers(0, 4)) == 0:
            snapshots.append((proxy, None))
            continue
        sequence[proxy] += 1
        positive = {name: abs(value) for name, value in draw(POLICIES).items()}
        state = draw(st.sampled_from(STATES))
        snapshots.append((proxy, held(proxy, positive, sequence[proxy], state=state)))
    bodies = [fact for _, each in snapshots if each for fact in each.policies.values()]
    return Scenario(partitions, snapshots, bodies)  # type: ignore[arg-type]


def newest_of(scenario: Scenario) -> dict[str, Held]:
    """What each proxy that is there holds in the end."""
    newest: dict[str, Held] = {}
    for proxy, each in scenario.snapshots:
        if each is None:
            newest.pop(proxy, None)
        elif proxy not in newest or each.snapshot.sequence > newest[proxy].snapshot.sequence:
            newest[proxy] = each
    return newest


def final_conditions(scenario: Scenario) -> dict[tuple[str, str], Cause]:
    """What stands between the declaration and the proxies in the end, by proxy and key."""
    mesh = declared_mesh(ControlPlane(), ())
    return {
        (proxy, condition.key): condition.cause
        for proxy, each in newest_of(scenario).items()
        for condition in conditions(
            each.snapshot.state, convert.proxy_inputs(each.snapshot), mesh, now=0
        )
    }


def final(scenario: Scenario) -> dict[tuple[str, str], tuple[str, str, str]]:
    """Open drifts according to the pure functions: change, expected and observed by proxy, key."""
    resources = {}
    for partition in scenario.resources:
        for event in partition:
            assert isinstance(event, Declared)
            resources[event.key] = event.resource
    declared = [resources[key] for key in sorted(resources) if resources[key] is not None]
    expected = {}
    for proxy, each in newest_of(scenario).items():
        projection = project(ControlPlane(), declared, ProxyInputs(proxy, CLUSTER, "shop"))
        found = judge(projection, _observed(each), each.snapshot)
        for difference in found.differences:
            expected[proxy, str(difference.key)] = (
                difference.change,
                difference.expected,
                difference.observed,
            )
    return expected


def _observed(each: Held):  # type: ignore[no-untyped-def]
    from meshscope.projection.result import Projection
    from meshscope.stream.expectation import expect
    from meshscope.stream.observation import observe
    from meshscope.stream.policy_store import PolicyStore

    store = PolicyStore()
    for fact in each.policies.values():
        store.add(fact)  # type: ignore[arg-type]
    nothing = Projection({})
    return observe(each.snapshot.shards, expect(nothing), store)


class Simulation:
    """Feeds a worker, kills it, starts the next one."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.broker = Broker()
        self.clock = Clock()
        self.delivered = 0
        self.begin()

    def begin(self) -> None:
        self.join: Join = start(self.broker, self.clock)
        self.places = [0, 0]
        self.bodies = 0
        self.marked = False

    def resource(self, partition: int) -> None:
        events = self.scenario.resources[partition]
        if self.places[partition] < len(events):
            self.join.broadcast(events[self.places[partition]])
            self.places[partition] += 1
            self.join.read_up_to(partition, self.places[partition])

    def body(self) -> None:
        if self.bodies < len(self.scenario.policies):
            self.join.broadcast(self.scenario.policies[self.bodies])
            self.bodies += 1

    def mark(self) -> None:
        self.join.broadcast(Mark(SCOPE, sync({0: len(self.scenario.resources[0])})))
        self.marked = True

    def snapshot(self, arrivals: list[int]) -> None:
        if self.delivered < len(arrivals):
            proxy, each = self.scenario.snapshots[arrivals[self.delivered]]
            self.delivered += 1
            run(self.join.snapshot(f"{CLUSTER}/{proxy}", 0, each.snapshot if each else None))

    def finish(self, arrivals: list[int]) -> None:
        while self.delivered < len(arrivals):
            self.snapshot(arrivals)
        for partition, events in enumerate(self.scenario.resources):
            for _ in events:
                self.resource(partition)
        for _ in self.scenario.policies:
            self.body()
        self.mark()
        self.join.caught_up()
        settle(self.join, self.clock)


OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("resource"), st.integers(0, 1)),
        st.tuples(st.just("body"), st.just(0)),
        st.tuples(st.just("mark"), st.just(0)),
        st.tuples(st.just("caught up"), st.just(0)),
        st.tuples(st.just("snapshot"), st.just(0)),
        st.tuples(st.just("work"), st.just(0)),
        st.tuples(st.just("wait"), st.sampled_from([1, 900, 9_000, 30_000])),
        st.tuples(st.just("kill in"), st.integers(0, 12)),
        st.tuples(st.just("kill"), st.integers(0, 3)),
    ),
    max_size=60,
)


@settings(max_examples=300, deadline=None)
@given(scenario=scenarios(), operations=OPERATIONS, data=st.data())
def test_what_is_open_in_the_end_is_a_function_of_the_final_inputs(
    scenario: Scenario, operations: list[tuple[str, int]], data: st.DataObject
) -> None:
    count = len(scenario.snapshots)
    arrivals = list(range(count))
    if all(each for _, each in scenario.snapshots):
        # A tombstone has no version, so where there is one, only the log's order is right.
        arrivals = data.draw(st.permutations(arrivals))
        arrivals += data.draw(st.lists(st.integers(0, count - 1), max_size=3))
    simulation = Simulation(scenario)

    def survive(killed: int) -> None:
        # The offset that was committed last lies before what the changelog may have lost.
        simulation.broker.die_in = None
        simulation.broker.lose(killed)
        simulation.delivered = 0
        simulation.begin()

    for name, argument in operations:
        try:
            match name:
                case "resource":
                    simulation.resource(argument)
                case "body":
                    simulation.body()
                case "mark":
                    simulation.mark()
                case "caught up":
                    simulation.join.caught_up()
                case "snapshot":
                    simulation.snapshot(arrivals)
                case "work":
                    run(simulation.join.work())
                case "wait":
                    simulation.clock.advance(argument)
                case "kill in":
                    simulation.broker.die_in = argument
                case "kill":
                    survive(argument)
        except Died:
            survive(2)
    simulation.broker.die_in = None
    simulation.finish(arrivals)

    found = {
        place: (drift.change, drift.expected, drift.observed)
        for place, drift in open_drifts(simulation.broker.facts).items()
    }
    assert found == final(scenario)
    present = final_conditions(scenario)
    findings = open_findings(simulation.broker.facts)
    assert {place: finding.cause for place, finding in findings.items()} == present
    for (proxy, _), drift in open_drifts(simulation.broker.facts).items():
        causes = {cause for (other, _), cause in present.items() if other == proxy}
        assert drift.cause is None or drift.cause in causes, "no drift has a cause that is over"
    _assert_lives_are_whole(simulation.broker)
    gone = {proxy for proxy, each in scenario.snapshots[-1:] if each is None}
    for proxy, verdict in verdicts(simulation.broker.facts).items():
        if proxy in gone:
            assert verdict == "gone"
            continue
        has_drift = any(place[0] == proxy for place in found)
        assert (verdict == "drift") == has_drift, (proxy, verdict)
        assert verdict in {"drift", "in-sync", "unverifiable", "gone"}


def _assert_lives_are_whole(broker: Broker) -> None:
    """Facts of one id are equal, revisions count, an episode opens once and closes once."""
    by_id: dict[str, object] = {}
    for fact in broker.facts:
        assert by_id.setdefault(fact.id, fact) == fact
    for proxy in PROXIES:
        facts = [fact for fact in by_id.values() if fact.proxy == proxy]  # type: ignore[attr-defined]
        following = 1
        for fact in facts:
            assert fact.revision in {following, 1}  # type: ignore[attr-defined]
            following = fact.revision + 1  # type: ignore[attr-defined]
            if getattr(fact, "verdict", "") == "gone":
                following = 1
        episodes: dict[str, list[str]] = {}
        for fact in facts:
            if not isinstance(fact, Verdict):
                episodes.setdefault(fact.episode, []).append(fact.status)
        for statuses in episodes.values():
            assert statuses[0] == "opened"
            assert "opened" not in statuses[1:]
            assert "closed" not in statuses[:-1]


@pytest.mark.parametrize("name", ["a", "e1"])
def test_the_small_mesh_is_what_it_says(name: str) -> None:
    assert policy(name, 1).digest != policy(name, 2).digest
