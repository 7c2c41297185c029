"""What the stream says: verdicts, drifts, findings, and the anomalies made of them."""

from dataclasses import dataclass
from typing import Literal

from meshscope.events.facts.held import Source

Change = Literal["missing", "extra", "different"]


@dataclass(frozen=True, slots=True)
class FieldDifference:
    """One field in which a policy differs, in the words of the resource."""

    path: str
    expected: str
    observed: str


@dataclass(frozen=True, slots=True)
class Cause:
    """What makes something an anomaly, and which one.

    Attributes:
        code: `MSC-…`.
        subject: What it is about, in words; it names the anomaly where no resource does.
        resource: The resource responsible; None: none, or it is not known.
    """

    code: str
    subject: str
    resource: Source | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """How a proxy gets its configuration and takes it in is not as it should be, at one time.

    Attributes:
        id, episode, status, snapshot, opened_at, observed_at, revision: As in `Drift`.
        key: What it is about, unique among the findings of a proxy.
        cause: The anomaly that it is evidence of.
        expected, observed: What should be, and what is.
    """

    id: str
    episode: str
    status: Literal["opened", "open", "closed"]
    proxy: str
    cluster: str
    key: str
    cause: Cause
    expected: str
    observed: str
    snapshot: str
    opened_at: int
    observed_at: int
    revision: int = 0


@dataclass(frozen=True, slots=True)
class Drift:
    """A difference between what a proxy should hold and what it holds, at one time.

    Attributes:
        id: Unique for this fact; a fact that is sent twice has one id, and a drift that returns
            has another.
        episode: Id of the fact with which it opened.
        status: `opened`, `open` (still there, but looks different, or for the daily repetition) or
            `closed` (expected and observed are then empty: they agree).
        proxy, cluster: Whose.
        key: Policy key.
        code: `MSC-1xxx`.
        change, effect: See the comparison.
        expected, observed: In the words of the resource.
        fields: The fields that differ; empty for `missing` and `extra`.
        sources: Resources responsible.
        snapshot: Id of the snapshot that it was computed from.
        declared: Digest of the declared policy set that it was compared with.
        resource_versions: `kind ns/name@resourceVersion` of the sources.
        opened_at, observed_at: Times.
        witness: JSON of a request that shows it; empty: none yet.
        revision: Number of this fact among all about the proxy, from 1, or since it came back
            after it was gone; within an episode the highest counts.
        cause: Why the proxy does not hold what it should, where a finding explains it; the drift is
            then evidence of that anomaly, and not of one of its own.
    """

    id: str
    episode: str
    status: Literal["opened", "open", "closed"]
    proxy: str
    cluster: str
    kind: str
    key: str
    code: str
    change: str
    effect: str
    expected: str
    observed: str
    snapshot: str
    declared: str
    opened_at: int
    observed_at: int
    fields: tuple[FieldDifference, ...] = ()
    sources: tuple[Source, ...] = ()
    resource_versions: tuple[str, ...] = ()
    witness: str = ""
    revision: int = 0
    cause: Cause | None = None


@dataclass(frozen=True, slots=True)
class EquivalentDifference:
    """A policy that differs from what is declared in form only; fields as in `Drift`."""

    key: str
    code: str
    change: str
    expected: str
    observed: str
    fields: tuple[FieldDifference, ...] = ()
    sources: tuple[Source, ...] = ()


@dataclass(frozen=True, slots=True)
class Verdict:
    """What verification says of one proxy at one time.

    Attributes:
        id: As in `Drift`.
        verdict: `in-sync`, `converging` (differences within the convergence window), `drift`,
            `unverifiable`, `unknown` (nothing to compare with yet) or `gone` (the proxy left).
        reason: Why it is not known or not verifiable; empty otherwise.
        unverifiable: Policy keys or kinds of which nothing can be said, each with its reason.
        equivalent: Number of differences in form only.
        differences: Number of differences that are drift.
        policies: Number of policies that were compared.
        snapshot, declared: Inputs, as in `Drift`.
        coverage: Share of the dump that was explained, 0 to 1.
        revision: As in `Drift`.
        equivalents: The first of the differences in form only.
        notes: Limits of this verdict (`MSC-5xxx`).
    """

    id: str
    proxy: str
    cluster: str
    verdict: str
    snapshot: str
    declared: str
    observed_at: int
    reason: str = ""
    unverifiable: tuple[str, ...] = ()
    equivalent: int = 0
    differences: int = 0
    policies: int = 0
    coverage: float = 0.0
    revision: int = 0
    equivalents: tuple[EquivalentDifference, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Evidence:
    """One drift or finding as evidence of an anomaly; a finding has no change and no effect."""

    episode: str
    proxy: str
    key: str
    change: str
    effect: str
    expected: str
    observed: str
    snapshot: str


@dataclass(frozen=True, slots=True)
class Anomaly:
    """An inconsistency that somebody should look at; the record's key is `fingerprint`.

    Attributes:
        id: Digest of fingerprint, episode, status and content; the CloudEvents id.
        fingerprint: Stable over restarts: cluster, layer, code, resource (else proxy and key).
        episode: Digest of the fingerprint and the time it opened: one life of the anomaly.
        status: `opened`, `updated` or `resolved`.
        layer: `declaration`, `translation`, `delivery`, `loading` or `enforcement`.
        code: `MSC-…`.
        severity: `critical`, `warning` or `info`.
        title: One sentence.
        resource: Resource responsible; None: not known.
        proxies: Blast radius.
        evidence: At most 100 drifts and findings; `evidence_count` is the number of those that are
            known (`analysis.lifecycle.MAX_HELD`).
        repair: What to do; empty: nothing is known.
    """

    id: str
    fingerprint: str
    episode: str
    status: Literal["opened", "updated", "resolved"]
    cluster: str
    layer: str
    code: str
    severity: str
    title: str
    opened_at: int
    updated_at: int
    resolved_at: int | None = None
    resource: Source | None = None
    proxies: tuple[str, ...] = ()
    evidence: tuple[Evidence, ...] = ()
    evidence_count: int = 0
    repair: str = ""
