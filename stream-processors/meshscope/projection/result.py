"""What a projection says, and what it must leave open."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from meshscope.policy.key import PolicyKey
from meshscope.policy.kinds import Kind
from meshscope.policy.policy import Policy
from meshscope.policy.source import ResourceRef
from meshscope.projection.limits import Limit


@dataclass(frozen=True, slots=True)
class Unverifiable:
    """A part of a proxy's policies of which nothing can be said, and why.

    Attributes:
        reason: One sentence for the operator.
        kind: Policies of this kind; None: of every kind.
        key: This policy alone; None: all of the kind.
        key_prefix: Only keys whose parts begin with these; empty: all of the kind.
        source: The resource that cannot be modelled, such as an EnvoyFilter; None: a part of the
            vocabulary that is not built, or an input that is missing.
        code: What sort of limit this is.
    """

    reason: str
    kind: Kind | None = None
    key: PolicyKey | None = None
    key_prefix: tuple[str, ...] = ()
    source: ResourceRef | None = None
    code: Limit = Limit.NOT_MODELLED

    def covers(self, key: PolicyKey) -> bool:
        """Whether nothing can be said of this policy."""
        if self.key is not None:
            return self.key == key
        if self.kind is not None and self.kind != key.kind:
            return False
        return key.parts[: len(self.key_prefix)] == self.key_prefix


@dataclass(frozen=True, slots=True)
class Projection:
    """The policies that one proxy should hold.

    Attributes:
        policies: Every policy, by key.
        alternatives: For keys where the outcome depends on something unknown (the age of
            resources that were read from files), all possible outcomes; None: no such policy.
            `policies` then holds the first of them.
        unverifiable: Parts of which nothing can be said.
        notes: Limits of this projection (`MSC-5xxx`): an Istio version without a row in the table
            of versions, settings of istiod that are assumed defaults.
    """

    policies: Mapping[PolicyKey, Policy]
    alternatives: Mapping[PolicyKey, tuple[Policy | None, ...]] = field(default_factory=dict)
    unverifiable: tuple[Unverifiable, ...] = ()
    notes: tuple[str, ...] = ()
