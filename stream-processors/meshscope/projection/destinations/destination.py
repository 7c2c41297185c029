"""Kind `destination`: the traffic policy toward each port and subset of a service.

Pure functions of small values: a service's port (`Backend`), the DestinationRule that the client
applies to it, and the settings that all destinations of a client share (`Client`). Proxies that
agree on them share the result.

Source: https://istio.io/latest/docs/reference/config/networking/destination-rule/ and
https://istio.io/latest/docs/reference/config/networking/service-entry/.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from meshscope.policy import key
from meshscope.policy.destination import ConnectionPool, Destination, LoadBalancing, Service
from meshscope.policy.policy import Policy
from meshscope.projection.destinations.client_tls import (
    ClientSettings,
    Server,
    client_tls,
    originates,
)
from meshscope.projection.destinations.connection_settings import (
    PASSTHROUGH,
    MeshDefaults,
    connection_pool,
    load_balancing,
    outlier_detection,
    panic_threshold,
    upstream_protocol,
)
from meshscope.projection.destinations.crossing import Crossing
from meshscope.projection.destinations.destination_rule import MergedRule
from meshscope.projection.destinations.traffic_policy import TrafficPolicy, effective
from meshscope.projection.services.locality import TrafficDistribution, setting
from meshscope.projection.services.registry import Resolution

Json = Mapping[str, Any]

_DISCOVERY: Mapping[Resolution, str] = {
    "static": "eds",
    "dns": "strict_dns",
    "dns_round_robin": "logical_dns",
    "none": "original_dst",
    "dynamic_dns": "dynamic_forward_proxy",
}
_DNS = ("strict_dns", "logical_dns")
_DNS_JITTER_MS = 100
_PASSTHROUGH_IDLE_MS = 300_000
_ENVOY_LIMIT = 1024
_ENVOY_RETRIES = 3


@dataclass(frozen=True, slots=True)
class Backend:
    """A port of a service as its clients see it.

    Attributes:
        host, namespace, name: Of the service; the name is the host for a ServiceEntry.
        port, protocol: Of the port; the protocol as in `upstream_protocol`.
        resolution: Where its endpoints come from; `none`: the application chose the address.
        external: It lies outside the mesh.
        declared: It comes from a ServiceEntry.
        override_port: With resolution `none`, port instead of the one that the application chose.
        identities: Names that its servers' certificates may bear.
        disabled: Its namespace, or the mesh, disables mutual TLS.
        all_sidecars: It has endpoints, and mutual TLS is off at none of them.
        near: The endpoints that it asks clients to prefer.
    """

    host: str
    namespace: str
    name: str
    port: int
    protocol: str
    resolution: Resolution = "static"
    external: bool = False
    declared: bool = False
    override_port: int = 0
    identities: tuple[str, ...] = ()
    disabled: bool = False
    all_sidecars: bool = False
    near: TrafficDistribution = ""


@dataclass(frozen=True, slots=True)
class Client:
    """What all destinations of a client share.

    Attributes:
        mesh: Defaults of connections.
        tls: Defaults of TLS.
        metadata_exchange: TCP metadata exchange is spoken.
        names_services: Clusters name the services that they stand for.
        locality: The mesh's `localityLbSetting`; None: not given.
        policy: The mesh's `defaultTrafficPolicy`.
        dns_refresh_ms: The mesh's `dnsRefreshRate`.
        dns_family: Address families of the client (`v4_only` …).
        unready_sent: Unready endpoints are sent to clients, unless a DestinationRule lets clients
            fall back on them.
        forced_unready: They are sent whatever DestinationRules say; always so for services that
            ask for near endpoints.
        crossing: How endpoints in other networks are reached; None: the mesh has no gateways
            between networks.
    """

    mesh: MeshDefaults = MeshDefaults()
    tls: ClientSettings = ClientSettings()
    metadata_exchange: bool = True
    names_services: bool = True
    locality: Json | None = field(default=None, hash=False)
    policy: Json | None = field(default=None, hash=False)
    dns_refresh_ms: int = 60_000
    dns_family: str = "v4_only"
    unready_sent: bool = True
    forced_unready: bool = False
    crossing: Crossing | None = None

    def forces_unready(self, backend: Backend) -> bool:
        """Whether unready endpoints of a service are sent whatever DestinationRules say."""
        return self.forced_unready or bool(backend.near)


def subset_policy(rule: MergedRule | None, subset: str) -> Json | None:
    """`trafficPolicy` of a subset; None: none."""
    found: Json | None = (
        (rule.subsets.get(subset) or {}).get("trafficPolicy") if rule and subset else None
    )
    return found


def policy_in_force(
    rule: MergedRule | None, subset: str, port: int, client: Client
) -> TrafficPolicy:
    """The policy that a client applies to a port and subset."""
    return effective(_policy(rule), subset_policy(rule, subset), port, client.policy)


def _policy(rule: MergedRule | None) -> Json | None:
    return None if rule is None else rule.policy


def discovery(backend: Backend, rule: MergedRule | None, subset: str) -> str:
    """Where endpoints come from; load balancing PASSTHROUGH leaves the choice to the application.

    A subset takes over what the rule made of the whole service.
    """
    own = subset_policy(rule, subset)
    whole = effective(_policy(rule), None, backend.port)
    merged = effective(_policy(rule), own, backend.port)
    balancers = (
        whole.block("loadBalancer"),
        (own or {}).get("loadBalancer"),
        merged.block("loadBalancer"),
    )
    if any(map(_passes_through, balancers)):
        return "original_dst"
    return _DISCOVERY[backend.resolution]


def _passes_through(balancer: Json | None) -> bool:
    return (balancer or {}).get("simple") == PASSTHROUGH


def destination(
    backend: Backend, rule: MergedRule | None, subset: str, client: Client
) -> Destination:
    """The policy toward a port and subset.

    Args:
        backend: The port.
        rule: The DestinationRule that the client applies to the service; None: none.
        subset: Subset of the rule; empty: the whole service.
        client: The client.
    """
    policy = policy_in_force(rule, subset, backend.port, client)
    pool = policy.block("connectionPool")
    outlier = policy.block("outlierDetection")
    balancer = policy.block("loadBalancer")
    tls_settings = policy.block("tls")
    kind = discovery(backend, rule, subset)
    original_dst = kind == "original_dst"
    protocol = upstream_protocol(backend.protocol, pool, client.mesh)
    tls_mode, tls = client_tls(
        tls_settings,
        _server(backend, rule, subset),
        client.tls,
        http2=protocol == "http2",
        chosen_by_client=original_dst,
        for_workloads=rule is not None and rule.selector is not None,
    )
    preferred = setting(balancer, backend.near, client.locality)
    # What is set for names stays on a service whose connections are passed through.
    by_name = backend.resolution in ("dns", "dns_round_robin")
    dns = kind in _DNS or (by_name and not subset)
    proxy_protocol = policy.block("proxyProtocol")
    return Destination(
        discovery=kind,
        protocol=protocol,
        load_balancing=load_balancing(
            balancer,
            original_dst=original_dst,
            override_port=backend.override_port,
            panic_threshold_percent=panic_threshold(
                outlier,
                unready_sent=client.unready_sent,
                forced=client.forces_unready(backend),
            ),
            locality_weighted=preferred is not None
            and preferred.weighs_localities(outlier_detection=outlier is not None),
        ),
        connection_pool=connection_pool(pool, policy.block("retryBudget"), protocol, client.mesh),
        outlier_detection=outlier_detection(outlier),
        tls_mode=tls_mode,
        tls=tls,
        proxy_protocol=""
        if proxy_protocol is None
        else str(proxy_protocol.get("version", "V1")).lower(),
        external=backend.external and not subset,
        dns_refresh_ms=client.dns_refresh_ms if dns else 0,
        dns_respect_ttl=dns,
        dns_family=client.dns_family if dns else "",
        dns_jitter_ms=_DNS_JITTER_MS if dns else 0,
        metadata_exchange=client.metadata_exchange,
        alpn_override=not originates(tls_settings),
        services=(Service(backend.host, backend.namespace, backend.name),)
        if client.names_services
        else (),
    )


def _server(backend: Backend, rule: MergedRule | None, subset: str) -> Server:
    """The servers; whether all must have a sidecar is told by the rule's or subset's own policy.

    Port-level entries do not count for that question.
    """
    policy = subset_policy(rule, subset) if subset else _policy(rule)
    unchosen = backend.resolution == "none" or _passes_through((policy or {}).get("loadBalancer"))
    return Server(
        sni=f"outbound_.{backend.port}_.{subset}_.{backend.host}",
        identities=backend.identities,
        external=backend.external,
        declared=backend.declared,
        disabled=backend.disabled or (unchosen and not backend.all_sidecars),
    )


def named_destinations(client: Client) -> tuple[Policy, ...]:
    """The policies of the clusters that stand for no service."""
    timeout = client.mesh.connect_timeout_ms
    blackhole = Destination(
        discovery="static",
        load_balancing=LoadBalancing("round_robin"),
        connection_pool=ConnectionPool(
            max_connections=_ENVOY_LIMIT,
            max_pending_requests=_ENVOY_LIMIT,
            max_requests=_ENVOY_LIMIT,
            max_retries=_ENVOY_RETRIES,
            connect_timeout_ms=timeout,
        ),
    )
    limits = connection_pool(
        (client.policy or {}).get("connectionPool"), None, "downstream", client.mesh
    )
    passthrough = Destination(
        discovery="original_dst",
        protocol="downstream",
        load_balancing=LoadBalancing("cluster_provided"),
        connection_pool=replace(
            limits,
            idle_timeout_ms=_PASSTHROUGH_IDLE_MS,
            max_connection_duration_ms=None,
            max_requests_per_connection=0,
        ),
        metadata_exchange=client.metadata_exchange,
    )
    return (
        Policy(key.destination("BlackHoleCluster", 0), blackhole),
        Policy(key.destination("PassthroughCluster", 0), passthrough),
    )
