"""What a decision on a proxy is given besides its record, and what it gives."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from meshscope.stream.expectation import CONFIGURATION, ENDPOINTS, Expectations
from meshscope.stream.judgement import Judge
from meshscope.stream.judgements import Judgements
from meshscope.stream.pairs import Pairs
from meshscope.stream.policy_store import PolicyStore
from meshscope.stream.record import ProxyRecord


@dataclass(frozen=True, slots=True)
class Now:
    """One moment: monotonic time for windows, UTC for facts; both in milliseconds."""

    monotonic: int
    utc: int


@dataclass(frozen=True, slots=True)
class Timing:
    """Windows and repetition, in milliseconds.

    Attributes:
        windows: Convergence window by lane.
        repeat: After this time a drift that is still open, and a verdict, are published again.
        silence: A proxy of which nothing was heard for so long is silent; three times what agents
            wait until they say everything again.
    """

    windows: Mapping[str, int] = field(
        default_factory=lambda: {CONFIGURATION: 10_000, ENDPOINTS: 30_000}, hash=False
    )
    repeat: int = 24 * 60 * 60 * 1000
    silence: int = 3 * 24 * 60 * 60 * 1000


@dataclass(frozen=True, slots=True)
class World:
    """What all decisions have in common.

    Attributes:
        pairs, judgements: What was judged before, of shards and of proxies.
        log_epoch: Id of the broker's log; part of every fact's id.
    """

    expectations: Expectations
    policies: PolicyStore
    pairs: Pairs
    judgements: Judgements
    judge: Judge
    timing: Timing
    log_epoch: str


@dataclass(frozen=True, slots=True)
class Step:
    """What follows for a proxy.

    Attributes:
        record: Its record now.
        missing: Shards and bodies without which nothing can be said.
        wake_at: Monotonic time at which to look again, whatever happens.
        failure: What a projection or comparison stumbled over; the verdict says so.
    """

    record: ProxyRecord
    missing: tuple[str, ...] = ()
    wake_at: int | None = None
    failure: Exception | None = None
