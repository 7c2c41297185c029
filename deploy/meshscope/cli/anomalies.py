"""`meshscope anomalies`: follow the topic of anomalies."""

import time
import uuid
from collections.abc import Iterator

import click
import msgspec
from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    KafkaError,
    KafkaException,
    TopicPartition,
)
from rich.text import Text

from meshscope.cli.endpoints import endpoints
from meshscope.cli.output import COLOURS, Format, as_json, console, format_option
from meshscope.events.codec import PoisonValue, decode
from meshscope.events.facts import Anomaly
from meshscope.events.topics import ANOMALIES

BROKER_DEADLINE_SECONDS = 10.0
MOST_PROXIES = 20
MOST_EVIDENCE = 5
_INDENT = 9 * " "


@click.command()
@click.option(
    "--follow/--no-follow",
    default=True,
    show_default=True,
    help="Go on with what is to come, or end with what is on the topic.",
)
@click.option(
    "--all",
    "history",
    is_flag=True,
    help="Begin with all that is on the topic, not only with what is open.",
)
@format_option
def anomalies(follow: bool, history: bool, output: Format) -> None:
    """Show open anomalies, then each one as it opens, changes and is resolved."""
    brokers = endpoints().brokers
    before: dict[str, Anomaly] = {}
    caught_up = False
    out = console()

    def show(anomaly: Anomaly) -> None:
        if output == "json":
            click.echo(as_json(_plain(anomaly)))
        else:
            out.print(described(anomaly))

    for anomaly in _read(brokers, follow):
        if anomaly is None:
            if not caught_up:
                caught_up = True
                for known in before.values():
                    if known.status != "resolved":
                        show(known)
        elif caught_up or history:
            show(anomaly)
        else:
            before[anomaly.fingerprint] = anomaly


def _read(brokers: str, follow: bool) -> Iterator[Anomaly | None]:
    """Anomalies in the order of each partition; None once when the end was reached."""
    consumer = Consumer(
        {
            "bootstrap.servers": brokers,
            "group.id": f"meshscope-cli-{uuid.uuid4().hex}",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "allow.auto.create.topics": False,
            "log_level": 0,
        }
    )
    try:
        partitions = _partitions(consumer, brokers)
        consumer.assign([TopicPartition(ANOMALIES.name, p, OFFSET_BEGINNING) for p in partitions])
        unfinished = set(partitions)
        while True:
            message = consumer.poll(0.5)
            if message is None:
                continue
            error = message.error()
            if error is None:
                try:
                    yield decode(message.value() or b"", Anomaly)
                except PoisonValue as poison:
                    if message.value() is not None:
                        click.echo(f"a record cannot be read: {poison}", err=True)
                continue
            if error.code() == KafkaError._PARTITION_EOF:
                unfinished.discard(message.partition() or 0)
                if not unfinished:
                    yield None
                    if not follow:
                        return
            elif error.fatal():
                raise click.ClickException(error.str())
    finally:
        consumer.close()


def _partitions(consumer: Consumer, brokers: str) -> list[int]:
    deadline = time.monotonic() + BROKER_DEADLINE_SECONDS
    reason = "no answer"
    while time.monotonic() < deadline:
        try:
            topic = consumer.list_topics(ANOMALIES.name, timeout=2).topics[ANOMALIES.name]
        except KafkaException as error:
            reason = str(error)
            continue
        if topic.error is None and topic.partitions:
            return sorted(topic.partitions)
        reason = str(topic.error)
        time.sleep(0.2)
    raise click.ClickException(
        f"the broker at {brokers} does not answer for {ANOMALIES.name} ({reason}). Is the stack "
        "running (meshscope status)? Else set MESHSCOPE_BROKERS"
    )


def _plain(anomaly: Anomaly) -> dict[str, object]:
    plain: dict[str, object] = msgspec.to_builtins(anomaly)
    return plain


def described(anomaly: Anomaly) -> Text:
    """An anomaly for a terminal: what, where, how many, and the first of its evidence."""
    when = time.strftime("%H:%M:%S", time.localtime(anomaly.updated_at / 1000))
    text = Text(f"{when} ")
    text.append(f"{anomaly.status:8}", style=COLOURS.get(anomaly.status, ""))
    text.append(f" {anomaly.severity:8} {anomaly.code} {anomaly.title}")
    if anomaly.resource is not None:
        source = anomaly.resource
        text.append(f"\n{_INDENT}{source.kind} {source.namespace}/{source.name}")
    proxies = ", ".join(anomaly.proxies[:MOST_PROXIES]) + _rest(len(anomaly.proxies), MOST_PROXIES)
    text.append(f"\n{_INDENT}proxies: {proxies}")
    if anomaly.status == "resolved":
        return text
    for evidence in anomaly.evidence[:MOST_EVIDENCE]:
        text.append(f"\n{_INDENT}{evidence.key}")
        for word, value in (("expected", evidence.expected), ("observed", evidence.observed)):
            lines = f"\n{_INDENT}           ".join((value or "nothing").splitlines())
            text.append(f"\n{_INDENT}  {word} {lines}")
    if rest := _rest(max(anomaly.evidence_count, len(anomaly.evidence)), MOST_EVIDENCE):
        text.append(f"\n{_INDENT}{rest.strip()}: meshscope drift")
    if anomaly.repair:
        text.append(f"\n{_INDENT}repair: {anomaly.repair}")
    return text


def _rest(count: int, most: int) -> str:
    return f" and {count - most} more" if count > most else ""
