"""Clusters become traffic policies and endpoints."""

from dataclasses import replace
from typing import Any

import pytest
from fragments import any_, assignment, cluster, content, endpoint, extensions, infer_parts

from meshscope.policy import key
from meshscope.policy.destination import (
    UNLIMITED,
    ClientTls,
    ConnectionPool,
    Destination,
    LoadBalancing,
    OutlierDetection,
    Service,
)
from meshscope.policy.endpoints import Endpoint, Endpoints, LocalityEndpoints
from meshscope.policy.matches import StringMatch
from meshscope.policy.source import ResourceRef

NAME = "outbound|80|v1|a.b"
KEY = key.destination("a.b", 80, "v1")
ENDPOINTS = key.endpoints("a.b", 80, "v1")
ENVOY_POOL = {
    "max_connections": 1024,
    "max_pending_requests": 1024,
    "max_requests": 1024,
    "max_retries": 3,
    "connect_timeout_ms": 10_000,
}
SUBSET = {"filter_metadata": {"istio": {"subset": "v1"}}}


def destination(**fields: Any) -> Destination:
    inference = infer_parts(cds=[cluster(NAME, **{"metadata": SUBSET, **fields})])
    assert extensions(inference) == {}
    found = content(inference, KEY)
    assert isinstance(found, Destination)
    return found


def test_what_a_cluster_does_not_say_is_envoys_default() -> None:
    assert destination() == Destination("eds", connection_pool=ConnectionPool(**ENVOY_POOL))


def test_limits() -> None:
    found = destination(
        circuit_breakers={
            "thresholds": [
                {
                    "max_connections": 7,
                    "max_pending_requests": UNLIMITED,
                    "max_requests": UNLIMITED,
                    "max_retries": UNLIMITED,
                    "track_remaining": True,
                    "retry_budget": {
                        "budget_percent": {"value": 25},
                        "min_retry_concurrency": 5,
                    },
                }
            ]
        },
        upstream_connection_options={"tcp_keepalive": {"keepalive_time": 9}},
        typed_extension_protocol_options=options(
            common_http_protocol_options={
                "idle_timeout": "5s",
                "max_connection_duration": "60s",
                "max_requests_per_connection": 4,
            },
            explicit_http_config={"http2_protocol_options": {"max_concurrent_streams": 8}},
        ),
    )

    assert found.protocol == "http2"
    assert found.connection_pool == ConnectionPool(
        max_connections=7,
        track_remaining=True,
        retry_budget_percent="25",
        retry_min_concurrency=5,
        connect_timeout_ms=10_000,
        keepalive_time_s=9,
        idle_timeout_ms=5_000,
        max_connection_duration_ms=60_000,
        max_requests_per_connection=4,
        max_concurrent_streams=8,
    )


def options(**fields: Any) -> dict[str, Any]:
    kind = "extensions.upstreams.http.v3.HttpProtocolOptions"
    return {f"envoy.{kind}": any_(kind, fields)}


@pytest.mark.parametrize(
    ("fields", "protocol"),
    [
        ({"explicit_http_config": {"http_protocol_options": {}}}, "http1"),
        ({"auto_config": {"http2_protocol_options": {}}}, "auto"),
        (
            {
                "use_downstream_protocol_config": {
                    "http_protocol_options": {},
                    "http2_protocol_options": {},
                }
            },
            "downstream",
        ),
        (
            {
                "use_downstream_protocol_config": {
                    "http_protocol_options": {},
                    "http2_protocol_options": {"max_concurrent_streams": 3},
                }
            },
            "downstream",
        ),
    ],
)
def test_protocols(fields: dict[str, Any], protocol: str) -> None:
    assert destination(typed_extension_protocol_options=options(**fields)).protocol == protocol


