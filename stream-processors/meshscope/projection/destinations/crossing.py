"""Endpoints in another network than the client's: gateways take their place.

Source: https://istio.io/latest/docs/ops/deployment/deployment-models/#multiple-networks.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from ipaddress import ip_address

from meshscope.policy.endpoints import Endpoint
from meshscope.projection.services.instances import MUTUAL
from meshscope.projection.services.locality import Group, Located
from meshscope.projection.services.networks import NETWORK, Gateway, Networks

_CLUSTER = "topology.istio.io/cluster"


@dataclass(frozen=True, slots=True)
class Crossing:
    """What a client must know to reach endpoints of other networks.

    Attributes:
        networks: Those of the mesh.
        network: That of the client; empty: not known.
        families: IP versions of its addresses.
        describes_workloads: Endpoints bear what telemetry is told of their workload.
    """

    networks: Networks
    network: str = ""
    families: frozenset[int] = frozenset((4,))
    describes_workloads: bool = True


def across(groups: Iterable[Group], crossing: Crossing) -> tuple[Group, ...]:
    """The groups with gateways in place of what is not reached directly.

    Only endpoints that take mutual TLS are reached through a gateway, which looks at its server
    name; others in such a network are left out, and so are sockets wherever they are.
    """
    return tuple(_crossed(group, crossing) for group in groups)


def _crossed(group: Group, crossing: Crossing) -> Group:
    networks, scale = crossing.networks, crossing.networks.scale
    members: list[Located] = []
    through: dict[Gateway, int] = {}
    for member in group.members:
        endpoint = replace(member.endpoint, weight=member.endpoint.weight * scale)
        network = networks.of(endpoint.address, member.labels)
        gateways = networks.leading_to(network, member.labels.get(_CLUSTER, ""))
        if not gateways or network in ("", crossing.network):
            if not endpoint.port:
                continue
            members.append(replace(member, endpoint=endpoint))
            continue
        reachable = [g for g in gateways if ip_address(g.address).version in crossing.families]
        if not reachable or endpoint.tls_mode != MUTUAL:
            continue
        for gateway in reachable:
            through[gateway] = through.get(gateway, 0) + endpoint.weight // len(reachable)
    members += [_at(gateway, weight, crossing) for gateway, weight in sorted(through.items())]
    return replace(
        group, members=tuple(members), weight=sum(one.endpoint.weight for one in members)
    )


def _at(gateway: Gateway, weight: int, crossing: Crossing) -> Located:
    workload = f";;;;{gateway.cluster}" if crossing.describes_workloads else ""
    labels: Mapping[str, str] = {NETWORK: gateway.network}
    if gateway.cluster:
        labels = {**labels, _CLUSTER: gateway.cluster}
    return Located(Endpoint(gateway.address, gateway.port, weight or 1, MUTUAL, workload), labels)
