"""Shards and bodies of policies by digest."""

from functools import lru_cache

from meshscope.events.facts import PolicyBody, PolicyShard
from meshscope.policy.kinds import Kind
from meshscope.policy.policy import Content, content_from_bytes

_Fact = PolicyShard | PolicyBody


class PolicyStore:
    """Content-addressed, so nothing in it ever changes; bodies stay bytes until one is needed.

    It would grow for ever, since endpoints change all the time. What neither came nor was needed
    between two calls of `forget` is gone; whoever needs it later asks for it.
    """

    def __init__(self) -> None:
        self._recent: dict[str, _Fact] = {}
        self._older: dict[str, _Fact] = {}

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

    def _find(self, digest: str) -> _Fact | None:
        found = self._recent.get(digest)
        if found is None and (found := self._older.get(digest)) is not None:
            self._recent[digest] = found
        return found


@lru_cache(maxsize=10_000)
def _content(kind: str, content: bytes) -> Content:
    return content_from_bytes(Kind(kind), content)
