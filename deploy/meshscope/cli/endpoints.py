"""Where the commands find broker and store."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import click

DEFAULT_HOME = "~/.meshscope"
FILE = "endpoints.json"


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Addresses of broker, store and page.

    Attributes:
        brokers: Kafka bootstrap servers.
        clickhouse_host, clickhouse_port, clickhouse_user, clickhouse_password, database: The
            history.
        console: Address of the page.
    """

    brokers: str = "127.0.0.1:9092"
    clickhouse_host: str = "127.0.0.1"
    clickhouse_port: int = 8123
    clickhouse_user: str = "default"
    clickhouse_password: str = ""
    database: str = "meshscope"
    console: str = "http://127.0.0.1:8580/"


VARIABLES = {
    "brokers": "MESHSCOPE_BROKERS",
    "clickhouse_host": "MESHSCOPE_CLICKHOUSE_HOST",
    "clickhouse_port": "MESHSCOPE_CLICKHOUSE_PORT",
    "clickhouse_user": "MESHSCOPE_CLICKHOUSE_USER",
    "clickhouse_password": "MESHSCOPE_CLICKHOUSE_PASSWORD",
    "database": "MESHSCOPE_CLICKHOUSE_DATABASE",
    "console": "MESHSCOPE_CONSOLE_URL",
}


def home(environ: Mapping[str, str] = os.environ) -> Path:
    """The directory of the embedded stack."""
    return Path(environ.get("MESHSCOPE_HOME", DEFAULT_HOME)).expanduser()


def endpoints(environ: Mapping[str, str] = os.environ) -> Endpoints:
    """Addresses from the environment, else from the running embedded stack, else defaults.

    Raises:
        click.UsageError: A value is wrong.
    """
    values: dict[str, object] = {}
    file = home(environ) / FILE
    if file.exists():
        try:
            written = json.loads(file.read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise click.UsageError(f"{file} cannot be read ({error}); remove it") from error
        values.update({name: written[name] for name in VARIABLES if name in written})
    values.update({name: environ[var] for name, var in VARIABLES.items() if var in environ})
    if "clickhouse_port" in values:
        port = str(values["clickhouse_port"])
        if not port.isdigit():
            raise click.UsageError(f"MESHSCOPE_CLICKHOUSE_PORT is {port!r}: give a port number")
        values["clickhouse_port"] = int(port)
    return Endpoints(**values)  # type: ignore[arg-type]
