"""The sink with a real broker and the real ClickHouse engine: nothing is lost, nothing doubled."""

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from confluent_kafka import Consumer, Message, Producer
from confluent_kafka.admin import AdminClient, NewTopic
from history_mesh import (
    GROUP,
    KINDS,
    NOON,
    Gate,
    History,
    Writer,
    drift,
    sink_process,
    wait_for_rows,
)
from stream_mesh import MeshBroker, free_port, until

from meshscope.events import facts
from meshscope.events.codec import encode
from meshscope.events.topics import DEAD_LETTER, DRIFT, POLICIES, RESOURCES, SNAPSHOTS, Topic
from meshscope.history import writer as writer_module
from meshscope.history.batch import BatchLimits
from meshscope.history.dead_letters import DeadLetters, producer_config
from meshscope.history.settings import HistorySettings
from meshscope.history.sink import KEPT, Sink, consumer_config
from meshscope.history.store import Store
from meshscope.transport.log_epoch import LogEpochReader

pytestmark = pytest.mark.integration

PATIENCE = 30.0


def lag(broker: MeshBroker, topic: Topic) -> int:
    """Records that are not committed."""
    committed = broker.committed(topic, GROUP)
    return sum(
        1 for each in broker.records(topic) if each.offset >= max(committed[each.partition], 0)
    )


def sink_here(
    broker: MeshBroker,
    history: History,
    *,
    log_epoch: Callable[[str], str | None] | None = None,
    dead_letter_brokers: str = "",
    consumer: type[Consumer] = Consumer,
) -> Sink:
    """A sink in this process."""
    settings = HistorySettings(brokers=broker.address, session_seconds=1)
    letters = Producer(producer_config(dead_letter_brokers or broker.address) | {"log_level": 0})
    return Sink(
        consumer=consumer(consumer_config(settings)),
        writer=writer_module.Writer(
            Store(history.client, history.database), DeadLetters(letters, 10, lambda: 0)
        ),
        log_epoch=log_epoch or LogEpochReader(broker.address, "test").current,
        limits=BatchLimits(seconds=0.1),
    )


def test_every_fact_arrives_once_and_its_offset_is_committed(
    mesh_broker: MeshBroker, history: History, tmp_path: Path
) -> None:
    writer = Writer(mesh_broker)
    writer.facts(KINDS * 20)
    with sink_process(mesh_broker, history, tmp_path / "sink.log") as sink:
        wait_for_rows(history, writer.sent, PATIENCE, sink)
        assert sink.stop() == 0
    assert set(history.counts().values()) == {20}
    assert history.counts(final=True) == history.counts()
    assert {topic.name: lag(mesh_broker, topic) for topic in KEPT.values()} == dict.fromkeys(
        KEPT, 0
    )
    assert history.one("SELECT uniqExact(log_epoch) FROM resources") == 1
    newest = history.rows("SELECT * FROM drift ORDER BY kafka_offset DESC LIMIT 1")[0]
    assert (newest["kafka_topic"], newest["kafka_partition"]) == (
        DRIFT.name,
        next(
            each.partition
            for each in mesh_broker.records(DRIFT)
            if newest["proxy"].encode() in (each.key or b"")
        ),
    )


def test_a_resource_and_a_proxy_that_go_are_kept_as_gone(
    mesh_broker: MeshBroker, history: History, tmp_path: Path
) -> None:
    mesh_broker.send(RESOURCES, b"directory/lab/networking.istio.io/VirtualService/shop/r", None)
    mesh_broker.send(SNAPSHOTS, b"lab/cart-1.shop", None)
    mesh_broker.send(POLICIES, b"digest", None)
    mesh_broker.flush()
    with sink_process(mesh_broker, history, tmp_path / "sink.log") as sink:
        wait_for_rows(history, 2, PATIENCE, sink)
        until(lambda: lag(mesh_broker, POLICIES) == 0, PATIENCE, sink.tail)
    assert history.rows("SELECT deleted, kind, namespace, name FROM resources") == [
        {"deleted": True, "kind": "VirtualService", "namespace": "shop", "name": "r"}
    ]
    assert history.rows("SELECT deleted, cluster, proxy, namespace FROM snapshots") == [
        {"deleted": True, "cluster": "lab", "proxy": "cart-1.shop", "namespace": "shop"}
    ]
    assert history.counts() == {"resources": 1, "snapshots": 1}


