"""From what was read to a report: exit codes, JSON, table."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from check_reports import (
    ACCESS,
    CLEAN_MANIFEST,
    CLUSTER,
    DECLARED,
    DRIFTING,
    DUMP,
    MANIFEST,
    Mesh,
    dump,
    rule,
    run,
    text,
)

from meshscope.cli.codes import CODES
from meshscope.cli.examine import examine
from meshscope.cli.given import Inputs
from meshscope.cli.report import (
    CheckReport,
    Finding,
    ProxyReport,
    proxy_of_file,
    unreadable,
)
from meshscope.comparison import ProxyVerdict
from meshscope.inference.result import Incomplete, Inference
from meshscope.policy.authorization import Authorization
from meshscope.policy.kinds import Kind
from meshscope.projection.result import Unverifiable

GOLDEN = Path(__file__).parents[1] / "data" / "check" / "report.json"


def test_in_sync_is_clean() -> None:
    report = run(Mesh())
    assert report.exit_code == 0
    assert report.to_json()["proxies"][0]["verdict"] == "in-sync"
    assert "4 resources, 1 proxy (1 in sync), 0 differences, 0 findings." in text(report)
    assert text(report).rstrip().endswith("Clean.")


def test_drift_is_a_finding_that_names_both_sides() -> None:
    report = run(Mesh(DRIFTING))
    assert report.exit_code == 1
    shown = text(report)
    for part in (
        "cart-1.shop",
        "exposes  MSC-1083  The access rules of a port differ",
        "access rules of inbound port 8080 (mutual TLS, HTTP)",
        "ALLOW shop/cart-callers rules[0].to",
        "paths /cart or /cart/receipt (wider)",
        "AuthorizationPolicy shop/cart-callers",
        "PERMISSIVE",
        "Not clean.",
    ):
        assert part in shown


def test_what_cannot_be_verified_is_not_clean() -> None:
    for mesh in (
        Mesh(unverifiable=(Unverifiable("an EnvoyFilter patches it", Kind.AUTHORIZATION),)),
        Mesh(incomplete=(Incomplete("RoutesConfigDump", "ask for it", (Kind.HTTP_ROUTE,)),)),
    ):
        report = run(mesh)
        assert report.exit_code == 3
        assert report.proxies[0].verdict.verdict == "unverifiable"
        assert "not everything could be verified" in text(report)
    assert "lacks RoutesConfigDump: ask for it" in text(report)


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"{}", DUMP[:-5]])
def test_an_unreadable_dump_does_not_stop_the_others(data: bytes) -> None:
    report = run(Mesh(), CLEAN_MANIFEST, ("d/cart-2.shop.json", data), ("d/cart-1.json", DUMP))
    assert report.exit_code == 2
    assert [(p.proxy, p.verdict.verdict) for p in report.proxies] == [
        ("cart-2.shop", "unknown"),
        ("cart-1.shop", "in-sync"),
    ]
    (found,) = report.findings
    assert (found.code, found.file) == ("MSC-5011", "d/cart-2.shop.json")
    assert "was left out" in text(report)


def test_a_failure_of_an_engine_is_said_and_is_no_finding_of_the_mesh() -> None:
    class Broken(Mesh):
        def infer(self, dump: Mapping[str, Any]) -> Inference:
            raise KeyError("filter_chains")

    report = run(Broken())
    assert report.proxies[0].verdict.verdict == "unknown"
    assert report.findings[0].code == "MSC-5012"
    assert "KeyError: 'filter_chains'" in report.findings[0].explanation
    assert report.exit_code == 3


def test_problems_of_manifests_are_findings() -> None:
    report = run(Mesh(), MANIFEST)
    (found,) = report.findings
    assert report.exit_code == 1
    assert found.to_json() == {
        "code": "MSC-2003",
        "severity": "error",
        "title": "A field has no meaning",
        "resource": {"kind": "PeerAuthentication", "namespace": "shop", "name": "default"},
        "proxy": None,
        "file": "m.yaml",
        "line": 6,
        "field": None,
        "explanation": "PeerAuthentication shop/default: there is no field spec.portlevelMtls (did "
        "you mean 'portLevelMtls'?); Kubernetes drops it, or refuses the resource under strict "
        "validation",
        "witness": None,
        "related": [],
        "help": "Correct the name of the field, or remove it. See `meshscope explain MSC-2003`.",
    }
    assert "m.yaml:6" in text(report)


def test_warnings_count_only_from_their_threshold() -> None:
    twice = (("a.yaml", CLEAN_MANIFEST), ("b.yaml", CLEAN_MANIFEST), ("c.yaml", CLUSTER))
    mesh = Mesh()
    for threshold, code in (("error", 0), ("warning", 1)):
        report = examine(Inputs(twice), mesh.infer, mesh.project, threshold)  # type: ignore[arg-type]
        assert report.findings[0].code == "MSC-2004"
        assert report.exit_code == code


@pytest.mark.parametrize("manifest", [b"a: [", b"- 1", b"", b"# nothing\n"])
def test_input_that_is_left_out_counts_most(manifest: bytes) -> None:
    report = run(Mesh(DRIFTING), manifest, cluster=b"")
    assert report.exit_code == 2
    assert report.findings


def test_settings_that_cannot_be_read_are_reported_once() -> None:
    config_map = (
        b"---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: istio, namespace: istio-system}\n"
        b"data: {mesh: 'a: ['}\n"
    )
    report = run(Mesh(), CLEAN_MANIFEST + config_map, ("a.b.json", DUMP), ("c.d.json", DUMP))
    assert [found.code for found in report.findings] == ["MSC-2006", "MSC-5014"]
    assert report.exit_code == 2


def test_every_exit_code_is_that_of_the_worst() -> None:
    def code(*verdicts: ProxyVerdict, findings: tuple[Finding, ...] = ()) -> int:
        proxies = tuple(ProxyReport("p", "f", verdict) for verdict in verdicts)
        return CheckReport(1, proxies, findings).exit_code

    assert code() == 0
    assert code(ProxyVerdict("in-sync")) == 0
    assert code(ProxyVerdict("unverifiable"), ProxyVerdict("in-sync")) == 3
    assert code(ProxyVerdict.unknown("no dump")) == 3
    assert code(ProxyVerdict("drift"), ProxyVerdict("unverifiable")) == 1
    assert code(ProxyVerdict("drift"), findings=(unreadable("x", "y"),)) == 2


@pytest.mark.parametrize(
    ("path", "proxy"),
    [
        ("d/cart-1.shop.json", "cart-1.shop"),
        ("cart-1.shop.json.gz", "cart-1.shop"),
        ("standard input", "standard input"),
    ],
)
def test_a_dump_without_a_node_is_called_by_its_file(path: str, proxy: str) -> None:
    assert proxy_of_file(path) == proxy


def test_long_values_are_wrapped_and_not_cut() -> None:
    paths = tuple(f"/{'§' * 40}/{number}" for number in range(5))
    observed = {**DECLARED, ACCESS: Authorization(allow=(rule(*paths),))}
    shown = text(run(Mesh(observed)), width=60)
    assert max(map(len, shown.splitlines())) <= 60
    # Each path as a field and as what gains access, and one in the example.
    assert shown.count("§") == (5 + 5 + 1) * 40


def test_every_code_of_a_report_is_explained_in_its_json() -> None:
    mesh = Mesh(DRIFTING, (Unverifiable("not built yet", Kind.TELEMETRY),))
    gateway = ("cart-2.shop.json", dump("router~1~a.b~c"))
    report = run(mesh, MANIFEST, ("cart-1.shop.json", DUMP), gateway).to_json()
    assert list(report["codes"]) == ["MSC-1083", "MSC-1063", "MSC-2003", "MSC-5013", "MSC-5004"]
    assert report["codes"]["MSC-1083"] == {
        "title": "The access rules of a port differ",
        "help": CODES["MSC-1083"].help,
        "page": "meshscope explain MSC-1083",
    }


def test_the_json_is_as_it_was_released() -> None:
    report = run(
        Mesh(DRIFTING, (Unverifiable("not built yet", Kind.TELEMETRY),)), MANIFEST
    ).to_json()
    assert json.loads(json.dumps(report)) == json.loads(GOLDEN.read_text())
