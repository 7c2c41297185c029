"""Real components for tests, each started once and shared as widely as it can be."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from meshscope.sandbox.client import SandboxClient
from meshscope.sandbox.errors import NotRunning
from meshscope.sandbox.paths import SandboxPaths

OTHER_SANDBOX_DEADLINE = 600.0
"""Its addresses are fixed, so one sandbox at a time runs on a machine: wait for another's end."""

START_DEADLINE = 40.0
STOP_DEADLINE = 20.0


class SandboxProcess:
    """`python -m meshscope.sandbox` as a child process."""

    def __init__(self, directory: Path, *arguments: str) -> None:
        self.paths = SandboxPaths(directory)
        self.client = SandboxClient(directory)
        self.log = directory.with_name(directory.name + ".log")
        self._arguments = arguments
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Returns when commands are served; waits for a sandbox of somebody else to end."""
        # A test that failed may have left its own, which nobody else will end.
        self.kill()
        end = time.monotonic() + OTHER_SANDBOX_DEADLINE
        while not self._try_start():
            output = self.log.read_text()
            if "another sandbox runs" not in output:
                pytest.fail(f"the sandbox did not start:\n{output}")
            if time.monotonic() > end:
                pytest.fail(f"another sandbox has been running for {OTHER_SANDBOX_DEADLINE:.0f} s")
            time.sleep(0.5)

    def stop(self) -> int:
        """Ends it as a supervisor does; its exit code."""
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(STOP_DEADLINE)

    def kill(self) -> None:
        """Ends it in whatever way works."""
        if self.process is not None and self.process.poll() is None:
            try:
                self.stop()
            finally:
                self.process.kill()
                self.process.wait()

    def _serves(self) -> bool:
        """Whether it answers; its socket is there a moment before it listens."""
        try:
            self.client.status()
        except NotRunning:
            return False
        return True

    def _try_start(self) -> bool:
        self.paths.control_socket.unlink(missing_ok=True)
        command = [sys.executable, "-m", "meshscope.sandbox", "--dir", str(self.paths.directory)]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [*command, *self._arguments], stdout=log, stderr=subprocess.STDOUT
            )
        end = time.monotonic() + START_DEADLINE
        while self.process.poll() is None and time.monotonic() < end:
            if self._serves():
                return True
            time.sleep(0.02)
        self.kill()
        return False


@pytest.fixture(scope="module")
def sandbox_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxProcess]:
    """A running sandbox. One per module: it starts in about a second, and modules that start the
    whole stack, or test how a sandbox starts and ends, need its addresses for themselves."""
    process = SandboxProcess(tmp_path_factory.mktemp("sandbox") / "home")
    try:
        process.start()
        yield process
    finally:
        process.kill()


@pytest.fixture
def sandbox(sandbox_process: SandboxProcess) -> Iterator[SandboxClient]:
    """A client of the running sandbox, which is in state 00-base and healthy at first, and again
    after the test."""
    yield sandbox_process.client
    client = sandbox_process.client
    client.heal()
    for name in client.status().overlays:
        client.overlay(name, on=False)
    client.state("00-base")
