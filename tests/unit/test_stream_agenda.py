"""Which proxies are due, and that the list of times does not grow with the number of looks."""

from meshscope.stream.agenda import MIN_STALE_TIMES, Agenda

DAY = 24 * 60 * 60 * 1000


def agenda(proxies: int) -> Agenda:
    made = Agenda()
    for number in range(proxies):
        made.add(f"p{number}", "one")
    assert len(made.due(0)) == proxies
    return made


def test_only_the_last_time_that_was_set_counts() -> None:
    times = agenda(1)
    times.settle("p0", 0, (), 100)
    times.settle("p0", 50, (), 300)
    assert times.due(299) == []
    assert times.due(300) == ["p0"]
    assert times.due(DAY) == [], "it is off the agenda until it is settled"


def test_a_time_that_was_left_and_set_again_counts_once() -> None:
    times = agenda(1)
    for wake_at in (100, 300, 100):
        times.settle("p0", 0, (), wake_at)
    assert times.due(100) == ["p0"]
    times.settle("p0", 100, (), None)
    assert times.due(DAY) == []


def test_a_proxy_that_is_looked_at_all_the_time_takes_no_more_room() -> None:
    """Every look sets the time of the next repetition, a day ahead."""
    times = agenda(10)
    for now in range(10_000):
        times.settle(f"p{now % 10}", now, (), now + DAY)
    assert len(times._times) <= 2 * 10 + MIN_STALE_TIMES
    last = 9_999 + DAY
    assert times.next_time() is not None
    assert times.due(last - 10) == []
    assert sorted(times.due(last)) == [f"p{number}" for number in range(10)]
