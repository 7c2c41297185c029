"""A guard against faust-streaming 0.15.3 losing its place when Tables are used (issue #596).

After a restart or rebalance Faust resumes the partitions of streams, messages arrive, and then it
resumes the flow of its queues, which clears them: these messages are never processed, and commits
stall at the hole. Besides, the first offset after recovery is acknowledged twice, and the search
for consecutive offsets stops at a repetition, so that commits freeze. The guard keeps queues whose
flow is active, and removes repetitions and what lies below the committed offset.

There is a third hole. Just after an assignment all partitions count as active for a moment, and
what is fetched then is dropped; so is what arrives while the flow is stopped. Faust then seeks back
to the committed offsets, which does nothing for a partition that has none: everything up to the
position is skipped for good (seen in two of three runs of `tests/faults` with two workers that were
killed early). The guard seeks such partitions to their beginning.

A fourth: `on_recover` of a table is called at the end of a recovery also where another rebalance
has begun meanwhile, and then it is the recovery of a generation that is over. `when_recovered`
tells the end of one that counts. And a rebalance that is overtaken by the next does not forget how
far the changelogs of revoked partitions were read: `read_again` does.

It changes private methods, so it insists on the version that it was written for, and
`tests/unit/test_faust_guard.py` fails when these methods change.
"""

from collections.abc import Callable, Iterable
from typing import Any, Final

import faust
from aiokafka import TopicPartition
from faust.transport.consumer import Consumer
from faust.types import TP

GUARDED_VERSION: Final = "0.15.3"


class UnguardedVersion(RuntimeError):
    """Another version of Faust is installed than the one that the guard was written for."""


def guard(app: Any) -> None:
    """Guard a Faust app; call it before the app starts.

    Raises:
        UnguardedVersion: The guard may not fit the Faust that is installed.
    """
    if faust.__version__ != GUARDED_VERSION:
        raise UnguardedVersion(
            f"faust-streaming {faust.__version__} is installed; the guard against lost messages "
            f"(issue #596) was written for {GUARDED_VERSION}: install that version, or see whether "
            "faust_guard.py is still needed"
        )
    _keep_active_queues(app.flow_control)
    _commit_past_repetitions()
    _seek_uncommitted_to_beginning()
    _leave_progress_to_the_watchdog()


def when_recovered(app: Any, recovered: Callable[[], None]) -> None:
    """Call `recovered` whenever all tables hold what the changelogs of the assignment hold.

    Records of the assigned partitions arrive from about then on.
    """
    end = app.on_rebalance_end

    def on_rebalance_end() -> None:
        end()
        recovered()

    app.on_rebalance_end = on_rebalance_end


def read_again(app: Any, changelog: str, partitions: Iterable[int]) -> None:
    """Have these partitions of a changelog read from their beginning when they come back."""
    for partition in partitions:
        app.tables.recovery.revoke(TP(changelog, partition))


def _keep_active_queues(flow_control: Any) -> None:
    resume = flow_control.resume

    def resume_if_suspended() -> None:
        if not flow_control.is_active():
            resume()

    flow_control.resume = resume_if_suspended


def _commit_past_repetitions() -> None:
    original = Consumer._new_offset
    if getattr(original, "guarded", False):
        return

    def new_offset(self: Any, tp: Any) -> int | None:
        committed = self._committed_offset[tp] or 0
        acked = self._acked[tp]
        acked[:] = sorted({offset for offset in acked if offset >= committed})
        offset: int | None = original(self, tp)
        return offset

    new_offset.guarded = True  # type: ignore[attr-defined]
    setattr(Consumer, "_new_offset", new_offset)  # noqa: B010 - mypy knows it as a method


def _seek_uncommitted_to_beginning() -> None:
    original = Consumer.perform_seek
    if getattr(original, "guarded", False):
        return

    async def perform_seek(self: Any) -> None:
        await original(self)
        assigned = self.assignment()
        uncommitted = [
            TopicPartition(tp.topic, tp.partition)
            for tp, offset in self._read_offset.items()
            if not offset and tp in assigned and not self._is_changelog_tp(tp)
        ]
        if uncommitted:
            await self._thread.seek_to_beginning(*uncommitted)

    perform_seek.guarded = True  # type: ignore[attr-defined]
    setattr(Consumer, "perform_seek", perform_seek)  # noqa: B010


def _leave_progress_to_the_watchdog() -> None:
    """Faust's own watch ends the worker when it meets a partition without a position.

    That is the case for a moment after a rebalance. `Watchdog` sees what is stuck.
    """

    async def nothing(_: Any) -> None:
        return None

    patched: Any = Consumer
    patched.verify_all_partitions_active = nothing