def test_load_balancing() -> None:
    assert destination(
        lb_policy="RING_HASH",
        ring_hash_lb_config={"minimum_ring_size": "1024"},
        common_lb_config={"healthy_panic_threshold": {}, "locality_weighted_lb_config": {}},
    ).load_balancing == LoadBalancing(
        "ring_hash", 1024, locality_weighted=True, panic_threshold_percent=0
    )
    slow = {
        "slow_start_window": "20s",
        "aggression": {"default_value": 1, "runtime_key": "("},
        "min_weight_percent": {"value": 20.5},
    }
    assert destination(
        round_robin_lb_config={"slow_start_config": slow}
    ).load_balancing == LoadBalancing("round_robin", 0, 20_000, "1", "20.5")


def test_outlier_detection() -> None:
    assert destination(
        outlier_detection={
            "consecutive_5xx": 0,
            "enforcing_consecutive_5xx": 0,
            "interval": "1s",
            "max_ejection_percent": 30,
        }
    ).outlier_detection == OutlierDetection(
        consecutive_5xx=0,
        enforcing_consecutive_5xx=0,
        interval_ms=1000,
        max_ejection_percent=30,
    )


def agent(name: str) -> dict[str, Any]:
    config: dict[str, Any] = {
        "api_config_source": {
            "api_type": "GRPC",
            "grpc_services": [{"envoy_grpc": {"cluster_name": "sds-grpc"}}],
            "set_node_on_first_message_only": True,
            "transport_api_version": "V3",
        },
        "initial_fetch_timeout": "0s",
        "resource_api_version": "V3",
    }
    if name.startswith("file-"):
        del config["initial_fetch_timeout"]
    return {"name": name, "sds_config": config}


def tls(trusted: dict[str, Any], sni: str = "s") -> dict[str, Any]:
    return {
        "name": "envoy.transport_sockets.tls",
        "typed_config": any_(
            "extensions.transport_sockets.tls.v3.UpstreamTlsContext",
            {
                "sni": sni,
                "common_tls_context": {
                    "alpn_protocols": ["istio", "h2"],
                    "tls_certificate_sds_secret_configs": [agent("default")],
                    "combined_validation_context": {
                        "default_validation_context": {
                            "match_subject_alt_names": [{"exact": "spiffe://x"}]
                        },
                        "validation_context_sds_secret_config": trusted,
                    },
                },
            },
        ),
    }


RAW = {
    "name": "envoy.transport_sockets.raw_buffer",
    "typed_config": any_("extensions.transport_sockets.raw_buffer.v3.RawBuffer"),
}
TLS = ClientTls(
    sni="s",
    alpn=("istio", "h2"),
    server_names=(StringMatch("exact", "spiffe://x"),),
    trusted="ROOTCA",
    certificate="default",
)


def test_tls_modes() -> None:
    always = destination(transport_socket=tls(agent("ROOTCA")))
    assert (always.tls_mode, always.tls) == ("always", TLS)
    auto = destination(
        transport_socket_matches=[
            {
                "name": "tlsMode-istio",
                "match": {"tlsMode": "istio"},
                "transport_socket": tls(agent("ROOTCA")),
            },
            {"name": "tlsMode-disabled", "match": {}, "transport_socket": RAW},
        ]
    )
    assert (auto.tls_mode, auto.tls) == ("auto", TLS)


def matching(*sockets: tuple[dict[str, str] | None, dict[str, Any]]) -> dict[str, Any]:
    """A cluster with a socket per label of endpoints."""
    matches = [
        {"name": "n", "transport_socket": socket, **({} if match is None else {"match": match})}
        for match, socket in sockets
    ]
    return cluster(NAME, metadata=SUBSET, transport_socket_matches=matches)


MUTUAL = {"tlsMode": "istio"}


