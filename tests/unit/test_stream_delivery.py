"""What a worker remembers of a proxy's delivery, and when it calls a proxy outdated."""

from collections.abc import Iterable
from dataclasses import replace

import pytest
from small_mesh import held

from meshscope.analysis.mesh import declared_mesh
from meshscope.events import convert
from meshscope.events.control_plane import ControlPlane
from meshscope.events.facts import Certificate, ProxyState
from meshscope.policy import key as keys
from meshscope.policy.key import PolicyKey
from meshscope.stream.delivery import SLACK_MS, Delivery, delivery
from meshscope.stream.record import ProxyRecord, dump, load
from meshscope.stream.step import Now

MESH = declared_mesh(ControlPlane(), ())
ACCESS = keys.authorization(8080, "mtls", "http")
CLUSTER = keys.destination("cart", 80)
ROUTE = keys.http_route("80", "cart:80")


def record(**state: object) -> ProxyRecord:
    values = {"connected": True, "versions": {"cds": "1", "lds": "1"}} | state
    snapshot = held("p1.shop", {}, state=ProxyState(**values)).snapshot  # type: ignore[arg-type]
    return ProxyRecord(0, "life", snapshot)


def seen(known: ProxyRecord, monotonic: int, utc: int = 0) -> tuple[ProxyRecord, Delivery]:
    inputs = convert.proxy_inputs(known.snapshot)
    found = delivery(known, inputs, MESH, (), Now(monotonic, utc))
    return replace(known, conditions=found.since, accepted=found.accepted), found


def outdated(found: Delivery, declared_at: int, differing: Iterable[PolicyKey]) -> set[str]:
    return {condition.section for condition in found.outdated(declared_at, differing)}


@pytest.mark.parametrize(
    ("differing", "sections"),
    [
        ([ACCESS], {"listeners"}),
        ([CLUSTER], {"clusters"}),
        ([ACCESS, CLUSTER], {"listeners", "clusters"}),
        ([ROUTE], set()),
        ([], set()),
    ],
)
def test_what_was_not_sent_since_the_declaration_is_outdated(
    differing: list[PolicyKey], sections: set[str]
) -> None:
    known, _ = seen(record(), 1_000)
    _, found = seen(known, 60_000)
    assert outdated(found, 50_000, differing) == sections


def test_what_was_accepted_since_then_is_something_else() -> None:
    known, _ = seen(record(), 1_000)
    known = replace(known, snapshot=record(versions={"cds": "1", "lds": "2"}).snapshot)
    known, found = seen(known, 55_000)
    assert (found.received, found.ended) == (True, False)
    assert outdated(found, 50_000, [ACCESS, CLUSTER]) == {"clusters"}


def test_what_istiod_may_have_pushed_before_the_worker_saw_the_change_is_not() -> None:
    known, _ = seen(record(), 1_000)
    _, found = seen(known, 60_000)
    assert outdated(found, 1_000 + SLACK_MS, [ACCESS]) == set()
    assert outdated(found, 1_001 + SLACK_MS, [ACCESS]) == {"listeners"}


@pytest.mark.parametrize(
    "state", [{"connected": False}, {"versions": {}}, {"versions": {"lds": ""}}]
)
def test_of_a_proxy_that_receives_nothing_another_finding_speaks(state: dict[str, object]) -> None:
    known, _ = seen(record(**state), 1_000)
    _, found = seen(known, 60_000)
    assert outdated(found, 50_000, [ACCESS]) == set()


def test_times_go_on_after_a_restart() -> None:
    known, _ = seen(record(connected=False), 1_000)
    again = load(dump(known, 4_000), 500)
    _, found = seen(again, 500)
    assert found.since == {"connection": -2_500}
    assert {name: each.at for name, each in found.accepted.items()} == {
        "cds": -2_500,
        "lds": -2_500,
    }
    assert found.wake_at == 500 + 7_000, "ten seconds after it began"


def test_the_worker_wakes_when_a_certificate_should_have_been_renewed() -> None:
    day = 24 * 3600 * 1000
    leaf = Certificate("workload", "7f", "", valid_from=1, expires_at=1 + day)
    known = record(certificates=(leaf,))
    _, found = seen(known, 0, utc=1)
    assert found.wake_at == int(day * 0.8)
    _, found = seen(known, 0, utc=1 + day)
    assert [condition.key for condition in found.due] == ["expiry/workload/7f"]
    assert found.wake_at is None
