"""How a proxy gets its configuration: what has been wrong with that, and for how long.

Between the pure findings of `analysis.delivery` and a proxy's record, which remembers since when
something is so, and when the proxy last accepted anything.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from meshscope.analysis.delivery import (
    Condition,
    conditions,
    notice_times,
    outdated,
    ripe,
    section_of_type,
)
from meshscope.analysis.explanation import explains
from meshscope.analysis.mesh import DeclaredMesh
from meshscope.events.proxy import ProxyInputs
from meshscope.policy.key import PolicyKey
from meshscope.policy.source import ResourceRef
from meshscope.stream.record import Accepted, ProxyRecord
from meshscope.stream.step import Now

SLACK_MS: Final = 10_000
"""istiod may see a change, and push it, so long before the worker sees it."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """What stands between the declaration and a proxy.

    Attributes:
        proxy: The proxy.
        present: All that is so now.
        due: What has been so for too long.
        since: When each began, by key, on the monotonic clock.
        accepted: The versions that the proxy accepted last, by type of discovery.
        ended: Something that was so is over.
        received: A version was accepted.
        is_partial: The proxy does not answer, so that what is not present may well be so.
        wake_at: Monotonic time at which more is due; None: only what happens can tell.
    """

    proxy: ProxyInputs
    present: tuple[Condition, ...]
    due: tuple[Condition, ...]
    since: Mapping[str, int]
    accepted: Mapping[str, Accepted]
    ended: bool
    received: bool
    is_partial: bool
    wake_at: int | None

    def outdated(self, declared_at: int, differing: Iterable[PolicyKey]) -> tuple[Condition, ...]:
        """The parts of which nothing was sent since the declaration changed, and which differ.

        Args:
            declared_at: When that was, on the monotonic clock.
            differing: Keys of policies that are not as declared.
        """
        if any(condition.key == "connection" for condition in self.present):
            return ()
        sections = (
            section_of_type(name)
            for name, accepted in sorted(self.accepted.items())
            if accepted.version and accepted.at < declared_at - SLACK_MS
        )
        keys = tuple(differing)
        return tuple(
            condition
            for condition in outdated(self.proxy, sections)
            if any(explains(condition, key, self.proxy) for key in keys)
        )


def delivery(
    record: ProxyRecord,
    proxy: ProxyInputs,
    mesh: DeclaredMesh,
    patches: Sequence[ResourceRef],
    now: Now,
) -> Delivery:
    """Look at the state in a proxy's snapshot.

    Args:
        record: The proxy's record.
        proxy: Its inputs, as its snapshot carries them.
        mesh: What is declared for its mesh.
        patches: EnvoyFilters and the like in scope of it.
        now: The time.
    """
    state = record.snapshot.state
    present = conditions(state, proxy, mesh, now=now.utc, patches=patches)
    is_partial = state.live == "UNREACHABLE"
    since = {each.key: record.conditions.get(each.key, now.monotonic) for each in present}
    if is_partial:
        since = {**record.conditions, **since}
    due, rest = ripe(present, {key: now.monotonic - began for key, began in since.items()})
    accepted = _accepted(record, now)
    waits = [at - now.utc for at in notice_times(state.certificates) if at > now.utc]
    waits += [] if rest is None else [rest]
    return Delivery(
        proxy=proxy,
        present=present,
        due=due,
        since=since,
        accepted=accepted,
        ended=bool(record.conditions.keys() - since.keys()),
        received=any(accepted[name] != known for name, known in record.accepted.items()),
        is_partial=is_partial,
        wake_at=now.monotonic + min(waits) if waits else None,
    )


def _accepted(record: ProxyRecord, now: Now) -> dict[str, Accepted]:
    found = dict(record.accepted)
    for name, version in record.snapshot.state.versions.items():
        known = found.get(name)
        if known is None or known.version != version:
            found[name] = Accepted(version, now.monotonic)
    return found
