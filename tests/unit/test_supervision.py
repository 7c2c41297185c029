"""Decisions about processes, settings and platforms of the embedded stack."""

import os
import socket
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshscope.embedded.lag import Lag, lag_of
from meshscope.embedded.platforms import LIBRARIES, check_platform
from meshscope.embedded.ports import PortInUse, check_port, listening_socket
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
from meshscope.sandbox.model import load_index


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
