"""Where reading begins, and which records the tables hold already: pure.

Delivery, in plain words: a record is read, becomes a row, the row is written, then its offset is
committed. After a crash Kafka gives the records since the last commit again. Each table is asked,
at every assignment, for the highest offset that it holds per log epoch, topic and partition, and
rows at or below it are left out.

That is exact, because rows of one partition reach a table in the order of their offsets, and an
insert is one part, which is there or not: a table that holds an offset holds all of its rows up to
it. An insert whose answer got lost is repeated with the same token, by which ClickHouse recognises
it, and the table is asked whether it has the rows. Where two writers overlap for a moment after a
rebalance, the same row has the same event_id, and `FINAL` shows it once.
"""

from collections.abc import Mapping

from meshscope.history.rows import Place

Partition = tuple[str, int]
"""Topic and partition."""

Highest = Mapping[tuple[str, str, str, int], int]
"""Per table, log epoch, topic and partition the highest offset that is written."""


def is_written(highest: Highest, place: Place, table: str) -> bool:
    """Whether the table holds the row of this place already."""
    known = highest.get((table, place.log_epoch, place.topic, place.partition))
    return known is not None and place.offset <= known


def first_offset(highest: Highest, log_epoch: str, partition: Partition, committed: int) -> int:
    """Where reading of a partition begins.

    If no table holds a row of it, a committed offset says nothing: it belongs to an earlier log of
    the same name, or the history was emptied since. Reading begins with the oldest record then.

    Args:
        highest: What the tables hold.
        log_epoch: The log on which the topic stands.
        partition: Topic and partition.
        committed: Where the group stands; below 0: nowhere.
    """
    is_known = any(key[1:] == (log_epoch, *partition) for key in highest)
    return max(committed, 0) if is_known else 0
