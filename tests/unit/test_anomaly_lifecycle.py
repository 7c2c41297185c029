"""Drifts become anomalies that open, change and resolve, in whatever order the drifts come."""

from dataclasses import replace
from itertools import pairwise
from typing import Literal

from hypothesis import given
from hypothesis import strategies as st

from meshscope.analysis.anomaly import fingerprint, responsible, severity, title
from meshscope.analysis.lifecycle import (
    COALESCE_MS,
    MAX_EVIDENCE,
    REPEAT_MS,
    AnomalyState,
    speak,
    take,
    unsaid,
)
from meshscope.events.codec import encode
from meshscope.events.facts import Anomaly, Drift, Source

POLICY = Source("AuthorizationPolicy", "shop", "cart-callers")
SERVICE = Source("Service", "shop", "cart")


def drift(
    episode: str = "e1",
    status: Literal["opened", "open", "closed"] = "opened",
    revision: int = 1,
    *,
    proxy: str = "cart-1.shop",
    sources: tuple[Source, ...] = (SERVICE, POLICY),
    observed: str = "nothing",
    effect: str = "exposes",
    at: int = 1000,
) -> Drift:
    return Drift(
        id=f"{episode}-{revision}",
        episode=episode,
        status=status,
        proxy=proxy,
        cluster="one",
        kind="authorization",
        key="authorization/8080/plaintext/http",
        code="MSC-1081",
        change="missing",
        effect=effect,
        expected="ALLOW",
        observed=observed,
        snapshot="s",
        declared="d",
        opened_at=at,
        observed_at=at,
        sources=sources,
        revision=revision,
    )


def live(*drifts: Drift, pause: int = COALESCE_MS) -> tuple[AnomalyState, list[Anomaly]]:
    state: AnomalyState | None = None
    said: list[Anomaly] = []
    now = 0
    for each in drifts:
        now += pause
        state, fact = speak(take(state, each), now)
        said += [fact] if fact else []
    assert state is not None
    return state, said


def test_it_opens_changes_and_resolves() -> None:
    _, said = live(
        drift("e1", at=1000),
        drift("e2", proxy="cart-2.shop", at=2000),
        drift("e1", "closed", 2, at=3000),
        drift("e2", "closed", 2, proxy="cart-2.shop", at=4000),
    )
    assert [each.status for each in said] == ["opened", "updated", "updated", "resolved"]
    assert [each.proxies for each in said] == [
        ("cart-1.shop",),
        ("cart-1.shop", "cart-2.shop"),
        ("cart-2.shop",),
        (),
    ]
    assert len({each.episode for each in said}) == 1
    assert len({each.id for each in said}) == 4
    assert said[0].severity == "critical"
    assert said[0].resource == POLICY
    assert said[0].opened_at == 1000
    assert said[-1].resolved_at == 4000


def test_a_second_life_has_the_fingerprint_and_another_episode() -> None:
    _, said = live(drift("e1"), drift("e1", "closed", 2), drift("e2", revision=3, at=9000))
    assert [each.status for each in said] == ["opened", "resolved", "opened"]
    assert said[0].fingerprint == said[2].fingerprint
    assert said[0].episode == said[1].episode != said[2].episode


def test_what_comes_twice_says_nothing() -> None:
    state, said = live(drift(), drift(), drift())
    assert [each.status for each in said] == ["opened"]
    assert take(state, drift()) is state


def test_a_closed_episode_stays_closed() -> None:
    state, said = live(drift("e1", "closed", 2), drift("e1", "opened", 1))
    assert not state.open
    assert said == []


def test_updates_wait_for_each_other() -> None:
    many = [drift(f"e{i}", proxy=f"cart-{i}.shop") for i in range(50)]
    state, said = live(*many, pause=1)
    assert [each.status for each in said] == ["opened"]
    assert unsaid(state)
    state, fact = speak(state, COALESCE_MS + 1)
    assert fact is not None
    assert fact.status == "updated"
    assert fact.evidence_count == 50
    assert not unsaid(state)


def test_the_daily_drift_repeats_the_anomaly() -> None:
    state, _ = live(drift(at=0))
    soon = take(state, drift(status="open", revision=2, at=REPEAT_MS - 1))
    assert not unsaid(soon)
    late = take(soon, drift(status="open", revision=3, at=REPEAT_MS))
    _, fact = speak(late, COALESCE_MS * 10)
    assert fact is not None
    assert fact.status == "updated"


def test_a_mesh_wide_anomaly_fits_into_a_record() -> None:
    long = "x" * 10_000
    drifts = [
        drift(f"{i:032}", proxy=f"workload-7d9f8b6c5-{i:05}.some-namespace", observed=long)
        for i in range(3_000)
    ]
    state: AnomalyState | None = None
    for each in drifts:
        state = take(state, each)
    assert state is not None
    _, fact = speak(state, COALESCE_MS)
    assert fact is not None
    encode(fact)
    assert fact.evidence_count == 3_000
    assert len(fact.evidence) == MAX_EVIDENCE


@given(st.permutations(range(8)), st.lists(st.integers(0, 7), max_size=6))
def test_the_open_evidence_does_not_depend_on_the_order(order: list[int], again: list[int]) -> None:
    facts = [
        drift("e1", "opened", 1),
        drift("e1", "open", 2, observed="other"),
        drift("e1", "closed", 3),
        drift("e2", "opened", 4),
        drift("e2", "open", 5, observed="other"),
        drift("e3", "opened", 6, proxy="cart-2.shop"),
        drift("e4", "opened", 7),
        drift("e4", "closed", 8),
    ]
    state, said = live(*(facts[i] for i in [*order, *again]))
    assert {name: held.revision for name, held in state.open.items()} == {"e2": 5, "e3": 6}
    for before, after in pairwise(said):
        allowed = {"opened": {"updated", "resolved"}, "updated": {"updated", "resolved"}}
        assert after.status in allowed.get(before.status, {"opened"})


def test_the_fingerprint_names_the_cause_and_not_the_proxy() -> None:
    one = drift()
    assert fingerprint(one) == fingerprint(replace(one, proxy="other.shop", key="k", episode="x"))
    assert fingerprint(one) != fingerprint(replace(one, code="MSC-1082"))
    assert fingerprint(one) != fingerprint(replace(one, cluster="two"))
    orphan = replace(one, sources=())
    assert fingerprint(orphan) != fingerprint(replace(orphan, proxy="other.shop"))


def test_the_fingerprint_is_a_public_name_and_never_changes() -> None:
    assert fingerprint(drift()) == "c9b6bc71d41b40e818eaa6c4a286fc2f"


def test_policies_are_responsible_before_what_they_are_about() -> None:
    assert responsible((SERVICE, POLICY)) == POLICY
    assert responsible((SERVICE,)) == SERVICE
    assert responsible(()) is None


def test_the_worst_effect_counts() -> None:
    assert severity(["alters", "exposes"]) == "critical"
    assert severity(["alters"]) == "warning"
    assert severity([]) == "info"


def test_the_title_names_resource_or_proxy() -> None:
    assert "AuthorizationPolicy shop/cart-callers" in title(drift())
    assert title(drift(sources=())).endswith("in cart-1.shop")
