"""The comparison as the join sees it, and the projection that runs in production."""

from collections.abc import Mapping

from meshscope.comparison.comparator import compare
from meshscope.events import convert
from meshscope.events.facts import EquivalentDifference, Snapshot
from meshscope.policy.key import PolicyKey
from meshscope.policy.kinds import Kind
from meshscope.policy.policy import Policy
from meshscope.projection.limits import Limit
from meshscope.projection.result import Projection, Unverifiable
from meshscope.stream.judgement import Difference, Judgement


def judge(
    expected: Projection, observed: Mapping[PolicyKey, Policy], snapshot: Snapshot
) -> Judgement:
    """Compare, and keep what facts are made of."""
    found = compare(
        expected,
        observed,
        incomplete=tuple(_lacking(line) for line in snapshot.state.incomplete),
        unreferenced=frozenset(filter(None, map(_key, snapshot.unreferenced))),
    )
    return Judgement(
        verdict=found.verdict,
        differences=tuple(
            Difference(
                key=each.key,
                code=each.code,
                change=each.change,
                effect=each.effect,
                expected=each.expected,
                observed=each.observed,
                fields=each.fields,
                sources=tuple(map(convert.source, each.sources)),
                witness=each.witness or "",
            )
            for each in found.drift
        ),
        unverifiable=tuple(str(part) for part in found.unverifiable),
        equivalents=tuple(
            EquivalentDifference(
                key=str(each.key),
                code=each.code,
                change=each.change,
                expected=each.expected,
                observed=each.observed,
                fields=each.fields,
                sources=tuple(map(convert.source, each.sources)),
            )
            for each in found.equivalent
        ),
        policies=found.policies,
        reason="; ".join(found.notes) if found.verdict == "unknown" else "",
        notes=found.notes if found.verdict != "unknown" else (),
    )


def _lacking(line: str) -> Unverifiable:
    """What cannot be said for lack of a section of the dump: `kind: reason`, or of every kind."""
    kind, _, reason = line.partition(": ")
    if kind in set(Kind):
        return Unverifiable(reason, Kind(kind), code=Limit.INCOMPLETE_DUMP)
    return Unverifiable(f"the configuration dump lacks {line}", code=Limit.INCOMPLETE_DUMP)


def _key(text: str) -> PolicyKey | None:
    try:
        return PolicyKey.parse(text)
    except ValueError:
        # The name of something that has no policy of its own.
        return None
