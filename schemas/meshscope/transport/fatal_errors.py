"""Errors after which a Kafka client can do nothing more, so that another must take its place.

An idempotent producer has one when the broker does not know its place, and a member of a group
when another has its name. librdkafka raises it once from the call that notices, as an error that
says that it is fatal; every later call fails with `_FATAL`. Delivery reports do not tell.
"""

from confluent_kafka import KafkaError


def is_fatal(error: KafkaError) -> bool:
    """Whether the client that gave this error is of no use any more."""
    return bool(error.fatal()) or error.code() == KafkaError._FATAL
