"""Clocks of agents: what a record tells of them, and that nothing is decided by them."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_mesh import held

from meshscope.analysis.lifecycle import AnomalyState, Held, speak
from meshscope.events.facts import Snapshot
from meshscope.stream.clock_skew import (
    IN_FLIGHT_MS,
    TOLERANCE_MS,
    SeenEnds,
    SkewBounds,
    note,
    skew,
    skew_bounds,
)
from meshscope.stream.record import ProxyRecord
from meshscope.stream.step import Now
from meshscope.stream.verification import receive
from meshscope.transport.sending_time import sent_at, sent_at_header

HOUR = 3_600_000
NOW = 1_790_000_000_000


def snapshot(epoch: str, sequence: int, started_at: int) -> Snapshot:
    return held("p1.shop", {"a": 1}, sequence, epoch=epoch, started_at=started_at).snapshot


def received(*snapshots: Snapshot) -> ProxyRecord:
    record: ProxyRecord | None = None
    for each in snapshots:
        record = receive(record, each, 0, "life", Now(0, 0))
    assert record is not None
    return record


@given(
    lives=st.lists(st.tuples(st.integers(1, 4), st.integers(0, NOW)), min_size=1, max_size=5),
    rewinds=st.lists(st.tuples(st.integers(0, 20), st.integers(0, 6)), max_size=4),
)
def test_the_last_snapshot_of_the_log_counts_whatever_the_clocks_said(
    lives: list[tuple[int, int]], rewinds: list[tuple[int, int]]
) -> None:
    """Lives of an agent, each with some snapshots and some clock; readers may go back at any time
    and read once more, as after a crash, but never see a gap."""
    log = [
        snapshot(f"life-{number}", sequence + 1, started_at)
        for number, (count, started_at) in enumerate(lives)
        for sequence in range(count)
    ]
    delivered = list(range(len(log)))
    for at, back in rewinds:
        at = min(at, len(delivered) - 1)
        delivered[at + 1 : at + 1] = range(max(0, delivered[at] - back), delivered[at] + 1)
    record: ProxyRecord | None = None
    newest = 0
    for place in delivered:
        newest = max(newest, place)
        record = receive(record, log[place], 0, "life", Now(0, 0))
        assert record.snapshot == log[newest], "what was read once more changes nothing"


def test_a_life_that_began_before_its_predecessor_counts() -> None:
    before, after = snapshot("one", 9, NOW + HOUR), snapshot("two", 1, NOW)
    assert received(before, after).snapshot == after
    assert received(before, after, before).snapshot == after


@pytest.mark.parametrize(
    ("known", "bounds", "found"),
    [
        (0, SkewBounds(HOUR, HOUR + 100), HOUR),
        (0, SkewBounds(HOUR, None), HOUR),
        (0, SkewBounds(-HOUR - 100, -HOUR), -HOUR),
        (0, SkewBounds(-HOUR, None), 0),  # or it lay in a spool for an hour
        (0, SkewBounds(-HOUR, 10_000), 0),
        (0, SkewBounds(-TOLERANCE_MS, TOLERANCE_MS), 0),
        (HOUR, SkewBounds(-10, 10), 0),
        (HOUR, SkewBounds(-HOUR, None), HOUR),  # nothing new is known
        (HOUR, SkewBounds(HOUR + 30_000, None), HOUR),  # the same, not worth another word
        (-HOUR, SkewBounds(HOUR, None), HOUR),
    ],
)
def test_a_clock_is_called_wrong_only_where_that_is_certain(
    known: int, bounds: SkewBounds, found: int
) -> None:
    assert skew(known, bounds) == found


@given(
    offset=st.integers(-10 * HOUR, 10 * HOUR),
    in_flight=st.integers(0, IN_FLIGHT_MS),
    waits=st.integers(0, HOUR),
    seen_before=st.integers(0, HOUR),
)
def test_what_is_called_wrong_is_wrong(
    offset: int, in_flight: int, waits: int, seen_before: int
) -> None:
    """Whatever the way of a record took, the true skew lies within the bounds."""
    sent, appended = NOW, NOW + in_flight
    read = appended + waits
    age = read - (appended - seen_before)
    for known_age in (age, None):
        bounds = skew_bounds(sent + offset, read, known_age)
        assert bounds.least <= offset
        assert bounds.most is None or offset <= bounds.most
        found = skew(0, bounds)
        assert abs(found) <= abs(offset)
        assert found * offset >= 0


def test_the_end_of_a_partition_bounds_the_age_of_what_follows() -> None:
    ends = SeenEnds()
    assert ends.age("t", 0, 5, 1_000) is None
    ends.saw("t", 0, 5, 1_000)
    assert ends.age("t", 0, 4, 1_500) is None, "it stood there already"
    assert ends.age("t", 0, 5, 1_500) == 500
    assert ends.age("t", 1, 5, 1_500) is None


def test_the_note_says_how_much_and_what_to_do() -> None:
    assert note(0) == ""
    assert "at least 60 min ahead of" in note(HOUR)
    assert "at least 24 h behind" in note(-24 * HOUR)


@pytest.mark.parametrize(
    ("headers", "said"),
    [
        ([sent_at_header(NOW)], NOW),
        ([], None),
        ([("ms-sent-at", b"soon")], None),
        ([("ms-sent-at", None)], None),
        ([("ms-sent-at", b"9" * 40)], None),
    ],
)
def test_a_sending_time_is_read_as_it_was_written(
    headers: list[tuple[str, bytes | None]], said: int | None
) -> None:
    assert sent_at(headers) == said


def test_an_anomaly_does_not_wait_for_a_clock_that_was_set_back() -> None:
    evidence = {"e1": Held(1, "p", "blocks", None), "e2": Held(1, "q", "blocks", None)}
    state = AnomalyState("f", "one", "MSC-1081", "t", None, "life", NOW, evidence, said="before")
    _, told = speak(replace(state, spoke_at=NOW + HOUR), NOW)
    assert told is not None
