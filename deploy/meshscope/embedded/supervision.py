"""Decisions of the supervisor: when a process is started again, and what its state is. Pure."""

from dataclasses import dataclass, replace
from typing import Final, Literal

EXIT_CONFIGURATION: Final = 2
"""A process that ends so will not do better when it is started again."""

FIRST_PAUSE_SECONDS: Final = 0.5
LONGEST_PAUSE_SECONDS: Final = 20.0
STEADY_SECONDS: Final = 30.0
"""A process that ran so long counts as healthy: its next end is the first one again."""

State = Literal["waiting", "starting", "ready", "restarting", "done", "failed", "stopped"]


@dataclass(frozen=True, slots=True)
class ServiceState:
    """How one process is.

    Attributes:
        state: `waiting` for others, `starting`, `ready`, `restarting` (in the pause before it is
            started again), `done` (a process that ends on purpose), `failed` (it will not be
            started again) or `stopped`.
        pid: 0: there is no process.
        restarts: Since the stack was started.
        since: UTC in seconds: when this state began.
        last_exit: How it ended the last time, in words; empty: it did not.
        failures: Ends in a row, without a steady time between.
    """

    name: str
    state: State = "waiting"
    pid: int = 0
    restarts: int = 0
    since: float = 0.0
    last_exit: str = ""
    failures: int = 0


def pause_before_restart(failures: int) -> float:
    """Seconds to wait before the next start, after so many ends in a row."""
    doubled = FIRST_PAUSE_SECONDS * 2.0 ** min(failures - 1, 16)
    return min(doubled, LONGEST_PAUSE_SECONDS)


def how_it_ended(code: int) -> str:
    """An exit code in words; negative ones are signals."""
    return f"killed by signal {-code}" if code < 0 else f"exit code {code}"


def ended(
    state: ServiceState, code: int, ran_seconds: float, once: bool, now: float
) -> ServiceState:
    """The state after a process ended by itself."""
    if once and code == 0:
        return replace(state, state="done", pid=0, since=now)
    if code == EXIT_CONFIGURATION:
        return replace(state, state="failed", pid=0, since=now, last_exit=how_it_ended(code))
    failures = 1 if ran_seconds >= STEADY_SECONDS else state.failures + 1
    return replace(
        state,
        state="restarting",
        pid=0,
        since=now,
        last_exit=how_it_ended(code),
        failures=failures,
        restarts=state.restarts + 1,
    )
