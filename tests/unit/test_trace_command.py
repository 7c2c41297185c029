"""`meshscope trace`: from files to a report."""

from __future__ import annotations

import gzip
import io
import json
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from dumps import DATA, capture_path

from meshscope.cli.sorting import is_dump, sort_inputs
from meshscope.cli.trace import trace

Json = dict[str, Any]

MESH = DATA / "bookshop"
RESOURCES = MESH / "resources" / "000-base.yaml.gz"
DUMPS = MESH / "dumps" / "000-base"
READER = "catalog/books-readers"


def run(*arguments: object, stdin: bytes = b"") -> Result:
    return CliRunner().invoke(trace, list(map(str, arguments)), input=stdin)


def report(*arguments: object, stdin: bytes = b"") -> tuple[int, Json]:
    done = run(*arguments, "-o", "json", stdin=stdin)
    found: Json = json.loads(done.output)
    assert found["summary"]["exit_code"] == done.exit_code
    return done.exit_code, found


def asked(*arguments: object) -> tuple[object, ...]:
    return "--from", "api-v1-pz5sh.storefront", "--to", "books.catalog:8000", *arguments


def resources(directory: Path, *changes: tuple[str, str]) -> Path:
    """The resources with some text replaced, which must be there."""
    text = gzip.decompress(RESOURCES.read_bytes()).decode()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path = directory / "resources.yaml"
    path.write_text(text)
    return path


def stages(leg: Json) -> list[str]:
    return [step["stage"] for step in leg["steps"]]


def test_declared_and_held_agree() -> None:
    code, found = report(*asked("--path", "/api/books"), RESOURCES, DUMPS)
    assert (code, found["partings"], found["open"]) == (0, [], [])
    outbound, inbound = found["declared"]
    assert stages(outbound)[:4] == ["listener", "filter_chain", "virtual_host", "route"]
    assert stages(inbound)[:4] == ["connection", "listener", "filter_chain", "tls"]
    assert inbound["proxies"] == ["books-v1-qgckn.catalog"]
    assert [leg["outcome"] for leg in found["held"]] == [
        leg["outcome"] for leg in found["declared"]
    ]
    route = outbound["steps"][3]
    assert {one["kind"] for one in route["resources"]} == {"VirtualService"}
    assert route["resources"][0]["place"] == f"{RESOURCES}:1980"


def test_the_deciding_rule_is_named_with_its_resource() -> None:
    _, found = report(*asked("--path", "/books/1"), RESOURCES, DUMPS)
    denied, allowed = (
        step for step in found["declared"][1]["steps"] if step["stage"] == "authorization"
    )
    assert (denied["says"], denied["rule"]) == ("no DENY rule matches", None)
    assert [one["name"] for one in denied["resources"]] == ["no-debug"]
    assert allowed["rule"] == f"{READER}[0]"
    assert allowed["resources"] == [
        {
            "kind": "AuthorizationPolicy",
            "namespace": "catalog",
            "name": "books-readers",
            "place": f"{RESOURCES}:2159",
        }
    ]


def test_they_part_where_a_rule_has_not_arrived(tmp_path: Path) -> None:
    changed = resources(tmp_path, ("- /books/*", "- /novels/*"))
    code, found = report(*asked("--path", "/books/1"), changed, DUMPS)
    assert code == 1
    (parting,) = found["partings"]
    assert (parting["side"], parting["proxies"]) == ("inbound", ["books-v1-qgckn.catalog"])
    assert parting["declared"]["says"] == "there are ALLOW rules and none matches"
    assert parting["held"]["rule"] == f"{READER}[0]"
    text = run(*asked("--path", "/books/1"), changed, DUMPS).output
    assert "They part at books-v1-qgckn.catalog, inbound:" in text
    assert "- authorization: there are ALLOW rules and none matches" in text
    assert "+ authorization: an ALLOW rule matches" in text


LUA = """
---
apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
metadata: {name: script, namespace: catalog}
spec:
  configPatches:
  - applyTo: HTTP_FILTER
    match: {context: SIDECAR_INBOUND}
    patch:
      operation: INSERT_FIRST
      value:
        name: script
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua
          default_source_code: {inline_string: "function envoy_on_request(h) end"}
"""


def test_what_is_not_modelled_is_said(tmp_path: Path) -> None:
    script = tmp_path / "script.yaml"
    script.write_text(LUA)
    code, found = report(*asked("--path", "/books/1"), RESOURCES, script, DUMPS)
    assert code == 3
    assert any("script" in reason for reason in found["open"]), found["open"]
    assert "not known: books-v1-qgckn.catalog" in run(*asked(), RESOURCES, script, DUMPS).output


def test_a_dump_without_its_endpoints_leaves_them_open(tmp_path: Path) -> None:
    whole = capture_path("bookshop", "000-base", "api-v1-pz5sh.storefront")
    dump = json.loads(gzip.decompress(whole.read_bytes()))
    dump["configs"] = [one for one in dump["configs"] if "EndpointsConfig" not in one["@type"]]
    path = tmp_path / "api-v1-pz5sh.storefront.json"
    path.write_text(json.dumps(dump))
    _, found = report(*asked(), RESOURCES, path)
    assert any("lacks EndpointsConfigDump" in reason for reason in found["open"])
    assert found["held"][-1]["outcome"]["result"] == "undecided"


