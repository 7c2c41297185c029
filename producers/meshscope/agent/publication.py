"""Which records say what a proxy holds: pure decisions of the agent."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from meshscope.agent.spool import Record
from meshscope.events.codec import OversizedValue, encode
from meshscope.events.convert import policy_body, policy_shard, proxy_fields, shard_digests
from meshscope.events.facts import PolicyBody, PolicyShard, ProxyState, Snapshot
from meshscope.events.proxy import ProxyInputs
from meshscope.events.topics import POLICIES, SNAPSHOTS
from meshscope.policy.canonical import IR_VERSION, content_bytes, digest_bytes
from meshscope.policy.policy import Policy
from meshscope.policy.shards import Shard, root_digest, shards


@dataclass(frozen=True, slots=True)
class Held:
    """What a proxy holds, made ready to be published.

    Attributes:
        proxy: The proxy's inputs.
        shards: Its policies by kind and shard.
        policies: The policies by digest; replicas of a digest stand once.
        root: Digest over all shards.
        config_at: When the configuration was read, in milliseconds.
        coverage: Leaves of the dump: consumed, ignored with a reason, unexplained.
        unreferenced: Names of route tables and clusters that nothing refers to.
    """

    proxy: ProxyInputs
    shards: tuple[Shard, ...]
    policies: Mapping[str, Policy]
    root: str
    config_at: int
    coverage: tuple[int, int, int] = (0, 0, 0)
    unreferenced: tuple[str, ...] = ()


def held(
    proxy: ProxyInputs,
    policies: Iterable[Policy],
    config_at: int,
    coverage: tuple[int, int, int],
    unreferenced: Iterable[str],
) -> Held:
    """Make policies ready to be published."""
    listed = list(policies)
    all_shards = shards(listed)
    return Held(
        proxy=proxy,
        shards=all_shards,
        policies={policy.digest: policy for policy in listed},
        root=root_digest({(shard.kind, shard.number): shard.digest for shard in all_shards}),
        config_at=config_at,
        coverage=coverage,
        unreferenced=tuple(sorted(unreferenced)),
    )


@dataclass(frozen=True, slots=True)
class Publisher:
    """What one life of an agent has published; a value, each publication makes the next one.

    Attributes:
        epoch: Id of this life.
        started_at: Its beginning, in milliseconds.
        sequence: Number of the last snapshot.
        published: Digests of shards and bodies that stand on the log.
        oversized: Why a policy or shard cannot be published, by digest.
        last: What the last snapshot said; None: there was none.
    """

    epoch: str
    started_at: int
    sequence: int = 0
    published: frozenset[str] = frozenset()
    oversized: Mapping[str, str] = field(default_factory=dict)
    last: tuple[str, ProxyState] | None = None

    def forget(self) -> "Publisher":
        """The log is a new one, or it is time to announce: everything is published again."""
        return replace(self, published=frozenset(), oversized={}, last=None)


@dataclass(frozen=True, slots=True)
class Publication:
    """Records to be sent in this order, and the publisher afterwards.

    Attributes:
        oversized: Why what does not fit into a record is not published, each said once; snapshots
            say it in `state.error`, so that a reader does not wait for it in vain.
    """

    records: tuple[Record, ...]
    publisher: Publisher
    oversized: tuple[str, ...] = field(default=())


def publish(
    publisher: Publisher, what: Held, state: ProxyState, now_ms: int, version: str
) -> Publication:
    """Say what the proxy holds, if that is not what the last snapshot said.

    Bodies and shards that the log does not hold yet go first, so that a reader who gets the
    snapshot seldom has to wait for them.
    """
    if publisher.last == (what.root, _told(state, what, publisher.oversized)):
        return Publication((), publisher)
    facts: dict[str, PolicyBody | PolicyShard] = {
        digest: policy_body(policy)
        for digest, policy in what.policies.items()
        if digest not in publisher.published
    }
    facts |= {
        shard.digest: policy_shard(shard)
        for shard in what.shards
        if shard.digest not in publisher.published
    }
    records, refused = _records(facts)
    oversized = {**publisher.oversized, **refused}
    state = _told(state, what, oversized)
    sequence = publisher.sequence + 1
    snapshot = Snapshot(
        id="",
        epoch=publisher.epoch,
        sequence=sequence,
        started_at=publisher.started_at,
        root=what.root,
        ir_version=IR_VERSION,
        observed_at=now_ms,
        # A clock that was set back since must not make the configuration younger than its news.
        config_at=min(what.config_at, now_ms),
        state=state,
        shards=shard_digests(what.shards),
        coverage_consumed=what.coverage[0],
        coverage_ignored=what.coverage[1],
        coverage_unexplained=what.coverage[2],
        unreferenced=what.unreferenced,
        agent_version=version,
        **proxy_fields(what.proxy),
    )
    try:
        value = _named(snapshot)
    except OversizedValue as error:
        refused[what.root] = str(error)
        value = _named(_without_lists(snapshot, str(error)))
    records.append(Record(SNAPSHOTS.name, what.proxy.id.encode(), value))
    return Publication(
        tuple(records),
        replace(
            publisher,
            sequence=sequence,
            published=publisher.published | facts.keys(),
            oversized=oversized,
            last=(what.root, state),
        ),
        tuple(refused.values()),
    )


def _told(state: ProxyState, what: Held, oversized: Mapping[str, str]) -> ProxyState:
    """The state of a proxy, with what of its policies cannot be published."""
    if not oversized:
        return state
    digests = (*what.policies, *(shard.digest for shard in what.shards))
    reasons = [oversized[digest] for digest in digests if digest in oversized]
    return replace(state, error="; ".join(filter(None, (state.error, *reasons))))


def _named(snapshot: Snapshot) -> bytes:
    return encode(replace(snapshot, id=digest_bytes("snapshot", content_bytes(snapshot))))


def _without_lists(snapshot: Snapshot, error: str) -> Snapshot:
    """What of a snapshot that is too large can be said: whose it is, and that it is too large."""
    state = snapshot.state
    return replace(
        snapshot,
        state=ProxyState(live=state.live, connected=state.connected, error=error),
        shards=(),
        unreferenced=(),
        annotations={},
        metadata=b"{}",
    )


def answer(what: Held, digests: Iterable[str]) -> tuple[Record, ...]:
    """Records of the shards and bodies that a reader asks for, as far as the proxy holds them."""
    asked = set(digests)
    facts: dict[str, PolicyBody | PolicyShard] = {
        digest: policy_body(what.policies[digest])
        for digest in sorted(asked & what.policies.keys())
    }
    facts |= {shard.digest: policy_shard(shard) for shard in what.shards if shard.digest in asked}
    return tuple(_records(facts)[0])


def _records(
    facts: Mapping[str, PolicyBody | PolicyShard],
) -> tuple[list[Record], dict[str, str]]:
    """Records of shards and bodies, and why others are none, by digest."""
    records: list[Record] = []
    refused: dict[str, str] = {}
    for digest, fact in facts.items():
        try:
            records.append(Record(POLICIES.name, digest.encode(), encode(fact)))
        except OversizedValue as error:
            refused[digest] = f"{fact.kind} {digest}: {error}"
    return records, refused
