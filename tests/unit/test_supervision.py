"""Decisions about processes, settings and platforms of the embedded stack."""

import os
import socket
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshscope.agent import settings as agent_settings
from meshscope.console import settings as console_settings
from meshscope.embedded.commands import GROUPS
from meshscope.embedded.lag import Lag, lag_of
from meshscope.embedded.platforms import LIBRARIES, check_platform
from meshscope.embedded.ports import PortInUse, check_port, listening_socket
from meshscope.embedded.process_log import Lines
from meshscope.embedded.services import services
from meshscope.embedded.settings import SettingsError, StackSettings, check_ports, from_environment
from meshscope.embedded.supervision import (
    EXIT_CONFIGURATION,
    FAILURES_AT_START,
    LONGEST_PAUSE_SECONDS,
    STEADY_SECONDS,
    ServiceState,
    became_ready,
    ended,
    hopeless,
    pause_before_restart,
    recorded_processes,
    started,
    stop_waves,
    stopped,
)
from meshscope.history import settings as sink_settings
from meshscope.sandbox.model import load_index
from meshscope.stream import settings as worker_settings
from meshscope.stream.app import APP_ID
from meshscope.watcher import settings as watcher_settings


@given(st.integers(1, 1000))
def test_pauses_grow_to_a_limit(failures: int) -> None:
    pause = pause_before_restart(failures)
    assert 0 < pause <= pause_before_restart(failures + 1) <= LONGEST_PAUSE_SECONDS


def test_a_life_of_a_process() -> None:
    up = became_ready(started(ServiceState("a"), 7, 3.0, now=4.0), now=5.0)
    assert (up.state, up.pid, up.created, up.since) == ("ready", 7, 3.0, 5.0)
    down = ended(up, -9, 1.0, now=6.0)
    assert (down.state, down.pid, down.created) == ("restarting", 0, 0.0)
    assert (down.restarts, down.failures, down.last_exit) == (1, 1, "killed by signal 9")
    again = ended(started(down, 8, 6.5, now=6.5), 1, 1.0, now=7.0)
    assert (again.restarts, again.failures, again.last_exit) == (2, 2, "exit code 1")
    assert stopped(up, now=9.0).pid == 0


def test_a_late_line_does_not_revive_what_ended() -> None:
    down = ended(started(ServiceState("a"), 7, 3.0, now=4.0), 1, 1.0, now=6.0)
    assert became_ready(down, now=7.0) == down


def test_a_steady_time_forgives_earlier_ends() -> None:
    state = ServiceState("a", "ready", failures=6)
    assert ended(state, 1, STEADY_SECONDS, now=0).failures == 1


def test_a_wrong_configuration_is_not_tried_again() -> None:
    state = ended(ServiceState("a"), EXIT_CONFIGURATION, 0.1, now=0)
    assert (state.state, state.last_exit) == ("failed", "exit code 2")
    assert hopeless(state)


def test_a_start_is_given_up_after_some_failures() -> None:
    state = ServiceState("a")
    for _ in range(FAILURES_AT_START):
        assert not hopeless(state)
        state = ended(state, 1, 0.1, now=0)
    assert hopeless(state)


def test_users_end_before_what_they_use() -> None:
    after = {"broker": (), "store": (), "sink": ("broker", "store"), "page": ()}
    assert stop_waves(after) == (("sink", "page"), ("broker", "store"))
    with pytest.raises(ValueError, match="need each other: a, b"):
        stop_waves({"a": ("b",), "b": ("a",)})


def test_the_table_of_services_names_what_there_is(tmp_path: Path) -> None:
    table = services(StackSettings(tmp_path), load_index())
    names = [service.name for service in table]
    assert len(set(names)) == len(names)
    for number, service in enumerate(table):
        assert set(service.after) <= set(names[:number]), service.name
    waves = stop_waves({service.name: service.after for service in table})
    assert {"broker", "store", "sandbox"} <= set(waves[-1])


def test_every_process_reads_what_it_is_given(tmp_path: Path) -> None:
    settings = StackSettings(
        tmp_path, broker_port=2001, store_port=2002, console_port=2003, convergence_seconds=3.5
    )
    environ = {each.name: each.environ for each in services(settings, load_index())}
    sink = sink_settings.from_environment(environ["sink"])
    assert (sink.brokers, sink.clickhouse_port) == ("127.0.0.1:2001", 2002)
    worker = worker_settings.from_environment(environ["worker"])
    assert worker.data_dir == tmp_path / "worker"
    assert worker.convergence_ms == worker.endpoints_convergence_ms == 3500
    watcher = watcher_settings.from_environment(environ["watcher"])
    assert watcher.directory == tmp_path / "sandbox" / "resources"
    console = console_settings.from_environment(environ["console"])
    assert (console.port, console.clickhouse_port) == (2003, 2002)
    agents = [
        agent_settings.from_environment(given)
        for name, given in environ.items()
        if name.startswith("agent-")
    ]
    assert {agent.brokers for agent in agents} == {"127.0.0.1:2001"}
    assert len({agent.spool for agent in agents}) == len({agent.proxy for agent in agents}) == 7
    assert {agent.cluster for agent in agents} == {watcher.cluster}


