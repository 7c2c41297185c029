"""Which endpoints a client prefers: priorities and weights by locality.

Priorities only exist where outlier detection can take endpoints out, or where the service itself
asks for near endpoints (`trafficDistribution`); weights (`distribute`) always count.

Source: https://istio.io/latest/docs/tasks/traffic-management/locality-load-balancing/ and
https://istio.io/latest/docs/reference/config/networking/destination-rule/#LocalityLoadBalancerSetting.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from meshscope.policy.endpoints import Endpoint

Json = Mapping[str, Any]
TrafficDistribution = Literal["", "zone", "node"]
"""What a service asks for: nothing, endpoints of the client's zone, or of its node first."""

_NEAR: Mapping[str, tuple[str, ...]] = {
    "zone": (
        "topology.istio.io/network",
        "topology.kubernetes.io/region",
        "topology.kubernetes.io/zone",
    ),
    "node": (
        "topology.istio.io/network",
        "topology.kubernetes.io/region",
        "topology.kubernetes.io/zone",
        "topology.istio.io/subzone",
        "kubernetes.io/hostname",
    ),
}
_NETWORK = "topology.istio.io/network"
_ELSEWHERE = 3
_ELSEWHERE_NOT_NAMED = 4


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A locality; empty parts are not known."""

    region: str = ""
    zone: str = ""
    sub_zone: str = ""

    @classmethod
    def parse(cls, text: str) -> "Place":
        """Read `region/zone/sub-zone`, of which the later parts may be missing."""
        region, _, rest = text.partition("/")
        zone, _, sub_zone = rest.partition("/")
        return cls(region, zone, sub_zone)

    def within(self, pattern: str) -> bool:
        """Whether a pattern such as `region/zone/*` or `region` covers it."""
        wanted = Place.parse(pattern)
        return (
            wanted.region in ("*", self.region)
            and wanted.zone in ("*", "", self.zone)
            and wanted.sub_zone in ("*", "", self.sub_zone)
        )


@dataclass(frozen=True, slots=True)
class Located:
    """An endpoint with the labels by which priorities are told, and its locality as written."""

    endpoint: Endpoint
    labels: Mapping[str, str] = field(default_factory=dict, hash=False)
    locality: str = ""


@dataclass(frozen=True, slots=True)
class Group:
    """Endpoints of one locality and priority."""

    place: Place
    members: tuple[Located, ...]
    weight: int
    priority: int = 0


@dataclass(frozen=True, slots=True)
class LocalitySetting:
    """The setting in force.

    Attributes:
        distribute: Entries with `from` and `to` (weights by locality); None: not given.
        failover: Entries with `from` and `to` (regions); None: not given.
        failover_priority: Labels; more of the first ones alike is nearer. None: not given.
        forced: Priorities exist without outlier detection.
    """

    distribute: tuple[Json, ...] | None = field(default=None, hash=False)
    failover: tuple[Json, ...] | None = field(default=None, hash=False)
    failover_priority: tuple[str, ...] | None = None
    forced: bool = False

    def weighs_localities(self, *, outlier_detection: bool) -> bool:
        """Whether localities are chosen by weight (`Destination` says it)."""
        fails_over = self.forced or outlier_detection
        explicit = self.failover is not None or self.failover_priority is not None
        return self.distribute is not None or (fails_over and explicit)


def setting(
    balancer: Json | None, near: TrafficDistribution, mesh: Json | None
) -> LocalitySetting | None:
    """The setting in force: of the rule, else what the service asks for, else of the mesh.

    Args:
        balancer: `loadBalancer` of the policy in force.
        near: `trafficDistribution` of the service.
        mesh: `localityLbSetting` of the mesh; None: the default, without conditions.
    """
    own = (balancer or {}).get("localityLbSetting")
    if own is not None:
        return _declared(own)
    if near:
        return LocalitySetting(failover_priority=_NEAR[near], forced=True)
    return _declared(mesh or {})


def _declared(block: Json) -> LocalitySetting | None:
    if block.get("enabled") is False:
        return None
    return LocalitySetting(
        distribute=_list(block, "distribute"),
        failover=_list(block, "failover"),
        failover_priority=_list(block, "failoverPriority"),
    )


def _list(block: Json, name: str) -> tuple[Any, ...] | None:
    return tuple(block[name]) if block.get(name) else None


def by_locality(endpoints: Iterable[tuple[Place, Located]]) -> tuple[Group, ...]:
    """Endpoints grouped by locality as it is written; a group weighs as much as its endpoints."""
    groups: dict[tuple[Place, str], list[Located]] = {}
    for place, located in endpoints:
        groups.setdefault((place, located.locality), []).append(located)
    return tuple(_group(place, groups[place, name]) for place, name in sorted(groups))


def _group(place: Place, members: Sequence[Located], priority: int = 0) -> Group:
    return Group(place, tuple(members), sum(m.endpoint.weight for m in members), priority)


def prefer(
    groups: Sequence[Group],
    chosen: LocalitySetting | None,
    *,
    client: Place,
    client_labels: Mapping[str, str],
    outlier_detection: bool,
) -> tuple[Group, ...]:
    """The groups with the priorities and weights that the client gets.

    Args:
        groups: Endpoints by locality.
        chosen: The setting in force; None: locality does not count.
        client: Where the client is.
        client_labels: Its labels, those of its locality included.
        outlier_detection: The policy in force has it.
    """
    if chosen is None:
        return tuple(groups)
    if chosen.distribute is not None:
        return _distributed(groups, chosen.distribute, client)
    if not (chosen.forced or outlier_detection):
        return tuple(groups)
    if chosen.failover_priority is not None:
        found = _by_labels(groups, chosen.failover_priority, client_labels)
        return _by_region(found, chosen.failover, client) if chosen.failover else found
    return _by_region(groups, chosen.failover or (), client)


def _distributed(
    groups: Sequence[Group], distribute: Sequence[Json], client: Place
) -> tuple[Group, ...]:
    """Localities get the weights of the first entry for the client; others lose their endpoints."""
    for entry in distribute:
        if not client.within(entry.get("from", "")):
            continue
        weights: dict[int, int] = {}
        for pattern, weight in (entry.get("to") or {}).items():
            covered = [
                i for i, g in enumerate(groups) if i not in weights and g.place.within(pattern)
            ]
            total = sum(groups[i].weight for i in covered)
            for i in covered:
                weights[i] = math.ceil(groups[i].weight * weight / total) or groups[i].weight
        return tuple(replace(groups[i], weight=weight) for i, weight in sorted(weights.items()))
    return tuple(groups)


def _by_region(
    groups: Sequence[Group], failover: Sequence[Json], client: Place
) -> tuple[Group, ...]:
    """Same sub-zone, zone, region first; then the region that `failover` names for the client's."""
    target = next((e.get("to") for e in failover if e.get("from") == client.region), None)

    def distance(group: Group) -> int:
        place = group.place
        if place.region != client.region:
            named = target is None or place.region == target
            return _ELSEWHERE if named else _ELSEWHERE_NOT_NAMED
        if place.zone != client.zone:
            return 2
        return 0 if place.sub_zone == client.sub_zone else 1

    return _dense(groups, lambda group: group.priority * 5 + distance(group))


