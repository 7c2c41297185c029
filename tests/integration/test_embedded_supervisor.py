"""The supervisor over real, tiny children."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest
import small_stack
from embedded import eventually
from small_stack import FOREVER, GRANDCHILD, child, document, service

from meshscope.embedded import supervisor
from meshscope.embedded.children import created_at, dies_with_parent, end_survivors
from meshscope.embedded.services import Service
from meshscope.embedded.supervision import recorded_processes
from meshscope.embedded.supervisor import NotStarted, Supervisor

pytestmark = pytest.mark.integration

SECONDS = 20.0


@asynccontextmanager
async def supervised(
    home: Path, services: Sequence[Service], **options: int
) -> AsyncIterator[list[str]]:
    """Run services; gives what the supervisor tells."""
    told: list[str] = []
    stop = asyncio.Event()
    task = asyncio.create_task(
        Supervisor(home, services, {"kept": "fact"}, told.append, **options).run(stop)
    )
    try:
        yield told
    finally:
        stop.set()
        await task


async def until(condition: Callable[[], object], what: str) -> None:
    end = asyncio.get_running_loop().time() + SECONDS
    while not condition():
        if asyncio.get_running_loop().time() > end:
            raise AssertionError(f"not within {SECONDS} s: {what}")
        await asyncio.sleep(0.02)


def ours() -> set[psutil.Process]:
    return set(psutil.Process().children(recursive=True))


def log(home: Path, name: str) -> str:
    return (home / "logs" / f"{name}.log").read_text()


async def test_all_start_in_order_and_all_end(tmp_path: Path) -> None:
    before = ours()
    services = [
        child("broker", f"{GRANDCHILD}\n{FOREVER}"),
        child("worker", FOREVER, after=("broker",)),
        child("quiet", "import time; time.sleep(600)", ready="", after=("worker",)),
    ]
    async with supervised(tmp_path, services) as told:
        await until(lambda: told and told[-1].startswith("everything runs"), "everything runs")
        assert [line.split()[0] for line in told[:3]] == ["broker", "worker", "quiet"]
        found = document(tmp_path)
        assert found["kept"] == "fact"
        assert [entry["state"] for entry in found["services"]] == ["ready"] * 3
        assert len(ours() - before) == 4
    assert ours() <= before
    assert {entry["state"] for entry in document(tmp_path)["services"]} == {"stopped"}
    assert {entry["pid"] for entry in document(tmp_path)["services"]} == {0}


async def test_what_needs_another_ends_before_it(tmp_path: Path) -> None:
    order = tmp_path / "order"
    says_goodbye = (
        "import signal, sys, time\n"
        "def end(*_):\n"
        "    time.sleep(0.2)\n"
        f"    open({str(order)!r}, 'a').write(sys.argv[1] + ' ')\n"
        "    sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, end)\n"
        "print('ready', flush=True)\n"
        "time.sleep(600)"
    )
    services = [
        Service(name, (sys.executable, "-c", says_goodbye, name), ready_line="ready", after=after)
        for name, after in [("store", ()), ("sink", ("store",)), ("page", ("sink",))]
    ]
    async with supervised(tmp_path, services) as told:
        await until(lambda: told and told[-1].startswith("everything runs"), "everything runs")
    assert order.read_text().split() == ["page", "sink", "store"]


async def test_a_crash_is_followed_by_new_starts_at_growing_intervals(tmp_path: Path) -> None:
    times = tmp_path / "times"
    crashes = (
        f"import time; open({str(times)!r}, 'a').write(f'{{time.time()}} ')\n"
        "print('ready', flush=True); raise SystemExit(7)"
    )
    services = [child("broken", crashes), child("whole", FOREVER)]
    async with supervised(tmp_path, services) as told:
        await until(lambda: service(tmp_path, "broken").get("restarts", 0) >= 3, "3 restarts")
        await until(lambda: service(tmp_path, "whole")["state"] == "ready", "the other")
        assert service(tmp_path, "broken")["last_exit"] == "exit code 7"
        assert any("broken ended (exit code 7), again in 0.5 s" in line for line in told)
    starts = [float(text) for text in times.read_text().split()]
    first, second = starts[1] - starts[0], starts[2] - starts[1]
    assert first >= 0.5
    assert second >= 1.0


async def test_a_killed_process_is_ready_again_by_its_own_word(tmp_path: Path) -> None:
    go = tmp_path / "go"
    waits = (
        "import os, time\n"
        f"while not os.path.exists({str(go)!r}): time.sleep(0.01)\n"
        "print('ready', flush=True)\n"
        "time.sleep(600)"
    )
    go.touch()
    async with supervised(tmp_path, [child("one", waits)]):
        await until(lambda: service(tmp_path, "one").get("state") == "ready", "the first start")
        go.unlink()
        psutil.Process(service(tmp_path, "one")["pid"]).kill()
        await until(lambda: service(tmp_path, "one")["restarts"] == 1, "the end is noticed")
        await until(lambda: service(tmp_path, "one")["state"] == "starting", "the next start")
        assert service(tmp_path, "one")["last_exit"] == "killed by signal 9"
        go.touch()
        await until(lambda: service(tmp_path, "one")["state"] == "ready", "the second start")


async def test_a_wrong_setting_ends_the_start_and_shows_the_log(tmp_path: Path) -> None:
    before = ours()
    services = [
        child("fine", FOREVER),
        child("wrong", "import sys; print('PORT is x: give a number'); sys.exit(2)"),
    ]
    with pytest.raises(NotStarted) as raised:
        async with supervised(tmp_path, services):
            await until(lambda: service(tmp_path, "wrong").get("state") == "stopped", "the end")
    assert "wrong cannot be started (exit code 2)" in str(raised.value)
    assert "PORT is x: give a number" in str(raised.value)
    assert ours() <= before


async def test_a_crash_loop_ends_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "pause_before_restart", lambda failures: 0.01)
    with pytest.raises(NotStarted, match="cannot be started"):
        async with supervised(tmp_path, [child("one", "raise SystemExit(1)")]):
            await until(lambda: service(tmp_path, "one").get("state") == "stopped", "the end")


async def test_a_wrong_setting_later_leaves_the_others_running(tmp_path: Path) -> None:
    flag = tmp_path / "flag"
    once = (
        "import os, sys, time\n"
        f"if os.path.exists({str(flag)!r}): sys.exit(2)\n"
        f"open({str(flag)!r}, 'w')\n"
        "print('ready', flush=True)\n"
        "time.sleep(600)"
    )
    async with supervised(tmp_path, [child("one", once), child("other", FOREVER)]) as told:
        await until(lambda: told and told[-1].startswith("everything runs"), "everything runs")
        psutil.Process(service(tmp_path, "one")["pid"]).kill()
        await until(lambda: service(tmp_path, "one")["state"] == "failed", "failed for good")
        assert "one ended for good (exit code 2)" in told[-1]
        assert service(tmp_path, "other")["state"] == "ready"


async def test_output_of_any_shape_is_kept_and_does_not_stop_the_reading(tmp_path: Path) -> None:
    prints = (
        "import sys, time\n"
        "print('z' * 3_000_000)\n"
        "sys.stdout.buffer.write(b'\\xff\\xfe no text\\n')\n"
        "print('ready', flush=True)\n"
        "sys.stdout.write('no end of line'); sys.stdout.flush()\n"
        "time.sleep(600)"
    )
    async with supervised(tmp_path, [child("loud", prints)]):
        await until(lambda: service(tmp_path, "loud").get("state") == "ready", "ready")
    content = (tmp_path / "logs" / "loud.log").read_bytes()
    assert content.count(b"z") == 3_000_000
    assert b"\n\xff\xfe no text\nready\nno end of line\n" in content


async def test_logs_are_rotated(tmp_path: Path) -> None:
    prints = (
        "import time\n"
        "for number in range(5_000): print(f'line {number:04}')\n"
        "print('ready', flush=True)\n"
        "time.sleep(600)"
    )
    async with supervised(tmp_path, [child("one", prints)], log_bytes=10_000):
        await until(lambda: service(tmp_path, "one").get("state") == "ready", "ready")
    files = sorted((tmp_path / "logs").iterdir())
    assert [file.name for file in files] == ["one.log", "one.log.1"]
    assert all(file.stat().st_size <= 10_000 for file in files)
    kept = "".join(file.read_text() for file in reversed(files)).splitlines()
    assert kept[-2:] == ["line 4999", "ready"]
    assert kept[0] == f"line {5_000 - (len(kept) - 1):04}"


async def test_grandchildren_do_not_outlive_a_process_that_dies(tmp_path: Path) -> None:
    before = ours()
    async with supervised(tmp_path, [child("one", f"{GRANDCHILD}\n{FOREVER}")]):
        await until(lambda: service(tmp_path, "one").get("state") == "ready", "ready")
        grown = {process.pid for process in ours() - before}
        assert len(grown) == 2
        psutil.Process(service(tmp_path, "one")["pid"]).kill()
        # The grandchild held its standard output open, too.
        await until(
            lambda: (
                service(tmp_path, "one")["restarts"] == 1
                and service(tmp_path, "one")["state"] == "ready"
            ),
            "the next start",
        )
        await until(lambda: not any(psutil.pid_exists(pid) for pid in grown), "all gone")


async def test_who_does_not_listen_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "STOP_SECONDS", 0.3)
    before = ours()
    deaf = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n{GRANDCHILD}\n{FOREVER}"
    async with supervised(tmp_path, [child("deaf", deaf)]) as told:
        await until(lambda: service(tmp_path, "deaf").get("state") == "ready", "ready")
    assert "deaf does not end by itself" in told[-1]
    assert ours() <= before


async def test_stopping_before_anything_is_up_leaves_nothing(tmp_path: Path) -> None:
    before = ours()
    services = [child("slow", "import time; time.sleep(600)"), child("next", "", after=("slow",))]
    async with supervised(tmp_path, services):
        await asyncio.sleep(0)
    assert ours() <= before


async def test_a_command_that_is_not_there_ends_the_stack_with_its_error(tmp_path: Path) -> None:
    before = ours()
    with pytest.raises(FileNotFoundError, match="nowhere"):
        async with supervised(tmp_path, [child("a", FOREVER), Service("b", ("/nowhere/x",))]):
            await until(lambda: service(tmp_path, "a").get("state") == "stopped", "the end")
    assert ours() <= before


class TestSupervisorProcess:
    """The supervisor as a process of its own, ended from outside."""

    def start(self, home: Path) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, small_stack.__file__, str(home)],
            stdout=subprocess.DEVNULL,
            preexec_fn=dies_with_parent(),
        )
        eventually(lambda: service(home, "second").get("state") == "ready", SECONDS, "a start")
        return process

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
    def test_nothing_is_left_whatever_ends_it(self, tmp_path: Path, number: int) -> None:
        process = self.start(tmp_path)
        children = psutil.Process(process.pid).children(recursive=True)
        # The grandchild is an ordinary process, which no kernel ends with its parent.
        adopted = {each for each in children if each.ppid() != process.pid}
        assert len(children) == 3
        process.send_signal(number)
        process.wait(SECONDS)
        left = set(children) - (adopted if number == signal.SIGKILL else set())
        try:
            eventually(lambda: not any(each.is_running() for each in left), SECONDS, "all gone")
        finally:
            for each in adopted:
                if each.is_running():
                    each.kill()

    def test_the_next_start_ends_what_a_killed_one_left(self) -> None:
        left = subprocess.Popen(
            [sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True
        )
        try:
            created = created_at(left.pid)
            entry = {"name": "one", "pid": left.pid, "created": created - 1}
            other = recorded_processes({"services": [entry]})
            assert end_survivors(other) == ()
            assert left.poll() is None
            same = recorded_processes({"services": [{**entry, "created": created}]})
            assert end_survivors(same) == ("one",)
            assert not psutil.pid_exists(left.pid)
            assert end_survivors(same) == ()
        finally:
            left.kill()
            left.wait()
