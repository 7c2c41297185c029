"""The command line of the sandbox, as far as it needs no sandbox."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from meshscope.sandbox import protocol
from meshscope.sandbox.commands import render_result, render_status, sandbox


def invoke(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(sandbox, arguments)
    return result.exit_code, result.stdout, result.stderr


def test_a_sandbox_that_does_not_run_is_said_so(tmp_path: Path) -> None:
    code, _, errors = invoke("--dir", str(tmp_path), "status")
    assert code == 1
    assert f"no sandbox runs in {tmp_path}" in errors
    assert "Traceback" not in errors


def test_the_states_are_listed_with_their_effect() -> None:
    code, output, _ = invoke("states")
    assert code == 0
    assert "03-canary-50-50  VirtualService catalog: 90/10 becomes 50/50" in output
    assert "Effect: share of catalog v2 rises" in output


def test_an_unknown_state_cannot_be_started(tmp_path: Path) -> None:
    code, _, errors = invoke("--dir", str(tmp_path / "s"), "run", "--state", "nope")
    assert code == 2
    assert "no recorded state 'nope'" in errors


def test_a_result_says_what_is_not_as_it_should_be() -> None:
    result = protocol.MutationResult(
        "00-base",
        [
            protocol.Push("a.x", "1", accepted=["cds", "lds"]),
            protocol.Push("b.x", "1", rejected={"lds": "no provider"}),
            protocol.Push("c.x", "1", unanswered=["cds"]),
            protocol.Push("d.x", "1", note="stale: not sent"),
        ],
    )
    assert list(render_result(result)) == [
        "b.x: Envoy rejected lds: no provider",
        "c.x: no answer for cds",
        "d.x: stale: not sent",
        "1 proxy accepted what was pushed",
        "declared: 00-base",
    ]


def test_the_status_shows_state_faults_and_reasons() -> None:
    proxy = protocol.ProxyStatus(
        proxy="cart-1.shop",
        admin="127.20.0.12:15000",
        state="LIVE",
        pid=17,
        restarts=0,
        connected=True,
        delivered="00-base",
        faults=["reject lds"],
        types={"lds": protocol.TypeStatus("2", "1", True, "no provider")},
    )
    down = msgspec.structs.replace(proxy, state="DOWN", pid=None, connected=False, types={})
    status = protocol.Status(
        pid=1,
        declared="00-base",
        pushed="00-base",
        overlays=["outlier"],
        resources="/r",
        proxies=[proxy, down],
        traffic={},
    )
    lines = list(render_status(status))
    assert "overlays outlier" in lines[0]
    assert " ".join(lines[2].split()) == (
        "cart-1.shop LIVE 17 127.20.0.12:15000 00-base lds rejected reject lds"
    )
    assert lines[3] == "    lds rejected: no provider"
    assert "not connected" in lines[4]


@pytest.mark.parametrize(
    "command",
    [
        protocol.MoveState("00-base"),
        protocol.Reject("a.x", "rds"),
        protocol.SetStale("a.x", False),
        protocol.RemoveRbac("a.x", "plaintext"),
        protocol.Heal(),
        protocol.GetStatus(),
    ],
)
def test_commands_survive_the_wire(command: protocol.Command) -> None:
    assert msgspec.json.decode(msgspec.json.encode(command), type=protocol.Command) == command
