"""What inference says about one proxy."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from meshscope.events.facts import Certificate
from meshscope.events.proxy import ProxyInputs
from meshscope.policy.key import PolicyKey
from meshscope.policy.kinds import Kind
from meshscope.policy.policy import Policy


@dataclass(frozen=True, slots=True)
class Coverage:
    """How much of a dump is explained, counted in leaves.

    Attributes:
        consumed: Leaves that became part of a policy, its sources, or the state.
        ignored: Leaves that stand in the table of ignored fields.
        unexplained: Leaves that became part of an `extension`.
        ignored_by: Ignored leaves per entry of the table (`Cluster.alt_stat_name`).
        unexplained_at: Unexplained leaves per path, without indices of lists.
    """

    consumed: int
    ignored: int
    unexplained: int
    ignored_by: Mapping[str, int] = field(default_factory=dict, hash=False)
    unexplained_at: Mapping[str, int] = field(default_factory=dict, hash=False)

    @property
    def leaves(self) -> int:
        """Leaves of the dump: scalars, and objects and lists without content."""
        return self.consumed + self.ignored + self.unexplained

    @property
    def explained(self) -> float:
        """Share of the leaves that are consumed, or ignored with a reason; 1 for no leaves."""
        return 1.0 if self.leaves == 0 else 1.0 - self.unexplained / self.leaves


@dataclass(frozen=True, slots=True, order=True)
class Rejected:
    """An update that Envoy refused and still shows.

    Attributes:
        section: `listeners`, `clusters`, `routes`, `endpoints`, `secrets` or `extensions`.
        name: Name of the resource; empty where Envoy gives none.
        details: Envoy's reason.
        last_attempt: When, as Envoy writes it.
        digest: Hash of the configuration that was refused.
    """

    section: str
    name: str
    details: str
    last_attempt: str = ""
    digest: str = ""


@dataclass(frozen=True, slots=True, order=True)
class Loaded:
    """A resource as Envoy holds it.

    Attributes:
        section: As in `Rejected`.
        name: Name of the resource.
        phase: `active`, `warming` (not in force yet) or `draining` (not for new connections).
        version, updated: `version_info` and `last_updated` as Envoy writes them. They tell when
            the content last changed, never that a proxy is stale.
        digest: Hash of the resource, for those that are no policies: warming and draining ones,
            and secrets.
    """

    section: str
    name: str
    phase: str = "active"
    version: str = ""
    updated: str = ""
    digest: str = ""


@dataclass(frozen=True, slots=True, order=True)
class Hosts:
    """What Envoy found out about the hosts of a cluster at run time.

    Attributes:
        cluster: Cluster name.
        resolved: Addresses of a cluster that Envoy resolves or learns itself; empty for EDS.
        unhealthy: Addresses that Envoy does not use now: ejected ones, or such that failed a check.
        digest: Hash of what Envoy prints, for clusters whose hosts are not configured through EDS.
    """

    cluster: str
    resolved: tuple[str, ...] = ()
    unhealthy: tuple[str, ...] = ()
    digest: str = ""


@dataclass(frozen=True, slots=True)
class LoadedState:
    """Facts of a proxy that no resource declares.

    Attributes:
        rejected: Updates that were refused.
        resources: Every resource with version and time; warming and draining ones among them.
        certificates: Those of active secrets: the workload's own and the roots that it trusts.
        hosts: Per cluster, where there is something to say.
        jwks: Digest of inline keys per issuer.
        versions: `version_info` per section.
        node: What Envoy says of itself (`user_agent_name` …), by path.
    """

    rejected: tuple[Rejected, ...] = ()
    resources: tuple[Loaded, ...] = ()
    certificates: tuple[Certificate, ...] = ()
    hosts: tuple[Hosts, ...] = ()
    jwks: tuple[tuple[str, str], ...] = ()
    versions: tuple[tuple[str, str], ...] = ()
    node: tuple[tuple[str, str], ...] = ()

    @property
    def seen_at(self) -> str:
        """The latest time that stands in the dump: it was taken then or later."""
        return max((item.updated for item in self.resources), default="")

    @property
    def warming(self) -> tuple[str, ...]:
        """Resources that are not in force yet, as `section/name`."""
        return self._in_phase("warming")

    @property
    def draining(self) -> tuple[str, ...]:
        """Resources that only old connections use, as `section/name`."""
        return self._in_phase("draining")

    def _in_phase(self, phase: str) -> tuple[str, ...]:
        return tuple(
            f"{item.section}/{item.name}" for item in self.resources if item.phase == phase
        )


@dataclass(frozen=True, slots=True, order=True)
class Incomplete:
    """A section that a dump should have and does not.

    Attributes:
        section: Name of Envoy's message, such as `EndpointsConfigDump`.
        reason: What it means, and what to do.
        kinds: Kinds of policies that cannot be verified without it.
    """

    section: str
    reason: str
    kinds: tuple[Kind, ...]


@dataclass(frozen=True, slots=True)
class Inference:
    """The policies that a proxy holds.

    Attributes:
        proxy: What the proxy says of itself.
        policies: By key; `extension` policies are what could not be explained.
        coverage: How much of the dump is explained.
        state: What is not declared.
        unreferenced: Keys of policies that no listener leads to: route tables and clusters that
            nothing names. They are in `policies`, but not in force.
        incomplete: Sections that are missing.
    """

    proxy: ProxyInputs
    policies: Mapping[PolicyKey, Policy] = field(hash=False)
    coverage: Coverage
    state: LoadedState
    unreferenced: frozenset[PolicyKey]
    incomplete: tuple[Incomplete, ...]