@pytest.mark.parametrize(
    ("sockets", "mode", "explained"),
    [
        (((MUTUAL, tls(agent("ROOTCA"))), (None, RAW)), "auto", True),
        (((MUTUAL, tls(agent("ROOTCA"))), ({}, tls(agent("ROOTCA")))), "always", True),
        (((MUTUAL, RAW), ({}, RAW)), "never", True),
        ((({}, RAW), (MUTUAL, tls(agent("ROOTCA")))), "never", True),
        ((({}, tls(agent("ROOTCA"))), ({}, RAW)), "always", True),
        (((MUTUAL, tls(agent("ROOTCA"))), ({"a": "b"}, RAW), ({}, RAW)), "auto", False),
        (((MUTUAL, RAW), ({}, tls(agent("ROOTCA")))), "never", False),
        (((MUTUAL, tls(agent("ROOTCA"), "a")), ({}, tls(agent("ROOTCA"), "b"))), "always", False),
        (((MUTUAL, tls(agent("ROOTCA"))),), "never", False),
        ((({"tlsMode": "other"}, RAW), ({"a": "b"}, RAW)), "never", False),
    ],
)
def test_the_first_socket_whose_label_an_endpoint_bears_counts(
    sockets: Any, mode: str, explained: bool
) -> None:
    inference = infer_parts(cds=[matching(*sockets)])

    assert content(inference, KEY).tls_mode == mode
    assert (extensions(inference) == {}) is explained


def test_tls_parameters() -> None:
    socket = tls(agent("ROOTCA"))
    socket["typed_config"]["common_tls_context"]["tls_params"] = {
        "tls_minimum_protocol_version": "TLSv1_2",
        "tls_maximum_protocol_version": "TLSv1_3",
        "cipher_suites": ["c"],
        "ecdh_curves": ["X25519"],
    }

    assert destination(transport_socket=socket).tls == replace(
        TLS, minimum="TLSv1_2", maximum="TLSv1_3", ciphers=("c",), curves=("X25519",)
    )


def test_an_empty_validation_context_trusts_anybody() -> None:
    socket = {
        "name": "envoy.transport_sockets.tls",
        "typed_config": any_(
            "extensions.transport_sockets.tls.v3.UpstreamTlsContext",
            {"sni": "s", "common_tls_context": {"validation_context": {}}},
        ),
    }

    assert destination(transport_socket=socket).tls == ClientTls(sni="s")


def test_a_socket_that_does_not_say_what_it_is_is_reported() -> None:
    socket = {"name": "envoy.transport_sockets.tls"}

    inference = infer_parts(cds=[cluster(NAME, metadata=SUBSET, transport_socket=socket)])

    assert str(KEY) in extensions(inference)


def test_proxy_protocol_wraps_the_socket() -> None:
    wrapped = {
        "name": "envoy.transport_sockets.upstream_proxy_protocol",
        "typed_config": any_(
            "extensions.transport_sockets.proxy_protocol.v3.ProxyProtocolUpstreamTransport",
            {"config": {"version": "V2"}, "transport_socket": RAW},
        ),
    }

    found = destination(transport_socket=wrapped)

    assert (found.proxy_protocol, found.tls_mode) == ("v2", "never")


def test_certificates_of_secrets_come_from_the_control_plane() -> None:
    source = {"ads": {}, "resource_api_version": "V3"}
    trusted = {"name": "kubernetes://ca-cacert", "sds_config": source}
    inference = infer_parts(cds=[cluster(NAME, metadata=SUBSET, transport_socket=tls(trusted))])

    assert content(inference, KEY).tls.trusted == "kubernetes://ca-cacert"
    assert extensions(inference) == {}


@pytest.mark.parametrize(
    "trusted",
    [
        {**agent("ROOTCA"), "sds_config": {"ads": {}}},
        {"name": "ROOTCA"},
        {**agent("ROOTCA"), "sds_config": agent("file-x")["sds_config"]},
    ],
    ids=["another source", "no source", "another timeout"],
)
def test_certificates_from_elsewhere_are_reported(trusted: dict[str, Any]) -> None:
    inference = infer_parts(cds=[cluster(NAME, metadata=SUBSET, transport_socket=tls(trusted))])

    assert str(KEY) in extensions(inference)