def _by_labels(
    groups: Sequence[Group], labels: Sequence[str], client_labels: Mapping[str, str]
) -> tuple[Group, ...]:
    """One group per locality and number of leading labels in which endpoint and client agree."""
    if not client_labels:
        return tuple(groups)
    split: list[Group] = []
    for group in groups:
        ranks: dict[int, list[Located]] = {}
        for member in group.members:
            ranks.setdefault(_rank(member.labels, labels, client_labels), []).append(member)
        split += [_group(group.place, members, rank) for rank, members in sorted(ranks.items())]
    return _dense(split, lambda group: group.priority)


def _rank(labels: Mapping[str, str], wanted: Sequence[str], client: Mapping[str, str]) -> int:
    """0: all agree. Another network only moves an endpoint behind all of the client's network."""
    behind = 0
    for position, item in enumerate(wanted):
        name, given, value = item.partition("=")
        expected = value if given else client.get(name, "")
        if expected == labels.get(name, ""):
            continue
        if position == 0 and name == _NETWORK:
            behind = len(wanted)
            continue
        return behind + len(wanted) - position
    return behind


def _dense(groups: Sequence[Group], rank: Callable[[Group], int]) -> tuple[Group, ...]:
    """Groups with their ranks as priorities 0, 1, 2 … without gaps."""
    ranks = sorted({rank(group) for group in groups})
    return tuple(replace(group, priority=ranks.index(rank(group))) for group in groups)
