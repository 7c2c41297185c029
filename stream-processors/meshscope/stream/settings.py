"""Settings of the stream worker, from the environment."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


class InvalidSettings(ValueError):
    """A setting cannot be used; `str()` names it and says what to change."""


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """How a worker runs.

    Attributes:
        broker: Kafka bootstrap servers, `host:port`, separated by commas (`MESHSCOPE_BROKERS`).
        data_dir: Folder of this worker alone; it writes its status there (`MESHSCOPE_DATA_DIR`).
        convergence_ms: Time that a proxy has to take in what is newly expected
            (`MESHSCOPE_CONVERGENCE_SECONDS`).
        endpoints_convergence_ms: The same for endpoints
            (`MESHSCOPE_ENDPOINTS_CONVERGENCE_SECONDS`).
        repeat_ms: After that time what is still so is published again
            (`MESHSCOPE_REPEAT_SECONDS`).
        silence_ms: A proxy of which nothing was heard for so long is not what it was: longer than
            agents wait until they say everything again (`MESHSCOPE_SILENCE_SECONDS`).
        session_timeout_s: After that time without a sign of life a worker's partitions go to
            others (`MESHSCOPE_SESSION_TIMEOUT_SECONDS`).
        stuck_s: A worker that reads nothing for so long, although there is something, starts again
            (`MESHSCOPE_STUCK_SECONDS`).
        max_poison: Number of records in a row that cannot be read before the worker stops, because
            then its input as a whole is wrong (`MESHSCOPE_MAX_CONSECUTIVE_POISON`).
    """

    broker: str
    data_dir: Path
    convergence_ms: int = 10_000
    endpoints_convergence_ms: int = 30_000
    repeat_ms: int = 24 * 60 * 60 * 1000
    silence_ms: int = 3 * 24 * 60 * 60 * 1000
    session_timeout_s: float = 10.0
    stuck_s: float = 30.0
    max_poison: int = 1_000


def from_environment(environment: Mapping[str, str]) -> WorkerSettings:
    """Read and check all settings.

    Raises:
        InvalidSettings: One is missing or makes no sense.
    """
    broker = environment.get("MESHSCOPE_BROKERS", "")
    if not broker:
        raise InvalidSettings("MESHSCOPE_BROKERS is not set; set it to host:port of the broker")
    for server in broker.split(","):
        host, _, port = server.strip().rpartition(":")
        if not host or not port.isdigit():
            raise InvalidSettings(
                f"MESHSCOPE_BROKERS={broker!r}: {server!r} is not host:port, such as localhost:9092"
            )
    folder = environment.get("MESHSCOPE_DATA_DIR", "")
    if not folder:
        raise InvalidSettings(
            "MESHSCOPE_DATA_DIR is not set; set it to a folder that this worker has for itself"
        )

    def milliseconds(name: str, default: int, least: float = 0.0) -> int:
        return int(number(name, default / 1000, least) * 1000)

    def number(name: str, default: float, least: float) -> float:
        text = environment.get(name, "")
        try:
            value = float(text) if text else default
        except ValueError as error:
            raise InvalidSettings(f"{name}={text!r} is not a number of seconds") from error
        if not least <= value <= 1e9:
            raise InvalidSettings(f"{name}={text!r} must be at least {least:g}")
        return value

    return WorkerSettings(
        broker=broker,
        data_dir=Path(folder),
        convergence_ms=milliseconds("MESHSCOPE_CONVERGENCE_SECONDS", 10_000),
        endpoints_convergence_ms=milliseconds("MESHSCOPE_ENDPOINTS_CONVERGENCE_SECONDS", 30_000),
        repeat_ms=milliseconds("MESHSCOPE_REPEAT_SECONDS", 24 * 60 * 60 * 1000, 1.0),
        silence_ms=milliseconds("MESHSCOPE_SILENCE_SECONDS", 3 * 24 * 60 * 60 * 1000, 1.0),
        session_timeout_s=number("MESHSCOPE_SESSION_TIMEOUT_SECONDS", 10.0, 1.0),
        stuck_s=number("MESHSCOPE_STUCK_SECONDS", 30.0, 5.0),
        max_poison=int(number("MESHSCOPE_MAX_CONSECUTIVE_POISON", 1_000, 1)),
    )
