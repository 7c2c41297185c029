"""How a proxy is, as far as its admin interface shows: pure readers."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import msgspec

from meshscope.agent.signs import Signs
from meshscope.events.facts import ProxyState, RejectedUpdate
from meshscope.inference.result import Incomplete, Rejected


def certificates(certs: bytes) -> tuple[int, str]:
    """First expiry in milliseconds, and the workload's identity, from `/certs`.

    Zero and an empty identity where there are no certificates, as before SDS answered.

    Raises:
        ValueError: The answer is not what Envoy gives.
    """
    document: Mapping[str, Any] = msgspec.json.decode(certs, type=dict[str, Any])
    expiries: list[int] = []
    identity = ""
    for entry in document.get("certificates", []):
        for role in ("ca_cert", "cert_chain"):
            for certificate in entry.get(role, []):
                if expiry := certificate.get("expiration_time"):
                    expiries.append(int(datetime.fromisoformat(expiry).timestamp() * 1000))
                if role == "cert_chain" and not identity:
                    names = certificate.get("subject_alt_names", [])
                    identity = next((name["uri"] for name in names if "uri" in name), "")
    return min(expiries, default=0), identity


def rejected_update(rejected: Rejected) -> RejectedUpdate:
    """A rejected update as the snapshot says it."""
    return RejectedUpdate(
        rejected.section, rejected.name, rejected.details, _milliseconds(rejected.last_attempt)
    )


def incomplete_lines(incomplete: Iterable[Incomplete]) -> tuple[str, ...]:
    """What a dump lacked: one line per kind of policy that cannot be verified, `kind: reason`."""
    return tuple(
        f"{kind}: the configuration dump lacks {lacking.section}: {lacking.reason}"
        for lacking in incomplete
        for kind in lacking.kinds
    )


def _milliseconds(time: str) -> int:
    """Envoy's time, RFC 3339, in milliseconds; 0 where it gives none that can be read."""
    try:
        return int(datetime.fromisoformat(time).timestamp() * 1000)
    except ValueError:
        return 0


def proxy_state(
    signs: Signs,
    rejected: tuple[RejectedUpdate, ...],
    warming: tuple[str, ...],
    incomplete: tuple[str, ...],
    certificate: tuple[int, str],
    error: str = "",
) -> ProxyState:
    """The state of a proxy that answers.

    Args:
        rejected, warming, incomplete: What its last configuration dump shows.
        certificate: See `certificates`.
        error: Why there is no newer configuration; empty: there is.
    """
    return ProxyState(
        live=signs.live,
        connected=signs.connected,
        rejected=rejected,
        warming=warming,
        draining=signs.draining,
        versions=signs.versions,
        certificate_expires_at=certificate[0],
        certificate_identity=certificate[1],
        incomplete=incomplete,
        error=error,
    )


def unreachable(last: ProxyState | None, error: str) -> ProxyState:
    """The state of a proxy whose admin interface does not answer."""
    known = last or ProxyState()
    return ProxyState(
        live="UNREACHABLE",
        connected=None,
        certificate_expires_at=known.certificate_expires_at,
        certificate_identity=known.certificate_identity,
        error=error,
    )
