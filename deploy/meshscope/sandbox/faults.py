"""What can be made wrong with one proxy: recorded resources in, resources to serve out.

Every fault is a pure function; what Envoy does with its result is described in the docstrings and
proven by the integration tests.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.core.v3.config_source_pb2 import AggregatedConfigSource, ConfigSource
from envoy.config.listener.v3.listener_components_pb2 import Filter, FilterChain
from envoy.config.listener.v3.listener_pb2 import Listener
from envoy.config.route.v3.route_components_pb2 import Route
from envoy.extensions.filters.http.jwt_authn.v3.config_pb2 import JwtAuthentication
from envoy.extensions.filters.network.http_connection_manager.v3 import (
    http_connection_manager_pb2 as hcm,
)

from meshscope.sandbox.ads import XdsType
from meshscope.sandbox.errors import CommandRefused
from meshscope.sandbox.model import Proxy
from meshscope.sandbox.recording import Resources

WARMING_CLUSTER = "outbound|8080||warming.sandbox.invalid"
"""Name of the cluster that never becomes ready."""

RBAC_TYPES = (
    "envoy.extensions.filters.http.rbac.v3.RBAC",
    "envoy.extensions.filters.network.rbac.v3.RBAC",
)


class Chain(Enum):
    """The filter chains of an inbound listener that a fault concerns."""

    ALL = "all"
    PLAINTEXT = "plaintext"
    """Chains without TLS: what a client outside of the mesh reaches."""
    MTLS = "mtls"
    """Chains with TLS."""


@dataclass(frozen=True, slots=True)
class RejectedUpdate:
    """The proxy is sent an update of one kind that Envoy refuses; it keeps what it had."""

    kind: XdsType


@dataclass(frozen=True, slots=True)
class WarmingCluster:
    """A new cluster whose endpoints are never told: it warms for ever, and meanwhile Envoy
    acknowledges no CDS response."""


@dataclass(frozen=True, slots=True)
class RbacRemoved:
    """The inbound listeners lack their RBAC filters, on every chain or on those of one transport.
    Envoy accepts it: nothing but the content shows it."""

    chain: Chain


Fault = RejectedUpdate | WarmingCluster | RbacRemoved


def apply(fault: Fault, resources: Resources, proxy: Proxy) -> Resources:
    """The resources with the fault in them.

    Raises:
        CommandRefused: the resources hold nothing that the fault could concern.
    """
    match fault:
        case RejectedUpdate(kind):
            return _REJECTIONS[kind](resources, proxy)
        case WarmingCluster():
            return with_warming_cluster(resources)
        case RbacRemoved(chain):
            return without_rbac(resources, proxy, chain)


def reject_listener(resources: Resources, proxy: Proxy) -> Resources:
    """The first inbound HTTP listener demands a JWT provider that is not configured.

    Envoy: "Error adding/updating listener(s) …", `listener_manager.lds.update_rejected` + 1, an
    `error_state` beside the active listener.
    """
    broken = JwtAuthentication()
    broken.rules.add(match={"prefix": "/"}, requires={"provider_name": "absent"})

    def demand_absent_provider(manager: hcm.HttpConnectionManager) -> None:
        first = hcm.HttpFilter(name="envoy.filters.http.jwt_authn")
        first.typed_config.Pack(broken)
        manager.http_filters.insert(0, first)

    for position, listener in enumerate(resources.listeners):
        if not is_inbound(listener, proxy):
            continue
        changed = _copy(listener)
        managers = [edit for chain in changed.filter_chains for edit in _managers(chain)]
        for network_filter, manager in managers:
            demand_absent_provider(manager)
            network_filter.typed_config.Pack(manager)
        if managers:
            return replace(resources, listeners=_put(resources.listeners, position, changed))
    raise CommandRefused(f"{proxy.proxy} has no inbound HTTP listener to break")


def reject_cluster(resources: Resources, proxy: Proxy) -> Resources:
    """One EDS cluster asks for a load balancer of its own, which EDS clusters do not have.

    Envoy: `cluster_manager.cds.update_rejected` + 1; the other clusters of the response are taken.
    """
    for position, cluster in enumerate(resources.clusters):
        if cluster.type == Cluster.EDS:
            changed = _copy(cluster)
            changed.lb_policy = Cluster.CLUSTER_PROVIDED
            return replace(resources, clusters=_put(resources.clusters, position, changed))
    raise CommandRefused(f"{proxy.proxy} has no EDS cluster to break")


def reject_route(resources: Resources, proxy: Proxy) -> Resources:
    """A route with a regular expression that cannot be compiled, before all others.

    Envoy: `http.*.rds.*.update_rejected` + 1 (a statistic that Istio's sidecars do not keep).
    """
    if not resources.routes:
        raise CommandRefused(f"{proxy.proxy} has no route configuration to break")
    changed = _copy(resources.routes[0])
    broken = Route(name="broken", direct_response={"status": 500})
    broken.match.safe_regex.regex = "(["
    changed.virtual_hosts[0].routes.insert(0, broken)
    return replace(resources, routes=_put(resources.routes, 0, changed))


def reject_endpoints(resources: Resources, proxy: Proxy) -> Resources:
    """An endpoint assignment with a host name where an address must be."""
    for position, assignment in enumerate(resources.endpoints):
        if assignment.endpoints:
            changed = _copy(assignment)
            endpoint = changed.endpoints[0].lb_endpoints[0].endpoint
            endpoint.address.socket_address.address = "host.sandbox.invalid"
            return replace(resources, endpoints=_put(resources.endpoints, position, changed))
    raise CommandRefused(f"{proxy.proxy} has no endpoints to break")


_REJECTIONS: dict[XdsType, Callable[[Resources, Proxy], Resources]] = {
    XdsType.CDS: reject_cluster,
    XdsType.EDS: reject_endpoints,
    XdsType.LDS: reject_listener,
    XdsType.RDS: reject_route,
}


def with_warming_cluster(resources: Resources) -> Resources:
    """One cluster more, whose endpoints the server keeps to itself."""
    cluster = Cluster(name=WARMING_CLUSTER, type=Cluster.EDS, connect_timeout={"seconds": 10})
    cluster.eds_cluster_config.eds_config.CopyFrom(
        ConfigSource(ads=AggregatedConfigSource(), resource_api_version="V3")
    )
    # As istiod does it: no limit to the wait.
    cluster.eds_cluster_config.eds_config.initial_fetch_timeout.seconds = 0
    return replace(
        resources,
        clusters=(*resources.clusters, cluster),
        withheld=resources.withheld | {WARMING_CLUSTER},
    )


def without_rbac(resources: Resources, proxy: Proxy, chain: Chain) -> Resources:
    """The inbound listeners without RBAC filters (HTTP and network) on the chosen chains.

    Raises:
        CommandRefused: no chosen chain holds an RBAC filter.
    """
    removed = 0
    listeners = []
    for listener in resources.listeners:
        if is_inbound(listener, proxy):
            listener = _copy(listener)
            for filter_chain in listener.filter_chains:
                if _concerns(chain, filter_chain):
                    removed += _remove_rbac(filter_chain)
        listeners.append(listener)
    if not removed:
        which = "filter chain" if chain is Chain.ALL else f"{chain.value} filter chain"
        raise CommandRefused(f"{proxy.proxy} has no inbound {which} with an RBAC filter")
    return replace(resources, listeners=tuple(listeners))


def is_inbound(listener: Listener, proxy: Proxy) -> bool:
    """Whether a listener receives the workload's requests (it is bound to the Pod's address)."""
    return bool(listener.address.socket_address.address == proxy.pod_ip)


def _concerns(chain: Chain, filter_chain: FilterChain) -> bool:
    if chain is Chain.ALL:
        return True
    return bool(filter_chain.HasField("transport_socket")) == (chain is Chain.MTLS)


def _remove_rbac(filter_chain: FilterChain) -> int:
    removed = _delete_rbac(filter_chain.filters)
    for network_filter, manager in _managers(filter_chain):
        removed += _delete_rbac(manager.http_filters)
        network_filter.typed_config.Pack(manager)
    return removed


def _delete_rbac(filters: Any) -> int:
    kept = [item for item in filters if item.typed_config.TypeName() not in RBAC_TYPES]
    removed = len(filters) - len(kept)
    del filters[:]
    filters.extend(kept)
    return removed


def _managers(filter_chain: FilterChain) -> list[tuple[Filter, hcm.HttpConnectionManager]]:
    """The HTTP connection managers of a chain, unpacked, each with the filter that holds it."""
    found = []
    for network_filter in filter_chain.filters:
        manager = hcm.HttpConnectionManager()
        if network_filter.typed_config.Unpack(manager):
            found.append((network_filter, manager))
    return found


def _copy(message: Any) -> Any:
    copy = type(message)()
    copy.CopyFrom(message)
    return copy


def _put(messages: tuple[Any, ...], position: int, message: Any) -> tuple[Any, ...]:
    return (*messages[:position], message, *messages[position + 1 :])