def test_metadata_name_services_and_sources() -> None:
    metadata = {
        "filter_metadata": {
            "istio": {
                "config": "/apis/networking.istio.io/v1/namespaces/n/destination-rule/d",
                "services": [{"host": "a.b", "name": "a", "namespace": "n"}],
                "external": True,
                "alpn_override": "false",
                "subset": "v1",
            }
        }
    }

    inference = infer_parts(cds=[cluster(NAME, metadata=metadata)])

    found = content(inference, KEY)
    assert (found.services, found.external, found.alpn_override) == (
        (Service("a.b", "n", "a"),),
        True,
        False,
    )
    assert inference.policies[KEY].sources == (ResourceRef("DestinationRule", "n", "d"),)


def test_a_subset_that_is_not_that_of_the_name_is_reported() -> None:
    metadata = {"filter_metadata": {"istio": {"subset": "v2"}}}

    inference = infer_parts(cds=[cluster(NAME, metadata=metadata)])

    assert extensions(inference)[str(KEY)]


def test_endpoints_of_eds_clusters() -> None:
    labels = {
        "filter_metadata": {
            "envoy.transport_socket_match": {"tlsMode": "istio"},
            "istio": {"workload": "w;n;c;;k"},
        }
    }
    load = assignment(
        NAME,
        {
            "locality": {"region": "r", "zone": "z"},
            "priority": 1,
            "load_balancing_weight": 3,
            "lb_endpoints": [endpoint("10.0.0.1", 80, load_balancing_weight=2, metadata=labels)],
        },
        {"locality": {}, "lb_endpoints": []},
    )

    inference = infer_parts(cds=[cluster(NAME)], eds=[load])

    assert content(inference, ENDPOINTS) == Endpoints(
        (
            LocalityEndpoints(
                (Endpoint("10.0.0.1", 80, 2, "istio", "w;n;c;;k"),), "r", "z", "", 1, 3
            ),
        )
    )


@pytest.mark.parametrize("weight", [{}, {"load_balancing_weight": 0}])
def test_a_locality_without_weight_may_be_printed_with_zero(weight: dict[str, int]) -> None:
    load = assignment(NAME, {"lb_endpoints": [endpoint("10.0.0.1", 80)], **weight})

    inference = infer_parts(cds=[cluster(NAME)], eds=[load])

    assert content(inference, ENDPOINTS).localities[0].weight == 0


def test_ejected_hosts_are_state_and_drained_ones_are_declared() -> None:
    def digest_of(status: str) -> tuple[str, Any]:
        load = assignment(NAME, {"lb_endpoints": [endpoint("10.0.0.1", 80, health_status=status)]})
        load["endpoints"][0]["lb_endpoints"][0]["health_status"] = status
        inference = infer_parts(cds=[cluster(NAME)], eds=[load])
        return inference.policies[ENDPOINTS].digest, inference.state.hosts

    healthy, nothing = digest_of("HEALTHY")
    ejected, hosts = digest_of("UNHEALTHY")
    draining, _ = digest_of("DRAINING")

    assert nothing == ()
    assert ejected == healthy
    assert hosts[0].unhealthy == ("10.0.0.1:80",)
    assert draining != healthy


def test_an_eds_cluster_without_endpoints_has_none_and_still_a_policy() -> None:
    inference = infer_parts(cds=[cluster(NAME)])

    assert content(inference, ENDPOINTS) == Endpoints()


def test_dns_clusters_have_the_names_they_were_configured_with() -> None:
    def dns(*addresses: str) -> Any:
        configured = assignment(NAME, {"lb_endpoints": [endpoint("db.example.com", 80)]})
        del configured["@type"]
        resolver = {
            "name": "envoy.network.dns_resolver.cares",
            "typed_config": any_(
                "extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig",
                {"udp_max_queries": 100},
            ),
        }
        return infer_parts(
            cds=[
                cluster(
                    NAME,
                    type="STRICT_DNS",
                    load_assignment=configured,
                    metadata=SUBSET,
                    dns_refresh_rate="60s",
                    respect_dns_ttl=True,
                    dns_lookup_family="V4_ONLY",
                    typed_dns_resolver_config=resolver,
                )
            ],
            eds=[
                assignment(NAME, {"lb_endpoints": [endpoint(address, 80) for address in addresses]})
            ],
        )

    inference = dns("192.0.2.1", "192.0.2.2")

    found = content(inference, ENDPOINTS)
    assert [e.address for loc in found.localities for e in loc.endpoints] == ["db.example.com"]
    assert content(inference, KEY).dns_family == "v4_only"
    assert inference.state.hosts[0].resolved == ("192.0.2.1:80", "192.0.2.2:80")
    assert extensions(inference) == {}
    other = dns("192.0.2.3")
    assert other.policies == inference.policies
    assert other.state != inference.state


