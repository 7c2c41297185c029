"""Which records say what a proxy holds: pure decisions of the agent."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from meshscope.agent.spool import Record
from meshscope.events.codec import OversizedValue, encode
from meshscope.events.convert import policy_body, policy_shard, proxy_fields, shard_digests
from meshscope.events.facts import ProxyState, Snapshot
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
        last: What the last snapshot said; None: there was none.
    """

    epoch: str
    started_at: int
    sequence: int = 0
    published: frozenset[str] = frozenset()
    last: tuple[str, ProxyState] | None = None

    def forget(self) -> "Publisher":
        """The log is a new one, or it is time to announce: everything is published again."""
        return replace(self, published=frozenset(), last=None)


@dataclass(frozen=True, slots=True)
class Publication:
    """Records to be sent in this order, and the publisher afterwards.

    Attributes:
        oversized: Policies that do not fit into a record, with the reason; the snapshot names them
            in `state.error`, so that a reader does not wait for them in vain.
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
    if publisher.last == (what.root, state):
        return Publication((), publisher)
    records: list[Record] = []
    oversized: list[str] = []
    fresh: set[str] = set()
    for digest, policy in what.policies.items():
        if digest not in publisher.published:
            _append(records, oversized, digest, policy_body(policy))
            fresh.add(digest)
    for shard in what.shards:
        if shard.digest not in publisher.published:
            _append(records, oversized, shard.digest, policy_shard(shard))
            fresh.add(shard.digest)
    if oversized:
        state = replace(state, error="; ".join([state.error, *oversized]).lstrip("; "))
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
    snapshot = replace(snapshot, id=digest_bytes("snapshot", content_bytes(snapshot)))
    records.append(Record(SNAPSHOTS.name, what.proxy.id.encode(), encode(snapshot)))
    return Publication(
        tuple(records),
        replace(
            publisher,
            sequence=sequence,
            published=publisher.published | fresh,
            last=(what.root, state),
        ),
        tuple(oversized),
    )


def answer(what: Held, digests: Iterable[str]) -> tuple[Record, ...]:
    """Records of the shards and bodies that a reader asks for, as far as the proxy holds them."""
    asked = set(digests)
    records: list[Record] = []
    oversized: list[str] = []
    for digest in sorted(asked & what.policies.keys()):
        _append(records, oversized, digest, policy_body(what.policies[digest]))
    for shard in what.shards:
        if shard.digest in asked:
            _append(records, oversized, shard.digest, policy_shard(shard))
    return tuple(records)


def _append(records: list[Record], oversized: list[str], digest: str, fact: object) -> None:
    try:
        records.append(Record(POLICIES.name, digest.encode(), encode(fact)))
    except OversizedValue as error:
        oversized.append(f"{digest}: {error}")
