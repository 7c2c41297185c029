"""Settings of the console, from the environment."""

from collections.abc import Mapping
from dataclasses import dataclass


class SettingsError(ValueError):
    """A setting is missing or wrong; the message names it and says what to change."""


@dataclass(frozen=True, slots=True)
class ConsoleSettings:
    """What the console needs to know.

    Attributes:
        host, port: Where it listens.
        clickhouse_host, clickhouse_port, clickhouse_user, clickhouse_password, database: The
            history.
        refresh_seconds: How often the history is asked while somebody looks.
    """

    host: str = "127.0.0.1"
    port: int = 8580
    clickhouse_host: str = "127.0.0.1"
    clickhouse_port: int = 8123
    clickhouse_user: str = "default"
    clickhouse_password: str = ""
    database: str = "meshscope"
    refresh_seconds: float = 1.0


def from_environment(environ: Mapping[str, str]) -> ConsoleSettings:
    """Read the settings.

    Raises:
        SettingsError: A number cannot be read.
    """

    def number(variable: str, default: int) -> int:
        text = environ.get(variable, str(default))
        if not text.isdigit() or not 0 < int(text) < 65536:
            raise SettingsError(f"{variable} is {text!r}: give a port number")
        return int(text)

    default = ConsoleSettings()
    return ConsoleSettings(
        host=environ.get("MESHSCOPE_CONSOLE_HOST", default.host),
        port=number("MESHSCOPE_CONSOLE_PORT", default.port),
        clickhouse_host=environ.get("MESHSCOPE_CLICKHOUSE_HOST", default.clickhouse_host),
        clickhouse_port=number("MESHSCOPE_CLICKHOUSE_PORT", default.clickhouse_port),
        clickhouse_user=environ.get("MESHSCOPE_CLICKHOUSE_USER", default.clickhouse_user),
        clickhouse_password=environ.get(
            "MESHSCOPE_CLICKHOUSE_PASSWORD", default.clickhouse_password
        ),
        database=environ.get("MESHSCOPE_CLICKHOUSE_DATABASE", default.database),
    )