def test_a_fact_that_was_sent_twice_is_one_under_final(
    mesh_broker: MeshBroker, history: History, tmp_path: Path
) -> None:
    with sink_process(mesh_broker, history, tmp_path / "sink.log") as sink:
        for round_ in (1, 2):
            Writer(mesh_broker).facts(KINDS * 5)
            wait_for_rows(history, KINDS * 5 * round_, PATIENCE, sink)
    assert history.total() == KINDS * 10
    assert history.total(final=True) == KINDS * 5


def test_a_restart_goes_on_where_the_last_life_ended(
    mesh_broker: MeshBroker, history: History, tmp_path: Path
) -> None:
    writer = Writer(mesh_broker)
    with sink_process(mesh_broker, history, tmp_path / "sink.log") as sink:
        for _ in range(3):
            writer.facts(KINDS * 10)
            wait_for_rows(history, writer.sent, PATIENCE, sink)
            sink.kill()
            writer.facts(KINDS)
            sink.start()
        wait_for_rows(history, writer.sent, PATIENCE, sink)
        assert sink.stop() == 0
    assert history.total() == history.total(final=True) == writer.sent


def test_a_group_that_starts_again_finds_what_the_tables_hold(
    mesh_broker: MeshBroker, history: History, tmp_path: Path
) -> None:
    writer = Writer(mesh_broker)
    for group in ("one", "two"):
        writer.facts(KINDS * 10)
        settings = {"MESHSCOPE_HISTORY_GROUP": group}
        with sink_process(mesh_broker, history, tmp_path / "sink.log", **settings) as sink:
            wait_for_rows(history, writer.sent, PATIENCE, sink)
            assert sink.stop() == 0
    assert history.total() == writer.sent


def test_a_history_that_was_emptied_is_filled_again(
    mesh_broker: MeshBroker, history: History, tmp_path: Path
) -> None:
    writer = Writer(mesh_broker)
    writer.facts(KINDS * 10)
    with sink_process(mesh_broker, history, tmp_path / "sink.log") as sink:
        wait_for_rows(history, writer.sent, PATIENCE, sink)
        until(lambda: all(lag(mesh_broker, topic) == 0 for topic in KEPT.values()), PATIENCE)
        sink.stop()
        history.empty()
        sink.start()
        wait_for_rows(history, writer.sent, PATIENCE, sink)
    assert history.total() == writer.sent


def test_a_crash_while_an_emptied_history_is_filled_again_loses_nothing(
    mesh_broker: MeshBroker, history: History, tmp_path: Path
) -> None:
    """After its first insert the tables know the partition, and the old commit must not count."""
    count = 100
    for number in range(count):
        mesh_broker.send(DRIFT, b"one partition", encode(drift(number)))
    mesh_broker.flush()
    settings = {"MESHSCOPE_HISTORY_BATCH_ROWS": "30"}
    with sink_process(mesh_broker, history, tmp_path / "sink.log", **settings) as sink:
        wait_for_rows(history, count, PATIENCE, sink)
        assert sink.stop() == 0
        history.empty()
        sink.start(MESHSCOPE_FAULT="after_insert")
        assert sink.process.wait(PATIENCE) == -signal.SIGKILL
        assert 0 < history.total() < count
        sink.start()
        wait_for_rows(history, count, PATIENCE, sink)
    assert history.total() == history.total(final=True) == count


def test_a_broker_that_lost_its_log_is_recorded_on(
    mesh_broker: MeshBroker, history: History, tmp_path: Path
) -> None:
    writer = Writer(mesh_broker)
    with sink_process(mesh_broker, history, tmp_path / "sink.log") as sink:
        writer.facts(KINDS * 20)
        wait_for_rows(history, writer.sent, PATIENCE, sink)
        mesh_broker.kill()
        mesh_broker.start()
        # Fewer and more than before on a partition: both must count from 0 again.
        writer.facts(KINDS * 10)
        wait_for_rows(history, writer.sent, PATIENCE, sink)
        writer.facts(KINDS * 20)
        wait_for_rows(history, writer.sent, PATIENCE, sink)
    assert history.total() == history.total(final=True) == writer.sent
    assert history.one("SELECT uniqExact(log_epoch) FROM drift") == 2
    assert history.one("SELECT min(kafka_offset) FROM drift") == 0


