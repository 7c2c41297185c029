"""What a proxy holds, put together from its snapshot, shards and bodies."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from meshscope.comparison.names import SURVIVING
from meshscope.events.facts import PolicyShard, ShardDigest, ShardEntry
from meshscope.policy.key import PolicyKey
from meshscope.policy.policy import Policy
from meshscope.policy.shards import Place, place_of
from meshscope.projection.result import Projection
from meshscope.stream.expectation import Expectation
from meshscope.stream.policy_store import PolicyStore, sources


@dataclass(frozen=True, slots=True)
class Missing:
    """Digests of shards and bodies that must come before anything can be said."""

    digests: tuple[str, ...]


def observe(
    held: Iterable[ShardDigest],
    expectation: Expectation,
    store: PolicyStore,
) -> Mapping[PolicyKey, Policy] | Missing:
    """The policies of a snapshot.

    Shards that mean what is expected are taken from the projection, if no sources that the proxy
    names could differ; of the others, bodies are needed only where the content is none of the
    expected ones.
    """
    projection = expectation.projection
    differing: list[PolicyShard] = []
    equal: set[Place] = set()
    missing: list[str] = []
    for each in held:
        place = (each.kind, each.shard)
        if expectation.meaning(place) == each.meaning and each.kind not in SURVIVING:
            equal.add(place)
        elif (shard := store.shard(each.digest)) is None:
            missing.append(each.digest)
        else:
            differing.append(shard)
    observed = {
        key: policy for key, policy in projection.policies.items() if place_of(key) in equal
    }
    for shard in differing:
        for entry in shard.entries:
            policy = store.known(entry) or _policy(entry, projection, store)
            if policy is None:
                missing.append(entry.digest)
            else:
                observed[policy.key] = policy
    return Missing(tuple(sorted(set(missing)))) if missing else observed


def _policy(entry: ShardEntry, projection: Projection, store: PolicyStore) -> Policy | None:
    key = PolicyKey.parse(entry.key)
    for expected in (projection.policies.get(key), *projection.alternatives.get(key, ())):
        if expected is not None and expected.digest == entry.digest:
            return store.keep(entry, Policy(key, expected.content, sources(entry)))
    return store.policy(entry)
