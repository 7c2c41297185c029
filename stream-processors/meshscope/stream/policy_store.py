"""Shards and bodies of policies by digest."""

from functools import lru_cache

from meshscope.events.facts import PolicyBody, PolicyShard
from meshscope.policy.kinds import Kind
from meshscope.policy.policy import Content, content_from_bytes


class PolicyStore:
    """Content-addressed, so nothing in it ever changes; bodies stay bytes until one is needed."""

    def __init__(self) -> None:
        self._shards: dict[str, PolicyShard] = {}
        self._bodies: dict[str, PolicyBody] = {}

    def add(self, fact: PolicyShard | PolicyBody) -> None:
        """Keep a shard or body."""
        if isinstance(fact, PolicyShard):
            self._shards[fact.digest] = fact
        else:
            self._bodies[fact.digest] = fact

    def __contains__(self, digest: str) -> bool:
        return digest in self._shards or digest in self._bodies

    def shard(self, digest: str) -> PolicyShard | None:
        """The shard with this digest, if it came."""
        return self._shards.get(digest)

    def content(self, digest: str) -> Content | None:
        """What the policy with this digest decides, if its body came."""
        body = self._bodies.get(digest)
        return None if body is None else _content(body.kind, body.content)


@lru_cache(maxsize=10_000)
def _content(kind: str, content: bytes) -> Content:
    return content_from_bytes(Kind(kind), content)
