"""`python -m meshscope.history`: keep the facts in ClickHouse.

`python -m meshscope.history migrate` only brings the schema up to date.
"""

import logging
import os
import signal
import sys
import time
from collections.abc import Callable

from confluent_kafka import Consumer, KafkaException, Producer

from meshscope.history.backoff import Backoff
from meshscope.history.batch import BatchLimits
from meshscope.history.dead_letters import DeadLetters, producer_config
from meshscope.history.errors import (
    DeadLetterRefused,
    StoreAway,
    StoreMisconfigured,
    TooManyDeadLetters,
)
from meshscope.history.migrate import MigrationError, migrate
from meshscope.history.settings import HistorySettings, SettingsError, from_environment
from meshscope.history.sink import Sink, consumer_config
from meshscope.history.store import Store, connect
from meshscope.history.writer import Writer
from meshscope.transport.log_epoch import LogEpochReader

log = logging.getLogger("meshscope.history")

EXIT_CONFIGURATION = 2
EXIT_STOPPED_THE_LINE = 3
EXIT_AGAIN = 75


def main() -> int:
    """0: stopped; 2: the settings are wrong; 3: too many dead letters; 75: start it again."""
    logging.basicConfig(
        level=logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s %(message)s",
        stream=sys.stderr,
    )
    # It logs a traceback for every row that it cannot serialise; the dead letter says it in a line.
    logging.getLogger("clickhouse_connect").setLevel(logging.CRITICAL)
    try:
        settings = from_environment(os.environ)
        stopped = _stopped_by_signal(settings.stop_seconds)
        store = _store(settings, stopped)
        if store is None or sys.argv[1:] == ["migrate"]:
            return 0
        _sink(settings, store, stopped)
    except (SettingsError, MigrationError, StoreMisconfigured) as error:
        print(f"meshscope history: {error}", file=sys.stderr)
        return EXIT_CONFIGURATION
    except TooManyDeadLetters as error:
        log.critical("%s", error)
        return EXIT_STOPPED_THE_LINE
    except (DeadLetterRefused, KafkaException) as error:
        log.error("%s", error)
        return EXIT_AGAIN
    return 0


def _stopped_by_signal(seconds: int) -> Callable[[], bool]:
    """Whether a signal told to stop; from then on the process lives for so many seconds at most.

    A kill loses nothing, so a stop that hangs, in ClickHouse or in the Kafka client, ends as one:
    by SIGALRM, which needs nothing of this process.
    """
    received: list[int] = []

    def receive(number: int, _: object) -> None:
        if not received:
            signal.alarm(seconds)
        received.append(number)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, receive)
    return lambda: bool(received)


def _store(settings: HistorySettings, stopped: Callable[[], bool]) -> Store | None:
    """Connect and migrate, waiting for ClickHouse; None: told to stop."""
    backoff = Backoff(longest=5.0)
    while not stopped():
        try:
            client = connect(settings)
            for migration in migrate(client, settings.database):
                log.info("applied migration %04d %s", migration.number, migration.name)
            return Store(client, settings.database)
        except StoreAway as error:
            pause = backoff.failed(time.monotonic())
            log.warning(
                "ClickHouse at %s:%s is away, trying again in %.1f s: %s",
                settings.clickhouse_host,
                settings.clickhouse_port,
                pause,
                error,
            )
            time.sleep(pause)
    return None


def _sink(settings: HistorySettings, store: Store, stopped: Callable[[], bool]) -> None:
    consumer = Consumer(consumer_config(settings))
    reader = LogEpochReader(settings.brokers, "meshscope-history")
    dead_letters = DeadLetters(
        Producer(producer_config(settings.brokers)),
        settings.dead_letter_limit,
        now_ms=lambda: time.time_ns() // 1_000_000,
    )
    writer = Writer(store, dead_letters)
    sink = Sink(
        consumer=consumer,
        writer=writer,
        log_epoch=reader.current,
        limits=BatchLimits(rows=settings.batch_rows, seconds=settings.batch_seconds),
    )
    try:
        sink.run(stopped)
    finally:
        consumer.close()
        log.info("wrote %s rows, %s dead letters", writer.written, dead_letters.sent)


if __name__ == "__main__":
    sys.exit(main())
