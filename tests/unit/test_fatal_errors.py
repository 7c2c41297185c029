"""A producer that can do nothing more is replaced, and nothing that it was given is lost."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import pytest
from confluent_kafka import KafkaError, Producer
from fatal_producer import break_for_good, mock_producer

from meshscope.agent.delivery import Delivery, producer_config
from meshscope.agent.spool import Record, Spool
from meshscope.events.topics import DEAD_LETTER, POLICIES, RESOURCES, SNAPSHOTS
from meshscope.transport.fatal_errors import is_fatal
from meshscope.watcher.declaration import Record as Declared
from meshscope.watcher.outbox import Outbox

PATIENCE = 10.0


class Sender(Protocol):
    def step(self) -> None: ...

    def close(self, timeout_seconds: float) -> int: ...


class Producers:
    """Makes producers and keeps them."""

    def __init__(self) -> None:
        self.made: list[Producer] = []

    def __call__(self) -> Producer:
        self.made.append(mock_producer())
        return self.made[-1]


def step_until(sender: Sender, done: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not done():
        assert time.monotonic() < end, "it does not get rid of what it has"
        sender.step()
        time.sleep(0.005)


def test_what_says_so_and_what_follows_it_are_fatal() -> None:
    assert is_fatal(KafkaError(KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER, fatal=True))
    assert is_fatal(KafkaError(KafkaError._FATAL))
    assert not is_fatal(KafkaError(KafkaError._ALL_BROKERS_DOWN))


def test_an_agent_goes_on_with_another_producer(tmp_path: Path) -> None:
    producers = Producers()
    with Spool(tmp_path / "spool", 10_000, SNAPSHOTS.name) as spool:
        delivery = Delivery(producers, spool, lambda: 1)
        spool.put([Record(POLICIES.name, b"1", b"x")])
        delivery.step()
        break_for_good(producers.made[0])
        spool.put([Record(POLICIES.name, b"2", b"x")])
        step_until(delivery, lambda: delivery.idle)
        assert len(producers.made) == 2


def test_a_watcher_goes_on_with_another_producer() -> None:
    producers = Producers()
    outbox = Outbox(producers)
    outbox.put([Declared(RESOURCES.name, "1", b"x")])
    outbox.step()
    break_for_good(producers.made[0])
    outbox.put([Declared(RESOURCES.name, "2", b"x")])
    step_until(outbox, lambda: outbox.is_empty)
    assert len(producers.made) == 2
    assert sum(outbox.ends.values()) == 2


@pytest.mark.parametrize("kind", ["agent", "watcher"])
def test_a_stop_does_not_stumble_over_it(kind: str, tmp_path: Path) -> None:
    producers = Producers()
    with Spool(tmp_path / "spool", 10_000, SNAPSHOTS.name) as spool:
        sender: Sender
        sender = Delivery(producers, spool, lambda: 1) if kind == "agent" else Outbox(producers)
        break_for_good(producers.made[0])
        assert sender.close(1.0) == 0


def test_a_dead_letter_of_the_largest_record_fits(tmp_path: Path) -> None:
    """Or an agent would be given it again at every start, and end over it."""
    config = producer_config("127.0.0.1:1", "test") | {"test.mock.num.brokers": 1, "log_level": 0}
    with Spool(tmp_path / "spool", 10_000_000, SNAPSHOTS.name) as spool:
        delivery = Delivery(lambda: Producer(config), spool, lambda: 1)
        letter = Record(DEAD_LETTER.name, b"k", b"x" * 1_048_000, (("ms-error", b"x" * 2_000),))
        spool.put([letter])
        step_until(delivery, lambda: delivery.idle)
