"""The stream says what `check` says, whichever way it takes to its verdict."""

from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st
from said_online import offline, online
from small_mesh import CLUSTER

from meshscope.comparison import compare
from meshscope.events import convert
from meshscope.events.control_plane import ControlPlane
from meshscope.events.facts import Drift, ProxyState, Snapshot, Verdict
from meshscope.events.proxy import ProxyInputs
from meshscope.policy import key as keys
from meshscope.policy.canonical import IR_VERSION
from meshscope.policy.destination import Destination
from meshscope.policy.endpoints import Endpoints
from meshscope.policy.http_route import Forward, HttpRoute, HttpRule, RouteMatch
from meshscope.policy.matches import PathMatch
from meshscope.policy.policy import Policy
from meshscope.policy.shards import root_digest, shards
from meshscope.policy.source import ResourceRef
from meshscope.policy.target import Target, WeightedTarget
from meshscope.projection.result import Projection, Unverifiable
from meshscope.stream.broadcast import Declaration
from meshscope.stream.expectation import CONFIGURATION, ENDPOINTS, Expectations
from meshscope.stream.judgements import Judgements
from meshscope.stream.pairs import Pairs
from meshscope.stream.policy_store import PolicyStore
from meshscope.stream.record import ProxyRecord
from meshscope.stream.step import Now, Timing, World
from meshscope.stream.verification import verify
from meshscope.stream.wiring import judge

HOSTS = st.sampled_from(["cart", "catalog", "payments"])
SOURCES = st.lists(
    st.builds(
        ResourceRef,
        st.sampled_from(["VirtualService", "DestinationRule", "HTTPRoute", "Service"]),
        st.just("shop"),
        st.sampled_from(["old", "new"]),
    ),
    max_size=3,
    unique=True,
).map(tuple)


def route(host: str, weight: int, sources: tuple[ResourceRef, ...]) -> Policy:
    targets = (
        WeightedTarget(Target("outbound", host, 80, "v1"), weight),
        WeightedTarget(Target("outbound", host, 80, "v2"), 2),
    )
    rule = HttpRule(RouteMatch(PathMatch("prefix", "/")), "r", Forward(targets))
    return Policy(keys.http_route("80", f"{host}:80"), HttpRoute((host,), (rule,)), sources)


POLICIES = st.one_of(
    st.builds(route, HOSTS, st.integers(1, 4), SOURCES),
    st.builds(
        lambda host, discovery, sources: Policy(
            keys.destination(host, 80), Destination(discovery), sources
        ),
        HOSTS,
        st.sampled_from(["eds", "dns"]),
        SOURCES,
    ),
    st.builds(
        lambda host, port, sources: Policy(keys.endpoints(host, 80), Endpoints((), port), sources),
        HOSTS,
        st.integers(1, 2),
        SOURCES,
    ),
)


def by_key(policies: Iterable[Policy]) -> dict[keys.PolicyKey, Policy]:
    return {policy.key: policy for policy in policies}


def with_sources(policy: Policy, sources: tuple[ResourceRef, ...]) -> Policy:
    return Policy(policy.key, policy.content, sources)


@given(data=st.data())
def test_the_stream_says_what_check_says(data: st.DataObject) -> None:
    expected = by_key(data.draw(st.lists(POLICIES, max_size=5), "expected"))
    held = by_key(data.draw(st.lists(POLICIES, max_size=2), "held besides"))
    for policy in expected.values():
        # Mostly the same with other sources, so that equal roots are common.
        if data.draw(st.integers(0, 9)) > 0:
            held[policy.key] = with_sources(policy, data.draw(SOURCES))
    if data.draw(st.booleans()):
        held = {k: with_sources(p, data.draw(SOURCES)) for k, p in expected.items()}
    outcomes = data.draw(st.sampled_from([sorted(expected), []]))
    projection = Projection(
        expected,
        alternatives={key: (expected[key], None) for key in outcomes[:1]},
        unverifiable=tuple(Unverifiable("it is patched", key=key) for key in outcomes[1:2]),
        notes=data.draw(st.sampled_from([(), ("MSC-5003: environment is not known",)])),
    )

    said = said_of(projection, held.values())
    checked = compare(projection, held)
    if checked.verdict == "unknown":
        assert (said["verdict"], said["differences"]) == ("unknown", [])
    else:
        assert said == offline(checked)


def said_of(projection: Projection, held: Iterable[Policy]) -> dict[str, object]:
    """What the stream says, first without any shard or body, then with them."""
    made = tuple(held)
    all_shards = shards(made)
    snapshot = Snapshot(
        id="s",
        epoch="life",
        sequence=1,
        started_at=1,
        root=root_digest({(each.kind, each.number): each.digest for each in all_shards}),
        ir_version=IR_VERSION,
        observed_at=1,
        config_at=1,
        state=ProxyState(),
        shards=convert.shard_digests(all_shards),
        **convert.proxy_fields(ProxyInputs("p1.shop", CLUSTER, "shop")),
    )
    store = PolicyStore()
    world = World(
        Expectations(lambda *_: projection),
        store,
        Pairs(),
        Judgements(),
        judge,
        Timing({CONFIGURATION: 0, ENDPOINTS: 0}),
        "log",
    )
    declaration = Declaration("d", ControlPlane(), (), {})
    record = ProxyRecord(0, "life", snapshot)
    step = verify(record, declaration, world, Now(1, 1))
    if step.missing:
        # What is missing is pending: nothing may be said of it but that.
        (pending,) = step.record.outbox
        assert isinstance(pending, Verdict)
        assert pending.verdict == "unknown"
        for shard in all_shards:
            store.add(convert.policy_shard(shard))
        for policy in made:
            store.add(convert.policy_body(policy))
        step = verify(record, declaration, world, Now(1, 1))
    *drifts, verdict = step.record.outbox
    assert isinstance(verdict, Verdict)
    return online(verdict, [each for each in drifts if isinstance(each, Drift)])
