"""Endpoints: the addresses behind a cluster, as configured.

What the control plane declares and what Envoy found out stand in the same message of a dump:

* Among assignments Envoy prints `health_status` from its own judgement: HEALTHY, DEGRADED, or
  UNHEALTHY for hosts that outlier detection ejected, that failed a health check, *or* that the
  control plane declared unhealthy. UNHEALTHY is therefore state, never content: the endpoint is as
  good as configured. DRAINING and TIMEOUT come from a control plane only (Envoy itself never prints
  them), so they are content. Within a cluster Envoy prints what was configured: all is content.
* Hosts of clusters that Envoy resolves (DNS) or learns (original destination) are state; the
  configured names are in the cluster.
"""

from dataclasses import dataclass
from typing import Final

from meshscope.inference.reader import Message, Unexpected
from meshscope.policy.endpoints import Endpoint, Endpoints, LocalityEndpoints

_DECLARED: Final = {
    "UNHEALTHY": "unhealthy",
    "DRAINING": "draining",
    "TIMEOUT": "timeout",
    "DEGRADED": "degraded",
}
_FOUND_OUT: Final = frozenset(("UNHEALTHY",))
_HEALTHY: Final = frozenset(("HEALTHY", "UNKNOWN"))


@dataclass(frozen=True, slots=True)
class Assignment:
    """A `ClusterLoadAssignment`.

    Attributes:
        endpoints: What is configured.
        unhealthy: Addresses that Envoy does not use now.
    """

    endpoints: Endpoints
    unhealthy: tuple[str, ...]


def assignment(message: Message) -> Assignment:
    """Read a `ClusterLoadAssignment` that Envoy prints with its own judgement of health.

    Raises:
        Unexpected: An endpoint has no address.
    """
    unhealthy: list[str] = []
    return Assignment(_endpoints(message, unhealthy), tuple(sorted(unhealthy)))


def configured_endpoints(message: Message) -> Endpoints:
    """Read the `ClusterLoadAssignment` that stands in a cluster.

    Raises:
        Unexpected: An endpoint has no address.
    """
    return _endpoints(message, None)


def _endpoints(message: Message, unhealthy: list[str] | None) -> Endpoints:
    """What is configured; what Envoy found unhealthy is added, unless nothing was found out."""
    localities = tuple(_locality(item, unhealthy) for item in message.messages("endpoints"))
    policy = message.message("policy")
    factor = 140 if policy is None else policy.integer("overprovisioning_factor", 140)
    return Endpoints(localities, factor)


def _locality(message: Message, unhealthy: list[str] | None) -> LocalityEndpoints:
    locality = message.message("locality")
    return LocalityEndpoints(
        endpoints=tuple(_endpoint(item, unhealthy) for item in message.messages("lb_endpoints")),
        region="" if locality is None else locality.string("region"),
        zone="" if locality is None else locality.string("zone"),
        sub_zone="" if locality is None else locality.string("sub_zone"),
        priority=message.integer("priority"),
        weight=message.integer("load_balancing_weight"),
    )


def _endpoint(message: Message, unhealthy: list[str] | None) -> Endpoint:
    endpoint = message.need("endpoint")
    address, port = socket_address(endpoint.need("address"))
    endpoint.constant("health_check_config", {})
    tls_mode, workload = _labels(message)
    health = "healthy"
    status = message.peek("health_status")
    if unhealthy is not None and status in _FOUND_OUT:
        message.json("health_status")
        unhealthy.append(f"{address}:{port}")
    elif status in _HEALTHY:
        message.json("health_status")
    else:
        health = message.word("health_status", _DECLARED, "healthy")
    return Endpoint(
        address, port, message.integer("load_balancing_weight", 1), tls_mode, workload, health
    )


def _labels(message: Message) -> tuple[str, str]:
    metadata = message.message("metadata")
    filters = None if metadata is None else metadata.message("filter_metadata")
    if filters is None:
        return "", ""
    transport = filters.message("envoy.transport_socket_match")
    istio = filters.message("istio")
    return (
        "" if transport is None else transport.string("tlsMode"),
        "" if istio is None else istio.string("workload"),
    )


def socket_address(message: Message) -> tuple[str, int]:
    """IP address or name with port, or path of a socket with port 0.

    Raises:
        Unexpected: It is an address of another kind.
    """
    socket = message.message("socket_address")
    if socket is not None:
        socket.constant("protocol", "TCP")
        return socket.string("address"), socket.integer("port_value")
    pipe = message.message("pipe")
    if pipe is not None:
        return f"unix://{pipe.string('path')}", 0
    raise Unexpected(f"{message.path()} is neither a socket address nor a pipe")


def configured_addresses(cluster: Message) -> tuple[str, ...]:
    """The addresses that stand in the cluster itself, as `ip:port` or `unix://path`.

    Health, weight and locality of an address of the workload itself mean nothing and are left.
    """
    load = cluster.message("load_assignment", "ClusterLoadAssignment")
    if load is None:
        return ()
    addresses = []
    for locality in load.messages("endpoints"):
        for item in locality.messages("lb_endpoints"):
            address, port = socket_address(item.need("endpoint").need("address"))
            addresses.append(f"{address}:{port}" if port else address)
    return tuple(addresses)
