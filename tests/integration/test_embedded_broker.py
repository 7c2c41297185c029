"""The embedded broker: its topics, what a new start means, how it ends."""

import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic, ResourceType
from embedded import Broker, eventually

from meshscope.embedded.broker import create_topics
from meshscope.embedded.lag import Lag, lags
from meshscope.events.topics import RESOURCES, TOPICS, Topic
from meshscope.transport.log_epoch import LogEpochReader

pytestmark = pytest.mark.integration


@pytest.fixture
def own_broker(tmp_path: Path) -> Iterator[Broker]:
    made = Broker(tmp_path / "broker.log")
    try:
        made.start()
        yield made
    finally:
        made.stop()


def epoch(brokers: str) -> str | None:
    return LogEpochReader(brokers, "test").current(RESOURCES.name)


def descendants(broker: Broker) -> list[psutil.Process]:
    assert broker.process is not None
    return psutil.Process(broker.process.pid).children(recursive=True)


def test_every_topic_is_there_as_the_table_says(broker: str) -> None:
    admin = AdminClient({"bootstrap.servers": broker, "log_level": 0})
    there = admin.list_topics(timeout=5).topics
    assert {t.name: t.partitions for t in TOPICS} == {
        name: len(topic.partitions) for name, topic in there.items() if name.startswith("meshscope")
    }
    asked = [ConfigResource(ResourceType.TOPIC, topic.name) for topic in TOPICS]
    answers = {
        resource.name: {name: entry.value for name, entry in future.result(10).items()}
        for resource, future in admin.describe_configs(asked).items()
    }
    for topic in TOPICS:
        assert topic.config.items() <= answers[topic.name].items(), topic.name


def test_a_new_start_is_a_new_log(own_broker: Broker, tmp_path: Path) -> None:
    address = own_broker.address
    before = epoch(address)
    assert before is not None
    assert epoch(address) == before
    own_broker.kill()
    # The same port at once: what a supervisor does.
    again = Broker(tmp_path / "again.log", port=int(address.rpartition(":")[2]))
    try:
        assert again.start() == address
        assert epoch(address) not in (None, before)
    finally:
        again.stop()


def test_topics_that_a_client_made_are_made_anew(broker: str) -> None:
    admin = AdminClient({"bootstrap.servers": broker, "log_level": 0})
    topics = [Topic(f"made-by-a-client-{n}", "", "", (), "", partitions=3) for n in (1, 2)]
    for future in admin.create_topics([NewTopic(topics[0].name, 1, 1)]).values():
        future.result(10)
    create_topics(admin, topics)
    there = admin.list_topics(timeout=5).topics
    assert [len(there[topic.name].partitions) for topic in topics] == [3, 3]


def test_lag_is_what_a_group_has_not_committed(broker: str) -> None:
    topic = "lag-test"
    admin = AdminClient({"bootstrap.servers": broker, "log_level": 0})
    admin.create_topics([NewTopic(topic, 1, 1)])[topic].result(10)
    producer = Producer({"bootstrap.servers": broker, "linger.ms": 50})
    for number in range(1200):  # in batches: asked for its latest offset, the broker is wrong
        producer.produce(topic, str(number).encode())
    assert producer.flush(10) == 0
    consumer = Consumer({"bootstrap.servers": broker, "group.id": "reader"})
    consumer.commit(offsets=[TopicPartition(topic, 0, 1000)], asynchronous=False)
    consumer.close()
    assert lags(broker, ["reader", "nobody"]) == (Lag("reader", topic, 200),)


def test_sigterm_ends_it_in_order(own_broker: Broker) -> None:
    children = descendants(own_broker)
    assert children
    assert own_broker.stop() == 0
    assert not any(child.is_running() for child in children)


def test_kill_9_leaves_no_broker_behind(own_broker: Broker) -> None:
    children = descendants(own_broker)
    own_broker.kill()
    eventually(lambda: not any(child.is_running() for child in children), 5, "the broker's end")


def test_a_broker_that_ends_by_itself_is_to_be_started_again(own_broker: Broker) -> None:
    assert own_broker.process is not None
    [tansu] = descendants(own_broker)
    tansu.send_signal(signal.SIGKILL)
    assert own_broker.process.wait(10) == 1


def test_a_port_in_use_is_named_with_the_setting(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        done = subprocess.run(
            [sys.executable, "-m", "meshscope.embedded.broker", "--port", str(port)],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    assert done.returncode == 2
    assert f"port {port}" in done.stderr
    assert "MESHSCOPE_BROKER_PORT" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_missing_binary_is_one_line_that_says_what_to_do() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "meshscope.embedded.broker", "--port", "0"],
        env={"CALF_TANSU_BIN": "/nowhere/tansu"},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 2
    assert "MESHSCOPE_BROKERS" in done.stderr
    assert len(done.stderr.splitlines()) == 1
