"""What a traffic policy makes of a destination."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from meshscope.policy.destination import UNLIMITED, Destination
from meshscope.policy.matches import StringMatch
from meshscope.policy.source import ResourceRef
from meshscope.policy.target import HashPolicy
from meshscope.projection.destinations.client_tls import ClientSettings
from meshscope.projection.destinations.connection_settings import MeshDefaults, upstream_protocol
from meshscope.projection.destinations.destination import (
    Backend,
    Client,
    destination,
    named_destinations,
)
from meshscope.projection.destinations.destination_rule import MergedRule
from meshscope.projection.destinations.traffic_policy import effective, hash_policy

BOOKS = Backend(
    "books.shop.svc.cluster.local",
    "shop",
    "books",
    8000,
    "http",
    identities=("spiffe://cluster.local/ns/shop/sa/books",),
)
PAYPAL = Backend(
    "pay.example.com", "shop", "pay.example.com", 443, "tcp", "dns", external=True, declared=True
)
CLIENT = Client()


def rule(
    policy: Mapping[str, Any] | None = None,
    subsets: Mapping[str, Mapping[str, Any] | None] | None = None,
    selector: tuple[tuple[str, str], ...] | None = None,
) -> MergedRule:
    return MergedRule(
        (ResourceRef("DestinationRule", "shop", "books"),),
        "shop",
        BOOKS.host,
        selector=selector,
        policy=policy,
        subsets={
            name: {"name": name, **({} if own is None else {"trafficPolicy": own})}
            for name, own in (subsets or {}).items()
        },
    )


def toward(backend: Backend = BOOKS, subset: str = "", **policy: Any) -> Destination:
    return destination(backend, rule(policy or None), subset, CLIENT)


def test_without_a_rule_mutual_tls_is_automatic_and_nothing_is_limited() -> None:
    found = destination(BOOKS, None, "", CLIENT)
    assert found.discovery == "eds"
    assert found.load_balancing.policy == "least_request"
    assert found.load_balancing.panic_threshold_percent == 0
    assert found.connection_pool.max_connections == UNLIMITED
    assert found.connection_pool.connect_timeout_ms == 10_000
    assert found.tls_mode == "auto"
    assert found.tls is not None
    assert found.tls.sni == "outbound_.8000_._.books.shop.svc.cluster.local"
    assert found.tls.alpn == ("istio-peer-exchange", "istio")
    assert found.tls.server_names == (StringMatch("exact", BOOKS.identities[0]),)


def test_older_control_planes_set_a_panic_threshold_only_with_outlier_detection() -> None:
    older = Client(unready_sent=False)
    assert destination(BOOKS, None, "", older).load_balancing.panic_threshold_percent is None
    found = destination(BOOKS, rule({"outlierDetection": {"minHealthPercent": 40}}), "", older)
    assert found.load_balancing.panic_threshold_percent == 40


def test_a_service_that_asks_for_near_endpoints_never_panics() -> None:
    near = replace(BOOKS, near="zone")
    found = destination(near, rule({"outlierDetection": {"minHealthPercent": 40}}), "", CLIENT)
    assert found.load_balancing.panic_threshold_percent == 0
    assert found.load_balancing.locality_weighted


def test_a_port_level_entry_stands_for_the_whole_policy_of_its_port() -> None:
    policy = {
        "tls": {"mode": "DISABLE"},
        "loadBalancer": {"simple": "RANDOM"},
        "portLevelSettings": [
            {"port": {"number": 8000}, "connectionPool": {"tcp": {"maxConnections": 1}}}
        ],
    }
    found = toward(**policy)
    assert found.connection_pool.max_connections == 1
    assert found.load_balancing.policy == "least_request"
    assert found.tls_mode == "auto"
    other = toward(replace(BOOKS, port=9), **policy)
    assert (other.load_balancing.policy, other.tls_mode) == ("random", "never")


def test_a_subset_overrides_block_by_block() -> None:
    found = destination(
        BOOKS,
        rule(
            {
                "connectionPool": {"tcp": {"maxConnections": 5}, "http": {"maxRetries": 2}},
                "outlierDetection": {"consecutive5xxErrors": 3},
            },
            {"v1": {"connectionPool": {"http": {"maxRetries": 7}}}},
        ),
        "v1",
        CLIENT,
    )
    assert found.connection_pool.max_retries == 7
    assert found.connection_pool.max_connections == UNLIMITED
    assert found.outlier_detection is not None
    assert found.outlier_detection.consecutive_5xx == 3


def test_the_port_level_of_a_subset_drops_what_it_leaves_out() -> None:
    own = {"portLevelSettings": [{"port": {"number": 8000}, "tls": {"mode": "DISABLE"}}]}
    found = effective({"loadBalancer": {"simple": "RANDOM"}, "proxyProtocol": {}}, own, 8000)
    assert found.blocks == {"tls": {"mode": "DISABLE"}, "proxyProtocol": {}}


def test_the_meshs_policy_fills_what_the_rule_leaves_out() -> None:
    client = Client(policy={"connectionPool": {"tcp": {"maxConnections": 9}}})
    assert destination(BOOKS, None, "", client).connection_pool.max_connections == 9
    own = rule({"connectionPool": {"http": {"maxRetries": 1}}})
    assert destination(BOOKS, own, "", client).connection_pool.max_connections == UNLIMITED


def test_a_headless_service_gets_mutual_tls_if_all_of_its_endpoints_have_a_sidecar() -> None:
    headless = replace(BOOKS, resolution="none")
    assert destination(headless, None, "", CLIENT).tls_mode == "never"
    found = destination(replace(headless, all_sidecars=True), None, "", CLIENT)
    assert found.discovery == "original_dst"
    assert found.load_balancing.policy == "cluster_provided"
    assert found.tls_mode == "always"


def test_passthrough_makes_a_service_and_its_subsets_headless() -> None:
    passing = rule({"loadBalancer": {"simple": "PASSTHROUGH"}}, {"v1": None})
    assert destination(BOOKS, passing, "", CLIENT).discovery == "original_dst"
    assert destination(BOOKS, passing, "", CLIENT).tls_mode == "never"
    subset = destination(BOOKS, passing, "v1", CLIENT)
    assert (subset.discovery, subset.tls_mode) == ("original_dst", "always")


@pytest.mark.parametrize(
    ("backend", "client"),
    [
        (replace(BOOKS, disabled=True), CLIENT),
        (replace(BOOKS, external=True), CLIENT),
        (BOOKS, Client(tls=ClientSettings(auto_mtls=False))),
    ],
)
def test_where_mutual_tls_is_not_automatic(backend: Backend, client: Client) -> None:
    assert destination(backend, None, "", client).tls_mode == "never"


def test_istio_mutual_goes_to_every_endpoint() -> None:
    found = toward(tls={"mode": "ISTIO_MUTUAL", "sni": "other", "subjectAltNames": ["a"]})
    assert found.tls_mode == "always"
    assert found.tls is not None
    assert (found.tls.sni, found.tls.server_names) == ("other", (StringMatch("exact", "a"),))
    assert found.alpn_override


def test_simple_tls_takes_the_name_from_the_request_where_none_is_given() -> None:
    found = toward(PAYPAL, tls={"mode": "SIMPLE"})
    assert found.tls is not None
    assert found.tls.auto_sni
    assert found.tls.auto_san_validation
    assert found.tls.trusted == "file-root:system"
    assert not found.alpn_override


def test_names_of_a_service_entry_are_checked_where_the_rule_names_none() -> None:
    found = toward(replace(PAYPAL, identities=("pay",)), tls={"mode": "SIMPLE", "sni": "x"})
    assert found.tls is not None
    assert found.tls.server_names == (StringMatch("exact", "pay"),)
    assert not found.tls.auto_san_validation


def test_skipped_verification_trusts_anybody() -> None:
    found = toward(PAYPAL, tls={"mode": "SIMPLE", "insecureSkipVerify": True})
    assert found.tls is not None
    assert (found.tls.trusted, found.tls.server_names) == ("", ())
    assert not found.tls.auto_san_validation


def test_a_credential_counts_only_in_rules_for_some_workloads() -> None:
    policy = {"tls": {"mode": "MUTUAL", "credentialName": "pay"}}
    assert destination(PAYPAL, rule(policy), "", CLIENT).tls_mode == "never"
    found = destination(PAYPAL, rule(policy, selector=(("app", "web"),)), "", CLIENT)
    assert found.tls is not None
    assert (found.tls.certificate, found.tls.trusted) == (
        "kubernetes://pay",
        "kubernetes://pay-cacert",
    )


def test_mutual_tls_from_files() -> None:
    policy = {
        "mode": "MUTUAL",
        "clientCertificate": "/c",
        "privateKey": "/k",
        "caCertificates": "/r",
    }
    found = toward(PAYPAL, tls=policy)
    assert found.tls is not None
    assert (found.tls.certificate, found.tls.trusted) == ("file-cert:/c~/k", "file-root:/r")
    assert toward(PAYPAL, tls={"mode": "MUTUAL"}).tls_mode == "never"


@pytest.mark.parametrize(
    ("port_protocol", "http", "expected"),
    [
        ("http", {}, "http1"),
        ("grpc", {}, "http2"),
        ("auto", {}, "downstream"),
        ("http", {"h2UpgradePolicy": "UPGRADE"}, "http2"),
        ("tcp", {"h2UpgradePolicy": "UPGRADE"}, "http2"),
        ("auto", {"h2UpgradePolicy": "UPGRADE"}, "downstream"),
        ("grpc", {"useClientProtocol": True}, "downstream"),
    ],
)
def test_upstream_protocol(port_protocol: str, http: Mapping[str, Any], expected: str) -> None:
    assert upstream_protocol(port_protocol, {"http": http}, MeshDefaults()) == expected


def test_a_mesh_wide_upgrade_spares_ports_that_are_not_http() -> None:
    mesh = MeshDefaults(h2_upgrade=True)
    assert upstream_protocol("http", None, mesh) == "http2"
    assert upstream_protocol("tcp", None, mesh) == "http1"
    assert upstream_protocol("http", {"http": {"h2UpgradePolicy": "DO_NOT_UPGRADE"}}, mesh) == (
        "http1"
    )


def test_outlier_detection_counts_success_rates_without_acting_on_them() -> None:
    found = toward(
        outlierDetection={
            "consecutive5xxErrors": 0,
            "consecutiveGatewayErrors": 3,
            "splitExternalLocalOriginErrors": True,
            "consecutiveLocalOriginFailures": 4,
            "interval": "1s",
        }
    ).outlier_detection
    assert found is not None
    assert (found.consecutive_5xx, found.enforcing_consecutive_5xx) == (0, 0)
    assert (found.consecutive_gateway_failure, found.enforcing_consecutive_gateway_failure) == (
        3,
        100,
    )
    assert found.consecutive_local_origin_failure == 4
    assert (found.enforcing_success_rate, found.enforcing_local_origin_success_rate) == (0, 0)
    assert found.interval_ms == 1_000


@pytest.mark.parametrize(
    ("balancer", "policy", "ring_size"),
    [
        ({"consistentHash": {"useSourceIp": True}}, "ring_hash", 1024),
        ({"consistentHash": {"useSourceIp": True, "ringHash": {}}}, "ring_hash", 0),
        ({"consistentHash": {"ringHash": {"minimumRingSize": 4096}}}, "ring_hash", 4096),
        ({"consistentHash": {"maglev": {"tableSize": 65537}}}, "maglev", 65537),
        ({"consistentHash": {"maglev": {}}}, "maglev", 0),
    ],
)
def test_consistent_hashing(balancer: Mapping[str, Any], policy: str, ring_size: int) -> None:
    found = toward(loadBalancer=balancer).load_balancing
    assert (found.policy, found.ring_size) == (policy, ring_size)


def test_warm_up() -> None:
    found = toward(loadBalancer={"simple": "ROUND_ROBIN", "warmup": {"duration": "60s"}})
    balancing = found.load_balancing
    assert (balancing.policy, balancing.slow_start_ms) == ("round_robin", 60_000)
    assert (balancing.slow_start_aggression, balancing.slow_start_min_weight_percent) == ("1", "10")


def test_percentages_may_have_fractions() -> None:
    found = toward(
        loadBalancer={"warmup": {"duration": "60s", "minimumPercent": 12.5}},
        retryBudget={"percent": 33.5, "budgetInterval": "2s"},
    )
    assert found.load_balancing.slow_start_min_weight_percent == "12.5"
    pool = found.connection_pool
    assert (pool.retry_budget_percent, pool.retry_min_concurrency) == ("33.5", 3)
    assert pool.retry_budget_interval_ms == 2_000


def test_clusters_that_stand_for_no_service() -> None:
    found = {policy.key["host"]: policy.content for policy in named_destinations(CLIENT)}
    assert set(found) == {"BlackHoleCluster", "PassthroughCluster"}


def test_hash_policy_is_looked_for_from_the_subsets_port_to_the_rule() -> None:
    def hashing(name: str) -> dict[str, Any]:
        return {"consistentHash": {"httpHeaderName": name}}

    own = rule(
        {
            "loadBalancer": hashing("rule"),
            "portLevelSettings": [{"port": {"number": 8000}, "loadBalancer": hashing("port")}],
        },
        {"v1": {"loadBalancer": hashing("subset")}, "v2": None},
    )
    assert hash_policy(own, 8000, "v1") == (HashPolicy("header", "subset"),)
    assert hash_policy(own, 8000, "v2") == (HashPolicy("header", "port"),)
    assert hash_policy(own, None, "v2") == (HashPolicy("header", "rule"),)
    assert hash_policy(own, 1) == (HashPolicy("header", "rule"),)
    assert hash_policy(None, 8000) == ()
