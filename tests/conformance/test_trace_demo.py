"""`meshscope trace` on the recorded sandbox mesh, whose applications dial their sidecars."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from check_command import declared, switches, write_demo_dumps
from click.testing import CliRunner

from meshscope.cli.trace import trace

pytestmark = pytest.mark.conformance


@pytest.fixture(scope="module")
def dumps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_demo_dumps(tmp_path_factory.mktemp("demo"))


def traced(state: str, dumps: Path, *arguments: str) -> dict[str, Any]:
    environment = [part for switch in switches() for part in ("--istiod-env", switch)]
    files = [str(path) for path in (*declared(state), dumps)]
    done = CliRunner().invoke(trace, [*environment, *arguments, "-o", "json", *files])
    found: dict[str, Any] = json.loads(done.output)
    assert found["summary"]["exit_code"] == done.exit_code
    return found


def test_a_stale_proxy_parts_and_its_replica_is_unknown(dumps: Path) -> None:
    to = ("--from", "frontend-1.shop", "--to", "cart:8080", "--method", "POST", "--path", "/cart")
    found = traced("01-authz-tightened", dumps, *to)
    assert found["request"]["address"] == "127.21.0.11"
    (parting,) = found["partings"]
    assert (parting["proxies"], parting["side"]) == (["cart-1.shop"], "inbound")
    assert parting["held"]["rule"].startswith("shop/cart-callers[")
    assert [one["proxy"] for one in found["sidecars"] if one["dump"] is None] == ["cart-2.shop"]
    assert {tuple(leg["proxies"]) for leg in found["held"][1:]} == {
        ("cart-1.shop",),
        ("cart-2.shop",),
    }


def test_in_the_base_state_both_accounts_agree(dumps: Path) -> None:
    to = ("--from", "cart-1.shop", "--to", "payments.payments:8080", "--path", "/pay")
    found = traced("00-base", dumps, *to, "--header", "x-user: ann")
    assert found["partings"] == []
    assert found["declared"][0]["outcome"] == found["held"][0]["outcome"]
