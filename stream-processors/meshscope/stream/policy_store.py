"""Shards and bodies of policies by digest."""

from functools import lru_cache
from typing import Final

from meshscope.events.facts import PolicyBody, PolicyShard, ShardEntry
from meshscope.policy.key import PolicyKey
from meshscope.policy.kinds import Kind
from meshscope.policy.policy import Content, Policy, content_from_bytes
from meshscope.policy.source import ResourceRef
from meshscope.projection.memory import Memory

_Fact = PolicyShard | PolicyBody

MAX_POLICIES: Final = 10_000
"""Policies that were put together of an entry and a body, and are remembered."""


def sources(entry: ShardEntry) -> tuple[ResourceRef, ...]:
    """The resources that a proxy names for a policy."""
    return tuple(ResourceRef(each.kind, each.namespace, each.name) for each in entry.sources)


class PolicyStore:
    """Content-addressed, so nothing in it ever changes; bodies stay bytes until one is needed.

    It would grow for ever, since endpoints change all the time. What neither came nor was needed
    between two calls of `forget` is gone; whoever needs it later asks for it.
    """

    def __init__(self) -> None:
        self._recent: dict[str, _Fact] = {}
        self._older: dict[str, _Fact] = {}
        self._policies: Memory[Policy] = Memory(MAX_POLICIES)

    def __contains__(self, digest: str) -> bool:
        return digest in self._recent or digest in self._older

    def add(self, fact: _Fact) -> None:
        """Keep a shard or body."""
        self._recent[fact.digest] = fact

    def forget(self) -> None:
        """Drop what neither came nor was needed since the last call."""
        self._recent, self._older = {}, self._recent

    def shard(self, digest: str) -> PolicyShard | None:
        """The shard with this digest, if it came."""
        found = self._find(digest)
        return found if isinstance(found, PolicyShard) else None

    def content(self, digest: str) -> Content | None:
        """What the policy with this digest decides, if its body came."""
        found = self._find(digest)
        return _content(found.kind, found.content) if isinstance(found, PolicyBody) else None

    def policy(self, entry: ShardEntry) -> Policy | None:
        """The policy that an entry of a shard stands for, if its body came."""
        known = self.known(entry)
        if known is not None:
            return known
        content = self.content(entry.digest)
        if content is None:
            return None
        return self.keep(entry, Policy(PolicyKey.parse(entry.key), content, sources(entry)))

    def known(self, entry: ShardEntry) -> Policy | None:
        """The policy that an entry stands for, if it was asked for lately."""
        return self._policies.get(entry)

    def keep(self, entry: ShardEntry, policy: Policy) -> Policy:
        """Remember the policy that an entry stands for."""
        return self._policies.put(entry, policy)

    def _find(self, digest: str) -> _Fact | None:
        found = self._recent.get(digest)
        if found is None and (found := self._older.get(digest)) is not None:
            self._recent[digest] = found
        return found


@lru_cache(maxsize=10_000)
def _content(kind: str, content: bytes) -> Content:
    return content_from_bytes(Kind(kind), content)
