"""What the page shows: pure, from rows of the query library."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Final

Row = Mapping[str, Any]

ORDER_OF_VERDICTS: Final = ("drift", "unknown", "unverifiable", "converging", "in-sync")
"""Worst first."""

ORDER_OF_SEVERITIES: Final = ("critical", "warning", "info")


@dataclass(frozen=True, slots=True)
class ProxyLine:
    """One proxy.

    Attributes:
        health: What is wrong with the proxy itself, in words; empty: nothing.
        limits: What the verdict does not say for certain (`MSC-5xxx`).
        coverage: Share of its configuration that was explained, as `99.8 %`; empty: not known.
    """

    proxy: str
    cluster: str
    verdict: str
    reason: str
    differences: int
    policies: int
    coverage: str
    istio_version: str
    health: str
    verified_at: str
    unverifiable: tuple[str, ...]
    limits: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class EvidenceLine:
    """One policy of one proxy that differs, side by side."""

    key: str
    expected: str
    observed: str


@dataclass(frozen=True, slots=True)
class AnomalyLine:
    """One open anomaly."""

    fingerprint: str
    severity: str
    code: str
    layer: str
    title: str
    resource: str
    proxies: tuple[str, ...]
    evidence: tuple[EvidenceLine, ...]
    repair: str
    opened_at: str


@dataclass(frozen=True, slots=True)
class ResolvedLine:
    """One anomaly that is over."""

    title: str
    resource: str
    opened_at: str
    resolved_at: str


@dataclass(frozen=True, slots=True)
class Overview:
    """The whole page.

    Attributes:
        summary: Number of proxies per verdict, worst first.
    """

    summary: tuple[tuple[str, int], ...]
    proxies: tuple[ProxyLine, ...]
    anomalies: tuple[AnomalyLine, ...]
    resolved: tuple[ResolvedLine, ...]

    def as_json(self) -> dict[str, Any]:
        """Plain values for the wire."""
        return asdict(self)


def overview(proxies: Sequence[Row], anomalies: Sequence[Row], history: Sequence[Row]) -> Overview:
    """The page.

    Args:
        proxies: Rows of the query `proxies`.
        anomalies: Rows of `open_anomalies`.
        history: Rows of `anomaly_history`.
    """
    lines = sorted(
        map(_proxy, proxies), key=lambda line: (_rank(line.verdict, ORDER_OF_VERDICTS), line.proxy)
    )
    verdicts = [line.verdict for line in lines]
    return Overview(
        summary=tuple(
            (verdict, verdicts.count(verdict))
            for verdict in sorted(set(verdicts), key=lambda v: _rank(v, ORDER_OF_VERDICTS))
        ),
        proxies=tuple(lines),
        anomalies=tuple(
            sorted(
                map(_anomaly, anomalies),
                key=lambda line: (_rank(line.severity, ORDER_OF_SEVERITIES), line.opened_at),
            )
        ),
        resolved=tuple(
            ResolvedLine(
                row["title"], row["resource"], _time(row["opened_at"]), _time(row["resolved_at"])
            )
            for row in history
            if row["status"] == "resolved"
        ),
    )


def _rank(word: str, order: Sequence[str]) -> int:
    return order.index(word) if word in order else len(order)


def _proxy(row: Row) -> ProxyLine:
    health = []
    if row["live"] != "LIVE":
        health.append(str(row["live"]).lower().replace("_", " "))
    if row["connected"] is False:
        health.append("cut off from its control plane")
    verified = row["verified_at"] is not None
    return ProxyLine(
        proxy=row["proxy"],
        cluster=row["cluster"],
        verdict=row["verdict"],
        reason=row["reason"],
        differences=row["differences"],
        policies=row["policies"],
        coverage=f"{row['coverage'] * 100:.1f} %" if verified and row["coverage"] else "",
        istio_version=row["istio_version"],
        health=", ".join(health),
        verified_at=_time(row["verified_at"]) if verified else "",
        unverifiable=tuple(row["unverifiable"]),
        limits=tuple(row["limits"]),
    )


def _anomaly(row: Row) -> AnomalyLine:
    return AnomalyLine(
        fingerprint=row["fingerprint"],
        severity=row["severity"],
        code=row["code"],
        layer=row["layer"],
        title=row["title"],
        resource=row["resource"],
        proxies=tuple(row["proxies"]),
        evidence=tuple(
            EvidenceLine(*each)
            for each in zip(
                row["evidence_keys"],
                row["evidence_expected"],
                row["evidence_observed"],
                strict=True,
            )
        ),
        repair=row["repair"],
        opened_at=_time(row["opened_at"]),
    )


def _time(value: datetime | None) -> str:
    return "" if value is None else value.isoformat(timespec="milliseconds").replace("+00:00", "Z")
