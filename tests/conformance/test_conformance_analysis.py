"""What tests of two linters expect of declarations: all of it is met, or a reason says why
not; what they do not expect has a witness, or a reason as well.

Linters assume that their input is all that there is, and so do these tests (`complete`).
"""

import json
from collections import Counter
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from check_reports import Mesh
from shared_data import shared

from meshscope.cli.examine import Inputs, examine
from meshscope.cli.report import Finding
from meshscope.declarations.codes import DECLARATION_CODES
from meshscope.watcher.control_plane import SettingsFile

pytestmark = pytest.mark.conformance

SUITE = shared("conformance", "analysis")
FOLDERS = [folder for folder in sorted(SUITE.iterdir()) if folder.is_dir()]
TODAY = date(2026, 7, 1)

EQUIVALENT = {
    **{code.code: code.equivalents for code in DECLARATION_CODES.values()},
    # Said of a Pod with the delivery of its configuration.
    "MSC-3010": ("IST0103",),
}
REFERENCES = {
    "authorization": {"MSC-2116"},
    "gateway.SecretAnalyzer": {"MSC-2804"},
    "gateway": {"MSC-2501"},
    "sidecar": {"MSC-2501"},
    "virtualservice.DestinationHostAnalyzer": {"MSC-2303", "MSC-2305"},
    "virtualservice.DestinationRuleAnalyzer": {"MSC-2304"},
    "virtualservice.GatewayAnalyzer": {"MSC-2309"},
}
"""`IST0101` is any reference that leads nowhere: which one each analyzer means."""

NOT_APPLICABLE = {
    "IST0107": "where an annotation stands changes nothing that is declared for proxies",
    "IST0108": "a list of annotations of one version would call those of others unknown",
    "IST0125": "values of annotations are those of a list, see IST0108",
    "IST0135": "the age of an annotation is no behaviour, see IST0108",
    "IST0136": "the maturity of an annotation is no behaviour, see IST0108",
    "IST0143": "needs the sockets of a running workload",
}
"""The closed list of codes that MeshScope does not look for, with reasons."""

REFUTED = {
    ("kiali-authz-mtls-12-automtls-off", "KIA0105"): (
        "the DestinationRule makes clients speak mutual TLS, and workloads without a "
        "PeerAuthentication accept it: identities arrive"
    ),
    ("kiali-subset-presence-matching-subsets-diff-ns-half-fqdn", "MSC-2304"): (
        "`reviews.bookinfo` has a dot, so Istio takes it for a full name: the rule is not for "
        "reviews.bookinfo.svc.cluster.local"
    ),
}
"""Verdicts of theirs that do not hold for Istio, with reasons."""


class Case:
    """One folder, and what is found in it."""

    def __init__(self, folder: Path) -> None:
        self.name = folder.name
        self.case: dict[str, Any] = json.loads((folder / "case.json").read_text())
        self.expected: list[dict[str, Any]] = json.loads((folder / "expect.json").read_text())
        self.scope = set(self.case["codes_in_scope"])
        settings = folder / "mesh_config.yaml"
        mesh = Mesh()
        manifests = [("input.yaml", (folder / "input.yaml").read_bytes())]
        for name in self.case.get("namespaces") or ():
            text = f"apiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}}}\n"
            manifests.append((f"{name}.yaml", text.encode()))
        inputs = Inputs(
            tuple(manifests),
            mesh_config=SettingsFile("mesh_config.yaml", settings.read_text())
            if settings.exists()
            else None,
            complete=True,
            today=TODAY,
        )
        self.findings = examine(inputs, mesh.infer, mesh.project, "error").findings

    def codes(self, found: Finding) -> set[str]:
        """The codes of theirs that a finding stands for here."""
        codes = set(EQUIVALENT.get(found.code, ())) & self.scope
        if "IST0101" in codes and found.code not in self._references():
            codes.discard("IST0101")
        return codes

    def _references(self) -> set[str]:
        name: str = self.case["analyzer"]
        return REFERENCES.get(name) or REFERENCES.get(name.partition(".")[0], set())

    def met(self, expectation: dict[str, Any]) -> bool:
        """Whether a finding says what they expect, of the resource or one in conflict with it."""
        return any(
            expectation["code"] in self.codes(found) and _is_about(found, expectation["resource"])
            for found in self.findings
        )

    def unexpected(self) -> Iterator[Finding]:
        """Findings of theirs codes that they do not expect."""
        subject = self.case.get("subject")
        for found in self.findings:
            codes = self.codes(found)
            about = subject is None or _is(found, subject)
            if (
                codes
                and about
                and not any(
                    one["code"] in codes and _is_about(found, one["resource"])
                    for one in self.expected
                )
            ):
                yield found


def _is(found: Finding, named: dict[str, str]) -> bool:
    return found.resource is not None and _named(found.resource, named)


def _is_about(found: Finding, named: dict[str, str]) -> bool:
    return _is(found, named) or any(_named(one, named) for one in found.related)


def _named(resource: Any, named: dict[str, str]) -> bool:
    return (
        resource.kind == named["kind"]
        and resource.name == named["name"]
        and resource.namespace == named.get("namespace", resource.namespace)
    )


@pytest.fixture(scope="module")
def cases() -> dict[str, Case]:
    return {folder.name: Case(folder) for folder in FOLDERS}


@pytest.mark.parametrize("name", [folder.name for folder in FOLDERS])
def test_every_expectation_is_met(name: str, cases: dict[str, Case]) -> None:
    case = cases[name]
    missing = [
        one
        for one in case.expected
        if not case.met(one)
        and one["code"] not in NOT_APPLICABLE
        and (name, one["code"]) not in REFUTED
    ]
    assert not missing


@pytest.mark.parametrize("name", [folder.name for folder in FOLDERS])
def test_what_they_do_not_expect_has_a_witness(name: str, cases: dict[str, Case]) -> None:
    unproven = [
        (found.code, str(found.resource), found.explanation)
        for found in cases[name].unexpected()
        if not found.witness and (name, found.code) not in REFUTED
    ]
    assert not unproven


@pytest.mark.parametrize("name", [folder.name for folder in FOLDERS])
def test_nothing_failed_in_between(name: str, cases: dict[str, Case]) -> None:
    assert "MSC-2011" not in {found.code for found in cases[name].findings}


def test_the_suite_is_counted(
    cases: dict[str, Case], record_testsuite_property: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    counts = Counter(
        "not applicable"
        if one["code"] in NOT_APPLICABLE
        else "refuted"
        if (case.name, one["code"]) in REFUTED
        else "met"
        if case.met(one)
        else "missing"
        for case in cases.values()
        for one in case.expected
    )
    counts["beyond theirs"] = sum(1 for case in cases.values() for _ in case.unexpected())
    for word, count in counts.items():
        record_testsuite_property(f"analysis: {word}", count)
    with capsys.disabled():
        print(f"\nanalysis: {len(cases)} folders, {dict(counts)}")
    assert counts["missing"] == 0
    assert counts["met"] > 0
