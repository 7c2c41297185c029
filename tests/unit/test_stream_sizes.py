"""What the worker writes fits into a record of Kafka, however badly a proxy drifts."""

from collections.abc import Iterable
from dataclasses import replace

from small_mesh import CLUSTER, held, judge, project, resource

from meshscope.events.codec import MAX_VALUE_BYTES, encode
from meshscope.events.control_plane import ControlPlane
from meshscope.events.facts import EquivalentDifference, FieldDifference, Source
from meshscope.events.proxy import ProxyInputs
from meshscope.policy import key as keys
from meshscope.policy.canonical import digest_bytes
from meshscope.stream.broadcast import Declaration
from meshscope.stream.clipping import MAX_EQUIVALENTS
from meshscope.stream.expectation import Expectations, expect
from meshscope.stream.judgement import Difference, Judgement
from meshscope.stream.judgements import Judgements
from meshscope.stream.pairs import Pairs
from meshscope.stream.policy_store import PolicyStore
from meshscope.stream.record import ProxyRecord, dump, load
from meshscope.stream.statements import MAX_OPEN, Statements
from meshscope.stream.step import Now, Timing, World

MAX_RECORD_BYTES = 1_000_000
"""Kafka's default `max.message.bytes` is a little more."""

WORLD = World(
    Expectations(project),
    PolicyStore(),
    Pairs(),
    Judgements(),
    judge,
    Timing({"configuration": 0, "endpoints": 0}),
    "log",
)
DECLARATION = Declaration("declared", ControlPlane(), (), {})
EXPECTED = expect(
    project(ControlPlane(), [resource("r", {"a": 1})], ProxyInputs("p", CLUSTER, "shop"))
)


def difference(number: int) -> Difference:
    """With names as long as they are in large meshes."""
    host = f"service-{number:04}.namespace-{number % 50}.svc.cluster.local"
    sources = (
        Source(kind, f"namespace-{number % 50}", f"{digest_bytes('name', host.encode())}-{kind}")
        for kind in ("Service", "DestinationRule", "EndpointSlice", "VirtualService", "Pod", "Node")
    )
    return Difference(
        key=keys.destination(host, 8080, "v1"),
        code="MSC-1034",
        change="different",
        effect="alters",
        expected=host * 20,
        observed=host * 20,
        sources=tuple(sources),
    )


def say(record: ProxyRecord, judgement: Judgement) -> ProxyRecord:
    said = Statements(record, WORLD, Now(1, 1))
    said.expect(EXPECTED)
    return said.say(judgement, DECLARATION).record


def in_steps(record: ProxyRecord, judgement: Judgement) -> Iterable[ProxyRecord]:
    """What is stored until everything is said."""
    while True:
        record = say(record, judgement)
        if not record.outbox:
            return
        yield record
        record = replace(record, outbox=())


def test_a_proxy_that_drifts_in_everything_fits_into_a_record() -> None:
    snapshot = held("p1.shop", {"a": 2}).snapshot
    drifts = Judgement("drift", tuple(map(difference, range(2 * MAX_OPEN))))
    stored = list(in_steps(ProxyRecord(0, "life", snapshot), drifts))
    assert len(stored[-1].open) == MAX_OPEN
    sizes = [len(dump(each, 0)) for each in stored]
    assert max(sizes) < MAX_RECORD_BYTES
    assert load(dump(stored[-1], 0), 0) == stored[-1]


def test_a_verdict_with_large_differences_in_form_fits_into_a_record() -> None:
    field = FieldDifference("routes[0].match", "e" * 1_000, "o" * 1_000)
    large = EquivalentDifference("k", "MSC-1001", "different", "e", "o", (field,) * 40)
    small = replace(large, fields=())
    for each, shown in ((large, 2), (small, MAX_EQUIVALENTS)):
        said = Judgement("in-sync", equivalents=(each,) * 100)
        (verdict,) = say(ProxyRecord(0, "life", held("p", {}).snapshot), said).outbox
        assert len(encode(verdict)) < MAX_VALUE_BYTES / 2
        assert (verdict.equivalent, len(verdict.equivalents)) == (100, shown)  # type: ignore[union-attr]
