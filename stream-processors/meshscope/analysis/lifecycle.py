"""The life of an anomaly: it opens with its first evidence and resolves with its last.

Pure. `take` folds a drift or finding in, `speak` says what is to be published. Evidence may come
repeatedly and out of order: of the facts of an episode the one with the highest revision counts,
and what was closed stays closed.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Literal

from meshscope.analysis.anomaly import (
    cause,
    fingerprint,
    layer,
    repair,
    responsible,
    severity,
    title,
)
from meshscope.events.facts import Anomaly, Drift, Evidence, Finding, Source
from meshscope.policy.canonical import content_bytes, digest_bytes

MAX_EVIDENCE: Final = 100
"""Drifts and findings that an anomaly shows in full; it counts the others."""

MAX_EVIDENCE_TEXT: Final = 400
MAX_PROXIES: Final = 5_000
MAX_HELD: Final = 10_000
"""Drifts and findings that an anomaly remembers; after that, the first one of each of `MAX_PROXIES`
more proxies. Of the others the daily repetition reminds when there is room again."""

MAX_CLOSED: Final = 2_000

COALESCE_MS: Final = 1_000
"""A change that hits the whole mesh brings a drift per proxy; updates wait for each other."""

REPEAT_MS: Final = 20 * 60 * 60 * 1000
"""Open drifts come again daily, and then the anomaly is published again, for retention."""


@dataclass(frozen=True, slots=True)
class Held:
    """The evidence of one episode.

    Attributes:
        revision: Of the fact that it was taken from.
        effect: What it does to traffic; empty: a finding.
        shown: None where the anomaly already shows `MAX_EVIDENCE` others.
        resource: Responsible for the drift.
    """

    revision: int
    proxy: str
    effect: str
    shown: Evidence | None
    resource: Source | None = None


@dataclass(frozen=True, slots=True)
class AnomalyState:
    """What is remembered of one anomaly.

    Attributes:
        episode: Of the life that is going on; empty: it is resolved.
        open: Evidence by episode of the drift.
        closed: Revision with which an episode closed, the latest `MAX_CLOSED`.
        updated_at: Time of the newest drift taken in.
        said: Digest of the evidence that the last published fact was about.
        said_at: Time of the newest drift when that was published.
        spoke_at: When that was.
        severity: As it was published last, for when nothing is left that it could come from.
    """

    fingerprint: str
    cluster: str
    code: str
    title: str
    resource: Source | None
    episode: str = ""
    opened_at: int = 0
    open: Mapping[str, Held] = field(default_factory=dict, hash=False)
    closed: Mapping[str, int] = field(default_factory=dict, hash=False)
    updated_at: int = 0
    said: str = ""
    said_at: int = 0
    spoke_at: int = 0
    severity: str = ""


def take(state: AnomalyState | None, fact: Drift | Finding) -> AnomalyState:
    """Fold a drift or finding into the anomaly that it is evidence of."""
    if state is None:
        of = cause(fact)
        state = AnomalyState(
            fingerprint=fingerprint(fact),
            cluster=fact.cluster,
            code=of.code,
            title=title(fact),
            resource=of.resource,
        )
    known = state.open.get(fact.episode)
    if fact.episode in state.closed or (known and known.revision >= fact.revision):
        return state
    still_open = {name: held for name, held in state.open.items() if name != fact.episode}
    updated_at = max(state.updated_at, fact.observed_at)
    if fact.status == "closed":
        closed = {**state.closed, fact.episode: fact.revision}
        for oldest in list(closed)[: len(closed) - MAX_CLOSED]:
            del closed[oldest]
        return replace(state, open=still_open, closed=closed, updated_at=updated_at)
    if known is None and not _has_room(still_open, fact.proxy):
        return state
    shown = sum(held.shown is not None for held in still_open.values())
    still_open[fact.episode] = Held(
        revision=fact.revision,
        proxy=fact.proxy,
        effect=fact.effect if isinstance(fact, Drift) else "",
        shown=_evidence(fact) if shown < MAX_EVIDENCE else None,
        resource=responsible(fact.sources) if isinstance(fact, Drift) else None,
    )
    return replace(state, open=still_open, updated_at=updated_at)


def speak(state: AnomalyState, now: int) -> tuple[AnomalyState, Anomaly | None]:
    """What is to be published about an anomaly now, and its state once that is done.

    Opening and resolving are told at once, other changes at most once per `COALESCE_MS`; whether
    something is left to be told, `unsaid` says.
    """
    if not state.open:
        if not state.episode:
            return state, None
        resolved = _anomaly(state, "resolved")
        return replace(state, episode="", said="", said_at=state.updated_at), resolved
    if coalesces(state, now):
        return state, None
    looks = _looks(state)
    if not state.episode:
        first = min(state.open)
        state = replace(
            state,
            episode=digest_bytes("anomaly-episode", f"{state.fingerprint}:{first}".encode()),
            opened_at=state.updated_at,
        )
        status: Literal["opened", "updated"] = "opened"
    elif not _is_news(state, looks):
        return state, None
    else:
        status = "updated"
    said = replace(
        state,
        said=looks,
        said_at=state.updated_at,
        spoke_at=now,
        severity=_severity(state),
    )
    return said, _anomaly(said, status)


def unsaid(state: AnomalyState) -> bool:
    """Whether the last published fact is not all that is known."""
    if not state.open:
        return bool(state.episode)
    return _is_news(state, _looks(state))


def coalesces(state: AnomalyState, now: int) -> bool:
    """Whether an open anomaly was told just now, so that whatever is new waits for more."""
    return bool(state.open and state.episode) and 0 <= now - state.spoke_at < COALESCE_MS


def _is_news(state: AnomalyState, looks: str) -> bool:
    return state.said != looks or state.updated_at - state.said_at >= REPEAT_MS


def _has_room(still_open: Mapping[str, Held], proxy: str) -> bool:
    if len(still_open) < MAX_HELD:
        return True
    return len(still_open) < MAX_HELD + MAX_PROXIES and all(
        held.proxy != proxy for held in still_open.values()
    )


def is_over(state: AnomalyState) -> bool:
    """Whether it is resolved, and that was said."""
    return not state.open and not state.episode


def _evidence(fact: Drift | Finding) -> Evidence:
    change, effect = (fact.change, fact.effect) if isinstance(fact, Drift) else ("", "")
    return Evidence(
        episode=fact.episode,
        proxy=fact.proxy,
        key=fact.key,
        change=change,
        effect=effect,
        expected=_clip(fact.expected),
        observed=_clip(fact.observed),
        snapshot=fact.snapshot,
    )


def _severity(state: AnomalyState) -> str:
    effects = (held.effect for held in state.open.values() if held.effect)
    return severity(effects, state.code)


def _resource(state: AnomalyState) -> Source | None:
    """The resource responsible; of a cause without one, that of the drifts which it explains."""
    if state.resource is not None:
        return state.resource
    return responsible(held.resource for held in state.open.values() if held.resource)


def _looks(state: AnomalyState) -> str:
    shown = [
        (name, held.effect, held.shown and (held.shown.expected, held.shown.observed))
        for name, held in sorted(state.open.items())
    ]
    return digest_bytes("evidence", content_bytes(shown))


def _anomaly(state: AnomalyState, status: Literal["opened", "updated", "resolved"]) -> Anomaly:
    held = [state.open[name] for name in sorted(state.open)]
    anomaly = Anomaly(
        id="",
        fingerprint=state.fingerprint,
        episode=state.episode,
        status=status,
        cluster=state.cluster,
        layer=layer(state.code),
        code=state.code,
        severity=_severity(state) if held else state.severity,
        title=state.title,
        opened_at=state.opened_at,
        updated_at=state.updated_at,
        resolved_at=state.updated_at if status == "resolved" else None,
        resource=_resource(state),
        proxies=tuple(sorted({each.proxy for each in held})[:MAX_PROXIES]),
        evidence=tuple(each.shown for each in held if each.shown is not None),
        evidence_count=len(held),
        repair=repair(state.code),
    )
    return replace(anomaly, id=digest_bytes("anomaly-fact", content_bytes(anomaly)))


def _clip(text: str) -> str:
    return text if len(text) <= MAX_EVIDENCE_TEXT else f"{text[:MAX_EVIDENCE_TEXT]}…"
