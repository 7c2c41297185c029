"""Settings of the embedded stack, from the environment."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from meshscope.embedded.ports import PortInUse, check_port

DEFAULT_HOME = "~/.meshscope"


class SettingsError(ValueError):
    """A setting is wrong, or a port is in use; the message names it and says what to change."""


@dataclass(frozen=True, slots=True)
class StackSettings:
    """What the embedded stack needs to know.

    Attributes:
        home: Directory of everything that it writes.
        broker_port, store_port, console_port: On 127.0.0.1.
        convergence_seconds: Differences that are younger are no drift yet.
        sandbox_state: State of the sandbox mesh at the start.
    """

    home: Path
    broker_port: int = 9092
    store_port: int = 8123
    console_port: int = 8580
    convergence_seconds: float = 10.0
    sandbox_state: str = "00-base"

    @property
    def brokers(self) -> str:
        """Kafka bootstrap servers."""
        return f"127.0.0.1:{self.broker_port}"

    @property
    def console(self) -> str:
        """Address of the page."""
        return f"http://127.0.0.1:{self.console_port}/"

    def ports(self) -> Iterator[tuple[str, int, str]]:
        """What listens where, and the variable that changes it."""
        yield "broker", self.broker_port, "MESHSCOPE_BROKER_PORT"
        yield "store", self.store_port, "MESHSCOPE_STORE_PORT"
        yield "page", self.console_port, "MESHSCOPE_CONSOLE_PORT"


def from_environment(environ: Mapping[str, str]) -> StackSettings:
    """Read the settings.

    Raises:
        SettingsError: A value cannot be read or makes no sense.
    """
    # Absolute, since processes may stand elsewhere.
    home = Path(environ.get("MESHSCOPE_HOME") or DEFAULT_HOME).expanduser().absolute()
    default = StackSettings(home)

    def port(variable: str, otherwise: int) -> int:
        text = environ.get(variable, str(otherwise))
        if not text.isdecimal() or not 1024 <= int(text) <= 65535:
            raise SettingsError(f"{variable} is {text!r}: give a port from 1024 to 65535")
        return int(text)

    convergence = environ.get("MESHSCOPE_CONVERGENCE_SECONDS", str(default.convergence_seconds))
    try:
        seconds = float(convergence)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise SettingsError(
            f"MESHSCOPE_CONVERGENCE_SECONDS is {convergence!r}: give a number of seconds"
        )
    settings = StackSettings(
        home=home,
        broker_port=port("MESHSCOPE_BROKER_PORT", default.broker_port),
        store_port=port("MESHSCOPE_STORE_PORT", default.store_port),
        console_port=port("MESHSCOPE_CONSOLE_PORT", default.console_port),
        convergence_seconds=seconds,
        sandbox_state=environ.get("MESHSCOPE_SANDBOX_STATE", default.sandbox_state),
    )
    taken = [number for _, number, _ in settings.ports()]
    if len(set(taken)) < len(taken):
        raise SettingsError(
            f"broker, store and page need three ports, but are given {', '.join(map(str, taken))}"
        )
    return settings


def check_ports(settings: StackSettings) -> None:
    """Refuse to start where a port is in use.

    Raises:
        SettingsError: Names the port, the setting and, if it can be told, the process.
    """
    for what, number, variable in settings.ports():
        try:
            check_port(number, what, variable)
        except PortInUse as error:
            raise SettingsError(str(error)) from error
