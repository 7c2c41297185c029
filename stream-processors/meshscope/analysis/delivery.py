"""What stands between a declaration and a proxy: findings of delivery and loading.

Pure: the proxy's state, its inputs, what is declared, and the time are arguments. `conditions` says
what is not as it should be now; `ripe` leaves out what is normal for a while. What each means and
what to do about it stands in `delivery_codes`.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from meshscope.analysis import delivery_codes as codes
from meshscope.analysis.delivery_codes import MINUTE, DeliveryCode
from meshscope.analysis.mesh import DeclaredMesh, has_sidecar
from meshscope.events import convert
from meshscope.events.facts import Cause, Certificate, ProxyState, RejectedUpdate, Source
from meshscope.events.proxy import ProxyInputs
from meshscope.events.resource import Resource
from meshscope.policy.source import ResourceRef

EVERYTHING: Final = "*"
"""Section of a condition that concerns the whole configuration."""

RENEWAL_SHARE: Final = 0.2
"""Istio renews when half of a certificate's life is left; with so little left, renewal has failed.
(`SECRET_GRACE_PERIOD_RATIO` is 0.5.)"""

ROOT_NOTICE_MS: Final = 30 * 24 * 60 * MINUTE
"""Replacing a root takes weeks."""

UNSEEN_STATE: Final = "UNSEEN"
"""`ProxyState.live` of a Pod of which no snapshot has arrived."""

_WAITS_FOR: Final[Mapping[str, str]] = {
    "clusters": "its endpoints, or the resolution of its names",
    "listeners": "its routes or secrets",
    "secrets": "the secret itself",
}

_TYPE_NAMES: Final[Mapping[str, str]] = {"cds": "clusters", "lds": "listeners"}


@dataclass(frozen=True, slots=True)
class Condition:
    """Something that is not as it should be.

    Attributes:
        code: What sort of thing.
        key: What it is about, unique among the conditions of a proxy.
        observed: What is, in words.
        cause: The anomaly that it is evidence of. Conditions of several proxies that come from
            the same thing have the same.
        section, name: The part of the configuration that does not arrive because of it: a section
            of the dump and a resource in it (empty: any), `EVERYTHING`, or nothing (empty).
    """

    code: DeliveryCode
    key: str
    observed: str
    cause: Cause
    section: str = ""
    name: str = ""


def conditions(
    state: ProxyState,
    proxy: ProxyInputs,
    mesh: DeclaredMesh,
    *,
    now: int,
    patches: Sequence[ResourceRef] = (),
) -> tuple[Condition, ...]:
    """Everything that is not as it should be with a proxy, one per key.

    Args:
        state: How the proxy is.
        proxy: Who it is.
        mesh: What is declared.
        now: UTC in milliseconds.
        patches: EnvoyFilters and the like in scope of the proxy.
    """
    found = (
        *_unseen(state, proxy, mesh),
        *_rejected(state.rejected, proxy, patches),
        *_warming(state),
        *_draining(state, proxy),
        *_connection(state, proxy),
        *_revision(proxy, mesh),
        *_certificates(state.certificates, proxy, mesh, now),
    )
    return tuple({condition.key: condition for condition in found}.values())


def ripe(
    found: Iterable[Condition], lasts: Mapping[str, int]
) -> tuple[tuple[Condition, ...], int | None]:
    """The conditions that have lasted too long, and in how many milliseconds the next will have.

    Args:
        found: What `conditions` says.
        lasts: For how long that has been so, in milliseconds, by key.
    """
    over: list[Condition] = []
    left: list[int] = []
    for condition in found:
        rest = condition.code.after_ms - lasts.get(condition.key, 0)
        if rest <= 0:
            over.append(condition)
        else:
            left.append(rest)
    return tuple(over), min(left, default=None)


def outdated(proxy: ProxyInputs, sections: Iterable[str]) -> tuple[Condition, ...]:
    """A proxy differs from what is declared and was sent nothing of these sections since."""
    return tuple(
        _condition(
            codes.OUTDATED,
            f"outdated/{section}",
            f"no {section} were received since the declaration changed",
            f"revision {proxy.revision}",
            section=section,
        )
        for section in sections
    )


def section_of_type(short: str) -> str:
    """The section of the dump of a type of discovery (`cds`, `lds`)."""
    return _TYPE_NAMES[short]


def _condition(
    code: DeliveryCode,
    key: str,
    observed: str,
    subject: str,
    *,
    resource: Source | None = None,
    section: str = "",
    name: str = "",
) -> Condition:
    return Condition(code, key, observed, Cause(code.code, subject, resource), section, name)


def without_sidecar(pod: Resource) -> Condition:
    """A Pod should have a sidecar and has none."""
    return _condition(
        codes.NOT_INJECTED,
        "sidecar",
        "it runs without a sidecar",
        f"namespace {pod.namespace}",
        resource=Source("Namespace", "", pod.namespace),
    )


def _unseen(state: ProxyState, proxy: ProxyInputs, mesh: DeclaredMesh) -> Iterator[Condition]:
    pod = mesh.pods.get(proxy.proxy)
    if state.live == UNSEEN_STATE and pod is not None and not has_sidecar(pod):
        yield without_sidecar(pod)
    elif state.error:
        yield _condition(codes.UNSEEN, "snapshot", state.error, proxy.proxy)


def _rejected(
    rejected: Sequence[RejectedUpdate], proxy: ProxyInputs, patches: Sequence[ResourceRef]
) -> Iterator[Condition]:
    named = {(update.type, update.details) for update in rejected if update.resource}
    # Where one patch alone is in force, it is the suspect; of several none can be singled out.
    resource = convert.source(patches[0]) if len(patches) == 1 else None
    for update in rejected:
        if not update.resource and (update.type, update.details) in named:
            # Envoy lists some refused listeners twice, once without their name.
            continue
        what = f"{update.type}/{update.resource}" if update.resource else update.type
        reason = update.details or (
            "its admin interface does not tell why; the log of istiod does (`ACK ERROR`)"
        )
        # One bad resource is refused for the same reason by every proxy that gets it.
        subject = (
            f"{update.type}: {update.details}" if update.details else f"{what} of {proxy.proxy}"
        )
        yield _condition(
            codes.REJECTED,
            f"update/{what}",
            f"{what}: {reason}",
            subject,
            resource=resource,
            section=update.type,
            name=update.resource,
        )


def _warming(state: ProxyState) -> Iterator[Condition]:
    for what in state.warming:
        section, _, name = what.partition("/")
        waits = _WAITS_FOR.get(section, "something that it refers to")
        yield _condition(
            codes.WARMING,
            f"warming/{what}",
            f"{what} waits for {waits}",
            what,
            section=section,
            name=name,
        )


def _draining(state: ProxyState, proxy: ProxyInputs) -> Iterator[Condition]:
    if state.live == "DRAINING":
        yield _condition(
            codes.DRAINING, "draining", "the proxy as a whole is draining", proxy.proxy
        )
    elif state.draining:
        what = f"{state.draining} listeners or filter chains are still draining"
        yield _condition(codes.DRAINING, "draining", what, proxy.proxy)


def _connection(state: ProxyState, proxy: ProxyInputs) -> Iterator[Condition]:
    lacking = [_TYPE_NAMES[each] for each in _TYPE_NAMES if state.versions.get(each) == ""]
    if state.live in ("PRE_INITIALIZING", "INITIALIZING"):
        lacking = lacking or ["what it waits for at its start"]
    if lacking:
        what = f"{' and '.join(sorted(lacking))} never came"
        yield _condition(
            codes.NEVER_RECEIVED, "first configuration", what, proxy.proxy, section=EVERYTHING
        )
    if state.connected is False:
        yield _condition(
            codes.DISCONNECTED,
            "connection",
            "not connected",
            f"revision {proxy.revision}",
            section=EVERYTHING,
        )


def _revision(proxy: ProxyInputs, mesh: DeclaredMesh) -> Iterator[Condition]:
    pod = mesh.pods.get(proxy.proxy)
    wanted = mesh.wanted_revision(proxy.namespace, proxy.labels if pod is None else pod.labels)
    if wanted is None or wanted == mesh.revisions.get(proxy.revision, proxy.revision):
        return
    yield _condition(
        codes.OTHER_REVISION,
        "revision",
        f"revision {proxy.revision}, where namespace {proxy.namespace} asks for {wanted}",
        f"namespace {proxy.namespace}",
        resource=Source("Namespace", "", proxy.namespace),
    )


def _certificates(
    certificates: Sequence[Certificate], proxy: ProxyInputs, mesh: DeclaredMesh, now: int
) -> Iterator[Condition]:
    for each in certificates:
        if each.expires_at and now >= _notice_at(each):
            what = f"{each.role} certificate {each.serial}"
            state = "has expired" if each.expires_at <= now else "is not renewed"
            yield _condition(
                codes.EXPIRING,
                f"expiry/{each.role}/{each.serial}",
                f"the {what} {state}; {_in_words(each.expires_at - now)}",
                what if each.role == "root" else f"workload certificate of {proxy.proxy}",
            )
        if each.role == "workload" and (wrong := _wrong_identity(each, proxy, mesh)):
            yield _condition(codes.OTHER_TRUST, "identity", wrong, f"identity of {proxy.proxy}")
    roots = {each.serial for each in certificates if each.role == "root"}
    declared = mesh.roots.get(proxy.namespace, frozenset())
    if roots and declared and not roots & declared:
        yield _condition(
            codes.OTHER_TRUST,
            "root",
            f"it trusts root {', '.join(sorted(roots))}; namespace {proxy.namespace} is given "
            f"{', '.join(sorted(declared))}",
            f"root {', '.join(sorted(roots))}",
        )


def notice_times(certificates: Iterable[Certificate]) -> Iterator[int]:
    """When each certificate that is not renewed becomes a condition, UTC in milliseconds."""
    return (_notice_at(each) for each in certificates if each.expires_at)


def _notice_at(certificate: Certificate) -> int:
    if certificate.role == "root":
        return certificate.expires_at - ROOT_NOTICE_MS
    life = certificate.expires_at - certificate.valid_from if certificate.valid_from else 0
    return certificate.expires_at - max(MINUTE, int(life * RENEWAL_SHARE))


def _wrong_identity(certificate: Certificate, proxy: ProxyInputs, mesh: DeclaredMesh) -> str:
    domain, _, path = certificate.identity.removeprefix("spiffe://").partition("/")
    if not path:
        return ""
    if mesh.trust_domains and domain not in mesh.trust_domains:
        wanted = " or ".join(sorted(mesh.trust_domains))
        return f"its identity is {certificate.identity}; the trust domain of the mesh is {wanted}"
    account = proxy.service_account
    if account and path != f"ns/{proxy.namespace}/sa/{account}":
        return (
            f"its identity is {certificate.identity}; it runs as service account {account} of "
            f"namespace {proxy.namespace}"
        )
    return ""


def _in_words(left: int) -> str:
    minutes = abs(left) // MINUTE
    size = f"{minutes // 1440} days" if minutes >= 2880 else f"{minutes // 60} h {minutes % 60} min"
    return f"{size} left" if left > 0 else f"{size} ago"
