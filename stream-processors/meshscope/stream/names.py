"""Whether a proxy names the resources that are declared, at the cost of looking up digests.

Policies that say the same may come from other resources, which is worth a note. A relation decides
that, not equality (`comparison.names`): a projection knows more sources than a proxy names. So it
is worked out once for a pair of an expected and an observed shard, which most proxies share.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Final

from meshscope.comparison.names import other_names
from meshscope.events.facts import PolicyShard, ShardDigest
from meshscope.policy.key import PolicyKey
from meshscope.policy.kinds import Kind
from meshscope.policy.shards import Place
from meshscope.projection.result import Projection
from meshscope.stream.expectation import Expectation
from meshscope.stream.observation import Missing, sources
from meshscope.stream.policy_store import PolicyStore

MAX_PAIRS: Final = 100_000


class Names:
    """Pairs of shards that are equal in meaning, and whether they name the same resources."""

    def __init__(self) -> None:
        self._agree: OrderedDict[tuple[str, str], bool] = OrderedDict()

    def differing(self, held: Iterable[ShardDigest], expectation: Expectation) -> frozenset[Place]:
        """The shards that must be compared policy by policy, where nothing is left open.

        What is not explained may stand in any part of the configuration; then all must be.

        Args:
            held: The shards of a proxy.
            expectation: What is expected.
        """
        digests = {(each.kind, each.shard): each for each in held}
        places = digests.keys() | expectation.shards.keys()
        if any(kind == Kind.EXTENSION for kind, _ in places):
            return frozenset(places)
        return frozenset(
            place
            for place in places
            if (each := digests.get(place)) is None
            or each.meaning != expectation.shards.get(place)
            or (
                (expected := expectation.named.get(place)) is not None
                and not self._agree.get((expected, each.digest), False)
            )
        )

    def agree(
        self,
        held: Iterable[ShardDigest],
        expectation: Expectation,
        projection: Callable[[], Projection],
        store: PolicyStore,
    ) -> bool | Missing:
        """Whether a proxy names what is declared.

        Args:
            held: Its shards, each of which means what is expected.
            expectation, projection: What is expected; the projection is asked for only where a
                pair of shards is new.
            store: The shards by digest.
        """
        missing: list[str] = []
        for each in held:
            expected = expectation.named.get((each.kind, each.shard))
            if expected is None:
                continue
            pair = (expected, each.digest)
            if pair not in self._agree:
                shard = store.shard(each.digest)
                if shard is None:
                    missing.append(each.digest)
                    continue
                self._agree[pair] = _agree(shard, projection())
                if len(self._agree) > MAX_PAIRS:
                    self._agree.popitem(last=False)
            if not self._agree[pair]:
                return False
        return Missing(tuple(sorted(missing))) if missing else True


def _agree(shard: PolicyShard, projection: Projection) -> bool:
    for entry in shard.entries:
        key = PolicyKey.parse(entry.key)
        if other_names(key.kind, projection.policies[key].sources, sources(entry)):
            return False
    return True
