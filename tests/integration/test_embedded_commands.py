"""`meshscope up`, `down`, `status` and `logs` where no whole stack is needed."""

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from embedded import eventually

from meshscope.embedded.commands import down, logs, status, up
from meshscope.embedded.locks import LockHeld, hold_lock, lock_holder
from meshscope.embedded.process_log import RotatingLog, followed
from meshscope.embedded.stack import LOCK, STATUS

pytestmark = pytest.mark.integration

HOLD = """
import sys, time
from pathlib import Path
from meshscope.embedded.locks import hold_lock
hold_lock(Path(sys.argv[1]), "the stack")
print("held", flush=True)
time.sleep(600)
"""


@pytest.fixture
def held(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock of a stack, as one that runs does."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / LOCK)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def run(command: object, home: Path, *arguments: str, **environ: str) -> Result:
    given = {"MESHSCOPE_HOME": str(home), **environ}
    return CliRunner().invoke(command, arguments, env=given)  # type: ignore[arg-type]


def test_a_port_in_use_is_named_and_ends_the_start(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = str(holder.getsockname()[1])
        result = run(up, tmp_path, MESHSCOPE_STORE_PORT=port)
    assert result.exit_code == 2
    assert f"port {port} of the store is in use" in result.stderr
    assert f"by pid {os.getpid()}" in result.stderr
    assert "MESHSCOPE_STORE_PORT" in result.stderr
    assert lock_holder(tmp_path / LOCK) is None


def test_a_home_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = run(up, tmp_path / "file")
    assert result.exit_code == 2
    assert "set MESHSCOPE_HOME" in result.stderr


def test_one_stack_per_home(tmp_path: Path, held: subprocess.Popen[str]) -> None:
    result = run(up, tmp_path)
    assert result.exit_code == 2
    assert f"pid {held.pid}" in result.stderr
    assert "meshscope down" in result.stderr


def test_the_lock_goes_with_its_holder(tmp_path: Path, held: subprocess.Popen[str]) -> None:
    assert lock_holder(tmp_path / LOCK) == held.pid
    with pytest.raises(LockHeld):
        hold_lock(tmp_path / LOCK, "the stack")
    held.kill()
    held.wait()
    assert lock_holder(tmp_path / LOCK) is None
    hold_lock(tmp_path / LOCK, "the stack").release()


def test_down_ends_the_holder_of_the_lock_and_nobody_else(
    tmp_path: Path, held: subprocess.Popen[str]
) -> None:
    # What an earlier stack wrote: its pid may be anybody's by now.
    (tmp_path / STATUS).write_text(json.dumps({"pid": os.getpid(), "services": []}))
    result = run(down, tmp_path)
    assert (result.exit_code, result.stdout) == (0, "ended\n")
    assert held.wait(5) != 0
    assert run(down, tmp_path).stdout == "no stack runs here\n"


def test_status_says_that_nothing_runs(tmp_path: Path) -> None:
    assert run(status, tmp_path).exit_code == 3
    result = run(status, tmp_path, "-o", "json")
    assert result.exit_code == 3
    assert json.loads(result.stdout)["running"] is False


def test_status_while_the_broker_is_away(tmp_path: Path, held: subprocess.Popen[str]) -> None:
    service = {"name": "sink", "state": "ready", "pid": 1, "restarts": 2, "since": 0.0}
    document = {
        "pid": held.pid,
        "brokers": "127.0.0.1:1",
        "services": [{**service, "last_exit": "exit code 1"}],
    }
    (tmp_path / STATUS).write_text(json.dumps(document))
    result = run(status, tmp_path, "-o", "json")
    assert result.exit_code == 0
    found = json.loads(result.stdout)
    assert found["running"] is True
    assert "the broker does not answer" in found["lag_error"]
    table = run(status, tmp_path)
    assert "sink" in table.stdout
    assert "the broker does not answer" in table.stdout


def test_status_of_a_stack_that_has_just_begun_is_not_healthy(
    tmp_path: Path, held: subprocess.Popen[str]
) -> None:
    # Of the stack before, which was killed.
    before = {"pid": os.getpid(), "services": [{"name": "sink", "state": "ready"}]}
    (tmp_path / STATUS).write_text(json.dumps(before))
    result = run(status, tmp_path, MESHSCOPE_BROKER_PORT="1025")
    assert result.exit_code == 1
    assert result.exception is None or isinstance(result.exception, SystemExit)


def test_logs_show_the_end_of_a_log_and_of_the_one_before(tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    log = RotatingLog(folder / "sink.log", limit=20)
    for number in range(5):
        log.write(f"line {number}".encode())
    log.close()
    assert run(logs, tmp_path, "sink", "-n", "3").stdout == "line 2\nline 3\nline 4\n"
    assert run(logs, tmp_path, "sink", "-n", "0").stdout == ""
    result = run(logs, tmp_path, "../sink")
    assert result.exit_code == 2
    assert "there are: sink" in result.stderr


def test_a_log_is_followed_over_its_rotation(tmp_path: Path) -> None:
    log = RotatingLog(tmp_path / "sink.log", limit=100)
    log.write(b"before")
    seen: list[str] = []
    began = threading.Event()
    end = threading.Event()

    def look() -> bool:
        began.set()
        return end.is_set()

    reader = threading.Thread(target=lambda: seen.extend(followed(tmp_path / "sink.log", look)))
    reader.start()
    try:
        assert began.wait(5)
        for number in range(12):
            log.write(f"a line with number {number:02}".encode())
            if number % 4 == 3:
                wanted = number + 1
                eventually(lambda wanted=wanted: len(seen) >= wanted, 5, "the lines")  # type: ignore[misc]
    finally:
        end.set()
        reader.join()
        log.close()
    assert seen == [f"a line with number {number:02}" for number in range(12)]