def test_a_topic_that_was_made_anew_is_read_from_its_beginning(
    mesh_broker: MeshBroker, history: History, tmp_path: Path
) -> None:
    admin = AdminClient({"bootstrap.servers": mesh_broker.address})
    with sink_process(mesh_broker, history, tmp_path / "sink.log") as sink:
        for number in range(100):
            mesh_broker.send(DRIFT, b"key", encode(drift(number)))
        mesh_broker.flush()
        wait_for_rows(history, 100, PATIENCE, sink)
        admin.delete_topics([DRIFT.name])[DRIFT.name].result(10)
        admin.create_topics([NewTopic(DRIFT.name, DRIFT.partitions, 1)])[DRIFT.name].result(10)
        for number in range(100, 110):
            mesh_broker.send(DRIFT, b"key", encode(drift(number)))
        mesh_broker.flush()
        until(lambda: sink.supervise() and history.total() >= 110, PATIENCE, sink.tail)
    assert history.total() == history.total(final=True) == 110
    assert history.one("SELECT uniqExact(log_epoch) FROM drift") == 2


def test_a_new_log_is_noticed_while_nothing_comes(
    mesh_broker: MeshBroker, history: History
) -> None:
    """Without a rebalance, and although the consumer waits at an offset of the old log."""
    epoch = "old"
    sink = sink_here(mesh_broker, history.migrate(), log_epoch=lambda _: epoch)
    sink.monotonic = lambda: time.monotonic() * 5
    Writer(mesh_broker).facts(KINDS)
    wanted = KINDS

    def run(*_: object) -> bool:
        nonlocal epoch, wanted
        if history.total() == KINDS:
            epoch, wanted = "new", 2 * KINDS
        return history.total() == wanted == 2 * KINDS or time.monotonic() > deadline

    deadline = time.monotonic() + PATIENCE
    sink.run(run)
    sink.consumer.close()
    assert history.total() == 2 * KINDS
    assert history.total(final=True) == KINDS
    assert history.rows("SELECT log_epoch, kafka_offset FROM syncs ORDER BY log_epoch DESC") == [
        {"log_epoch": "old", "kafka_offset": 1},
        {"log_epoch": "new", "kafka_offset": 1},
    ]


def test_what_may_be_of_another_log_is_not_written(
    mesh_broker: MeshBroker, history: History
) -> None:
    """The topics are made anew after they were placed and before what was read is written."""
    asked = 0

    def log_epoch(_: str) -> str:
        nonlocal asked
        asked += 1
        return "old" if asked <= len(KEPT) else "new"

    writer = Writer(mesh_broker)
    writer.facts(KINDS * 5)
    sink = sink_here(mesh_broker, history.migrate(), log_epoch=log_epoch)
    deadline = time.monotonic() + PATIENCE
    sink.run(lambda: history.total() >= writer.sent or time.monotonic() > deadline)
    sink.consumer.close()
    assert history.total() == history.total(final=True) == writer.sent
    assert history.rows("SELECT DISTINCT log_epoch FROM drift") == [{"log_epoch": "new"}]


def test_a_sink_that_starts_before_its_topics_finds_them(
    mesh_broker: MeshBroker, history: History, tmp_path: Path
) -> None:
    mesh_broker.kill()
    writer = Writer(mesh_broker)
    with sink_process(mesh_broker, history, tmp_path / "sink.log") as sink:
        until(lambda: sink.said("Connection refused"), PATIENCE, sink.tail)
        mesh_broker.start()
        writer.facts(KINDS)
        wait_for_rows(history, writer.sent, PATIENCE, sink)


class HidingConsumer(Consumer):
    """Reads from a broker that shows records of a partition before some in front of them."""

    for_ever = False
    hides = True

    def consume(self, *args: Any, **kwargs: Any) -> list[Message]:
        shown = []
        for message in super().consume(*args, **kwargs):
            if message.topic() == DRIFT.name and self.hides and message.offset() in (3, 4):
                continue
            self.hides = self.hides and (self.for_ever or message.offset() != 5)
            shown.append(message)
        return shown


@pytest.mark.parametrize(("for_ever", "rows"), [(False, 10), (True, 8)])
def test_records_that_a_broker_passed_over_are_read_after_all(
    mesh_broker: MeshBroker, history: History, for_ever: bool, rows: int
) -> None:
    """And where they stay away, as in a compacted topic, reading goes on without them."""
    for number in range(10):
        mesh_broker.send(DRIFT, b"one partition", encode(drift(number)), timestamp=NOON)
    mesh_broker.flush()
    consumer = type("Hiding", (HidingConsumer,), {"for_ever": for_ever})
    sink = sink_here(mesh_broker, history.migrate(), consumer=consumer)
    sink.wall = lambda: NOON / 1000
    deadline = time.monotonic() + PATIENCE
    sink.run(lambda: history.total() >= rows or time.monotonic() > deadline)
    sink.consumer.close()
    assert history.total() == history.total(final=True) == rows


