"""`python -m meshscope.history`: keep the facts in ClickHouse.

`python -m meshscope.history migrate` only brings the schema up to date.
"""

import logging
import os
import signal
import sys
import time

from confluent_kafka import Consumer, KafkaException, Producer

from meshscope.history.batch import BatchLimits
from meshscope.history.migrate import MigrationError, migrate
from meshscope.history.settings import HistorySettings, SettingsError, from_environment
from meshscope.history.sink import (
    DeadLetterRefused,
    Sink,
    TooManyDeadLetters,
    consumer_config,
)
from meshscope.history.store import Store, StoreAway, StoreMisconfigured, connect
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
    stop: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda received, _: stop.append(received))
    try:
        settings = from_environment(os.environ)
        store = _store(settings, stop)
        if store is None or sys.argv[1:] == ["migrate"]:
            return 0
        _sink(settings, store, stop)
    except (SettingsError, MigrationError, StoreMisconfigured) as error:
        print(f"meshscope history: {error}", file=sys.stderr)
        return EXIT_CONFIGURATION
    except TooManyDeadLetters as error:
        log.critical("%s", error)
        return EXIT_STOPPED_THE_LINE
    except (DeadLetterRefused, KafkaException, StoreAway) as error:
        log.error("%s", error)
        return EXIT_AGAIN
    return 0


def _store(settings: HistorySettings, stop: list[int]) -> Store | None:
    """Connect and migrate, waiting for ClickHouse; None: told to stop."""
    pause = 0.2
    while not stop:
        try:
            client = connect(settings)
            for migration in migrate(client, settings.database):
                log.info("applied migration %04d %s", migration.number, migration.name)
            return Store(client, settings.database)
        except StoreAway as error:
            log.warning(
                "ClickHouse at %s:%s is away, trying again in %.1f s: %s",
                settings.clickhouse_host,
                settings.clickhouse_port,
                pause,
                error,
            )
            time.sleep(pause)
            pause = min(pause * 2, 5.0)
    return None


def _sink(settings: HistorySettings, store: Store, stop: list[int]) -> None:
    consumer = Consumer(consumer_config(settings.brokers, settings.group, settings.instance))
    producer = Producer({"bootstrap.servers": settings.brokers, "enable.idempotence": True})
    reader = LogEpochReader(settings.brokers, "meshscope-history")
    sink = Sink(
        consumer=consumer,
        producer=producer,
        store=store,
        log_epoch=reader.wait,
        limits=BatchLimits(rows=settings.batch_rows, seconds=settings.batch_seconds),
        dead_letter_limit=settings.dead_letter_limit,
    )
    try:
        sink.run(lambda: bool(stop))
    finally:
        consumer.close()
    log.info("wrote %s rows, %s dead letters", sink.written, sink.dead_letters)


if __name__ == "__main__":
    sys.exit(main())
