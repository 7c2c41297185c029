"""How a proxy is, as far as its admin interface shows: pure readers."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import msgspec

from meshscope.agent.signs import Signs
from meshscope.events.facts import Certificate, ProxyState, RejectedUpdate
from meshscope.events.x509 import canonical_serial
from meshscope.inference.result import Incomplete, LoadedState, Rejected


def certificates(certs: bytes) -> tuple[Certificate, ...]:
    """The workload's certificate and the roots that it trusts, from `/certs`.

    None where SDS has not answered yet.

    Raises:
        ValueError: The answer is not what Envoy gives.
    """
    document: Mapping[str, Any] = msgspec.json.decode(certs, type=dict[str, Any])
    found: list[Certificate] = []
    for entry in document.get("certificates", []):
        # What follows the first of a chain are those that signed it.
        found += [_certificate(each, "workload") for each in entry.get("cert_chain", [])[:1]]
        found += [_certificate(each, "root") for each in entry.get("ca_cert", [])]
    return tuple(dict.fromkeys(found))


def _certificate(certificate: Mapping[str, Any], role: str) -> Certificate:
    names = certificate.get("subject_alt_names", [])
    return Certificate(
        role=role,
        serial=canonical_serial(certificate.get("serial_number", "")),
        identity=next((name["uri"] for name in names if "uri" in name), ""),
        valid_from=milliseconds(certificate.get("valid_from", "")),
        expires_at=milliseconds(certificate.get("expiration_time", "")),
    )


def rejected_update(rejected: Rejected) -> RejectedUpdate:
    """A rejected update as the snapshot says it."""
    return RejectedUpdate(
        rejected.section, rejected.name, rejected.details, milliseconds(rejected.last_attempt)
    )


def refused_updates(
    shown: Iterable[RejectedUpdate], refused: Iterable[str]
) -> tuple[RejectedUpdate, ...]:
    """All updates that were refused and not replaced.

    Args:
        shown: Those that the configuration dump shows, with Envoy's reason.
        refused: Those that only statistics show, see `signs.refused`.
    """
    found = tuple(shown)
    sections = {update.type for update in found}
    others = (name.partition("/") for name in sorted(refused))
    silent = (RejectedUpdate(each[0], each[2], "") for each in others if each[0] not in sections)
    return (*found, *silent)


def incomplete_lines(incomplete: Iterable[Incomplete]) -> tuple[str, ...]:
    """What a dump lacked: one line per kind of policy that cannot be verified, `kind: reason`."""
    return tuple(
        f"{kind}: the configuration dump lacks {lacking.section}: {lacking.reason}"
        for lacking in incomplete
        for kind in lacking.kinds
    )


def milliseconds(time: str) -> int:
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
    certificates: tuple[Certificate, ...],
    error: str = "",
) -> ProxyState:
    """The state of a proxy that answers.

    Args:
        rejected, warming, incomplete: What its last configuration dump shows.
        certificates: See `certificates`.
        error: Why there is no newer configuration; empty: there is.
    """
    return ProxyState(
        live=signs.live,
        connected=signs.connected,
        rejected=rejected,
        warming=warming,
        draining=signs.draining,
        versions=signs.versions,
        certificate_expires_at=min(
            (each.expires_at for each in certificates if each.expires_at), default=0
        ),
        certificate_identity=next((each.identity for each in certificates if each.identity), ""),
        incomplete=incomplete,
        error=error,
        certificates=certificates,
    )


def state_of_dump(loaded: LoadedState) -> ProxyState:
    """The state of a proxy as far as a configuration dump alone shows it."""
    return proxy_state(
        Signs(draining=len(loaded.draining)),
        tuple(map(rejected_update, loaded.rejected)),
        loaded.warming,
        (),
        loaded.certificates,
    )


def unreachable(last: ProxyState | None, error: str) -> ProxyState:
    """The state of a proxy whose admin interface does not answer."""
    known = last or ProxyState()
    return ProxyState(
        live="UNREACHABLE",
        connected=None,
        certificate_expires_at=known.certificate_expires_at,
        certificate_identity=known.certificate_identity,
        certificates=known.certificates,
        error=error,
    )
