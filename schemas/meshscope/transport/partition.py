"""Which partition of a topic a key belongs to.

Agents leave the choice to librdkafka's partitioner `consistent`, and the worker that reads a
partition must know which proxies it would find there, also of those that never said anything.
"""

import zlib


def partition_of(key: bytes, partitions: int) -> int:
    """The partition that librdkafka's partitioner `consistent` chooses (CRC-32)."""
    return zlib.crc32(key) % partitions
