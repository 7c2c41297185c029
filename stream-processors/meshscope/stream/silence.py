"""Proxies of which nothing has been heard for long, although agents say daily what theirs hold.

What was said of such a proxy before is old news. If its Pod is declared, it is treated as one that
cannot be reached; if not, it has gone: nobody says of a Pod that ends that it did.
"""

from dataclasses import replace
from typing import Final

from meshscope.stream.pods import is_unseen
from meshscope.stream.record import ProxyRecord
from meshscope.stream.step import Now, Timing

REASON: Final = (
    "nothing has been heard of its agent for so long that what it said is old news; see whether it "
    "runs beside the proxy and reaches the broker"
)


def silent_at(record: ProxyRecord, timing: Timing) -> int:
    """Monotonic time at which a proxy counts as silent if nothing is heard of it before."""
    return record.heard_at + timing.silence


def is_silent(record: ProxyRecord, timing: Timing, now: Now) -> bool:
    """Whether nothing has been heard of a proxy for long; of a Pod never seen nothing ever was."""
    return not is_unseen(record) and now.monotonic >= silent_at(record, timing)


def silenced(record: ProxyRecord) -> ProxyRecord:
    """The record of a silent proxy, as of one that cannot be reached."""
    snapshot = record.snapshot
    state = replace(snapshot.state, live="UNREACHABLE", connected=None, error=REASON)
    return replace(record, snapshot=replace(snapshot, state=state))