def test_without_dumps_only_the_declaration_is_followed() -> None:
    code, found = report(*asked(), RESOURCES)
    assert (code, found["held"]) == (3, None)
    assert {one["dump"] for one in found["sidecars"]} == {None}
    assert "There is no dump" in run(*asked(), RESOURCES).output


def test_without_resources_only_what_is_held_is_followed() -> None:
    code, found = report(*asked(), DUMPS)
    assert (code, found["declared"]) == (3, None)
    assert "nothing is declared in these files" in found["open"]
    assert len(found["held"]) == 2


def test_a_destination_without_a_dump_is_taken_as_declared(tmp_path: Path) -> None:
    source = capture_path("bookshop", "000-base", "api-v1-pz5sh.storefront")
    code, found = report(*asked(), RESOURCES, source)
    assert code == 3
    assert {one["proxy"]: bool(one["dump"]) for one in found["sidecars"]} == {
        "api-v1-pz5sh.storefront": True,
        "books-v1-qgckn.catalog": False,
    }
    assert "as declared; there is no dump" in run(*asked(), RESOURCES, source).output


@pytest.mark.parametrize(
    ("to", "where", "says"),
    [
        ("queue.orders:5672", "10.244.1.34", "has no address of its own"),
        ("queue-1.queue.orders:5672", "10.244.2.34", None),
        ("books.catalog.svc.cluster.local.", "10.96.1.21", None),
        ("10.96.1.21:8000", "10.96.1.21", None),
        ("nowhere.example:80", None, "no service is called nowhere.example"),
    ],
)
def test_what_is_dialled(to: str, where: str | None, says: str | None) -> None:
    _, found = report("--from", "api.storefront", "--to", to, RESOURCES, DUMPS)
    assert found["request"]["address"] == where
    assert any(says in note for note in found["notes"]) if says else True


def test_a_host_without_a_service_is_not_guessed() -> None:
    code, found = report("--from", "orders", "--to", "nowhere.example", RESOURCES, DUMPS)
    assert code == 3
    assert found["declared"][-1]["outcome"]["result"] == "undecided"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--from", "nobody", "--to", "books.catalog"), "no workload is called 'nobody'"),
        (("--from", "orders", "--to", "queue"), "give one of queue:5672, queue:15672"),
        (("--from", "orders", "--to", "a:b"), "no HOST or HOST:PORT"),
        (("--from", "orders", "--to", "books.catalog", "--header", "x"), "not NAME:VALUE"),
    ],
)
def test_wrong_usage(arguments: tuple[str, ...], message: str) -> None:
    done = run(*arguments, RESOURCES)
    assert done.exit_code == 2
    assert message in " ".join(done.output.split())


def test_standard_input_is_read_once() -> None:
    done = run("--from", "orders", "--to", "books.catalog", "-", "-")
    assert (done.exit_code, "can be read once only" in done.output) == (2, True)


def test_input_that_cannot_be_read_is_never_clean(tmp_path: Path) -> None:
    broken = tmp_path / "broken.json"
    broken.write_text('{"configs": [')
    code, found = report(*asked(), RESOURCES, DUMPS, broken)
    assert code == 2
    assert [Path(one["file"]).name for one in found["findings"]] == ["broken.json"]


def test_a_bug_report_holds_both(tmp_path: Path) -> None:
    packed = tmp_path / "bug-report.tar.gz"
    with tarfile.open(packed, "w:gz") as archive:
        _pack(archive, "cluster/k8s-resources", gzip.decompress(RESOURCES.read_bytes()))
        _pack(archive, "cluster/crs", b"")
        for proxy in ("api-v1-pz5sh.storefront", "books-v1-qgckn.catalog"):
            pod, _, namespace = proxy.rpartition(".")
            path = f"proxies/{namespace}/{pod}/config_dump?include_eds"
            data = gzip.decompress(capture_path("bookshop", "000-base", proxy).read_bytes())
            _pack(archive, path, data)
    assert report(*asked(), packed)[0] == 0
    assert report(*asked(), "-", stdin=packed.read_bytes())[0] == 0
    shutil.unpack_archive(packed, tmp_path / "unpacked")
    assert report(*asked(), tmp_path / "unpacked")[0] == 0