def test_original_destinations_have_no_endpoints() -> None:
    inference = infer_parts(
        cds=[cluster("PassthroughCluster", type="ORIGINAL_DST", lb_policy="CLUSTER_PROVIDED")],
        eds=[assignment("PassthroughCluster", {"lb_endpoints": [endpoint("192.0.2.1", 80)]})],
    )

    assert content(inference, key.destination("PassthroughCluster", 0)).discovery == "original_dst"
    assert not any(found.kind == "endpoints" for found in inference.policies)


def test_clusters_that_nothing_names_are_not_in_force() -> None:
    inference = infer_parts(cds=[cluster(NAME)])

    assert inference.unreferenced == {KEY, ENDPOINTS}


@pytest.mark.parametrize(
    "fields",
    [
        {"lb_policy": "SUBSET"},
        {"health_checks": [{"timeout": "1s"}]},
        {"circuit_breakers": {"thresholds": [{"priority": "HIGH", "max_connections": 1}]}},
        {"eds_cluster_config": {"eds_config": {"path": "/x"}, "service_name": NAME}},
        {"filters": [{"name": "other"}]},
        {"connect_timeout": "0.0001s"},
        {"common_lb_config": {"healthy_panic_threshold": {"value": 12.5}}},
    ],
)
def test_what_is_not_modelled_is_reported(fields: dict[str, Any]) -> None:
    inference = infer_parts(cds=[cluster(NAME, metadata=SUBSET, **fields)])

    assert extensions(inference).keys() == {str(KEY)}
    assert KEY in inference.policies


def test_a_cluster_that_makes_no_sense_is_reported_and_the_others_are_read() -> None:
    broken = cluster(
        NAME,
        transport_socket={
            "typed_config": any_("extensions.transport_sockets.tls.v3.UpstreamTlsContext")
        },
    )

    inference = infer_parts(cds=[{"no": "name"}, broken, cluster("outbound|81||a.b")])

    assert key.destination("a.b", 81) in inference.policies
    assert KEY not in inference.policies
    assert extensions(inference).keys() == {"Cluster", str(KEY)}


def test_what_a_cluster_says_of_health_is_declared() -> None:
    load = {"endpoints": [{"lb_endpoints": [endpoint("a.b", 80, health_status="UNHEALTHY")]}]}

    inference = infer_parts(cds=[cluster(NAME, type="STRICT_DNS", load_assignment=load)])

    (locality,) = content(inference, ENDPOINTS).localities
    assert [item.health for item in locality.endpoints] == ["unhealthy"]


def test_a_name_of_a_server_that_is_not_understood_is_reported() -> None:
    socket = tls(agent("ROOTCA"))
    validation = socket["typed_config"]["common_tls_context"]["combined_validation_context"]
    validation["default_validation_context"]["match_subject_alt_names"].append({})

    inference = infer_parts(cds=[cluster(NAME, metadata=SUBSET, transport_socket=socket)])

    assert str(KEY) in extensions(inference)


def test_a_cluster_that_does_not_say_where_its_endpoints_come_from_is_reported() -> None:
    broken = cluster(NAME, metadata=SUBSET)
    del broken["eds_cluster_config"]

    assert str(KEY) in extensions(infer_parts(cds=[broken]))


def test_what_is_set_for_tls_has_no_effect_without_it() -> None:
    without = options(
        upstream_http_protocol_options={"auto_sni": True, "auto_san_validation": True},
        explicit_http_config={"http_protocol_options": {}},
    )

    assert destination(typed_extension_protocol_options=without).tls_mode == "never"
