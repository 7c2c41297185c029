"""Settings of the watcher, from the environment."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_PREFIX = "MESHSCOPE_WATCHER_"


class SettingsError(ValueError):
    """A setting is missing or wrong; the message names it and says what to change."""


@dataclass(frozen=True, slots=True)
class WatcherSettings:
    """What one watcher needs to know.

    Attributes:
        directory: Directory of YAML that declares the mesh.
        cluster: Kubernetes cluster id that it is meant for, as the proxies tell theirs.
        brokers: Kafka bootstrap servers.
        istio_version: Version of istiod, where no Deployment among the files tells it.
        istiod_env: Switches of istiod, `NAME=VALUE` separated by commas, likewise.
    """

    directory: Path
    cluster: str = "Kubernetes"
    brokers: str = "127.0.0.1:9092"
    istio_version: str = ""
    istiod_env: Mapping[str, str] | None = None


def from_environment(environ: Mapping[str, str]) -> WatcherSettings:
    """Read `MESHSCOPE_WATCHER_<FIELD>` and `MESHSCOPE_BROKERS`.

    Raises:
        SettingsError: A value is missing or makes no sense.
    """
    given = {
        name.removeprefix(_PREFIX).lower(): value
        for name, value in environ.items()
        if name.startswith(_PREFIX)
    }
    known = {"directory", "cluster", "istio_version", "istiod_env"}
    if unknown := sorted(given.keys() - known):
        names = ", ".join(_PREFIX + name.upper() for name in unknown)
        raise SettingsError(f"unknown settings {names}: correct or remove them")
    if not given.get("directory"):
        raise SettingsError(f"{_PREFIX}DIRECTORY is not set: give the directory of YAML to watch")
    defaults = WatcherSettings(Path(given["directory"]))
    return WatcherSettings(
        directory=defaults.directory,
        cluster=given.get("cluster") or defaults.cluster,
        brokers=environ.get("MESHSCOPE_BROKERS") or defaults.brokers,
        istio_version=given.get("istio_version", ""),
        istiod_env=_switches(given["istiod_env"]) if given.get("istiod_env") else None,
    )


def _switches(text: str) -> dict[str, str]:
    switches: dict[str, str] = {}
    for pair in text.split(","):
        name, equals, value = pair.strip().partition("=")
        if not (name and equals):
            raise SettingsError(
                f"{_PREFIX}ISTIOD_ENV holds {pair!r}: write NAME=VALUE, separated by commas"
            )
        switches[name] = value
    return switches
