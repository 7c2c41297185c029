"""Decisions of the supervisor: when a process is started again, in which order all end. Pure."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

EXIT_CONFIGURATION: Final = 2
"""A process that ends so will not do better when it is started again."""

FIRST_PAUSE_SECONDS: Final = 0.5
LONGEST_PAUSE_SECONDS: Final = 20.0
STEADY_SECONDS: Final = 30.0
"""A process that ran so long counts as healthy: its next end is the first one again."""

FAILURES_AT_START: Final = 4
"""A process that ended so often before it was ready for the first time ends the start."""

State = Literal["waiting", "starting", "ready", "restarting", "failed", "stopped"]


@dataclass(frozen=True, slots=True)
class ServiceState:
    """How one process is.

    Attributes:
        state: `waiting` for others, `starting`, `ready`, `restarting` (in the pause before it is
            started again), `failed` (it will not be started again) or `stopped`.
        pid: 0: there is no process.
        created: When the system made that process; 0.0: there is none.
        restarts: Since the stack was started.
        since: UTC in seconds: when this state began.
        last_exit: How it ended the last time, in words; empty: it did not.
        failures: Ends in a row, without a steady time between.
    """

    name: str
    state: State = "waiting"
    pid: int = 0
    created: float = 0.0
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


def started(state: ServiceState, pid: int, created: float, now: float) -> ServiceState:
    """The state after a process was started."""
    return replace(state, state="starting", pid=pid, created=created, since=now)


def became_ready(state: ServiceState, now: float) -> ServiceState:
    """The state after a process said that it is ready; only one that is starting can become it."""
    return replace(state, state="ready", since=now) if state.state == "starting" else state


def ended(state: ServiceState, code: int, ran_seconds: float, now: float) -> ServiceState:
    """The state after a process ended by itself."""
    if code == EXIT_CONFIGURATION:
        return replace(
            state, state="failed", pid=0, created=0.0, since=now, last_exit=how_it_ended(code)
        )
    return replace(
        state,
        state="restarting",
        pid=0,
        created=0.0,
        since=now,
        last_exit=how_it_ended(code),
        failures=1 if ran_seconds >= STEADY_SECONDS else state.failures + 1,
        restarts=state.restarts + 1,
    )


def stopped(state: ServiceState, now: float) -> ServiceState:
    """The state after the stack ended."""
    return replace(state, state="stopped", pid=0, created=0.0, since=now)


def hopeless(state: ServiceState) -> bool:
    """Whether waiting for the first readiness of a process makes no sense any more."""
    return state.state == "failed" or state.failures >= FAILURES_AT_START


def recorded_processes(document: Mapping[str, Any]) -> tuple[tuple[str, int, float], ...]:
    """Name, pid and time of creation of the processes in a status file."""
    return tuple(
        (str(service["name"]), int(service["pid"]), float(service["created"]))
        for service in document.get("services", ())
        if service.get("pid") and service.get("created")
    )


def stop_waves(after: Mapping[str, Collection[str]]) -> tuple[tuple[str, ...], ...]:
    """In which order services end: each wave after those that need it.

    Args:
        after: For each service those that it needs.

    Raises:
        ValueError: They need each other.
    """
    left = dict(after)
    waves = []
    while left:
        needed = {name for others in left.values() for name in others}
        wave = tuple(name for name in left if name not in needed)
        if not wave:
            raise ValueError(f"services that need each other: {', '.join(left)}")
        waves.append(wave)
        for name in wave:
            del left[name]
    return tuple(waves)
