"""How a sandbox starts and ends: nothing is left behind, and what is in the way is named."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from meshscope.sandbox.client import SandboxClient
from meshscope.sandbox.errors import NotRunning

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def started(sandbox_process: Any) -> Iterator[Any]:
    """The module's sandbox, started and ended by each test as it likes."""
    sandbox_process.kill()
    yield sandbox_process
    sandbox_process.kill()


def children(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(word) for word in text.split()]


def wait_until_gone(pids: list[int], deadline: float = 5.0) -> None:
    end = time.monotonic() + deadline
    while left := [pid for pid in pids if Path(f"/proc/{pid}").exists()]:
        assert time.monotonic() < end, f"processes {left} are still there"
        time.sleep(0.02)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_and_all_its_children(started: Any, number: signal.Signals) -> None:
    started.start()
    envoys = [item.pid for item in started.client.status().proxies]
    assert sorted(envoys) == sorted(children(started.process.pid))
    started.process.send_signal(number)
    assert started.process.wait(20) == 0
    assert not any(Path(f"/proc/{pid}").exists() for pid in envoys)
    assert not started.paths.control_socket.exists()
    with pytest.raises(NotRunning, match="no sandbox runs"):
        started.client.status()


def test_a_signal_during_the_start_ends_it_too(started: Any) -> None:
    command = [sys.executable, "-m", "meshscope.sandbox", "--dir", str(started.paths.directory)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        try:
            end = time.monotonic() + 20
            while not list(started.paths.proxies.glob("*/envoy.pid")):
                assert time.monotonic() < end
                assert process.poll() is None
                time.sleep(0.005)
            running = children(process.pid)
            process.terminate()
            assert process.wait(20) == 0
            assert not any(Path(f"/proc/{pid}").exists() for pid in running)
        finally:
            process.kill()


def test_a_killed_sandbox_leaves_no_envoy_and_the_next_one_starts(started: Any) -> None:
    started.start()
    envoys = [item.pid for item in started.client.status().proxies]
    started.process.kill()
    started.process.wait()
    wait_until_gone(envoys)
    started.start()
    assert {item.state for item in started.client.status().proxies} == {"LIVE"}
    assert started.stop() == 0


def test_it_starts_fast(started: Any) -> None:
    started.start()  # waits for sandboxes of others, which is not what is measured
    assert started.stop() == 0
    begin = time.monotonic()
    started.start()
    assert time.monotonic() - begin < 10  # about 1.3 s on a free machine
    assert started.stop() == 0


def test_a_second_sandbox_is_refused(started: Any, tmp_path: Path) -> None:
    started.start()
    output, code = run_to_its_end(tmp_path / "second")
    assert code == 2
    assert "another sandbox runs on this machine" in output
    assert {item.state for item in started.client.status().proxies} == {"LIVE"}
    assert started.stop() == 0


@pytest.mark.parametrize(
    ("address", "what"),
    [(("127.20.0.11", 15000), "an admin port"), (("127.21.0.12", 8080), "an outbound listener")],
)
def test_an_address_in_use_is_named(
    started: Any, tmp_path: Path, address: tuple[str, int], what: str
) -> None:
    started.start()  # nobody else's sandbox is at these addresses
    assert started.stop() == 0
    with socket.create_server(address):
        output, code = run_to_its_end(tmp_path / "second")
    assert code == 2, what
    assert f"{address[0]}:{address[1]} is already in use by process {os.getpid()}" in output
    assert f"kill {os.getpid()}" in output
    assert "Traceback" not in output


def test_a_deep_directory_does_not_matter(started: Any) -> None:
    deep = started.paths.directory.with_name("d" * 120) / ("e" * 60)
    process = type(started)(deep)
    deep.parent.mkdir()
    try:
        process.start()
        assert {item.state for item in SandboxClient(deep).status().proxies} == {"LIVE"}
        assert process.stop() == 0
    finally:
        process.kill()


def run_to_its_end(directory: Path) -> tuple[str, int]:
    result = subprocess.run(
        [sys.executable, "-m", "meshscope.sandbox", "--dir", str(directory)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=40,
        check=False,
    )
    return result.stdout, result.returncode
