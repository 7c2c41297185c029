"""`meshscope check --against` as a command, on the states of a recorded mesh."""

import json
from pathlib import Path

import pytest
from check_command import BASE, check, declared, switches, write_demo_dumps

pytestmark = pytest.mark.integration

TIGHTENED = "01-authz-tightened"
LOST = "POST /cart/* or /cart from cluster.local/ns/shop/sa/frontend"


def compared(state: str, *arguments: object, against: str = BASE) -> tuple[int, str]:
    """Exit code and what is printed; nothing may stand on standard error."""
    done = check(
        "--resources",
        *declared(state),
        "--against",
        *declared(against),
        "--istiod-env",
        *switches(),
        *arguments,
    )
    assert done.stderr == b"", done.stderr.decode()
    return done.returncode, done.stdout.decode()


def test_table_json_and_markdown_say_the_same() -> None:
    code, table = compared(TIGHTENED)
    assert code == 1
    assert f"loses access  {LOST}" in table
    assert "\x1b" not in table
    code, text = compared(TIGHTENED, "-o", "json")
    report = json.loads(text)
    assert (code, report["summary"]["exit_code"]) == (1, 1)
    assert (report["apiVersion"], report["kind"]) == ("meshscope.io/v1", "AgainstReport")
    assert report["summary"]["proxies"] == 7
    changed = [proxy["proxy"] for proxy in report["proxies"] if proxy["verdict"] == "changed"]
    assert changed == ["cart-1.shop", "cart-2.shop"]
    code, markdown = compared(TIGHTENED, "-o", "markdown")
    assert code == 1
    assert f"  - loses access: `{LOST}`\n" in markdown


def test_the_same_declaration_changes_nothing() -> None:
    code, table = compared(BASE)
    assert code == 0
    assert table.rstrip().endswith("No change in behaviour.")


@pytest.mark.parametrize(
    ("state", "heading"),
    [
        ("03-canary-50-50", "Which requests go elsewhere"),
        ("13-client-tls-disabled", "What is encrypted or identified otherwise"),
    ],
)
def test_headings(state: str, heading: str) -> None:
    code, table = compared(state)
    assert code == 1
    assert heading in table


def test_dumps_say_which_sidecars_there_are(tmp_path: Path) -> None:
    resources, _ = declared(BASE)
    tightened, _ = declared(TIGHTENED)
    pair = ("--resources", tightened, "--against", resources)
    done = check(*pair)
    assert done.returncode == 3
    assert b"No sidecar is known" in done.stdout
    done = check(*pair, "--config-dump", write_demo_dumps(tmp_path), "-o", "json")
    assert done.returncode == 1
    report = json.loads(done.stdout)
    assert {proxy["proxy"]: proxy["verdict"] for proxy in report["proxies"]} == {
        "cart-1.shop": "changed",
        "frontend-1.shop": "unchanged",
        "payments-1.payments": "unchanged",
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--bug-report", "b", "--against", "a"), "--against needs --resources"),
        (("--resources", "r", "--against", "a", "-o", "sarif"), "-o sarif is not for --against"),
        (("--resources", "r", "-o", "markdown"), "-o markdown is for --against"),
        (("--resources", "-", "--against", "-"), "can be read once only"),
    ],
)
def test_wrong_usage(arguments: tuple[str, ...], message: str) -> None:
    done = check(*arguments)
    assert done.returncode == 2
    assert message in done.stderr.decode()


def test_an_old_side_that_is_not_there() -> None:
    done = check("--resources", *declared(BASE), "--against", "/nowhere", "-o", "json")
    assert done.returncode == 2
    assert "/nowhere" in json.loads(done.stdout)["findings"][0]["file"]
