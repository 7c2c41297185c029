"""Settings of the agent, from the environment."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit


class SettingsError(ValueError):
    """A setting is missing or wrong; the message names it and says what to change."""


@dataclass(frozen=True, slots=True)
class AgentSettings:
    """What one agent needs to know.

    Attributes:
        admin: Address of Envoy's admin interface; loopback only.
        proxy: `pod.namespace`, for reports about a proxy whose admin interface has never
            answered; empty: nothing is reported before it did.
        cluster: Kubernetes cluster id, for the same.
        brokers: Kafka bootstrap servers.
        spool: File that keeps what the broker has not acknowledged.
        spool_bytes: Most that this file may hold.
        poll_seconds: How often signs of change are looked at.
        refresh_seconds: How often the configuration is read without a sign.
        announce_seconds: How often everything is published again. Of a proxy of which nothing was
            heard for three days nothing is known (`MESHSCOPE_SILENCE_SECONDS` of the worker).
        admin_timeout_seconds: For one answer of the admin interface.
    """

    admin: str = "http://127.0.0.1:15000"
    proxy: str = ""
    cluster: str = "Kubernetes"
    brokers: str = "127.0.0.1:9092"
    spool: Path = Path("meshscope-agent.spool")
    spool_bytes: int = 64 * 1024 * 1024
    poll_seconds: float = 1.0
    refresh_seconds: float = 300.0
    announce_seconds: float = 24 * 3600.0
    admin_timeout_seconds: float = 5.0

    def __post_init__(self) -> None:
        host = urlsplit(self.admin).hostname or ""
        if not (host.startswith("127.") or host in ("localhost", "::1")):
            raise SettingsError(
                f"MESHSCOPE_AGENT_ADMIN is {self.admin!r}: the admin interface of Envoy is read "
                "over loopback only; run the agent beside its proxy"
            )
        for name in (
            "spool_bytes",
            "poll_seconds",
            "refresh_seconds",
            "announce_seconds",
            "admin_timeout_seconds",
        ):
            if (value := getattr(self, name)) <= 0:
                raise SettingsError(
                    f"MESHSCOPE_AGENT_{name.upper()} is {value}: give a number above 0"
                )


def from_environment(environ: Mapping[str, str]) -> AgentSettings:
    """Read `MESHSCOPE_AGENT_<FIELD>` and `MESHSCOPE_BROKERS`.

    Raises:
        SettingsError: A value cannot be read or makes no sense.
    """
    values: dict[str, object] = {}
    if brokers := environ.get("MESHSCOPE_BROKERS"):
        values["brokers"] = brokers
    readers: dict[str, Callable[[str], object]] = {
        "admin": str,
        "proxy": str,
        "cluster": str,
        "spool": Path,
        "spool_bytes": int,
        "poll_seconds": float,
        "refresh_seconds": float,
        "announce_seconds": float,
        "admin_timeout_seconds": float,
    }
    for name, read in readers.items():
        variable = f"MESHSCOPE_AGENT_{name.upper()}"
        if (given := environ.get(variable)) is None:
            continue
        try:
            values[name] = read(given)
        except ValueError:
            raise SettingsError(f"{variable} is {given!r}: give a number") from None
    unknown = {
        name
        for name in environ
        if name.startswith("MESHSCOPE_AGENT_")
        and name.removeprefix("MESHSCOPE_AGENT_").lower() not in readers
    }
    if unknown:
        raise SettingsError(
            f"unknown settings {', '.join(sorted(unknown))}: correct or remove them"
        )
    return AgentSettings(**values)  # type: ignore[arg-type]
