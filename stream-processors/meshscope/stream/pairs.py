"""What proxies hold instead of what they should, shard by shard, judged once for all of them.

Most proxies that differ do so in the same shards: a change of one resource touches one piece of a
projection, and hundreds of proxies hold the shard that was right before. So it is a pair of an
expected and an observed shard that is compared and judged, and a proxy is what its pairs come to.
That holds where nothing is left open, and where nothing that is not explained stands in the
configuration, for that may stand in any part of it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from operator import attrgetter
from typing import Final

from meshscope.comparison.names import SURVIVING, other_names
from meshscope.events.facts import (
    EquivalentDifference,
    PolicyShard,
    ShardDigest,
    Snapshot,
)
from meshscope.policy.key import PolicyKey
from meshscope.policy.kinds import Kind
from meshscope.policy.policy import Policy
from meshscope.projection.fragments import Piece
from meshscope.projection.memory import Memory
from meshscope.projection.result import Projection
from meshscope.stream.expectation import Expectation
from meshscope.stream.judgement import Difference, Judge, Judgement
from meshscope.stream.observation import Missing
from meshscope.stream.policy_store import PolicyStore, sources


@dataclass(frozen=True, slots=True, eq=False)
class Differing:
    """The policies of a shard of which content or names are not as expected.

    Equality is identity.
    """

    expected: Mapping[PolicyKey, Policy]
    observed: Mapping[PolicyKey, Policy]


_NOTHING: Final = Differing({}, {})


@dataclass(frozen=True, slots=True)
class _Judged:
    """What is said of the policies of a shard that are not as expected.

    Attributes:
        differences, equivalents: As in `Judgement`.
        more: Number of policies that are not expected.
    """

    differences: tuple[Difference, ...]
    equivalents: tuple[EquivalentDifference, ...]
    more: int


class Pairs:
    """Pairs of shards, and how they were judged.

    Args:
        size: After this number of new pairs, or a quarter of it of judgements, those are forgotten
            that nobody asked for since the last time.
    """

    def __init__(self, size: int = 20_000) -> None:
        self._differing: Memory[Differing] = Memory(size)
        self._judged: Memory[_Judged] = Memory(size // 4)
        self._policies: Memory[Judgement] = Memory(size // 4)

    def judgement(
        self, expectation: Expectation, snapshot: Snapshot, store: PolicyStore, judge: Judge
    ) -> Judgement | Missing:
        """What a comparison says of a proxy of which `can_be_paired` holds.

        Args:
            expectation: What it should hold.
            snapshot: What it holds.
            store: Shards and bodies by digest.
            judge: Compares policies.
        """
        missing: list[str] = []
        found: list[_Judged] = []
        for piece, shard in _pairs(expectation, snapshot):
            differing = self._of(piece, shard, store)
            if isinstance(differing, Missing):
                missing += differing.digests
            elif differing is not _NOTHING:
                found.append(self._judge(differing, snapshot, judge))
        if missing:
            return Missing(tuple(sorted(set(missing))))
        differences = [each for judged in found for each in judged.differences]
        equivalents = [each for judged in found for each in judged.equivalents]
        more = sum(judged.more for judged in found)
        return Judgement(
            "drift" if differences else "in-sync",
            tuple(sorted(differences, key=lambda each: _ORDER(each.key))),
            equivalents=tuple(
                sorted(equivalents, key=lambda each: _ORDER(PolicyKey.parse(each.key)))
            ),
            policies=len(expectation.projection.policies) + more,
            notes=expectation.projection.notes,
        )

    def _of(
        self, piece: Piece | None, shard: ShardDigest | None, store: PolicyStore
    ) -> Differing | Missing:
        name = (piece and piece.digest, shard and shard.digest)
        known = self._differing.get(name)
        if known is not None:
            return known
        held = None if shard is None else store.shard(shard.digest)
        if shard is not None and held is None:
            return Missing((shard.digest,))
        found = _differing(piece, held, store)
        return found if isinstance(found, Missing) else self._differing.put(name, found)

    def _judge(self, differing: Differing, snapshot: Snapshot, judge: Judge) -> _Judged:
        # Whether something is referred to decides only about what nothing declares.
        extra = differing.observed.keys() - differing.expected.keys()
        name = (differing, snapshot.unreferenced if extra else ())

        def judged() -> _Judged:
            keys = sorted(differing.expected.keys() | extra)
            found = [self._policy(key, differing, snapshot, judge) for key in keys]
            return _Judged(
                tuple(each for one in found for each in one.differences),
                tuple(each for one in found for each in one.equivalents),
                sum(one.policies for one in found) - len(differing.expected),
            )

        return self._judged.of(name, judged)

    def _policy(
        self, key: PolicyKey, differing: Differing, snapshot: Snapshot, judge: Judge
    ) -> Judgement:
        """What is said of one policy, which needs no other: nothing is left open."""
        expected, observed = differing.expected.get(key), differing.observed.get(key)
        is_idle = expected is None and str(key) in snapshot.unreferenced
        return self._policies.of(
            (key, _said(expected), _said(observed), is_idle),
            lambda: judge(
                Projection({} if expected is None else {key: expected}),
                {} if observed is None else {key: observed},
                snapshot,
            ),
        )


def can_be_paired(expectation: Expectation, snapshot: Snapshot) -> bool:
    """Whether what a proxy holds can be judged shard by shard."""
    return (
        expectation.closed
        and not snapshot.state.incomplete
        and bool(expectation.pieces)
        and not any(each.kind == Kind.EXTENSION for each in snapshot.shards)
        and not any(kind == Kind.EXTENSION for kind, _ in expectation.pieces)
    )


def _said(policy: Policy | None) -> tuple[object, ...] | None:
    """All that a judgement reads of a policy besides its key."""
    return None if policy is None else (policy.digest, policy.sources)


_ORDER: Final = attrgetter("kind", "parts")
"""The order of `PolicyKey`, in terms that are compared faster."""


def _pairs(
    expectation: Expectation, snapshot: Snapshot
) -> Iterator[tuple[Piece | None, ShardDigest | None]]:
    """Shards that differ, or that may at least name other resources."""
    left = dict(expectation.pieces)
    for shard in snapshot.shards:
        piece = left.pop((shard.kind, shard.shard), None)
        if piece is None or shard.kind in SURVIVING or piece.meaning != shard.meaning:
            yield piece, shard
    for piece in left.values():
        yield piece, None


def _differing(
    piece: Piece | None, shard: PolicyShard | None, store: PolicyStore
) -> Differing | Missing:
    left = {} if shard is None else {entry.key: entry for entry in shard.entries}
    expected: dict[PolicyKey, Policy] = {}
    observed: dict[PolicyKey, Policy] = {}
    missing: list[str] = []
    piece = piece or Piece(("", 0), ())
    for wanted in piece.entries:
        held = left.pop(wanted.key, None)
        key = PolicyKey.parse(wanted.key)
        if (
            held is not None
            and held.digest == wanted.digest
            and not other_names(key.kind, wanted.sources, sources(held))
        ):
            continue
        policy = expected[key] = piece.policy(key)
        if held is None:
            continue
        if held.digest == policy.digest:
            observed[key] = Policy(key, policy.content, sources(held))
        elif (found := store.policy(held)) is None:
            missing.append(held.digest)
        else:
            observed[key] = found
    for entry in left.values():
        if (found := store.policy(entry)) is None:
            missing.append(entry.digest)
        else:
            observed[found.key] = found
    if missing:
        return Missing(tuple(missing))
    return Differing(expected, observed) if expected or observed else _NOTHING
