"""`meshscope check` as a command: real files, and what people mistake for them."""

import gzip
import json
from pathlib import Path

import pytest
from check_command import (
    BASE,
    DEMO_PROXIES,
    check,
    check_json,
    declared,
    on_terminal,
    switches,
    write_demo_dumps,
)
from dumps import capture_path
from shared_data import shared

pytestmark = pytest.mark.integration

VIRTUAL_SERVICE = """\
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: cart, namespace: shop}
spec:
  hosts: [cart]
  http: [{route: [{destination: {host: cart}}]}]
"""


@pytest.fixture
def resources(tmp_path: Path) -> Path:
    path = tmp_path / "resources"
    path.mkdir()
    (path / "vs.yaml").write_text(VIRTUAL_SERVICE)
    return path


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_demo_dumps(tmp_path_factory.mktemp("demo"))


# Declarations


def test_declarations_alone(resources: Path) -> None:
    done = check("--resources", resources)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"1 resource, 0 proxies" in done.stdout
    assert b"only the declarations were examined" in done.stdout
    assert b"\x1b" not in done.stdout


def test_the_recorded_declarations_have_no_errors() -> None:
    code, report = check_json("--resources", *declared(BASE))
    found = {(f["code"], f["resource"]["name"]) for f in report["findings"]}
    assert (code, found) == (0, {("MSC-2111", "frontend-admin"), ("MSC-2312", "cart")})
    assert report["controlPlanes"][0]["assumed"] == ["mesh_networks", "environment", "version"]


def test_findings_and_thresholds(resources: Path) -> None:
    (resources / "again.yaml").write_text(VIRTUAL_SERVICE)
    assert check("--resources", resources).returncode == 0
    assert check("--resources", resources, "--fail-on", "warning").returncode == 1
    (resources / "vs.yaml").write_text(VIRTUAL_SERVICE.replace("hosts:", "host:"))
    code, report = check_json("--resources", resources)
    assert code == 1
    assert [(f["code"], Path(f["file"]).name, f["line"]) for f in report["findings"]] == [
        ("MSC-2003", "vs.yaml", 5),
        ("MSC-2004", "again.yaml", 1),
    ]


def test_standard_input_gzip_and_many_paths(resources: Path, tmp_path: Path) -> None:
    packed = tmp_path / "packed.yaml.gz"
    packed.write_bytes(gzip.compress(VIRTUAL_SERVICE.replace("cart", "other").encode()))
    piped = VIRTUAL_SERVICE.replace("cart", "third").encode()
    code, report = check_json("--resources", resources, packed, "-", stdin=piped)
    assert (code, report["summary"]["resources"]) == (0, 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "give --resources, or --bug-report"),
        (("--resources", "r", "--istiod-env", "X"), "not NAME=VALUE"),
        (("--resources", "r", "--mesh-config", "/nowhere"), "no such file"),
        (("--resources", "-", "--config-dump", "-"), "can be read once only"),
        (("--resources", "r", "-o", "xml"), "xml"),
        (("--resources", "r", "--colour"), "--colour"),
    ],
)
def test_wrong_usage(arguments: tuple[str, ...], message: str) -> None:
    done = check(*arguments)
    assert done.returncode == 2
    assert message in done.stderr.decode()
    assert done.stdout == b""


@pytest.mark.parametrize(
    ("name", "content", "code", "message"),
    [
        ("a.yaml", b"a: [\n", "MSC-2001", "not valid YAML"),
        ("a.yaml", b"a: \xff\n", "MSC-2001", "not UTF-8"),
        ("a.yaml", b"- 1\n", "MSC-2002", "not a resource"),
        ("a.yaml.gz", gzip.compress(b"a: 1")[:-6], "MSC-5011", "damaged gzip"),
        ("a.yaml", None, "MSC-5011", "no such file or directory"),
    ],
)
def test_unreadable_resources(
    resources: Path, name: str, content: bytes | None, code: str, message: str
) -> None:
    path = resources / name
    if content is None:
        path.symlink_to("nowhere")
    else:
        path.write_bytes(content)
    exit_code, report = check_json("--resources", resources)
    assert exit_code == 2
    (finding,) = report["findings"]
    assert (finding["code"], finding["file"]) == (code, str(path))
    assert message in finding["explanation"]
    assert report["summary"]["resources"] == 1
    table = check("--resources", resources)
    assert table.returncode == 2
    assert b"was left out" in table.stdout


