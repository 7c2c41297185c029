"""The codes of drift (`MSC-1xxx`): one per kind of policy and change."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from meshscope.events.facts import Change
from meshscope.policy.kinds import Kind


@dataclass(frozen=True, slots=True)
class DriftCode:
    """One sort of drift.

    Attributes:
        code: Public and stable.
        title: What it says, as the title of an anomaly.
    """

    code: str
    title: str


_TITLES: Final[tuple[tuple[str, Kind, str, str, str], ...]] = (
    # Number, kind, and the titles of what is missing, extra and different. The last digit of a
    # code says which of the three.
    (
        "101",
        Kind.OUTBOUND_LISTENER,
        "An outbound listener is missing",
        "An outbound listener that nothing declares is loaded",
        "An outbound listener sends connections elsewhere or detects them otherwise",
    ),
    (
        "102",
        Kind.HTTP_ROUTE,
        "The routes of a host are missing",
        "Routes for a host that nothing declares are loaded",
        "The routes of a host differ",
    ),
    (
        "103",
        Kind.DESTINATION,
        "The traffic policy toward a service is missing",
        "A traffic policy toward a service that nothing declares is loaded",
        "The traffic policy toward a service differs",
    ),
    (
        "104",
        Kind.ENDPOINTS,
        "The endpoints of a service are missing",
        "Endpoints that nothing declares are loaded",
        "The endpoints of a service differ",
    ),
    (
        "105",
        Kind.INBOUND,
        "An inbound port is missing",
        "An inbound port that nothing declares is open",
        "An inbound port is served otherwise",
    ),
    (
        "106",
        Kind.PEER_AUTHENTICATION,
        "The authentication of peers is missing on a port",
        "Authentication of peers that nothing declares is loaded on a port",
        "A port accepts other connections than declared",
    ),
    (
        "107",
        Kind.REQUEST_AUTHENTICATION,
        "The validation of tokens is missing on a port",
        "Validation of tokens that nothing declares is loaded on a port",
        "Tokens are validated otherwise on a port",
    ),
    (
        "108",
        Kind.AUTHORIZATION,
        "The access rules of a port are missing",
        "Access rules that nothing declares are loaded on a port",
        "The access rules of a port differ",
    ),
    (
        "109",
        Kind.HTTP_CONNECTION,
        "The HTTP settings of a port are missing",
        "HTTP settings that nothing declares are loaded",
        "HTTP is parsed or passed on otherwise",
    ),
    (
        "110",
        Kind.FILTER_ORDER,
        "The filters of a port are missing",
        "Filters that nothing declares are loaded on a port",
        "The filters of a port run in another order, or other filters run",
    ),
    (
        "111",
        Kind.EGRESS,
        "The treatment of unknown hosts is missing",
        "A treatment of unknown hosts that nothing declares is loaded",
        "Unknown hosts are treated otherwise",
    ),
    (
        "112",
        Kind.TELEMETRY,
        "Telemetry is missing",
        "Telemetry that nothing declares is loaded",
        "Telemetry differs",
    ),
    (
        "113",
        Kind.EXTENSION,
        "An extension that is declared is missing",
        "The configuration is patched by something that no resource declares",
        "An extension differs from what is declared",
    ),
)
_CHANGES: Final[tuple[Change, ...]] = ("missing", "extra", "different")

DRIFT_CODES: Final[Mapping[tuple[Kind, Change], DriftCode]] = {
    (kind, change): DriftCode(f"MSC-{number}{digit}", title)
    for number, kind, *titles in _TITLES
    for digit, (change, title) in enumerate(zip(_CHANGES, titles, strict=True), start=1)
}
"""The closed table of codes."""
