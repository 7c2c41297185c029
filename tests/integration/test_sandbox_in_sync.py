"""What real Envoys hold is what the sandbox's resources declare, whatever happened at run time."""

import json
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from meshscope.comparison.comparator import compare
from meshscope.comparison.verdict import ProxyVerdict
from meshscope.inference.config_dump import read_config_dump
from meshscope.inference.infer import infer
from meshscope.projection.project import project
from meshscope.sandbox.client import SandboxClient
from meshscope.sandbox.model import load_index
from meshscope.watcher.control_plane import control_plane
from meshscope.watcher.manifests import read_manifests

pytestmark = pytest.mark.integration

SOON = 20.0


def ask(admin: str, path: str) -> bytes:
    with urllib.request.urlopen(f"http://{admin}{path}", timeout=10) as answer:
        body: bytes = answer.read()
        return body


def verdicts(sandbox: SandboxClient, resources: Path) -> dict[str, ProxyVerdict]:
    """The verdict on every proxy, from its live dump and the watched directory."""
    index = load_index()
    files = sorted(path for path in resources.iterdir() if path.suffix == ".yaml")
    declared = tuple(read_manifests((str(path), path.read_bytes()) for path in files).resources)
    settings = control_plane(
        declared, version=index.istio_version, environment=index.istiod_environment
    ).control_plane
    found = {}
    for proxy in sandbox.status().proxies:
        held = infer(read_config_dump(ask(proxy.admin, "/config_dump?include_eds"), proxy.proxy))
        found[proxy.proxy] = compare(
            project(settings, declared, held.proxy), held.policies, unreferenced=held.unreferenced
        )
    return found


def expect_in_sync(sandbox: SandboxClient, resources: Path) -> None:
    wrong = {
        proxy: [(str(d.key), d.expected, d.observed) for d in verdict.differences]
        for proxy, verdict in verdicts(sandbox, resources).items()
        if verdict.verdict != "in-sync"
    }
    assert wrong == {}


def wait_until(what: str, condition: Callable[[], bool]) -> None:
    until = time.monotonic() + SOON
    while not condition():
        assert time.monotonic() < until, what
        time.sleep(0.1)


@pytest.fixture
def resources(sandbox_process: "object") -> Path:
    directory: Path = sandbox_process.paths.resources  # type: ignore[attr-defined]
    return directory


def test_the_base_is_in_sync(sandbox: SandboxClient, resources: Path) -> None:
    expect_in_sync(sandbox, resources)


def test_a_cluster_that_envoy_resolves_is_in_sync(sandbox: SandboxClient, resources: Path) -> None:
    sandbox.overlay("dns-cluster")

    def resolved() -> bool:
        return any(
            host["address"]["socket_address"] == {"address": "127.0.0.1", "port_value": 18080}
            for proxy in sandbox.status().proxies
            for cluster in json.loads(ask(proxy.admin, "/clusters?format=json"))["cluster_statuses"]
            for host in cluster.get("host_statuses", [])
            if "socket_address" in host["address"]
        )

    wait_until("the name is resolved", resolved)
    expect_in_sync(sandbox, resources)


def test_an_ejected_host_is_in_sync(sandbox: SandboxClient, resources: Path) -> None:
    sandbox.overlay("outlier")

    def ejected() -> bool:
        return any(
            host.get("health_status", {}).get("failed_outlier_check")
            for proxy in sandbox.status().proxies
            for cluster in json.loads(ask(proxy.admin, "/clusters?format=json"))["cluster_statuses"]
            for host in cluster.get("host_statuses", [])
        )

    wait_until("a host is ejected", ejected)
    expect_in_sync(sandbox, resources)