@pytest.mark.parametrize("path", ["nowhere", "empty"])
def test_nothing_to_read(tmp_path: Path, path: str) -> None:
    (tmp_path / "empty").mkdir()
    code, report = check_json("--resources", tmp_path / path)
    assert code == 2
    assert str(tmp_path / path) in report["findings"][0]["file"]


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b'{"configs": []}', gzip.compress(b"{}")[:9]])
def test_an_unreadable_dump(resources: Path, tmp_path: Path, data: bytes) -> None:
    dump = tmp_path / "cart-1.shop.json"
    dump.write_bytes(data)
    code, report = check_json("--resources", resources, "--config-dump", dump)
    assert code == 2
    assert [(p["proxy"], p["verdict"]) for p in report["proxies"]] == [("cart-1.shop", "unknown")]
    assert report["findings"][0]["code"] == "MSC-5011"


# Dumps


def test_the_recorded_mesh_has_no_drift(demo: Path) -> None:
    environment = [part for switch in switches() for part in ("--istiod-env", switch)]
    code, report = check_json("--resources", *declared(BASE), "--config-dump", demo, *environment)
    assert code in (0, 3), report
    assert [proxy["proxy"] for proxy in report["proxies"]] == list(DEMO_PROXIES)
    for proxy in report["proxies"]:
        assert proxy["verdict"] in ("in-sync", "unverifiable")
        assert [d for d in proxy["differences"] if d["effect"] != "equivalent"] == []
        assert proxy["inference_coverage"] > 0.99


def test_a_stale_proxy_drifts_and_the_policy_is_named(demo: Path) -> None:
    arguments = ("--resources", *declared("01-authz-tightened"), "--config-dump", demo)
    code, report = check_json(*arguments, "--istiod-env", *switches())
    assert code == 1
    cart = report["proxies"][0]
    assert (cart["proxy"], cart["verdict"]) == ("cart-1.shop", "drift")
    (difference,) = [d for d in cart["differences"] if d["kind"] == "authorization"]
    assert difference["code"] == "MSC-1083"
    assert difference["effect"] == "exposes"
    source = {"kind": "AuthorizationPolicy", "namespace": "shop", "name": "cart-callers"}
    assert source in difference["sources"]
    table = check(*arguments, "--istiod-env", *switches())
    assert table.returncode == 1
    for part in (b"exposes", b"AuthorizationPolicy shop/cart-callers", b"Not clean."):
        assert part in table.stdout


def test_a_dump_without_its_routes_is_not_clean(demo: Path, tmp_path: Path) -> None:
    dump = json.loads((demo / "cart-1.shop.json").read_text())
    dump["configs"] = [c for c in dump["configs"] if "RoutesConfigDump" not in c["@type"]]
    path = tmp_path / "cart-1.shop.json.gz"
    path.write_bytes(gzip.compress(json.dumps(dump).encode()))
    arguments = ("--resources", *declared(BASE), "--config-dump", path, "--istiod-env", *switches())
    code, report = check_json(*arguments)
    assert code == 3
    assert report["proxies"][0]["verdict"] == "unverifiable"
    reasons = [part["reason"] for part in report["proxies"][0]["unverifiable"]]
    assert any("RoutesConfigDump" in reason for reason in reasons)
    assert check(*arguments).returncode == 3


def test_a_captured_mesh_has_no_drift() -> None:
    path = shared("captures", "bookshop", "states", "000-base", "resources.yaml")
    mesh = json.loads(shared("captures", "bookshop", "mesh.json").read_text())
    dumps = [capture_path("bookshop", "000-base", proxy["id"]) for proxy in mesh["proxies"]]
    code, report = check_json("--resources", path, "--config-dump", *dumps)
    assert code in (0, 3)
    for proxy in report["proxies"]:
        assert [d for d in proxy["differences"] if d["effect"] != "equivalent"] == []


@pytest.mark.parametrize(("no_color", "coloured"), [("", True), ("1", False)])
def test_colours_on_a_terminal_unless_nobody_wants_them(
    resources: Path, no_color: str, coloured: bool
) -> None:
    (resources / "again.yaml").write_text(VIRTUAL_SERVICE)
    code, shown = on_terminal("stdout", "--resources", resources, no_color=no_color)
    assert code == 0
    assert (b"\x1b[33m" in shown) == coloured
