"""The whole stack begins, ends in every way that there is, and begins again."""

import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from embedded import eventually
from stack import Stack, new_stack, wait_until
from stream_mesh import free_port

pytestmark = pytest.mark.e2e

GONE_SECONDS = 10.0


def with_free_ports(stack: Stack) -> Stack:
    ports = {f"MESHSCOPE_{name}_PORT": str(free_port()) for name in ("BROKER", "STORE", "CONSOLE")}
    stack.environ = {**stack.environ, **ports}
    return stack


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One for all tests: every start but the first finds what the one before left."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture
def stack(home: Path) -> Iterator[Stack]:
    with new_stack(home) as stack:
        yield with_free_ports(stack)


def everything_runs(stack: Stack) -> bool:
    found = stack.json("status", expect=(0, 1, 3))
    states = [service["state"] for service in found.get("services", [])]
    return bool(found["running"] and states) and set(states) == {"ready"}


def descendants(stack: Stack) -> list[psutil.Process]:
    assert stack.process is not None
    return psutil.Process(stack.process.pid).children(recursive=True)


def gone(process: psutil.Process) -> bool:
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def end(stack: Stack, how: str) -> None:
    if how == "down":
        assert stack.run("down") == "ended\n"
        assert stack.process is not None
        assert stack.process.wait(GONE_SECONDS) == 0
        stack.process = None
    else:
        number = signal.Signals[how]
        assert stack.stop(number) == (-number if number == signal.SIGKILL else 0)


@pytest.mark.parametrize("how", ["SIGINT", "SIGTERM", "SIGKILL", "SIGHUP", "down"])
def test_no_process_and_no_lock_is_left(stack: Stack, how: str) -> None:
    stack.start(lambda: everything_runs(stack))
    children = descendants(stack)
    names = {Path(child.exe()).name.partition("-")[0] for child in children}
    assert {"envoy", "tansu"} <= names
    end(stack, how)
    eventually(lambda: all(gone(child) for child in children), GONE_SECONDS, f"all gone: {how}")
    assert stack.json("status", expect=(3,))["running"] is False
    assert stack.run("down") == "no stack runs here\n"


def test_what_is_killed_comes_again_and_a_second_stack_is_refused(
    stack: Stack, tmp_path: Path
) -> None:
    stack.start(lambda: everything_runs(stack))
    for process in descendants(stack):
        if Path(process.exe()).name.startswith("tansu"):
            process.kill()
    for name in ("store", "worker", "agent-cart-1"):
        services = stack.json("status", expect=(0, 1))["services"]
        psutil.Process(next(each["pid"] for each in services if each["name"] == name)).kill()
    wait_until("all have begun again", lambda: began_again(stack) == 4, 30.0, stack)
    wait_until("everything runs", lambda: everything_runs(stack), 30.0, stack)

    stack.run("up", expect=(2,))
    with new_stack(tmp_path) as other:
        with_free_ports(other)
        other.run("up", expect=(2,))
        log = (tmp_path / "logs" / "sandbox.log").read_text()
        assert "another sandbox runs on this machine" in log
    assert everything_runs(stack)
    end(stack, "SIGTERM")


def began_again(stack: Stack) -> int:
    services = stack.json("status", expect=(0, 1))["services"]
    return sum(service["restarts"] for service in services)
