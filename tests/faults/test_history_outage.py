"""ClickHouse slow, then away in two ways, then back, while records flow: P7 of the promises.

`MESHSCOPE_SINK_OUTAGE` sets how many seconds each trouble lasts; 60 is the promise.
"""

import os
import time
from pathlib import Path

import psutil
import pytest
from history_mesh import KINDS, Gate, History, SinkProcess, Writer, sink_process, wait_for_rows
from stream_mesh import MeshBroker

pytestmark = pytest.mark.faults

OUTAGE = float(os.environ.get("MESHSCOPE_SINK_OUTAGE", "3"))
PATIENCE = 60.0
MEMORY = 300 * 2**20


def flow(writer: Writer, sink: SinkProcess, seconds: float) -> int:
    """Write for so long; the most memory that the sink had."""
    process, most, end = psutil.Process(sink.process.pid), 0, time.monotonic() + seconds
    while time.monotonic() < end:
        writer.facts(KINDS * 20)
        most = max(most, process.memory_info().rss)
        time.sleep(0.1)
    return most


def test_a_store_in_trouble_costs_no_row_no_memory_and_no_rebalance(
    mesh_broker: MeshBroker, history: History, gate: Gate, tmp_path: Path
) -> None:
    writer = Writer(mesh_broker)
    settings = {
        "MESHSCOPE_HISTORY_BATCH_ROWS": "1000",
        # As in production: a busy machine may silence any process for the second of other tests.
        "MESHSCOPE_HISTORY_SESSION_SECONDS": "6",
    }
    with sink_process(mesh_broker, history, tmp_path / "sink.log", gate.port, **settings) as sink:
        writer.facts(KINDS)
        wait_for_rows(history, writer.sent, PATIENCE, sink)
        gate.delay = OUTAGE / 12
        most = [flow(writer, sink, OUTAGE)]
        gate.delay = 0.0
        gate.shut("unavailable")
        most.append(flow(writer, sink, OUTAGE))
        gate.shut("refuse")
        most.append(flow(writer, sink, OUTAGE))
        assert sink.said("ClickHouse is away") >= 2
        began, before = time.monotonic(), history.total()
        assert before < writer.sent
        gate.open()
        wait_for_rows(history, writer.sent, PATIENCE + writer.sent / 1_000, sink)
        seconds = time.monotonic() - began
        print(
            f"at most {', '.join(f'{each / 2**20:.0f}' for each in most)} MiB while slow, 503 and "
            f"refused, {OUTAGE:g} s each; {writer.sent - before} of {writer.sent} rows caught up "
            f"in {seconds:.1f} s ({(writer.sent - before) / seconds:.0f}/s)"
        )
        assert sink.said("assigned") == 1, sink.tail()
        assert sink.stop() == 0
    assert max(most) < MEMORY
    assert history.total() == history.total(final=True) == writer.sent
