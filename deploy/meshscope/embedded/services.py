"""The table of processes of the embedded stack."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field

from meshscope.embedded.settings import StackSettings
from meshscope.sandbox.model import MeshIndex


@dataclass(frozen=True, slots=True)
class Service:
    """One process.

    Attributes:
        name: As shown and as in the name of its log.
        argv: Its command.
        environ: What is added to the environment.
        ready_line: It is ready when it prints a line that begins so; empty: when it has run for a
            moment.
        after: Services that must be ready before it starts; they end after it.
    """

    name: str
    argv: tuple[str, ...]
    environ: Mapping[str, str] = field(default_factory=dict, hash=False)
    ready_line: str = ""
    after: tuple[str, ...] = ()


def _module(name: str, *arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-m", name, *arguments)


def services(settings: StackSettings, index: MeshIndex) -> tuple[Service, ...]:
    """All processes, each after those that it depends on."""
    home = settings.home
    sandbox = home / "sandbox"
    common = {
        "MESHSCOPE_HOME": str(home),
        "MESHSCOPE_BROKERS": settings.brokers,
        "MESHSCOPE_CLICKHOUSE_HOST": "127.0.0.1",
        "MESHSCOPE_CLICKHOUSE_PORT": str(settings.store_port),
        # Said aloud, since the user's environment may be about another ClickHouse.
        "MESHSCOPE_CLICKHOUSE_USER": "default",
        "MESHSCOPE_CLICKHOUSE_PASSWORD": "",
        "MESHSCOPE_CLICKHOUSE_SECURE": "no",
        "MESHSCOPE_CLICKHOUSE_DATABASE": "meshscope",
    }
    cluster = index.istiod_environment.get("CLUSTER_ID", "Kubernetes")
    return (
        Service(
            "broker",
            _module("meshscope.embedded.broker", "--port", str(settings.broker_port)),
            ready_line="broker ready",
        ),
        Service(
            "store",
            _module(
                "meshscope.embedded.store",
                *("--path", str(home / "store")),
                *("--port", str(settings.store_port)),
            ),
            ready_line="store ready",
        ),
        Service(
            "sandbox",
            _module("meshscope.sandbox", "--dir", str(sandbox), "--state", settings.sandbox_state),
            ready_line="sandbox ready",
        ),
        Service(
            "sink",
            _module("meshscope.history"),
            common,
            after=("broker", "store"),
        ),
        Service(
            "watcher",
            _module("meshscope.watcher"),
            common
            | {
                "MESHSCOPE_WATCHER_DIRECTORY": str(sandbox / "resources"),
                "MESHSCOPE_WATCHER_CLUSTER": cluster,
                "MESHSCOPE_WATCHER_ISTIO_VERSION": index.istio_version,
                "MESHSCOPE_WATCHER_ISTIOD_ENV": ",".join(
                    f"{name}={value}" for name, value in index.istiod_environment.items()
                ),
            },
            after=("broker", "sandbox"),
        ),
        Service(
            "worker",
            _module("meshscope.stream"),
            common
            | {
                "MESHSCOPE_DATA_DIR": str(home / "worker"),
                "MESHSCOPE_CONVERGENCE_SECONDS": str(settings.convergence_seconds),
                "MESHSCOPE_ENDPOINTS_CONVERGENCE_SECONDS": str(settings.convergence_seconds),
            },
            after=("broker",),
        ),
        *(
            Service(
                f"agent-{proxy.name}",
                _module("meshscope.agent"),
                common
                | {
                    "MESHSCOPE_AGENT_ADMIN": f"http://{proxy.admin}",
                    "MESHSCOPE_AGENT_PROXY": proxy.proxy,
                    "MESHSCOPE_AGENT_CLUSTER": cluster,
                    "MESHSCOPE_AGENT_SPOOL": str(home / "agents" / f"{proxy.proxy}.spool"),
                },
                after=("broker", "sandbox"),
            )
            for proxy in index.proxies
        ),
        Service(
            "console",
            _module("meshscope.console"),
            common | {"MESHSCOPE_CONSOLE_PORT": str(settings.console_port)},
            after=("store",),
        ),
    )
