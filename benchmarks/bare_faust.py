"""A Faust app that reads snapshots and does nothing, and exits when it has read enough.

    python benchmarks/bare_faust.py BROKERS COUNT

Prints seconds from the first record to the last, and seconds of CPU in that time.
"""

import os
import sys
import time
from typing import Any

import faust

from meshscope.events.topics import SNAPSHOTS


def main(brokers: str, count: int) -> None:
    """Read `count` records."""
    app = faust.App(
        "bare",
        broker=f"kafka://{brokers}",
        topic_disable_leader=True,
        web_enabled=False,
        consumer_auto_offset_reset="earliest",
    )
    began: list[float] = []
    seen = 0

    @app.agent(app.topic(SNAPSHOTS.name, schema=faust.Schema(value_serializer="raw")))
    async def read(stream: Any) -> None:
        nonlocal seen
        async for _ in stream.events():
            if not began:
                began.extend((time.monotonic(), time.process_time()))
            seen += 1
            if seen == count:
                # On a line of its own, after what Faust writes about its start.
                print(
                    f"\n{time.monotonic() - began[0]} {time.process_time() - began[1]}", flush=True
                )
                # Nothing is to be kept, and Faust takes seconds to leave its group.
                os._exit(0)

    faust.Worker(
        app, loglevel="ERROR", quiet=True, redirect_stdouts=False
    ).execute_from_commandline()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
