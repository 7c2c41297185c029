"""Findings about a proxy as facts: they open, repeat when they look different, and close.

And which drift is evidence of which of them.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final, Literal

from meshscope.analysis.delivery import Condition
from meshscope.analysis.delivery_codes import OUTDATED
from meshscope.analysis.explanation import explains, explanation
from meshscope.events.facts import Cause, Finding
from meshscope.policy.canonical import content_bytes, digest_bytes
from meshscope.policy.key import PolicyKey
from meshscope.stream.clipping import clipped
from meshscope.stream.delivery import Delivery
from meshscope.stream.outbox import Outbox
from meshscope.stream.record import Accepted, OpenDrift, OpenFinding, ProxyRecord
from meshscope.stream.step import Now

MAX_OPEN: Final = 50
"""Findings of one proxy that are open at a time."""


class Findings:
    """The findings of one proxy.

    Args:
        record: What is remembered of it.
        outbox: Where facts go.
        now: The time.
        is_due: Whether what was said at some time is to be said again.
    """

    def __init__(
        self, record: ProxyRecord, outbox: Outbox, now: Now, is_due: Callable[[int], bool]
    ) -> None:
        self.open = dict(record.findings)
        self._delivery: Delivery | None = None
        self._conditions: tuple[Condition, ...] = ()
        self._record = record
        self._outbox = outbox
        self._now = now
        self._is_due = is_due

    @property
    def since(self) -> Mapping[str, int]:
        """Since when each condition is so."""
        return self._delivery.since if self._delivery else self._record.conditions

    @property
    def accepted(self) -> Mapping[str, Accepted]:
        """What the proxy accepted last."""
        return self._delivery.accepted if self._delivery else self._record.accepted

    @property
    def wake_at(self) -> int | None:
        """Monotonic time at which to look again."""
        return self._delivery.wake_at if self._delivery else None

    def said_at(self) -> Iterator[int]:
        """When each finding that is still so was said last."""
        return (
            self.open[condition.key].said_at
            for condition in self._conditions
            if condition.key in self.open
        )

    def take(self, found: Delivery) -> bool:
        """How the proxy gets its configuration: what is over closes, what lasts too long opens.

        Returns whether it may take in now what it could not take in before, and needs time for it.
        """
        was_outdated = any(_is_outdated(finding.cause) for finding in self.open.values())
        self._delivery = found
        self._conditions = found.present
        if not found.is_partial:
            # Whether it is outdated follows from the comparison.
            self._close_others(found.present, lambda finding: not _is_outdated(finding.cause))
        self._hold(found.due)
        return found.ended or (found.received and was_outdated)

    def compare(
        self, declared_at: int, differing: Iterable[PolicyKey], drifts: Mapping[str, OpenDrift]
    ) -> None:
        """Find out whether the proxy was sent anything since what differs was declared.

        Args:
            declared_at: When that was, on the monotonic clock.
            differing: Keys of policies that are not as declared, although there was time.
            drifts: Those that are open, by key.
        """
        if self._delivery is None:
            return
        unexplained = (key for key in differing if self._may_be_outdated(key, drifts.get(str(key))))
        found = self._delivery.outdated(declared_at, unexplained)
        self._conditions = (*self._conditions, *found)
        self._close_others(found, lambda finding: _is_outdated(finding.cause))
        self._hold(found)

    def cause(self, key: PolicyKey, known: OpenDrift | None) -> Cause | None:
        """Why the proxy does not hold a policy as it should.

        What opened without an explanation has none later; what has one keeps it while it lasts.

        Args:
            key: The policy.
            known: The drift, if it is open.
        """
        if self._delivery is None:
            return None
        proxy = self._delivery.proxy
        if known is None:
            found = explanation(key, self._conditions, proxy)
            return found.cause if found else None
        lasts = any(
            each.cause == known.cause and explains(each, key, proxy) for each in self._conditions
        )
        return known.cause if lasts else None

    def _may_be_outdated(self, key: PolicyKey, known: OpenDrift | None) -> bool:
        """Whether nothing else explains a new drift, or an open one was outdated before."""
        if known is not None:
            return known.cause is not None and _is_outdated(known.cause)
        return self._delivery is not None and not explanation(
            key, self._delivery.present, self._delivery.proxy
        )

    def _close_others(
        self, conditions: Iterable[Condition], concerns: Callable[[OpenFinding], bool]
    ) -> None:
        present = {condition.key for condition in conditions}
        for key, finding in list(self.open.items()):
            if key not in present and concerns(finding):
                self._close(key)

    def _hold(self, conditions: Iterable[Condition]) -> None:
        """These have lasted too long: open those that are new, repeat those that changed."""
        for condition in conditions:
            known = self.open.get(condition.key)
            if known is not None and known.cause != condition.cause:
                self._close(condition.key)
                known = None
            if known is None:
                if len(self.open) < MAX_OPEN:
                    identity = self._outbox.next_id()
                    self._say("opened", identity, identity, self._now.utc, condition)
            elif known.looks != _looks(condition) or self._is_due(known.said_at):
                identity = self._outbox.next_id()
                self._say("open", identity, known.episode, known.opened_at, condition)

    def _close(self, key: str) -> None:
        known = self.open.pop(key)
        self._outbox.put(closing(self._record, known, self._outbox, self._now))

    def _say(
        self,
        status: Literal["opened", "open"],
        identity: str,
        episode: str,
        opened_at: int,
        condition: Condition,
    ) -> None:
        snapshot = self._record.snapshot
        self.open[condition.key] = OpenFinding(
            episode=episode,
            key=condition.key,
            cause=condition.cause,
            opened_at=opened_at,
            looks=_looks(condition),
            said_at=self._now.utc,
        )
        self._outbox.put(
            Finding(
                id=identity,
                episode=episode,
                status=status,
                proxy=snapshot.proxy,
                cluster=snapshot.cluster,
                key=condition.key,
                cause=condition.cause,
                expected=condition.code.expected,
                observed=clipped(condition.observed),
                snapshot=snapshot.id,
                opened_at=opened_at,
                observed_at=max(opened_at, self._now.utc),
                revision=self._outbox.revision,
            )
        )


def closing(record: ProxyRecord, finding: OpenFinding, outbox: Outbox, now: Now) -> Finding:
    """The fact that a finding is over."""
    return Finding(
        id=outbox.next_id(),
        episode=finding.episode,
        status="closed",
        proxy=record.snapshot.proxy,
        cluster=record.snapshot.cluster,
        key=finding.key,
        cause=finding.cause,
        expected="",
        observed="",
        snapshot=record.snapshot.id,
        opened_at=finding.opened_at,
        observed_at=max(finding.opened_at, now.utc),
        revision=outbox.revision,
    )


def _is_outdated(cause: Cause) -> bool:
    return cause.code == OUTDATED.code


def _looks(condition: Condition) -> str:
    return digest_bytes("finding", content_bytes((condition.cause, condition.observed)))
