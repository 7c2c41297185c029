"""What the page shows, from rows of the history."""

from datetime import UTC, datetime
from typing import Any

from meshscope.console.overview import overview

AT = datetime(2026, 3, 1, 8, 0, 0, 250_000, UTC)


def proxy(name: str, verdict: str, **other: Any) -> dict[str, Any]:
    row = {
        "proxy": name,
        "cluster": "lab",
        "verdict": verdict,
        "reason": "",
        "differences": 0,
        "policies": 120,
        "coverage": 0.9981,
        "istio_version": "1.29.6",
        "live": "LIVE",
        "connected": True,
        "verified_at": AT,
        "unverifiable": [],
        "limits": ["MSC-5003: environment is not known; Istio's defaults are assumed"],
    }
    return row | other


def anomaly(title: str, severity: str) -> dict[str, Any]:
    return {
        "fingerprint": title,
        "severity": severity,
        "code": "MSC-1301",
        "layer": "loading",
        "title": title,
        "resource": "AuthorizationPolicy shop/cart-callers",
        "proxies": ["cart-1.shop"],
        "evidence_keys": ["authorization/8080/mtls/http"],
        "evidence_expected": ["GET"],
        "evidence_observed": ["any"],
        "repair": "",
        "opened_at": AT,
        "status": "opened",
        "resolved_at": None,
    }


def test_the_worst_comes_first() -> None:
    page = overview(
        [proxy("a", "in-sync"), proxy("b", "drift"), proxy("c", "unknown"), proxy("d", "in-sync")],
        [anomaly("warned", "warning"), anomaly("burning", "critical")],
        [],
    )
    assert [line.proxy for line in page.proxies] == ["b", "c", "a", "d"]
    assert page.summary == (("drift", 1), ("unknown", 1), ("in-sync", 2))
    assert [line.title for line in page.anomalies] == ["burning", "warned"]


def test_what_is_wrong_with_a_proxy_is_said_in_words() -> None:
    line = overview(
        [proxy("a", "in-sync", live="PRE_INITIALIZING", connected=False)], [], []
    ).proxies
    assert line[0].health == "pre initializing, cut off from its control plane"


def test_a_connection_of_which_nothing_is_known_is_not_called_cut_off() -> None:
    assert overview([proxy("a", "in-sync", connected=None)], [], []).proxies[0].health == ""


def test_a_proxy_that_was_never_verified_has_no_figures() -> None:
    line = overview([proxy("a", "unknown", coverage=0.0, verified_at=None)], [], []).proxies[0]
    assert (line.coverage, line.verified_at) == ("", "")


def test_evidence_stands_side_by_side() -> None:
    line = overview([], [anomaly("x", "critical")], []).anomalies[0]
    assert line.evidence[0].expected == "GET"
    assert line.evidence[0].observed == "any"
    assert line.opened_at == "2026-03-01T08:00:00.250Z"


def test_only_what_is_over_is_listed_as_resolved() -> None:
    over = anomaly("over", "warning") | {"status": "resolved", "resolved_at": AT}
    page = overview([], [], [over, anomaly("open", "warning")])
    assert [line.title for line in page.resolved] == ["over"]
