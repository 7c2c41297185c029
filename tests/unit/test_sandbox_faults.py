"""Faults and overlays as functions on recorded resources."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.listener.v3.listener_components_pb2 import FilterChain
from envoy.extensions.filters.network.http_connection_manager.v3 import (
    http_connection_manager_pb2 as hcm,
)

from meshscope.sandbox import faults, overlays
from meshscope.sandbox.ads import XdsType
from meshscope.sandbox.errors import CommandRefused
from meshscope.sandbox.faults import (
    WARMING_CLUSTER,
    Chain,
    Fault,
    RbacRemoved,
    RejectedUpdate,
    WarmingCluster,
)
from meshscope.sandbox.model import MeshIndex, load_index
from meshscope.sandbox.overlays import Overlay
from meshscope.sandbox.recording import Recording, Resources

PERMISSIVE = "02-mtls-permissive"
EVERY_FAULT: list[Fault] = [
    *(RejectedUpdate(kind) for kind in XdsType),
    WarmingCluster(),
    *(RbacRemoved(chain) for chain in Chain),
]


@pytest.fixture(scope="module")
def index() -> MeshIndex:
    return load_index()


@pytest.fixture(scope="module")
def recording(index: MeshIndex) -> Recording:
    return Recording(index)


def frozen(resources: Resources) -> list[bytes]:
    return [
        message.SerializeToString(deterministic=True)
        for messages in (
            resources.clusters,
            resources.endpoints,
            resources.listeners,
            resources.routes,
        )
        for message in messages
    ]


def chains(resources: Resources, pod_ip: str) -> Iterator[tuple[bool, FilterChain]]:
    """Inbound filter chains, each with whether it speaks TLS."""
    for listener in resources.listeners:
        if listener.address.socket_address.address == pod_ip:
            for chain in listener.filter_chains:
                yield chain.HasField("transport_socket"), chain


def rbac_filters(chain: FilterChain) -> int:
    count = 0
    for item in chain.filters:
        manager = hcm.HttpConnectionManager()
        if item.typed_config.Unpack(manager):
            count += sum("rbac" in inner.name for inner in manager.http_filters)
        count += "rbac" in item.name
    return count


@pytest.mark.parametrize("fault", EVERY_FAULT, ids=str)
def test_a_fault_changes_its_copy_and_leaves_the_recording_alone(
    fault: Fault, recording: Recording, index: MeshIndex
) -> None:
    proxy = index.proxy("frontend-1.shop")
    recorded = recording.resources(PERMISSIVE, proxy.proxy)
    before = frozen(recorded)
    broken = faults.apply(fault, recorded, proxy)
    assert frozen(broken) != before
    assert frozen(recorded) == before


@pytest.mark.parametrize("kind", XdsType)
def test_a_rejected_update_changes_its_own_kind_only(
    kind: XdsType, recording: Recording, index: MeshIndex
) -> None:
    proxy = index.proxy("payments-1.payments")
    recorded = recording.resources("00-base", proxy.proxy)
    broken = faults.apply(RejectedUpdate(kind), recorded, proxy)
    changed = {
        name
        for name in ("clusters", "endpoints", "listeners", "routes")
        if getattr(broken, name) != getattr(recorded, name)
    }
    names = {"cds": "clusters", "eds": "endpoints", "lds": "listeners", "rds": "routes"}
    assert changed == {names[kind.short]}


@pytest.mark.parametrize(
    ("chain", "without"),
    [(Chain.ALL, {True, False}), (Chain.MTLS, {True}), (Chain.PLAINTEXT, {False})],
)
def test_rbac_is_removed_from_the_chosen_chains(
    chain: Chain, without: set[bool], recording: Recording, index: MeshIndex
) -> None:
    proxy = index.proxy("frontend-1.shop")
    recorded = recording.resources(PERMISSIVE, proxy.proxy)
    assert all(rbac_filters(item) for _, item in chains(recorded, proxy.pod_ip))
    broken = faults.apply(RbacRemoved(chain), recorded, proxy)
    for tls, item in chains(broken, proxy.pod_ip):
        assert (rbac_filters(item) == 0) == (tls in without)


def test_network_rbac_is_removed_too(recording: Recording, index: MeshIndex) -> None:
    proxy = index.proxy("payments-1.payments")
    recorded = recording.resources("00-base", proxy.proxy)
    broken = faults.apply(RbacRemoved(Chain.MTLS), recorded, proxy)
    assert {rbac_filters(item) for _, item in chains(broken, proxy.pod_ip)} == {0}


def test_a_chain_that_is_not_there_is_refused(recording: Recording, index: MeshIndex) -> None:
    proxy = index.proxy("frontend-1.shop")
    recorded = recording.resources("00-base", proxy.proxy)
    with pytest.raises(CommandRefused, match=r"frontend-1\.shop has no inbound plaintext"):
        faults.apply(RbacRemoved(Chain.PLAINTEXT), recorded, proxy)


def test_a_warming_cluster_is_served_and_its_endpoints_are_withheld(
    recording: Recording, index: MeshIndex
) -> None:
    proxy = index.proxy("cart-1.shop")
    broken = faults.with_warming_cluster(recording.resources("00-base", proxy.proxy))
    assert broken.clusters[-1].name == WARMING_CLUSTER
    assert broken.withheld == {WARMING_CLUSTER}
    assert WARMING_CLUSTER not in {item.cluster_name for item in broken.endpoints}


def test_an_empty_proxy_has_nothing_to_break(index: MeshIndex) -> None:
    proxy = index.proxy("cart-1.shop")
    for fault in EVERY_FAULT:
        if fault != WarmingCluster():
            with pytest.raises(CommandRefused, match=r"cart-1\.shop has no"):
                faults.apply(fault, Resources((), (), (), ()), proxy)


@pytest.mark.parametrize("overlay", Overlay)
def test_an_overlay_leaves_the_recording_alone(
    overlay: Overlay, recording: Recording, index: MeshIndex
) -> None:
    for proxy in index.proxies:
        recorded = recording.resources("00-base", proxy.proxy)
        before = frozen(recorded)
        overlays.apply(overlay, recorded)
        assert frozen(recorded) == before


def test_the_dns_overlay_reaches_those_who_see_the_namespace(
    recording: Recording, index: MeshIndex
) -> None:
    name = f"outbound|8080||{overlays.SHIPPING_HOST}"
    seen_by = set()
    for proxy in index.proxies:
        recorded = recording.resources("00-base", proxy.proxy)
        changed = overlays.apply(Overlay.DNS_CLUSTER, recorded)
        added = [item for item in changed.clusters if item.name == name]
        hosts = [
            host
            for routes in changed.routes
            for host in routes.virtual_hosts
            if overlays.SHIPPING_HOST in host.domains
        ]
        assert len(added) == len(hosts)
        if added:
            seen_by.add(proxy.proxy)
            assert added[0].type == Cluster.STRICT_DNS
            assert not added[0].HasField("eds_cluster_config")
            assert hosts[0].routes[0].route.cluster == name
            assert "bank" not in str(hosts[0]) + str(added[0])
        else:
            assert changed == recorded
    assert seen_by == {"payments-1.payments", "intruder-1.guest"}


def test_the_outlier_overlay_changes_the_cart_as_a_destination_rule_does(
    recording: Recording,
) -> None:
    recorded = recording.resources("00-base", "frontend-1.shop")
    changed = overlays.apply(Overlay.OUTLIER, recorded)
    differing = [
        (old, new)
        for old, new in zip(recorded.clusters, changed.clusters, strict=True)
        if old != new
    ]
    ((_, cart),) = differing
    assert cart.name == overlays.CART
    # Field for field what the recorded istiod made of the payments' outlier detection.
    payments = next(
        item
        for item in recorded.clusters
        if item.name == "outbound|8080||payments.payments.svc.cluster.local"
    )
    assert cart.common_lb_config == payments.common_lb_config
    assert set(cart.metadata.filter_metadata["istio"].fields) == {"config"}
    ours = {field.name for field, _ in cart.outlier_detection.ListFields()}
    theirs = {field.name for field, _ in payments.outlier_detection.ListFields()}
    assert ours - theirs == {"max_ejection_percent"}


def test_the_outlier_overlay_refuses_a_state_with_a_rule_for_the_cart(
    recording: Recording,
) -> None:
    with pytest.raises(CommandRefused, match="already has a DestinationRule"):
        overlays.apply(
            Overlay.OUTLIER, recording.resources("13-client-tls-disabled", "frontend-1.shop")
        )
