"""Declared changes that were not recorded, translated the way istiod translates them.

Each overlay adds a resource (`data/overlays/NAME.yaml`) and, as a pure function, what istiod 1.29
makes of it for a proxy. They bring what the recorded mesh lacks: a cluster that is resolved through
DNS, and outlier detection on a service with more than one host, so that a host can be ejected.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from enum import Enum

from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.route.v3.route_components_pb2 import VirtualHost
from envoy.config.route.v3.route_pb2 import RouteConfiguration
from envoy.extensions.network.dns_resolver.cares.v3.cares_dns_resolver_pb2 import (
    CaresDnsResolverConfig,
)

from meshscope.sandbox.errors import CommandRefused, SandboxDataError
from meshscope.sandbox.model import data_directory
from meshscope.sandbox.recording import Resources

CART = "outbound|8080||cart.shop.svc.cluster.local"
BANK_HOST = "api.bank.example"
SHIPPING_HOST = "api.shipping.example"
_CART_RULE = "/apis/networking.istio.io/v1/namespaces/shop/destination-rule/cart-outlier"


class Overlay(Enum):
    """A declared change on top of any recorded state."""

    DNS_CLUSTER = "dns-cluster"
    """ServiceEntry `payments/shipping`, resolution DNS: a STRICT_DNS cluster at every proxy that
    sees namespace `payments` (payments-1 and intruder-1)."""

    OUTLIER = "outlier"
    """DestinationRule `shop/cart-outlier`: outlier detection on the two hosts of the cart."""


def declaration(overlay: Overlay) -> tuple[str, str]:
    """File name and YAML of the resource that the overlay declares."""
    file = data_directory() / "overlays" / f"{overlay.value}.yaml"
    try:
        return f"overlay-{file.name}", file.read_text("utf-8")
    except OSError as error:
        raise SandboxDataError(f"cannot read the overlay {file}: {error}") from error


def apply(overlay: Overlay, resources: Resources) -> Resources:
    """What istiod would serve a proxy that is served `resources`, with the overlay declared.

    Raises:
        CommandRefused: the state already declares something that the overlay would have to be
            merged with.
    """
    return _APPLY[overlay](resources)


def with_dns_cluster(resources: Resources) -> Resources:
    """A STRICT_DNS twin of the bank, which is visible to the same proxies and just as plain."""
    bank = next((item for item in resources.clusters if item.name.endswith(BANK_HOST)), None)
    if bank is None:
        return resources
    name = f"outbound|8080||{SHIPPING_HOST}"
    cluster = Cluster()
    cluster.CopyFrom(bank)
    cluster.name = name
    cluster.alt_stat_name = f"{name};"
    cluster.ClearField("eds_cluster_config")
    cluster.type = Cluster.STRICT_DNS
    cluster.dns_lookup_family = Cluster.V4_ONLY
    cluster.dns_refresh_rate.seconds = 60
    cluster.dns_jitter.nanos = 100_000_000
    cluster.respect_dns_ttl = True
    cluster.typed_dns_resolver_config.name = "envoy.network.dns_resolver.cares"
    cluster.typed_dns_resolver_config.typed_config.Pack(
        CaresDnsResolverConfig(udp_max_queries={"value": 100})
    )
    cluster.load_assignment.cluster_name = name
    locality = cluster.load_assignment.endpoints.add(
        locality={}, load_balancing_weight={"value": 1}
    )
    host = locality.lb_endpoints.add(metadata={}, load_balancing_weight={"value": 1})
    host.endpoint.address.socket_address.address = "localhost"
    host.endpoint.address.socket_address.port_value = 18080
    return replace(
        resources,
        clusters=(*resources.clusters, cluster),
        routes=tuple(_with_shipping_host(routes) for routes in resources.routes),
    )


def _with_shipping_host(routes: RouteConfiguration) -> RouteConfiguration:
    """The virtual host beside the bank's, with its name and its cluster."""
    for position, host in enumerate(routes.virtual_hosts):
        if BANK_HOST in host.domains:
            changed = RouteConfiguration()
            changed.CopyFrom(routes)
            twin = VirtualHost()
            twin.CopyFrom(host)
            twin.name = twin.name.replace(BANK_HOST, SHIPPING_HOST)
            for number, domain in enumerate(twin.domains):
                twin.domains[number] = domain.replace(BANK_HOST, SHIPPING_HOST)
            for route in twin.routes:
                route.decorator.operation = route.decorator.operation.replace(
                    BANK_HOST, SHIPPING_HOST
                )
                route.route.cluster = route.route.cluster.replace(BANK_HOST, SHIPPING_HOST)
            changed.virtual_hosts.insert(position + 1, twin)
            return changed
    return routes


def with_outlier_detection(resources: Resources) -> Resources:
    """The cart's cluster as DestinationRule `cart-outlier` makes it."""
    clusters = []
    for cluster in resources.clusters:
        if cluster.name == CART:
            changed = Cluster()
            changed.CopyFrom(cluster)
            # Reading an absent key of a protobuf map adds it, so this is the copy's.
            istio = changed.metadata.filter_metadata["istio"]
            if "config" in istio.fields:
                raise CommandRefused(
                    "the present state already has a DestinationRule for the cart: overlay"
                    f" {Overlay.OUTLIER.value} does not go with it"
                )
            istio["config"] = _CART_RULE
            changed.common_lb_config.healthy_panic_threshold.SetInParent()
            detection = changed.outlier_detection
            detection.consecutive_5xx.value = 1
            detection.interval.seconds = 1
            detection.base_ejection_time.seconds = 3600
            detection.max_ejection_percent.value = 50
            detection.enforcing_consecutive_5xx.value = 100
            detection.enforcing_success_rate.value = 0
            cluster = changed
        clusters.append(cluster)
    return replace(resources, clusters=tuple(clusters))


_APPLY: dict[Overlay, Callable[[Resources], Resources]] = {
    Overlay.DNS_CLUSTER: with_dns_cluster,
    Overlay.OUTLIER: with_outlier_detection,
}
