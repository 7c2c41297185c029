"""Settings of the sink, from the environment."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass


class SettingsError(ValueError):
    """A setting is missing or wrong; the message names it and says what to change."""


@dataclass(frozen=True, slots=True)
class HistorySettings:
    """What the sink needs to know.

    Attributes:
        brokers: Kafka bootstrap servers.
        group: Consumer group.
        instance: Static member id (KIP-345); empty: none. Unique per process.
        session_seconds: A sink that is gone for so long loses its partitions to others.
        clickhouse_host, clickhouse_port, clickhouse_user, clickhouse_password, clickhouse_secure:
            The HTTP interface of ClickHouse.
        clickhouse_seconds: So long an answer is waited for before ClickHouse counts as away.
        database: Database of the history.
        batch_rows, batch_seconds: When a batch is written, whichever comes first.
        stop_seconds: Told to stop, the sink ends within so long, whatever hangs.
        dead_letter_limit: So many unreadable records in a row of one partition are let pass; one
            more stops the sink, since then it is not one record that is wrong.
    """

    brokers: str = "127.0.0.1:9092"
    group: str = "meshscope-history"
    instance: str = ""
    session_seconds: int = 6
    clickhouse_host: str = "127.0.0.1"
    clickhouse_port: int = 8123
    clickhouse_user: str = "default"
    clickhouse_password: str = ""
    clickhouse_secure: bool = False
    clickhouse_seconds: int = 30
    database: str = "meshscope"
    batch_rows: int = 10_000
    batch_seconds: float = 1.0
    stop_seconds: int = 20
    dead_letter_limit: int = 1_000

    def __post_init__(self) -> None:
        for name in (
            "session_seconds",
            "clickhouse_port",
            "clickhouse_seconds",
            "batch_rows",
            "batch_seconds",
            "stop_seconds",
            "dead_letter_limit",
        ):
            if (value := getattr(self, name)) <= 0:
                raise SettingsError(f"{VARIABLES[name][0]} is {value}: give a number above 0")


def _truth(text: str) -> bool:
    if text.lower() in ("1", "true", "yes"):
        return True
    if text.lower() in ("0", "false", "no", ""):
        return False
    raise ValueError(text)


VARIABLES: dict[str, tuple[str, Callable[[str], object]]] = {
    "brokers": ("MESHSCOPE_BROKERS", str),
    "group": ("MESHSCOPE_HISTORY_GROUP", str),
    "instance": ("MESHSCOPE_HISTORY_INSTANCE", str),
    "session_seconds": ("MESHSCOPE_HISTORY_SESSION_SECONDS", int),
    "clickhouse_host": ("MESHSCOPE_CLICKHOUSE_HOST", str),
    "clickhouse_port": ("MESHSCOPE_CLICKHOUSE_PORT", int),
    "clickhouse_user": ("MESHSCOPE_CLICKHOUSE_USER", str),
    "clickhouse_password": ("MESHSCOPE_CLICKHOUSE_PASSWORD", str),
    "clickhouse_secure": ("MESHSCOPE_CLICKHOUSE_SECURE", _truth),
    "clickhouse_seconds": ("MESHSCOPE_CLICKHOUSE_SECONDS", int),
    "database": ("MESHSCOPE_CLICKHOUSE_DATABASE", str),
    "batch_rows": ("MESHSCOPE_HISTORY_BATCH_ROWS", int),
    "batch_seconds": ("MESHSCOPE_HISTORY_BATCH_SECONDS", float),
    "stop_seconds": ("MESHSCOPE_HISTORY_STOP_SECONDS", int),
    "dead_letter_limit": ("MESHSCOPE_HISTORY_DEAD_LETTER_LIMIT", int),
}
"""Per field the environment variable and how it is read."""


def from_environment(environ: Mapping[str, str]) -> HistorySettings:
    """Read the settings.

    Raises:
        SettingsError: A value cannot be read or makes no sense.
    """
    values: dict[str, object] = {}
    for name, (variable, read) in VARIABLES.items():
        if (given := environ.get(variable)) is None:
            continue
        try:
            values[name] = read(given)
        except ValueError:
            wanted = "true or false" if read is _truth else "a number"
            raise SettingsError(f"{variable} is {given!r}: give {wanted}") from None
    return HistorySettings(**values)  # type: ignore[arg-type]