def _pack(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    entry = tarfile.TarInfo(f"bug-report/{name}")
    entry.size = len(data)
    archive.addfile(entry, io.BytesIO(data))


@pytest.mark.parametrize(
    ("data", "dump"),
    [
        (b'{"configs": []}', True),
        (b'{"configs": [{', True),
        (b'{"apiVersion": "v1", "kind": "List", "items": []}', False),
        (b'{"apiVersion": "v1"', False),
        (b"[]", False),
        (b"kind: Service", False),
        (b"", False),
    ],
)
def test_dumps_are_told_from_resources(data: bytes, dump: bool) -> None:
    assert is_dump(data) == dump


def test_an_empty_directory_is_lost_input(tmp_path: Path) -> None:
    (found,) = sort_inputs((str(tmp_path),)).unreadable
    assert found.file == str(tmp_path)


def test_a_token_is_read_and_its_signature_is_not() -> None:
    token = "Bearer e30.eyJpc3MiOiAieCJ9.c2ln"  # noqa: S105 (no secret: {"iss": "x"})
    _, found = report(*asked("--header", f"authorization: {token}"), RESOURCES, DUMPS)
    assert any("it counts as valid" in note for note in found["notes"])


# Who and where


def edited(directory: Path, name: str, edit: Callable[[Json], None]) -> Path:
    """The dump of a proxy with a changed node."""
    dump = json.loads(gzip.decompress(capture_path("bookshop", "000-base", name).read_bytes()))
    for config in dump["configs"]:
        if "BootstrapConfigDump" in config["@type"]:
            edit(config["bootstrap"]["node"])
    path = directory / f"{name}.json"
    path.write_text(json.dumps(dump))
    return path


def test_of_several_pods_one_is_taken_and_said() -> None:
    _, found = report("--from", "queue.orders", "--to", "books.catalog", RESOURCES, DUMPS)
    assert "queue.orders has 2 Pods; the request starts from queue-0.orders" in found["notes"]


def test_a_second_dump_of_a_proxy_is_left_out(tmp_path: Path) -> None:
    twin = edited(tmp_path, "api-v1-pz5sh.storefront", lambda node: None)
    _, found = report(*asked(), RESOURCES, DUMPS, twin)
    assert any("was read before" in note for note in found["notes"])


def test_gateways_are_not_traced(tmp_path: Path) -> None:
    def as_gateway(node: Json) -> None:
        node["id"] = node["id"].replace("sidecar~", "router~")

    gateway = edited(tmp_path, "books-v1-qgckn.catalog", as_gateway)
    source = capture_path("bookshop", "000-base", "api-v1-pz5sh.storefront")
    bare = resources(tmp_path, ("name: istio-proxy", "name: other"))
    code, found = report(*asked(), bare, gateway, source)
    assert code == 3
    assert found["declared"][1]["says"] == "it is a gateway; only sidecars are traced"
    done = run("--from", "books-v1-qgckn.catalog", "--to", "x", bare, gateway)
    assert "has no sidecar, or not one that is traced" in " ".join(done.output.split())


def test_a_pod_without_a_sidecar_ends_the_trace(tmp_path: Path) -> None:
    source = capture_path("bookshop", "000-base", "api-v1-pz5sh.storefront")
    bare = resources(tmp_path, ("name: istio-proxy", "name: other"))
    _, found = report(*asked(), bare, source)
    assert found["held"][1]["says"] == "it has no sidecar"
    assert found["held"][1]["proxies"] == ["books-v1-qgckn.catalog"]


@pytest.mark.parametrize(("captured", "address"), [("true", "240.240.0.1"), ("", None)])
def test_addresses_that_istiod_gave_are_dialled_where_the_sidecar_answers_dns(
    tmp_path: Path, captured: str, address: str | None
) -> None:
    def capture(node: Json) -> None:
        node["metadata"]["DNS_CAPTURE"] = captured

    source = edited(tmp_path, "orders-v1-zmffj.orders", capture)
    to = ("--from", "orders-v1-zmffj.orders", "--to", "api.shipping.example.com:443")
    _, found = report(*to, "--path", "/x", RESOURCES, source)
    assert (found["request"]["address"], found["request"]["encrypted"]) == (address, True)
    assert any("see no method, path or header" in note for note in found["notes"])
    text = run(*to, RESOURCES, source).output
    assert "a TLS connection (SNI api.shipping.example.com)" in text
    assert "it is outside of the mesh" in text


SECOND = """
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: books-too, namespace: catalog}
spec:
  hosts: [books.catalog.svc.cluster.local]
  http:
  - route: [{destination: {host: reviews}}]
"""


def test_an_age_that_is_not_known_is_said(tmp_path: Path) -> None:
    second = tmp_path / "second.yaml"
    second.write_text(SECOND)
    first = resources(
        tmp_path, ("creationTimestamp: '2026-03-02T09:10:00Z'\n  name: books", "name: books")
    )
    _, found = report(*asked("--path", "/books/1"), first, second)
    assert any("the age of resources is not known" in reason for reason in found["open"])
    # What is held tells which of them is older.
    _, found = report(*asked("--path", "/books/1"), first, second, DUMPS)
    assert (found["partings"], found["open"]) == ([], [])


def test_resources_from_standard_input() -> None:
    piped = gzip.decompress(RESOURCES.read_bytes())
    assert report(*asked(), "-", DUMPS, stdin=piped)[0] == 0


def test_tcp_is_shown_as_tcp() -> None:
    text = run("--from", "orders", "--to", "ledger", RESOURCES, DUMPS).output
    assert text.startswith("a TCP connection  from orders-v1-zmffj.orders  to ledger at 10.96.1.33")
    _, found = report("--from", "orders", "--to", "ledger", "--path", "/", RESOURCES, DUMPS)
    assert found["request"]["protocol"] == "http1"
