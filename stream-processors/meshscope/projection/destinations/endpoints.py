"""Kind `endpoints`: the addresses behind each port and subset of a service.

Source: https://istio.io/latest/docs/reference/config/networking/destination-rule/#Subset,
https://istio.io/latest/docs/tasks/traffic-management/locality-load-balancing/ and
https://kubernetes.io/docs/concepts/services-networking/service-traffic-policy/.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any, Final

from meshscope.policy.endpoints import Endpoint, Endpoints, LocalityEndpoints
from meshscope.projection.destinations.crossing import across
from meshscope.projection.destinations.destination import Backend, Client, policy_in_force
from meshscope.projection.destinations.destination_rule import MergedRule
from meshscope.projection.destinations.traffic_policy import effective
from meshscope.projection.services.instances import MUTUAL, Instance
from meshscope.projection.services.locality import Located, Place, by_locality, prefer, setting

Json = Mapping[str, Any]
ServerMode = Callable[[Instance], str]
"""Mode of mutual TLS (`DISABLE` …) that a workload's port accepts."""


@dataclass(frozen=True, slots=True)
class Viewpoint:
    """What a client's place has to do with the endpoints that it gets.

    Attributes:
        place: Where it is.
        labels: Its labels, those of its place included.
        node: Its Kubernetes node.
        named_workloads: Endpoints of ServiceEntries bear the name of their workload.
        describes_workloads: Endpoints bear what telemetry is told of their workload.
    """

    place: Place = Place()
    labels: Mapping[str, str] = field(default_factory=dict, hash=False)
    node: str = ""
    named_workloads: bool = True
    describes_workloads: bool = True


_DRAINING: Final = "istio.io/draining"
"""Label of workloads that get no new connections."""


def subset_labels(rule: MergedRule | None, subset: str) -> Mapping[str, str]:
    """Labels that endpoints of a subset must bear; none for the whole service."""
    found = rule.subsets.get(subset) if rule is not None and subset else None
    return (found or {}).get("labels") or {}


def selected(
    instances: Iterable[Instance],
    labels: Mapping[str, str],
    *,
    unready: bool,
    node: str | None = None,
) -> tuple[Instance, ...]:
    """The instances of a port that clients may get.

    Args:
        instances: Of the port.
        labels: Of the subset.
        unready: Those that are not ready count as well (clients know which they are).
        node: Only those on this node (`internalTrafficPolicy: Local`); None: on any.
    """
    wanted = ("healthy", "unready") if unready else ("healthy",)
    return tuple(
        instance
        for instance in instances
        if instance.health in wanted
        and not instance.labels.get(_DRAINING)
        and labels.items() <= instance.labels.items()
        and (node is None or instance.node == node)
    )


def endpoints(
    backend: Backend,
    instances: Iterable[Instance],
    rule: MergedRule | None,
    subset: str,
    client: Client,
    view: Viewpoint,
    mode_of: ServerMode,
) -> Endpoints:
    """The endpoints of a port and subset.

    Args:
        backend: The port.
        instances: Those selected for the port and subset.
        rule: The DestinationRule that the client applies; None: none.
        subset: Its subset; empty: the whole service.
        client: The client's settings.
        view: Its place.
        mode_of: Modes of the servers.
    """
    by_name = backend.resolution in ("dns", "dns_round_robin")
    tls_mode = declared_tls_mode(rule, subset, backend.port)
    found = by_locality(
        (
            instance.place,
            Located(
                _endpoint(instance, _labelled(instance, tls_mode, mode_of), view, backend),
                instance.labels,
                instance.locality,
            ),
        )
        for instance in instances
        if by_name or _is_address(instance)
    )
    if client.crossing is not None and not by_name:
        found = across(found, client.crossing)
    policy = policy_in_force(rule, subset, backend.port, client)
    outlier = (
        policy
        if by_name
        else effective(
            None if rule is None else rule.policy,
            (rule.subsets.get(subset) or {}).get("trafficPolicy") if rule and subset else None,
            backend.port,
        )
    )
    groups = prefer(
        found,
        setting(policy.block("loadBalancer"), backend.near, client.locality),
        client=view.place,
        client_labels=view.labels,
        outlier_detection=outlier.block("outlierDetection") is not None,
    )
    return Endpoints(
        tuple(
            LocalityEndpoints(
                tuple(member.endpoint for member in group.members),
                group.place.region,
                group.place.zone,
                group.place.sub_zone,
                group.priority,
                group.weight,
            )
            for group in groups
        )
    )


def declared_tls_mode(rule: MergedRule | None, subset: str, port: int) -> str | None:
    """Mode that a DestinationRule gives to connections, as endpoints are labelled by it.

    Unlike for the connections themselves, a port-level entry without `tls` leaves the mode of the
    level above in force.
    """
    if rule is None:
        return None
    if not subset:
        return _tls_mode_of(rule.policy, port)
    own = (rule.subsets.get(subset) or {}).get("trafficPolicy")
    return _tls_mode_of(own, port) or _tls_mode_of(rule.policy, port)


def _tls_mode_of(policy: Json | None, port: int) -> str | None:
    if policy is None:
        return None
    mode = _mode(policy)
    for entry in policy.get("portLevelSettings") or ():
        if (entry.get("port") or {}).get("number") == port and entry.get("tls") is not None:
            return _mode(entry)
    return mode


def _mode(policy: Json) -> str | None:
    tls = policy.get("tls")
    return None if tls is None else tls.get("mode", "DISABLE")


def _labelled(instance: Instance, declared: str | None, mode_of: ServerMode) -> str:
    """The label that makes clients speak mutual TLS; endpoints without sidecar never bear it."""
    if declared is not None:
        return instance.tls_mode if declared == "ISTIO_MUTUAL" else ""
    if instance.tls_mode != MUTUAL or mode_of(instance) == "DISABLE":
        return ""
    return instance.tls_mode


def _endpoint(instance: Instance, tls_mode: str, view: Viewpoint, backend: Backend) -> Endpoint:
    workload = (
        instance.workload
        if view.named_workloads or not backend.declared
        else instance.named_workload
    )
    return Endpoint(
        instance.address,
        instance.port,
        instance.weight,
        tls_mode,
        workload if view.describes_workloads else "",
    )


def _is_address(instance: Instance) -> bool:
    if instance.port == 0:
        return True
    try:
        ip_address(instance.address)
    except ValueError:
        return False
    return True
