"""From what was read to a report: exit codes, JSON, table."""

import json
from collections.abc import Mapping
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from meshscope.cli.examine import Inputs, examine
from meshscope.cli.report import (
    CheckReport,
    Finding,
    ProxyReport,
    proxy_of_file,
    report_table,
    unreadable,
)
from meshscope.comparison import ProxyVerdict
from meshscope.events.control_plane import ControlPlane
from meshscope.events.proxy import ProxyInputs
from meshscope.events.resource import Resource
from meshscope.inference.result import Coverage, Incomplete, Inference, LoadedState
from meshscope.policy import key as keys
from meshscope.policy.authorization import Authorization, Condition, Rule
from meshscope.policy.key import PolicyKey
from meshscope.policy.kinds import Kind
from meshscope.policy.matches import StringMatch
from meshscope.policy.peer_authentication import AcceptedChain, PeerAuthentication, ServerTls
from meshscope.policy.policy import Content, Policy
from meshscope.policy.source import ResourceRef
from meshscope.projection.result import Projection, Unverifiable

GOLDEN = Path(__file__).parents[1] / "data" / "check" / "report.json"

ACCESS = keys.authorization(8080, "mtls", "http")
PEERS = keys.peer_authentication(8080)

MANIFEST = b"""\
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: shop}
spec:
  mtls: {mode: STRICT}
  portlevelMtls: {}
"""
CLEAN_MANIFEST = MANIFEST.replace(b"  portlevelMtls: {}\n", b"")
DUMP = b'{"configs": [{"@type": "type.googleapis.com/envoy.admin.v3.ListenersConfigDump"}]}'


def rule(*paths: str) -> Rule:
    values = tuple(StringMatch("exact", path) for path in paths)
    return Rule("shop/cart-callers", 0, operations=((Condition("path", values=values),),))


def held(contents: Mapping[PolicyKey, Content]) -> dict[PolicyKey, Policy]:
    return {key: Policy(key, content) for key, content in contents.items()}


MUTUAL = AcceptedChain("tls", ("istio",), "http", ServerTls())
DECLARED = {ACCESS: Authorization(allow=(rule("/cart"),)), PEERS: PeerAuthentication((MUTUAL,))}


class Mesh:
    """What the engines say, for one proxy."""

    def __init__(
        self,
        observed: Mapping[PolicyKey, Content] = DECLARED,
        unverifiable: tuple[Unverifiable, ...] = (),
        incomplete: tuple[Incomplete, ...] = (),
    ) -> None:
        self.observed = observed
        self.unverifiable = unverifiable
        self.incomplete = incomplete
        self.revisions: list[str] = []

    def infer(self, dump: Mapping[str, Any]) -> Inference:
        return Inference(
            ProxyInputs("cart-1.shop", "Kubernetes", "shop"),
            held(self.observed),
            Coverage(900, 98, 2),
            LoadedState(),
            frozenset(),
            self.incomplete,
        )

    def project(
        self, control_plane: ControlPlane, resources: tuple[Resource, ...], proxy: ProxyInputs
    ) -> Projection:
        self.revisions.append(control_plane.revision)
        source = ResourceRef("AuthorizationPolicy", "shop", "cart-callers")
        policies = held(DECLARED)
        policies[ACCESS] = Policy(ACCESS, DECLARED[ACCESS], (source,))
        return Projection(policies, unverifiable=self.unverifiable)


def run(mesh: Mesh, manifest: bytes = CLEAN_MANIFEST, *dumps: tuple[str, bytes]) -> CheckReport:
    inputs = Inputs((("m.yaml", manifest),), dumps or (("d/cart-1.shop.json", DUMP),))
    return examine(inputs, mesh.infer, mesh.project, "error")


def text(report: CheckReport, width: int = 100) -> str:
    out = StringIO()
    Console(file=out, width=width, highlight=False).print(report_table(report))
    return out.getvalue()


DRIFTING = {
    ACCESS: Authorization(allow=(rule("/cart", "/cart/receipt"),)),
    PEERS: PeerAuthentication((MUTUAL, AcceptedChain("raw_buffer", (), "http"))),
}


def test_in_sync_is_clean() -> None:
    report = run(Mesh())
    assert report.exit_code == 0
    assert report.to_json()["proxies"][0]["verdict"] == "in-sync"
    assert "1 resource, 1 proxy (1 in sync), 0 differences, 0 findings." in text(report)
    assert text(report).rstrip().endswith("Clean.")


def test_drift_is_a_finding_that_names_both_sides() -> None:
    report = run(Mesh(DRIFTING))
    assert report.exit_code == 1
    shown = text(report)
    for part in (
        "cart-1.shop",
        "exposes  MSC-1083  different  authorization/8080/mtls/http",
        "allow: shop/cart-callers rule 0: to: paths /cart or /cart/receipt (wider)",
        "AuthorizationPolicy shop/cart-callers",
        "mode: PERMISSIVE",
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
    assert (found.code, found.file) == ("MSC-5001", "d/cart-2.shop.json")
    assert "was left out" in text(report)


def test_a_failure_of_an_engine_is_said_and_is_no_finding_of_the_mesh() -> None:
    class Broken(Mesh):
        def infer(self, dump: Mapping[str, Any]) -> Inference:
            raise KeyError("filter_chains")

    report = run(Broken())
    assert report.proxies[0].verdict.verdict == "unknown"
    assert report.findings[0].code == "MSC-5002"
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
        "file": "m.yaml",
        "line": 6,
        "explanation": "PeerAuthentication shop/default: there is no field spec.portlevelMtls (did "
        "you mean 'portLevelMtls'?); Kubernetes drops it, or refuses the resource under strict "
        "validation",
        "witness": None,
        "related": [],
        "help": "Correct the name of the field, or remove it.",
    }
    assert "m.yaml:6" in text(report)


def test_warnings_count_only_from_their_threshold() -> None:
    twice = (("a.yaml", CLEAN_MANIFEST), ("b.yaml", CLEAN_MANIFEST))
    mesh = Mesh()
    for threshold, code in (("error", 0), ("warning", 1)):
        report = examine(Inputs(twice), mesh.infer, mesh.project, threshold)  # type: ignore[arg-type]
        assert report.findings[0].code == "MSC-2004"
        assert report.exit_code == code


@pytest.mark.parametrize("manifest", [b"a: [", b"- 1", b"", b"# nothing\n"])
def test_input_that_is_left_out_counts_most(manifest: bytes) -> None:
    report = run(Mesh(DRIFTING), manifest)
    assert report.exit_code == 2
    assert report.findings


def test_settings_that_cannot_be_read_are_reported_once() -> None:
    config_map = (
        b"---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: istio, namespace: istio-system}\n"
        b"data: {mesh: 'a: ['}\n"
    )
    report = run(Mesh(), CLEAN_MANIFEST + config_map, ("a.b.json", DUMP), ("c.d.json", DUMP))
    assert [found.code for found in report.findings] == ["MSC-2006"]
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
    paths = tuple(f"/{'x' * 40}/{number}" for number in range(5))
    observed = {**DECLARED, ACCESS: Authorization(allow=(rule(*paths),))}
    shown = text(run(Mesh(observed)), width=60)
    assert max(map(len, shown.splitlines())) <= 60
    assert "".join(shown.split()).count("x" * 40) == 5


def test_the_json_is_as_it_was_released() -> None:
    report = run(
        Mesh(DRIFTING, (Unverifiable("not built yet", Kind.TELEMETRY),)), MANIFEST
    ).to_json()
    assert json.loads(json.dumps(report)) == json.loads(GOLDEN.read_text())