DECOY = encode(drift(1))
POISON: dict[str, bytes] = {
    "empty": b"",
    "text": b"hello",
    "JSON": json.dumps({"proxy": "cart-1.shop"}).encode(),
    "no body": DECOY[:10],
    "cut off": DECOY[:-3],
    "with a tail": DECOY + b"x",
    "unknown schema": DECOY[:2] + b"\xff" * 8 + DECOY[10:],
    "of a registry": b"\x00\x00\x00\x00\x07" + DECOY[10:],
    "of another topic": encode(facts.PolicyRequest("p", "c", (), 1)),
    "huge length": DECOY[:10] + b"\xfe\xff\xff\xff\x0f" + DECOY[11:],
    "not UTF-8": DECOY.replace(b"cart", b"\xff\xfe\xfd\xfc"),
    "too large": DECOY[:10] + b"x" * 990_000,
}


def test_poison_on_every_topic_is_set_aside_untouched(
    mesh_broker: MeshBroker, history: History, tmp_path: Path
) -> None:
    writer = Writer(mesh_broker)
    sent = []
    for topic in KEPT.values():
        for name, value in POISON.items():
            writer.facts(KINDS)
            mesh_broker.send(topic, name.encode(), value, headers={"trace": b"\x00\xff"})
            sent.append((topic.name, name.encode(), value))
    mesh_broker.send(RESOURCES, b"no such key", None)
    mesh_broker.flush()
    with sink_process(mesh_broker, history, tmp_path / "sink.log") as sink:
        wait_for_rows(history, writer.sent, PATIENCE, sink)
        until(lambda: all(lag(mesh_broker, each) == 0 for each in KEPT.values()), PATIENCE)
        assert sink.stop() == 0
    assert history.total() == history.total(final=True) == writer.sent
    letters = mesh_broker.records(DEAD_LETTER)
    found = [(each.headers["ms-topic"].decode(), each.key, each.value) for each in letters]
    assert sorted(found, key=str) == sorted(
        [*sent, (RESOURCES.name, b"no such key", None)], key=str
    )
    sources = {
        (topic.name, each.partition, each.offset): each
        for topic in KEPT.values()
        for each in mesh_broker.records(topic)
    }
    for letter in letters:
        where = [letter.headers[f"ms-{name}"].decode() for name in ("topic", "partition", "offset")]
        source = sources[where[0], int(where[1]), int(where[2])]
        assert (letter.key, letter.value) == (source.key, source.value)
        assert letter.headers["ms-stage"] == b"history.decode"
        assert letter.headers["ms-error-code"] == b"poison"
        assert letter.headers["ms-error"]
        if letter.value is not None:
            assert letter.headers["trace"] == b"\x00\xff"


def test_rows_that_clickhouse_does_not_take_are_found_out(
    mesh_broker: MeshBroker, history: History, tmp_path: Path
) -> None:
    writer = Writer(mesh_broker)
    wrong = [encode(drift(number, id=f"wrong-{number}", revision=-1)) for number in (3, 4, 70)]
    for value in wrong:
        writer.facts(KINDS * 20)
        mesh_broker.send(DRIFT, b"wrong", value)
    mesh_broker.flush()
    with sink_process(mesh_broker, history, tmp_path / "sink.log") as sink:
        wait_for_rows(history, writer.sent, PATIENCE, sink)
        until(lambda: lag(mesh_broker, DRIFT) == 0, PATIENCE, sink.tail)
    assert history.total() == history.total(final=True) == writer.sent
    letters = mesh_broker.records(DEAD_LETTER)
    assert [each.value for each in letters] == wrong
    assert {each.headers["ms-stage"] for each in letters} == {b"history.insert"}
    assert all(b"revision" in each.headers["ms-error"] for each in letters)


