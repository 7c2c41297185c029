"""What the query library answers for small histories whose answers are known."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from history_mesh import (
    KINDS,
    NOON,
    History,
    anomaly,
    drift,
    fact,
    finding,
    resource,
    verdict,
)

from meshscope.events.facts import Drift
from meshscope.events.topics import ANOMALIES, DRIFT, RESOURCES
from meshscope.history.library import library

pytestmark = pytest.mark.integration

MINUTE = 60_000
LONG = str(24 * 365 * 100)
"""Hours that reach back to NOON."""


@pytest.fixture
def history(store: tuple[str, int]) -> Iterator[History]:
    made = History(*store).migrate()
    yield made
    made.client.close()


def at(milliseconds: int) -> str:
    return f"{datetime.fromtimestamp(milliseconds / 1000, UTC):%Y-%m-%d %H:%M:%S.%f}"[:-3]


def told(history: History, name: str, *columns: str, **parameters: Any) -> list[tuple[Any, ...]]:
    rows = history.ask(name, **parameters)
    return [tuple(row[column] for column in columns) for row in rows]


def a_drift(episode: str, status: str, revision: int, minute: int, **changes: Any) -> Drift:
    return drift(
        revision,
        id=f"{episode}-{revision}",
        episode=episode,
        status=status,
        opened_at=NOON,
        observed_at=NOON + minute * MINUTE,
        **{"proxy": "cart-1.shop", "key": "authorization/8080"} | changes,
    )


@pytest.mark.parametrize("name", library())
def test_every_query_has_the_columns_of_its_header(history: History, name: str) -> None:
    history.keep(*((topic, value) for topic, _, value in map(fact, range(KINDS * 8))))
    given: dict[str, object] = {
        "proxy": "cart-1.shop",
        "at": at(NOON + MINUTE),
        "from": at(NOON - MINUTE),
        "to": at(NOON + MINUTE),
        "hours": LONG,
    }
    wanted = {each.name for each in library()[name].parameters}
    assert history.ask(name, **{key: given[key] for key in wanted & set(given)})


def test_drift_is_open_until_it_is_closed(history: History) -> None:
    history.keep(
        (DRIFT, a_drift("one", "opened", 1, 0, observed="nothing")),
        (DRIFT, a_drift("two", "opened", 2, 0, key="authorization/9090")),
        (DRIFT, a_drift("one", "open", 3, 5, observed="ALLOW")),
        (DRIFT, a_drift("two", "closed", 4, 6, key="authorization/9090")),
    )
    assert told(history, "open_drift", "episode", "observed") == [("one", "ALLOW")]
    assert told(history, "open_drift", "episode", proxy="cart-2.shop") == []
    assert told(history, "drift_as_of", "episode", "observed", at=at(NOON + MINUTE)) == [
        ("one", "nothing"),
        ("two", "nothing"),
    ]
    assert told(history, "drift_as_of", "episode", at=at(NOON - MINUTE)) == []


def test_facts_that_arrive_twice_or_late_change_nothing(history: History) -> None:
    closed, opened = a_drift("one", "closed", 2, 5), a_drift("one", "opened", 1, 0)
    history.keep((DRIFT, closed), (DRIFT, opened))
    history.keep((DRIFT, closed), (DRIFT, opened), offset=2)
    assert told(history, "open_drift", "episode") == []
    assert history.counts() == {"drift": 4}
    assert history.counts(final=True) == {"drift": 2}


def test_drift_of_a_lost_log_is_open_until_its_proxy_is_verified_in_the_new_one(
    history: History,
) -> None:
    def said(minute: int, word: str) -> Any:
        return DRIFT, verdict(
            minute, proxy="cart-1.shop", verdict=word, observed_at=NOON + minute * MINUTE
        )

    history.keep((DRIFT, a_drift("one", "opened", 1, 0)), said(0, "drift"), log_epoch="lost")
    history.keep(
        (ANOMALIES, anomaly(1, proxies=("cart-1.shop",), updated_at=NOON + 1)), log_epoch="lost"
    )
    history.keep(said(10, "converging"), log_epoch="new")
    assert told(history, "open_drift", "episode") == [("one",)]
    assert told(history, "open_anomalies", "fingerprint") == [("fingerprint-1",)]
    history.keep(said(11, "in-sync"), log_epoch="new", offset=1)
    assert told(history, "open_drift", "episode") == []
    assert told(history, "open_anomalies", "fingerprint") == []
    assert told(history, "drift_as_of", "episode", at=at(NOON + 5 * MINUTE)) == [("one",)]
    assert told(history, "drift_as_of", "episode", at=at(NOON + 12 * MINUTE)) == []


def test_anomalies_are_open_until_they_are_resolved(history: History) -> None:
    history.keep(
        (ANOMALIES, anomaly(1, id="a", severity="warning")),
        (ANOMALIES, anomaly(2, id="b")),
        (ANOMALIES, anomaly(1, id="c", status="updated", updated_at=NOON + MINUTE)),
        (
            ANOMALIES,
            anomaly(2, id="d", status="resolved", resolved_at=NOON + 9, updated_at=NOON + 9),
        ),
        (ANOMALIES, anomaly(3, id="e", proxies=())),
    )
    assert sorted(told(history, "open_anomalies", "fingerprint", "severity")) == [
        ("fingerprint-1", "critical"),
        ("fingerprint-3", "critical"),
    ]
    statuses = dict(told(history, "anomaly_history", "fingerprint", "status"))
    assert statuses == {
        "fingerprint-1": "updated",
        "fingerprint-2": "resolved",
        "fingerprint-3": "opened",
    }


def test_causes_are_ordered_by_the_proxies_that_they_hit(history: History) -> None:
    history.keep(
        (ANOMALIES, anomaly(1, code="MSC-1002", proxies=("a", "b"))),
        (ANOMALIES, anomaly(1, id="x", code="MSC-1002", proxies=("b", "c"))),
        (ANOMALIES, anomaly(2, code="MSC-1001", status="resolved", proxies=("a",))),
    )
    assert told(history, "causes", "code", "proxies", "open", hours=LONG) == [
        ("MSC-1002", 3, True),
        ("MSC-1001", 1, False),
    ]


def test_only_changes_of_resources_count(history: History) -> None:
    history.keep(
        (RESOURCES, resource(1, observed_at=NOON)),
        (RESOURCES, resource(1, observed_at=NOON + MINUTE)),
        (RESOURCES, resource(1, observed_at=NOON + 2 * MINUTE, body=b'{"spec":{"x":1}}')),
        (RESOURCES, resource(2, observed_at=NOON + 3 * MINUTE)),
    )
    between = {"from": at(NOON - 1), "to": at(NOON + 10 * MINUTE)}
    assert told(history, "changes_between", "change", "name", **between) == [
        ("created", "route-1"),
        ("changed", "route-1"),
        ("created", "route-2"),
    ]
    later = between | {"from": at(NOON + 2 * MINUTE)}
    assert told(history, "changes_between", "change", "name", **later) == [("created", "route-2")]


def test_the_first_bad_change_is_before_the_first_open_drift(history: History) -> None:
    history.keep(
        (RESOURCES, resource(1, observed_at=NOON - 60 * MINUTE)),
        (RESOURCES, resource(2, observed_at=NOON - 2 * MINUTE)),
        (RESOURCES, resource(3, observed_at=NOON + 2 * MINUTE)),
        (DRIFT, a_drift("one", "opened", 1, 0)),
    )
    assert told(history, "first_bad_change", "name", proxy="cart-1.shop") == [("route-2",)]
    assert told(history, "first_bad_change", "name", proxy="cart-2.shop") == []


def test_proxies_that_come_and_go_into_drift_flap(history: History) -> None:
    history.keep(
        *((DRIFT, a_drift(f"e{number}", "opened", number, number)) for number in range(3)),
        (DRIFT, a_drift("other", "opened", 1, 0, proxy="cart-2.shop")),
    )
    assert told(history, "flapping_proxies", "proxy", "episodes", hours=LONG) == [
        ("cart-1.shop", 3)
    ]


def test_verdicts_as_of_a_time(history: History) -> None:
    history.keep(
        (DRIFT, verdict(1, verdict="in-sync", observed_at=NOON)),
        (DRIFT, verdict(8, verdict="drift", observed_at=NOON + MINUTE)),
        (DRIFT, verdict(2, verdict="gone", observed_at=NOON)),
    )
    assert told(history, "proxies_as_of", "proxy", "verdict", at=at(NOON + 1)) == [
        ("cart-1.shop", "in-sync")
    ]
    assert told(history, "proxies_as_of", "proxy", "verdict", at=at(NOON + MINUTE)) == [
        ("cart-1.shop", "drift")
    ]


def test_findings_are_open_until_they_close_also_of_pods_never_verified(history: History) -> None:
    opened = finding(1, episode="one", proxy="cart-1.shop")
    never = finding(2, episode="two", proxy="cart-9.shop", key="snapshot")
    closed = finding(3, id="later", episode="one", proxy="cart-1.shop", status="closed")
    history.keep((DRIFT, verdict(1, proxy="cart-1.shop")), (DRIFT, opened), (DRIFT, never))
    assert told(history, "open_findings", "proxy", "code", "key") == [
        ("cart-9.shop", "MSC-3004", "snapshot"),
        ("cart-1.shop", "MSC-3004", "connection"),
    ]
    history.keep((DRIFT, closed), offset=10)
    assert told(history, "open_findings", "episode") == [("two",)]
    assert told(history, "open_findings", "episode", proxy="cart-1.shop") == []
