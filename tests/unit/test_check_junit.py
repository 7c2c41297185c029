"""The report as JUnit XML, as another program reads it."""

from typing import Literal

import pytest
from check_reports import CLEAN_MANIFEST, DRIFTING, DUMP, MANIFEST, Mesh, dump, run
from junitparser import Error, Failure, JUnitXml, TestCase, TestSuite

from meshscope.cli.examine import examine
from meshscope.cli.given import Inputs
from meshscope.cli.junit import junit
from meshscope.cli.report import CheckReport, ProxyReport
from meshscope.comparison import Difference, ProxyVerdict
from meshscope.inference.result import Incomplete
from meshscope.policy.kinds import Kind

TestCase.__test__ = TestSuite.__test__ = False


def cases(report: CheckReport) -> list[TestCase]:
    """All test cases; the sums of the suites must be right."""
    parsed = JUnitXml.fromstring(junit(report).encode())
    before = parsed.tests, parsed.failures, parsed.errors
    parsed.update_statistics()
    assert before == (parsed.tests, parsed.failures, parsed.errors)
    return [case for suite in parsed for case in suite]


def outcomes(report: CheckReport) -> list[type]:
    return [type(case.result[0]) if case.result else type(None) for case in cases(report)]


def test_clean() -> None:
    assert outcomes(run(Mesh())) == [type(None), type(None)]


def test_drift_is_a_failure_that_names_both_sides() -> None:
    proxy = cases(run(Mesh(DRIFTING)))[0]
    assert (proxy.classname, proxy.name) == ("proxies.shop", "cart-1")
    (failure,) = proxy.result
    assert isinstance(failure, Failure)
    assert (failure.type, failure.message) == ("MSC-1083, MSC-1063", "2 differences")
    for part in ("paths /cart or /cart/receipt", "AuthorizationPolicy shop/cart-callers"):
        assert part in failure.text


@pytest.mark.parametrize(
    ("mesh", "data", "code"),
    [
        (Mesh(), DUMP[:-5], "MSC-5011"),
        (Mesh(), dump("waypoint~1~a.b~c"), "MSC-5013"),
        (Mesh(), dump(""), "MSC-5017"),
        (
            Mesh(incomplete=(Incomplete("RoutesConfigDump", "ask", (Kind.HTTP_ROUTE,)),)),
            DUMP,
            "MSC-5005",
        ),
    ],
)
def test_what_is_not_verified_is_an_error_and_never_passes(
    mesh: Mesh, data: bytes, code: str
) -> None:
    proxy = cases(run(mesh, CLEAN_MANIFEST, ("other.shop.json", data)))[0]
    (error,) = proxy.result
    assert isinstance(error, Error)
    assert error.type == code


def test_findings_fail_from_the_threshold() -> None:
    assert outcomes(run(Mesh(), MANIFEST)) == [type(None), Failure]
    assert outcomes(run(Mesh(), b"a: [")) == [type(None), Error]
    twice = (("a.yaml", CLEAN_MANIFEST), ("b.yaml", CLEAN_MANIFEST))
    thresholds: tuple[Literal["error", "warning"], ...] = ("error", "warning")
    for threshold, outcome in zip(thresholds, (type(None), Failure), strict=True):
        report = examine(Inputs(twice), Mesh().infer, Mesh().project, threshold)
        assert outcomes(report) == [outcome]
        assert "is declared again" in junit(report)


def test_characters_that_xml_cannot_hold() -> None:
    found = Difference(
        "MSC-1083", DRIFTING_KEY, "different", "exposes", "\x00<a>&\ud800", "é\U0001f600"
    )
    report = CheckReport(1, (ProxyReport("a.b", "f\x01", ProxyVerdict("drift", (found,))),))
    assert "\ufffd<a>&\ufffd" in cases(report)[0].result[0].text


DRIFTING_KEY = next(iter(DRIFTING))
