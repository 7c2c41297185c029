"""What `meshscope anomalies` prints of an anomaly."""

import dataclasses

from meshscope.cli.anomalies import MOST_EVIDENCE, MOST_PROXIES, described
from meshscope.events.facts import Anomaly, Evidence, Source

ANOMALY = Anomaly(
    "id",
    "fingerprint",
    "episode",
    "opened",
    "cluster",
    "translation",
    "MSC-1083",
    "critical",
    "The access rules of a port differ",
    0,
    0,
    resource=Source("AuthorizationPolicy", "shop", "cart"),
    proxies=("cart-1.shop",),
    evidence=(
        Evidence("e", "cart-1.shop", "key", "different", "exposes", "ALLOW: a\nDENY: b", "", "s"),
    ),
    evidence_count=1,
    repair="Restart it.",
)


def test_values_of_several_lines_stand_under_each_other() -> None:
    lines = described(ANOMALY).plain.splitlines()[1:]
    assert lines == [
        "         AuthorizationPolicy shop/cart",
        "         proxies: cart-1.shop",
        "         key",
        "           expected ALLOW: a",
        "                    DENY: b",
        "           observed nothing",
        "         repair: Restart it.",
    ]


def test_what_is_left_out_is_counted() -> None:
    many = dataclasses.replace(
        ANOMALY,
        proxies=tuple(f"p-{number}" for number in range(MOST_PROXIES + 3)),
        evidence=ANOMALY.evidence * (MOST_EVIDENCE + 1),
        evidence_count=120,
    )
    text = described(many).plain
    assert f"p-{MOST_PROXIES - 1} and 3 more\n" in text
    assert f"         and {120 - MOST_EVIDENCE} more: meshscope drift" in text


def test_what_is_resolved_has_no_evidence() -> None:
    text = described(dataclasses.replace(ANOMALY, status="resolved")).plain
    assert "expected" not in text
    assert "repair" not in text
