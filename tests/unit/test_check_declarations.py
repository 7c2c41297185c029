"""Findings about declarations in the reports of `meshscope check`."""

import json
from datetime import date

from check_reports import Mesh, text
from reviewed import policy, virtual_service

from meshscope.cli.examine import examine
from meshscope.cli.given import Inputs
from meshscope.cli.junit import junit
from meshscope.cli.report import CheckReport
from meshscope.cli.sarif import sarif
from meshscope.events.resource import Resource
from meshscope.watcher.field_lines import FieldLines
from meshscope.watcher.manifests import read_manifests

BLOCKS = b"""\
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata:
  name: cart
  namespace: shop
spec:
  hosts: [cart]
  http:
  - match:
    - uri: {prefix: /a}
    route: [{destination: {host: cart}}]
  - match:
    - uri: {exact: /ab}
    route: [{destination: {host: cart}}]
"""


def checked(*files: bytes, **more: object) -> CheckReport:
    named = tuple((f"m/{n}.yaml", data) for n, data in enumerate(files))
    mesh = Mesh()
    return examine(Inputs(named, **more), mesh.infer, mesh.project, "error")  # type: ignore[arg-type]


def test_a_finding_names_file_line_and_field_and_proves_itself() -> None:
    report = checked(BLOCKS)
    (found,) = report.to_json()["findings"]
    assert (found["code"], found["severity"]) == ("MSC-2301", "warning")
    assert (found["file"], found["line"], found["field"]) == ("m/0.yaml", 12, "spec.http[1]")
    assert found["witness"] == {
        "request": {"method": "GET", "path": "/ab", "transport": "plaintext"},
        "text": "GET /ab, over plaintext",
        "outcome": "taken by http[0].match[0]",
    }
    shown = text(report)
    assert "warning  MSC-2301  m/0.yaml:12: VirtualService shop/cart: the route http[1]" in shown
    assert "GET /ab, over plaintext: taken by http[0].match[0]" in shown


def test_warnings_about_declarations_leave_the_exit_code() -> None:
    report = checked(BLOCKS)
    assert report.exit_code == 0
    assert report.codes == ("MSC-2301",)


def test_what_is_suppressed_is_counted_and_shown_to_programs() -> None:
    hidden = BLOCKS.replace(
        b"  namespace: shop\n",
        b"  namespace: shop\n  annotations:\n"
        b"    meshscope.io/suppress: 'MSC-2301 until 2026-12-31: kept'\n",
    )
    report = checked(hidden, today=date(2026, 7, 1))
    assert report.findings == ()
    assert report.to_json()["summary"]["suppressed"] == 1
    (shown,) = report.to_json()["suppressed"]
    assert (shown["code"], shown["reason"], shown["until"]) == ("MSC-2301", "kept", "2026-12-31")
    assert "1 finding is suppressed by annotations" in text(report)
    (result,) = sarif(report)["runs"][0]["results"]
    assert result["suppressions"] == [
        {"kind": "inSource", "justification": "kept (until 2026-12-31)"}
    ]
    late = checked(hidden, today=date(2027, 1, 1))
    assert [(found.code, found.line) for found in late.findings] == [
        ("MSC-2010", 7),
        ("MSC-2301", 14),
    ]


def test_related_resources_and_requests_stand_in_every_format() -> None:
    denied = policy("[{}]", "d", "DENY")
    report = checked(policy("[{}]").encode(), denied.encode())
    (result,) = sarif(report)["runs"][0]["results"]
    (related,) = result["relatedLocations"]
    assert related["physicalLocation"]["artifactLocation"]["uri"] == "m/1.yaml"
    assert "A request that shows it: GET /" in result["message"]["text"]
    assert "request: GET /" in junit(report)


def test_lines_of_fields_inside_of_lists_and_of_several_documents() -> None:
    first = virtual_service("{hosts: [a]}", "first").encode()
    listed = (
        b"---\napiVersion: v1\nkind: List\nitems:\n"
        b"- apiVersion: v1\n  kind: Service\n  metadata: {name: first}\n  spec:\n    ports:\n"
        b"    - {port: 80}\n    - {port: 81,\n       name: b}\n"
    )
    data = first + listed
    (_, service) = read_manifests([("m.yaml", data)]).resources
    lines = FieldLines({"m.yaml": data})

    def at(field: str, resource: Resource = service) -> int:
        text = data.decode().splitlines()
        return text.index("    ports:") - lines.line(resource, field) + 1

    assert at("spec.ports") == 0
    assert at("spec.ports[1]") == -2
    assert at("spec.ports[1].name") == -3
    assert at("spec.ports[7].name") == 0
    assert lines.line(service, "") == service.line


def test_the_json_says_the_same_twice() -> None:
    assert json.dumps(checked(BLOCKS).to_json()) == json.dumps(checked(BLOCKS).to_json())