def test_no_row_goes_in_before_the_dead_letter_of_the_one_before_it(
    mesh_broker: MeshBroker, history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else, after a crash, the refused row would lie below the highest offset and never be seen."""
    monkeypatch.setattr(writer_module, "DEAD_LETTER_SECONDS", 0.1)
    wrong = encode(drift(2, revision=-1))
    for value in (encode(drift(1)), wrong, encode(drift(3))):
        mesh_broker.send(DRIFT, b"one", value)
    mesh_broker.flush()
    history.migrate()
    nobody = f"127.0.0.1:{free_port()}"
    for brokers, rows, letters in ((nobody, 1, []), (mesh_broker.address, 2, [wrong])):
        sink = sink_here(mesh_broker, history, dead_letter_brokers=brokers)
        end = time.monotonic() + PATIENCE
        after_letter = 0

        def stopped(sink: Sink = sink, end: float = end) -> bool:
            nonlocal after_letter
            after_letter += bool(sink.writer.dead_letters.sent)
            return after_letter > 5 or time.monotonic() > end

        sink.run(stopped)
        sink.consumer.close()
        assert sink.writer.dead_letters.sent == 1
        assert history.total() == history.total(final=True) == rows
        assert [each.value for each in mesh_broker.records(DEAD_LETTER)] == letters
    assert lag(mesh_broker, DRIFT) == 0


@pytest.mark.parametrize("mode", ["refuse", "unavailable", "hang"])
def test_a_store_that_is_away_is_waited_for(
    mesh_broker: MeshBroker, history: History, gate: Gate, tmp_path: Path, mode: Any
) -> None:
    writer = Writer(mesh_broker)
    settings = {"MESHSCOPE_CLICKHOUSE_SECONDS": "1", "MESHSCOPE_HISTORY_BATCH_ROWS": "50"}
    with sink_process(mesh_broker, history, tmp_path / "sink.log", gate.port, **settings) as sink:
        writer.facts(KINDS)
        wait_for_rows(history, writer.sent, PATIENCE, sink)
        gate.shut(mode)
        writer.facts(KINDS * 100)
        until(lambda: sink.said("ClickHouse is away") >= 4, PATIENCE, sink.tail)
        assert history.total() == KINDS
        gate.open()
        wait_for_rows(history, writer.sent, PATIENCE, sink)
        assert sink.said("assigned") == 1
        assert sink.stop() == 0
    assert history.total() == history.total(final=True) == writer.sent


def test_a_stop_is_bounded_whatever_hangs(
    mesh_broker: MeshBroker, history: History, gate: Gate, tmp_path: Path
) -> None:
    writer = Writer(mesh_broker)
    settings = {"MESHSCOPE_HISTORY_STOP_SECONDS": "2"}
    with sink_process(mesh_broker, history, tmp_path / "sink.log", gate.port, **settings) as sink:
        writer.facts(KINDS)
        wait_for_rows(history, writer.sent, PATIENCE, sink)
        gate.shut("hang")
        writer.facts(KINDS)
        until(lambda: gate.refused, PATIENCE, sink.tail)
        began = time.monotonic()
        assert sink.stop() == -signal.SIGALRM
        assert 1.5 < time.monotonic() - began < 10
        gate.open()
        sink.start()
        wait_for_rows(history, writer.sent, PATIENCE, sink)
        assert sink.stop() == 0
    assert history.total() == history.total(final=True) == writer.sent


def test_a_store_that_is_away_at_first_is_waited_for(
    mesh_broker: MeshBroker, history: History, gate: Gate, tmp_path: Path
) -> None:
    gate.shut("refuse")
    writer = Writer(mesh_broker)
    writer.facts(KINDS)
    with sink_process(mesh_broker, history, tmp_path / "sink.log", gate.port) as sink:
        until(lambda: sink.said("is away, trying again") >= 2, PATIENCE, sink.tail)
        gate.open()
        wait_for_rows(history, writer.sent, PATIENCE, sink)


def test_an_insert_whose_answer_got_lost_is_not_doubled(
    mesh_broker: MeshBroker, history: History, gate: Gate, tmp_path: Path
) -> None:
    writer = Writer(mesh_broker)
    with sink_process(mesh_broker, history, tmp_path / "sink.log", gate.port) as sink:
        writer.facts(KINDS)
        wait_for_rows(history, writer.sent, PATIENCE, sink)
        gate.shut("lose answers")
        writer.facts(KINDS * 20)
        until(lambda: gate.refused >= 5, PATIENCE, sink.tail)
        gate.open()
        wait_for_rows(history, writer.sent, PATIENCE, sink)
        assert sink.stop() == 0
    assert history.total() == history.total(final=True) == writer.sent


def test_large_records_cost_little_memory(
    mesh_broker: MeshBroker, history: History, tmp_path: Path
) -> None:
    count = 300
    for number in range(count):
        content = b'{"x":"' + os.urandom(435_000).hex().encode() + b'"}'
        body = facts.PolicyBody(f"d{number}", "authorization", 1, content)
        mesh_broker.send(POLICIES, body.digest.encode(), encode(body))
        if number % 20 == 0:
            mesh_broker.flush()
    mesh_broker.flush()
    with sink_process(mesh_broker, history, tmp_path / "sink.log") as sink:
        process = psutil.Process(sink.process.pid)
        most = 0

        def all_there() -> bool:
            nonlocal most
            most = max(most, process.memory_info().rss)
            return history.total() >= count

        until(all_there, PATIENCE, sink.tail)
    print(f"at most {most / 2**20:.0f} MiB")
    assert most < 300 * 2**20


def test_a_flood_of_dead_letters_stops_the_line(
    mesh_broker: MeshBroker, history: History, tmp_path: Path
) -> None:
    writer = Writer(mesh_broker)
    settings = {
        "MESHSCOPE_HISTORY_DEAD_LETTER_LIMIT": "20",
        "MESHSCOPE_HISTORY_BATCH_SECONDS": "5",
    }
    writer.facts(KINDS * 3)
    with sink_process(mesh_broker, history, tmp_path / "sink.log", **settings) as sink:
        wait_for_rows(history, writer.sent, PATIENCE, sink)
        until(lambda: lag(mesh_broker, DRIFT) == 0, PATIENCE, sink.tail)
        committed = mesh_broker.committed(DRIFT, GROUP)
        for number in range(100):
            mesh_broker.send(DRIFT, b"one partition", b"poison %d" % number)
        mesh_broker.flush()
        assert sink.process.wait(PATIENCE) == 3, sink.tail()
        assert "21 records in a row cannot be kept, the last one at" in sink.tail()
    assert mesh_broker.committed(DRIFT, GROUP) == committed
    assert len(mesh_broker.records(DEAD_LETTER)) <= 20


def test_a_flood_of_rejected_rows_stops_the_line(
    mesh_broker: MeshBroker, history: History, tmp_path: Path
) -> None:
    settings = {"MESHSCOPE_HISTORY_DEAD_LETTER_LIMIT": "20"}
    for number in range(100):
        mesh_broker.send(DRIFT, b"one partition", encode(drift(number, revision=-1)))
    mesh_broker.flush()
    with sink_process(mesh_broker, history, tmp_path / "sink.log", **settings) as sink:
        assert sink.process.wait(PATIENCE) == 3, sink.tail()
    assert max(mesh_broker.committed(DRIFT, GROUP).values()) < 0


def test_a_store_that_will_never_take_rows_ends_the_sink(
    mesh_broker: MeshBroker, history: History, tmp_path: Path
) -> None:
    writer = Writer(mesh_broker)
    with sink_process(mesh_broker, history, tmp_path / "sink.log") as sink:
        writer.facts(KINDS)
        wait_for_rows(history, writer.sent, PATIENCE, sink)
        history.client.command("DROP TABLE drift")
        writer.facts(KINDS)
        assert sink.process.wait(PATIENCE) == 2, sink.tail()
        assert "UNKNOWN_TABLE" in sink.tail()


def test_two_sinks_share_the_work_and_take_over(
    mesh_broker: MeshBroker, history: History, tmp_path: Path
) -> None:
    writer = Writer(mesh_broker)
    with sink_process(mesh_broker, history, tmp_path / "one.log") as one:
        writer.facts(KINDS * 20)
        wait_for_rows(history, writer.sent, PATIENCE, one)
        with sink_process(mesh_broker, history, tmp_path / "two.log") as two:
            end = time.monotonic() + PATIENCE
            while not two.said("assigned") and time.monotonic() < end:
                writer.facts(KINDS * 5)
                time.sleep(0.05)
            writer.facts(KINDS * 50)
            wait_for_rows(history, writer.sent, PATIENCE, two)
            assert two.stop() == 0
            writer.facts(KINDS * 20)
            wait_for_rows(history, writer.sent, PATIENCE, one)
    assert history.total() == history.total(final=True) == writer.sent


def test_an_insert_of_many_blocks_is_one_part(history: History) -> None:
    """Else a crash in the middle of an insert could leave a hole below the highest offset."""
    history.migrate()
    body = b'{"x":"' + b"x" * 100_000 + b'"}'
    history.keep(
        *((POLICIES, facts.PolicyBody(f"d{n}", "authorization", 1, body)) for n in range(300))
    )
    assert history.rows(
        "SELECT count() AS parts, sum(rows) AS rows FROM system.parts "
        "WHERE database = {database:String} AND table = 'policies'",
        database=history.database,
    ) == [{"parts": 1, "rows": 300}]