def test_status_asks_for_the_groups_of_sink_and_worker() -> None:
    assert (sink_settings.HistorySettings().group, APP_ID) == GROUPS


def test_a_line_is_cut_into_pieces_and_pieces_put_together() -> None:
    lines = Lines(longest=4)
    assert [*lines.feed(b"ab"), *lines.feed(b"c\n\nabcdefghij\nx")] == [
        *(b"abc", b"", b"abcd", b"efgh", b"ij")
    ]
    assert list(lines.feed(b"1234567890")) == [b"x123", b"4567"]
    assert list(lines.end()) == [b"890"]
    assert list(lines.end()) == []


@given(st.binary(), st.lists(st.integers(0, 20)))
def test_lines_do_not_depend_on_how_bytes_arrive(data: bytes, cuts: list[int]) -> None:
    lines = Lines()
    found, rest = [], data
    for cut in cuts:
        found += list(lines.feed(rest[:cut]))
        rest = rest[cut:]
    found += [*lines.feed(rest), *lines.end()]
    assert found == (data.removesuffix(b"\n").split(b"\n") if data else [])


def test_a_status_file_tells_which_processes_there_were() -> None:
    document = {
        "services": [
            {"name": "a", "pid": 12, "created": 3.5},
            {"name": "b", "pid": 0, "created": 0.0},
        ]
    }
    assert recorded_processes(document) == (("a", 12, 3.5),)
    assert recorded_processes({}) == ()


def test_lag_is_the_end_less_what_was_committed() -> None:
    committed = {("t", 0): 5, ("t", 1): 7, ("u", 0): -1001, ("v", 0): 9}
    ends = {("t", 0): 8, ("t", 1): 7, ("u", 0): 4, ("v", 0): 2}
    assert lag_of("g", committed, ends) == (Lag("g", "t", 3), Lag("g", "v", 0))


def test_settings_come_from_the_environment(tmp_path: Path) -> None:
    settings = from_environment({"MESHSCOPE_HOME": str(tmp_path), "MESHSCOPE_BROKER_PORT": "19092"})
    assert settings == StackSettings(tmp_path, broker_port=19092)
    assert settings.brokers == "127.0.0.1:19092"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MESHSCOPE_BROKER_PORT", "80"),
        ("MESHSCOPE_STORE_PORT", "x"),
        ("MESHSCOPE_CONSOLE_PORT", "70000"),
        ("MESHSCOPE_CONVERGENCE_SECONDS", "-1"),
        ("MESHSCOPE_CONVERGENCE_SECONDS", "soon"),
        ("MESHSCOPE_CONVERGENCE_SECONDS", "nan"),
        ("MESHSCOPE_CONVERGENCE_SECONDS", "inf"),
        ("MESHSCOPE_BROKER_PORT", "²"),
        ("MESHSCOPE_BROKER_PORT", ""),
    ],
)
def test_a_wrong_setting_is_named(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=name) as raised:
        from_environment({name: value})
    assert repr(value) in str(raised.value)


def test_one_port_cannot_serve_two() -> None:
    with pytest.raises(SettingsError, match="three ports"):
        from_environment({"MESHSCOPE_BROKER_PORT": "8123"})


def test_a_port_in_use_is_named_with_its_setting_and_process(tmp_path: Path) -> None:
    with listening_socket(0, "test", "NONE") as sock:
        port = sock.getsockname()[1]
        expected = f"port {port} of the broker is in use (by pid {os.getpid()})"
        with pytest.raises(PortInUse) as raised:
            check_port(port, "broker", "MESHSCOPE_BROKER_PORT")
        assert str(raised.value) == f"{expected}; set MESHSCOPE_BROKER_PORT or stop it"
        with pytest.raises(SettingsError, match="MESHSCOPE_BROKER_PORT"):
            check_ports(StackSettings(tmp_path, port, port, port))
    check_port(port, "broker", "MESHSCOPE_BROKER_PORT")


def test_a_port_that_was_just_given_back_is_free() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        client = socket.create_connection(("127.0.0.1", port))
        accepted, _ = server.accept()
        accepted.close()
        client.close()
    check_port(port, "broker", "NONE")


def test_platforms_and_libraries() -> None:
    check_platform("linux", "x86_64")
    check_platform("linux", "aarch64", lambda _: True)
    with pytest.raises(SettingsError, match="does not run on win32 AMD64"):
        check_platform("win32", "AMD64", lambda _: True)
    with pytest.raises(SettingsError, match=r"chdb.*meshscope\[embedded\]") as raised:
        check_platform("linux", "aarch64", lambda name: name != "chdb")
    assert "faust" not in str(raised.value)
    assert "chdb" in LIBRARIES
