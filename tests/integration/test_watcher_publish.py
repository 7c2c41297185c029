"""The watcher process with a real broker and a real directory."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from stream_mesh import MeshBroker, until

from meshscope.events.codec import decode, encode
from meshscope.events.convert import declared_resource
from meshscope.events.facts import ControlPlaneState, DeclaredResource, Sync
from meshscope.events.resource import Resource
from meshscope.events.topics import CONTROL_PLANE_STATE, RESOURCES

pytestmark = pytest.mark.integration

DEADLINE = 30.0
PREFIX = "directory/lab"
ROUTES = f"{PREFIX}/networking.istio.io/VirtualService/shop"
MARK = f"sync/{PREFIX}"


def manifest(name: str, host: str = "cart") -> str:
    return (
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\n"
        f"metadata: {{name: {name}, namespace: shop}}\nspec: {{hosts: [{host}]}}\n"
    )


MESH = """\
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data: {mesh: "trustDomain: td"}
---
apiVersion: v1
kind: Secret
metadata: {name: password, namespace: shop}
stringData: {password: canary}
"""


class WatcherProcess:
    """`python -m meshscope.watcher` as a child process."""

    def __init__(self, directory: Path, broker: str, log: Path) -> None:
        self.directory = directory
        self.log = log
        self._environment = {
            **os.environ,
            "MESHSCOPE_BROKERS": broker,
            "MESHSCOPE_WATCHER_DIRECTORY": str(directory),
            "MESHSCOPE_WATCHER_CLUSTER": "lab",
            "MESHSCOPE_WATCHER_ISTIO_VERSION": "1.29.6",
            "MESHSCOPE_WATCHER_ISTIOD_ENV": "XDS_AUTH=false, CLUSTER_ID=lab",
        }
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "meshscope.watcher"],
                env=self._environment,
                stdout=output,
                stderr=output,
            )

    def end(self, how: signal.Signals) -> int:
        assert self.process is not None
        self.process.send_signal(how)
        return self.process.wait(DEADLINE)

    @property
    def logged(self) -> str:
        return self.log.read_text()


@pytest.fixture
def broker(mesh_broker: MeshBroker) -> MeshBroker:
    return mesh_broker


@pytest.fixture
def watcher(broker: MeshBroker, tmp_path: Path) -> Iterator[WatcherProcess]:
    directory = tmp_path / "declared"
    directory.mkdir()
    (directory / "mesh.yaml").write_text(MESH)
    for name in ("a", "b"):
        (directory / f"{name}.yaml").write_text(manifest(name))
    watcher = WatcherProcess(directory, broker.address, tmp_path / "watcher.log")
    yield watcher
    if watcher.process is not None and watcher.process.poll() is None:
        watcher.end(signal.SIGKILL)


def standing(broker: MeshBroker) -> dict[str, bytes]:
    """What a reader of the compacted topics ends with."""
    last: dict[str, bytes | None] = {}
    for topic in (RESOURCES, CONTROL_PLANE_STATE):
        for record in broker.records(topic):
            last[(record.key or b"").decode()] = record.value
    return {key: value for key, value in last.items() if value is not None}


def hosts(broker: MeshBroker) -> dict[str, str]:
    """First host of each VirtualService that stands on the topic."""
    found = {}
    for key, value in standing(broker).items():
        if key.startswith(ROUTES):
            fact: DeclaredResource = decode(value, DeclaredResource)
            found[fact.name] = fact.body.decode().split('"')[5]
    return found


def mark(broker: MeshBroker) -> Sync | None:
    value = standing(broker).get(MARK)
    return None if value is None else decode(value, Sync)


def await_hosts(broker: MeshBroker, expected: dict[str, str], watcher: WatcherProcess) -> Sync:
    """The mark behind a list that ends as expected, once every record before it stands there."""

    def reached() -> Sync | None:
        found = mark(broker)
        if found is None or found.count != len(expected) or hosts(broker) != expected:
            return None
        ends: dict[int, int] = {}
        for record in broker.records(RESOURCES):
            ends[record.partition] = max(ends.get(record.partition, 0), record.offset + 1)
        said = {each.partition: each.offset for each in found.offsets}
        return found if all(said.get(number, 0) >= end for number, end in ends.items()) else None

    return until(reached, DEADLINE, lambda: (hosts(broker), mark(broker), watcher.logged))  # type: ignore[no-any-return]


def test_a_list_is_published_and_marked(broker: MeshBroker, watcher: WatcherProcess) -> None:
    watcher.start()
    found = await_hosts(broker, {"a": "cart", "b": "cart"}, watcher)
    assert found.log_epoch == broker.epoch
    assert {each.partition for each in found.offsets} == set(range(RESOURCES.partitions))
    held = standing(broker)
    state: ControlPlaneState = decode(held[f"{PREFIX}/default"], ControlPlaneState)
    assert state.mesh_config == b'{"trustDomain":"td"}'
    assert state.environment == {"XDS_AUTH": "false", "CLUSTER_ID": "lab"}
    assert (state.version, state.assumed) == ("1.29.6", ("mesh_networks",))
    everything = b"".join(record.value or b"" for record in broker.records(RESOURCES))
    assert b"canary" not in everything
    assert not any("Secret" in key or "ConfigMap" in key for key in held)
    assert watcher.end(signal.SIGTERM) == 0


def test_changes_and_deletions_follow(broker: MeshBroker, watcher: WatcherProcess) -> None:
    watcher.start()
    first = await_hosts(broker, {"a": "cart", "b": "cart"}, watcher)
    (watcher.directory / "a.yaml").write_text(manifest("a", "other"))
    (watcher.directory / "b.yaml").unlink()
    (watcher.directory / "c.yaml").write_text("a: [\n---\n" + manifest("c"))
    second = await_hosts(broker, {"a": "other", "c": "cart"}, watcher)
    assert second.epoch != first.epoch
    (problem,) = second.problems
    assert problem.startswith("c.yaml:1: document 1: not valid YAML")
    untouched = [
        r for r in broker.records(CONTROL_PLANE_STATE) if r.key == b"directory/lab/default"
    ]
    assert len(untouched) == 1


def test_what_vanished_while_it_was_away_gets_a_tombstone(
    broker: MeshBroker, watcher: WatcherProcess
) -> None:
    other = Resource("networking.istio.io", "v1", "VirtualService", "shop", "theirs")
    foreign = other.key("directory", "elsewhere").encode()
    value = encode(declared_resource(other, "directory", "elsewhere", 0))
    broker.send(RESOURCES, foreign, value)
    broker.flush()
    watcher.start()
    await_hosts(broker, {"a": "cart", "b": "cart"}, watcher)
    watcher.end(signal.SIGKILL)
    (watcher.directory / "b.yaml").unlink()
    watcher.start()
    await_hosts(broker, {"a": "cart"}, watcher)
    assert foreign.decode() in standing(broker)


def test_a_broker_that_is_away_at_the_start_is_waited_for(
    broker: MeshBroker, watcher: WatcherProcess
) -> None:
    broker.kill()
    watcher.start()
    until(lambda: "is away; waiting for it" in watcher.logged, DEADLINE, lambda: watcher.logged)
    (watcher.directory / "c.yaml").write_text(manifest("c"))
    broker.start()
    await_hosts(broker, {"a": "cart", "b": "cart", "c": "cart"}, watcher)
    assert watcher.logged.count("is away; waiting for it") == 1


def test_a_broker_that_lost_its_log_gets_everything_again(
    broker: MeshBroker, watcher: WatcherProcess
) -> None:
    watcher.start()
    first = await_hosts(broker, {"a": "cart", "b": "cart"}, watcher)
    broker.kill()
    (watcher.directory / "b.yaml").unlink()
    (watcher.directory / "c.yaml").write_text(manifest("c"))
    broker.start()
    second = await_hosts(broker, {"a": "cart", "c": "cart"}, watcher)
    assert second.log_epoch == broker.epoch != first.log_epoch
    assert watcher.process is not None
    assert watcher.process.poll() is None


def test_wrong_settings_end_with_a_message() -> None:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("MESHSCOPE_")}
    for extra, message in (
        ({}, "MESHSCOPE_WATCHER_DIRECTORY is not set"),
        ({"MESHSCOPE_WATCHER_DIR": "x"}, "unknown settings MESHSCOPE_WATCHER_DIR"),
        (
            {"MESHSCOPE_WATCHER_DIRECTORY": "x", "MESHSCOPE_WATCHER_ISTIOD_ENV": "X"},
            "write NAME=VALUE",
        ),
    ):
        done = subprocess.run(
            [sys.executable, "-m", "meshscope.watcher"],
            env={**environment, **extra},
            capture_output=True,
            text=True,
            timeout=DEADLINE,
        )
        assert done.returncode == 2
        assert message in done.stderr
