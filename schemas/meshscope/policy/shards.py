"""How the policies of a proxy are published: shards, and one root digest.

A configuration is megabytes and nearly the same in every sidecar. A snapshot therefore carries a
digest per shard only; a shard lists keys with the digests of their policies, and every shard and
every policy is published once for the whole mesh.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b

from meshscope.policy.canonical import content_bytes, digest_bytes
from meshscope.policy.key import PolicyKey
from meshscope.policy.kinds import KINDS, Kind
from meshscope.policy.policy import Policy
from meshscope.policy.source import ResourceRef

Place = tuple[str, int]
"""Kind and number of a shard."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One policy of a shard: key, digest of the content, sources."""

    key: str
    digest: str
    sources: tuple[ResourceRef, ...]


@dataclass(frozen=True, slots=True)
class Shard:
    """The policies of one kind whose keys fall into one shard.

    Attributes:
        entries: Sorted by key.
        digest: Hash over the entries, sources included, because a changed name is a change too.
        meaning: Hash over keys and contents alone. A projection knows more sources than survive in
            a proxy, so this is what expected and observed shards have in common.
    """

    kind: Kind
    number: int
    entries: tuple[Entry, ...]
    digest: str
    meaning: str


@lru_cache(maxsize=100_000)
def shard_number(key: PolicyKey) -> int:
    """The shard of a key; all policies about one host, listener or port fall into the same."""
    count = KINDS[key.kind].shards
    if count == 1:
        return 0
    return blake2b(key.parts[-1 if key.kind is Kind.HTTP_ROUTE else 0].encode()).digest()[0] % count


def shards(policies: Iterable[Policy]) -> tuple[Shard, ...]:
    """All shards that have policies, by kind and number."""
    found = entries(policies)
    return tuple(
        Shard(
            Kind(kind),
            number,
            tuple(sorted(found[kind, number], key=lambda entry: entry.key)),
            digest=full_digest(kind, found[kind, number]),
            meaning=meaning(kind, found[kind, number]),
        )
        for kind, number in sorted(found)
    )


def place_of(key: PolicyKey) -> Place:
    """The shard in which the policy of a key stands."""
    return key.kind.value, shard_number(key)


def entries(policies: Iterable[Policy]) -> dict[Place, list[Entry]]:
    """The entries of some policies, by shard."""
    found: dict[Place, list[Entry]] = {}
    for policy in policies:
        entry = Entry(str(policy.key), policy.digest, policy.sources)
        found.setdefault(place_of(policy.key), []).append(entry)
    return found


def meaning(kind: str, found: Iterable[Entry]) -> str:
    """`Shard.meaning` of entries in any order."""
    pairs = sorted((entry.key, entry.digest) for entry in found)
    return digest_bytes(f"meaning:{kind}", content_bytes(pairs))


def full_digest(kind: str, found: Iterable[Entry]) -> str:
    """`Shard.digest` of entries in any order."""
    ordered = tuple(sorted(found, key=lambda entry: entry.key))
    return digest_bytes(f"shard:{kind}", content_bytes(ordered))


def root_digest(digests: Mapping[Place, str]) -> str:
    """Hash over the digests of all shards, by kind and number."""
    lines = [f"{kind}/{number}={digests[kind, number]}" for kind, number in sorted(digests)]
    return digest_bytes("root", "\n".join(lines).encode())
