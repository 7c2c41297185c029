"""Listeners become policies per port, class of chains and direction."""

from typing import Any

import pytest
from dumps import dump_of
from fragments import (
    BOOTSTRAP,
    any_,
    assignment,
    cluster,
    content,
    endpoint,
    extensions,
    host,
    http_chain,
    http_filter,
    infer_parts,
    listener,
    rbac,
    rds,
    route,
    route_table,
    tcp_chain,
    virtual_inbound,
)

from meshscope.inference.infer import infer
from meshscope.policy import key
from meshscope.policy.authorization import Authorization
from meshscope.policy.egress import Egress
from meshscope.policy.filter_order import FilterOrder
from meshscope.policy.inbound import Inbound, InboundRoutes
from meshscope.policy.outbound_listener import ChainMatch, OutboundChain, OutboundListener
from meshscope.policy.peer_authentication import AcceptedChain, PeerAuthentication, ServerTls
from meshscope.policy.request_authentication import JwtHeader, JwtRule, RequestAuthentication
from meshscope.policy.source import ResourceRef
from meshscope.policy.target import Target, WeightedTarget
from meshscope.policy.telemetry import AccessLog

MUTUAL = ServerTls(client_certificate=True)


def to(host_name: str, port: int = 0, weight: int = 1) -> WeightedTarget:
    direction: Any = "outbound" if port else "named"
    return WeightedTarget(Target(direction, host_name, port), weight)


def test_an_outbound_listener_says_where_each_chain_leads() -> None:
    config = "/apis/networking.istio.io/v1/namespaces/n/virtual-service/v"
    split = {
        "clusters": [
            {"name": "outbound|443||a.b", "weight": 1},
            {"name": "outbound|443||c.d", "weight": 3},
        ]
    }
    chain = tcp_chain(
        "", match={"server_names": ["A.example.com"]}, weighted_clusters=split, idle_timeout="5s"
    )
    del chain["filters"][0]["typed_config"]["cluster"]
    chain["metadata"] = {"filter_metadata": {"istio": {"config": config}}}
    inspector = any_("extensions.filters.listener.tls_inspector.v3.TlsInspector")

    inference = infer_parts(
        lds=[
            listener(
                "10.0.0.1_443",
                "10.0.0.1",
                443,
                chain,
                bind_to_port=False,
                listener_filters=[{"name": "tls", "typed_config": inspector}],
                listener_filters_timeout="0s",
                continue_on_listener_filters_timeout=True,
                default_filter_chain=tcp_chain("PassthroughCluster"),
            )
        ]
    )

    policy = inference.policies[key.outbound_listener("10.0.0.1", 443)]
    assert policy.content == OutboundListener(
        binds=False,
        detects=("tls",),
        detection_timeout_ms=0,
        continue_on_timeout=True,
        chains=(
            OutboundChain(
                ChainMatch(server_names=("a.example.com",)),
                to=(to("a.b", 443), to("c.d", 443, 3)),
                idle_timeout_ms=5000,
            ),
        ),
        default=OutboundChain(to=(to("PassthroughCluster"),)),
    )
    assert policy.sources == (ResourceRef("VirtualService", "n", "v"),)
    assert extensions(inference) == {}


def test_a_filter_that_counts_operations_belongs_to_its_chain_alone() -> None:
    counted = tcp_chain("outbound|27017||db")
    mongo = any_("extensions.filters.network.mongo_proxy.v3.MongoProxy", {"stat_prefix": "p"})
    counted["filters"].insert(
        0, {"name": "envoy.filters.network.mongo_proxy", "typed_config": mongo}
    )
    other = listener("10.0.0.2_90", "10.0.0.2", 90, tcp_chain("outbound|90||web"))

    inference = infer_parts(lds=[listener("10.0.0.1_27017", "10.0.0.1", 27017, counted), other])

    (chain,) = content(inference, key.outbound_listener("10.0.0.1", 27017)).chains
    assert chain.statistics_of == "mongo"
    assert content(inference, key.filter_order("outbound", "-", "tcp")).filters == ("tcp_proxy",)
    assert extensions(inference) == {}


def test_the_translation_of_grpc_web_belongs_to_its_chain_alone() -> None:
    web = any_("extensions.filters.http.grpc_web.v3.GrpcWeb")
    translating = {"name": "envoy.filters.http.grpc_web", "typed_config": web}
    listeners = [
        listener("10.0.0.1_80", "10.0.0.1", 80, http_chain(translating, rds=rds("80"))),
        listener("10.0.0.1_90", "10.0.0.1", 90, http_chain(rds=rds("90"))),
    ]

    inference = infer_parts(lds=listeners)

    (chain,) = content(inference, key.outbound_listener("10.0.0.1", 80)).chains
    assert chain.grpc_web
    (chain,) = content(inference, key.outbound_listener("10.0.0.1", 90)).chains
    assert not chain.grpc_web
    assert extensions(inference) == {}


@pytest.mark.parametrize(("mark", "known"), [(1337, True), (1, False)])
def test_a_transparent_listener_keeps_the_addresses_of_both_sides(mark: int, known: bool) -> None:
    source = any_("extensions.filters.listener.original_src.v3.OriginalSrc", {"mark": mark})
    inward = virtual_inbound(tcp_chain("InboundPassthroughCluster"))
    inward["listener_filters"].append({"name": "x", "typed_config": source})
    outward = listener("0.0.0.0_15001", "0.0.0.0", 15001, tcp_chain("x"))  # noqa: S104

    inference = infer_parts(lds=[{**inward, "transparent": True}, {**outward, "transparent": True}])

    found = content(inference, key.inbound("*"))
    assert found.transparent
    assert found.detects == ("original_src",)
    assert content(inference, key.outbound_listener("0.0.0.0", 15001)).transparent  # noqa: S104
    assert (extensions(inference) == {}) is known


def test_a_listener_at_a_socket_does_not_refuse_its_own_port() -> None:
    log = {"name": "x", "typed_config": any_("extensions.access_loggers.file.v3.FileAccessLog")}
    chain = tcp_chain("outbound|90||web", access_log=[log], idle_timeout="5s")
    socket = {"pipe": {"path": "/tmp/x"}}  # noqa: S108

    inference = infer_parts(lds=[{**listener("x", "", 0, chain), "address": socket}])

    (read,) = content(inference, key.outbound_listener("unix:///tmp/x", 0)).chains
    assert read.idle_timeout_ms == 5_000
    assert content(inference, key.telemetry("outbound", "tcp")).access_logs != ((),)


def test_own_addresses_stand_as_such() -> None:
    inference = infer_parts(
        lds=[
            listener("x", "10.0.0.7", 80, http_chain(rds=rds("80"))),
            listener("y", "10.0.0.8", 80),
        ]
    )

    assert key.outbound_listener("$self.address", 80) in inference.policies
    assert key.http_connection("$self.address_80") in inference.policies
    assert key.outbound_listener("10.0.0.8", 80) in inference.policies


def test_only_what_a_listener_reaches_is_in_force() -> None:
    inference = infer_parts(
        lds=[listener("0.0.0.0_80", "0.0.0.0", 80, http_chain(rds=rds("80")))],  # noqa: S104
        rds=[
            route_table("80", host("a", route("outbound|80||a.b"))),
            route_table("81", host("a", route("outbound|81||a.b"))),
        ],
        cds=[cluster("outbound|80||a.b"), cluster("outbound|81||a.b")],
        eds=[],
    )

    assert inference.unreferenced == {
        key.http_route("81", "a"),
        key.destination("a.b", 81),
        key.endpoints("a.b", 81),
    }


@pytest.mark.parametrize(
    ("catch_all", "mode"),
    [
        ("PassthroughCluster", "ALLOW_ANY"),
        ("BlackHoleCluster", "REGISTRY_ONLY"),
        ("outbound|80||proxy.x", "PROXY"),
    ],
)
def test_the_catch_all_listener_is_egress(catch_all: str, mode: str) -> None:
    refusing = tcp_chain("BlackHoleCluster", match={"destination_port": 15001})

    inference = infer_parts(
        lds=[
            listener(
                "virtualOutbound",
                "0.0.0.0",  # noqa: S104
                15001,
                refusing,
                tcp_chain(catch_all),
                use_original_dst=True,
            )
        ]
    )

    found = content(inference, key.egress("virtualOutbound"))
    assert isinstance(found, Egress)
    assert (found.mode, found.binds_blackhole) == (mode, True)
    assert content(inference, key.outbound_listener("0.0.0.0", 15001)).use_original_dst  # noqa: S104


def test_a_port_with_mutual_tls_and_plaintext_has_a_class_for_each() -> None:
    alpn = ["istio", "istio-h2"]
    chains = (
        http_chain(
            rbac({}),
            match={
                "destination_port": 8080,
                "transport_protocol": "tls",
                "application_protocols": alpn,
            },
            tls=True,
        ),
        http_chain(match={"destination_port": 8080, "transport_protocol": "raw_buffer"}),
    )

    inference = infer_parts(lds=[virtual_inbound(*chains)])

    assert content(inference, key.peer_authentication(8080)) == PeerAuthentication(
        (
            AcceptedChain("tls", tuple(alpn), "http", MUTUAL),
            AcceptedChain("raw_buffer", (), "http"),
        )
    )
    assert content(inference, key.peer_authentication(8080)).mode == "PERMISSIVE"
    assert content(inference, key.authorization(8080, "mtls", "http")) == Authorization(allow=())
    assert content(inference, key.authorization(8080, "plaintext", "http")) == Authorization()
    for transport in ("mtls", "plaintext"):
        assert (
            content(inference, key.request_authentication(8080, transport))
            == RequestAuthentication()
        )
        assert key.http_connection(8080, transport) in inference.policies
    assert content(inference, key.filter_order(8080, "plaintext", "http")) == FilterOrder(
        ("router",)
    )


def test_an_inbound_port_says_what_is_behind_it() -> None:
    behind = cluster(
        "inbound|8080||",
        type="STATIC",
        load_assignment={
            "cluster_name": "inbound|8080||",
            "endpoints": [{"lb_endpoints": [endpoint("10.0.0.7", 18080)]}],
        },
        upstream_bind_config={"source_address": {"address": "127.0.0.6", "port_value": 0}},
    )
    chain = http_chain(match={"destination_port": 8080, "transport_protocol": "tls"}, tls=True)
    config = "/apis/networking.istio.io/v1/namespaces/n/sidecar/s"
    chain["metadata"] = {"filter_metadata": {"istio": {"config": config}}}
    own = listener("10.0.0.7_8080", "10.0.0.7", 8080, chain, traffic_direction="INBOUND")

    inference = infer_parts(lds=[own], cds=[behind])

    found = content(inference, key.inbound(8080))
    assert isinstance(found, Inbound)
    assert (found.protocol, found.bind) == ("http", "$self.address")
    assert found.upstream is not None
    assert found.upstream.addresses == ("$self.address:18080",)
    assert found.upstream.source_address == "127.0.0.6"
    assert isinstance(found.routes[0], InboundRoutes)
    assert inference.policies[key.inbound(8080)].sources == (ResourceRef("Sidecar", "n", "s"),)
    assert extensions(inference) == {}


def test_replicas_share_what_only_repeats_their_address() -> None:
    def digest_of(address: str) -> str:
        behind = cluster(
            "inbound|8080||",
            type="STATIC",
            load_assignment={
                "endpoints": [{"lb_endpoints": [endpoint(address, 18080)]}],
            },
        )
        own = listener("x", address, 8080, tcp_chain("inbound|8080||"), traffic_direction="INBOUND")
        return infer_parts(lds=[own], cds=[behind]).policies[key.inbound(8080)].digest

    assert digest_of("10.0.0.7") == digest_of("fd00::7")
    assert digest_of("10.0.0.7") != digest_of("10.0.0.8")


def test_the_port_of_the_virtual_listener_is_closed_unless_it_is_not() -> None:
    closed = virtual_inbound(tcp_chain("InboundPassthroughCluster"))
    open_ = {**closed, "filter_chains": closed["filter_chains"][1:]}

    assert not content(infer_parts(lds=[closed]), key.inbound("*")).own_port_open
    assert content(infer_parts(lds=[open_]), key.inbound("*")).own_port_open


def test_a_virtual_listener_that_does_not_find_the_original_destination_is_odd() -> None:
    blind = {**virtual_inbound(tcp_chain("x")), "listener_filters": []}

    inference = infer_parts(lds=[blind])

    assert key.extension("inbound/*", "listener_filters") in inference.policies


def sniffing(predicate: dict[str, Any] | None) -> Any:
    chains = [
        http_chain(
            match={
                "destination_port": 80,
                "transport_protocol": "raw_buffer",
                "application_protocols": ["http/1.1"],
            }
        ),
        tcp_chain("x", match={"destination_port": 81, "transport_protocol": "raw_buffer"}),
        tcp_chain("x", match={"transport_protocol": "tls"}, tls=True),
    ]
    found = virtual_inbound(*chains)
    inspector: dict[str, Any] = {
        "name": "http",
        "typed_config": any_("extensions.filters.listener.http_inspector.v3.HttpInspector"),
    }
    if predicate is not None:
        inspector["filter_disabled"] = predicate
    return infer_parts(lds=[{**found, "listener_filters": [*found["listener_filters"], inspector]}])


def ports(*numbers: int) -> dict[str, Any]:
    ranges = [{"destination_port_range": {"start": n, "end": n + 1}} for n in numbers]
    return {"or_match": {"rules": ranges}}


@pytest.mark.parametrize(
    ("predicate", "as_istio"),
    [
        (ports(81, 15006), True),
        (ports(0, 81, 15006), True),
        ({"not_match": {"destination_port_range": {"start": 80, "end": 81}}}, True),
        (ports(81), False),
        (ports(80, 81, 15006), False),
        (ports(15006), False),
        (ports(81, 90, 15006), False),
        ({"destination_port_range": {"end": 15007}}, False),
        ({"or_match": {"rules": [{"other": {}}]}}, False),
    ],
)
def test_sniffing_is_switched_off_where_it_is_not_needed(
    predicate: dict[str, Any], as_istio: bool
) -> None:
    inference = sniffing(predicate)

    assert ("inbound/*" in extensions(inference)) is not as_istio
    if as_istio:
        assert content(inference, key.inbound(80)).detects == ("http",)
        assert content(inference, key.inbound(81)).detects == ()


JWT = {
    "providers": {
        "origins-0": {
            "issuer": "a",
            "audiences": ["x"],
            "local_jwks": {"inline_string": "{}"},
            "from_headers": [{"name": "X-T", "value_prefix": "Bearer "}],
            "payload_in_metadata": "payload",
        },
        "origins-1": {"issuer": "b", "local_jwks": {"inline_string": "{ }"}},
    },
    "bypass_cors_preflight": True,
}


def requirement(*requirements: dict[str, Any]) -> dict[str, Any]:
    return {"requires_any": {"requirements": list(requirements)}}


def named(name: str) -> dict[str, Any]:
    return {"provider_name": name}


MISSING: dict[str, Any] = {"allow_missing": {}}
EACH = {
    "requires_all": {"requirements": [requirement(named(f"origins-{n}"), MISSING) for n in (0, 1)]}
}


def tokens(requires: dict[str, Any]) -> Any:
    config = {**JWT, "rules": [{"match": {"prefix": "/"}, "requires": requires}]}
    filter_ = http_filter("jwt_authn.v3.JwtAuthentication", "envoy.filters.http.jwt_authn", config)
    return infer_parts(lds=[virtual_inbound(http_chain(filter_, tls=True))])


@pytest.mark.parametrize(
    ("requires", "expected"),
    [
        (requirement(named("origins-0"), named("origins-1"), EACH), "optional"),
        (requirement(named("origins-0"), named("origins-1")), "required"),
        (
            requirement(named("origins-0"), named("origins-1"), {"allow_missing_or_failed": {}}),
            "none",
        ),
    ],
)
def test_tokens(requires: dict[str, Any], expected: str) -> None:
    inference = tokens(requires)

    found = content(inference, key.request_authentication("*", "mtls"))
    assert isinstance(found, RequestAuthentication)
    assert (found.requirement, found.bypass_cors_preflight) == (expected, True)
    first, second = found.rules
    assert first == JwtRule(
        "a",
        ("x",),
        local_keys=first.local_keys,
        from_headers=(JwtHeader("x-t", "Bearer "),),
        metadata_key="payload",
    )
    assert inference.state.jwks == (("a", first.local_keys), ("b", second.local_keys))
    assert first.local_keys != second.local_keys


@pytest.mark.parametrize(
    "requires",
    [
        requirement(named("origins-0"), MISSING),
        requirement(named("origins-0"), named("origins-7")),
        requirement(named("origins-0"), named("origins-1"), {}),
        {"requires_all": {"requirements": []}},
    ],
)
def test_tokens_combined_in_another_way_are_reported(requires: dict[str, Any]) -> None:
    inference = tokens(requires)

    place = str(key.request_authentication("*", "mtls"))
    assert extensions(inference).keys() == {place}


def test_an_unknown_filter_is_in_the_order_and_opaque() -> None:
    lua = http_filter("lua.v3.Lua", "probe.lua", {"default_source_code": {"inline_string": "x"}})
    order = key.filter_order("*", "mtls", "http")

    inference = infer_parts(lds=[virtual_inbound(http_chain(lua, tls=True))])

    assert content(inference, order).filters == ("extension:probe.lua", "router")
    found = content(inference, key.extension(str(order), "probe.lua"))
    lua["typed_config"]["default_source_code"]["inline_string"] = "y"
    other = infer_parts(lds=[virtual_inbound(http_chain(lua, tls=True))])
    assert content(other, key.extension(str(order), "probe.lua")).digest != found.digest


def test_a_metadata_exchange_without_settings_is_reported() -> None:
    exchange = {
        "name": "istio.metadata_exchange",
        "typed_config": {
            "@type": "type.googleapis.com/udpa.type.v1.TypedStruct",
            "type_url": "type.googleapis.com/envoy.tcp.metadataexchange.config.MetadataExchange",
        },
    }
    chain = tcp_chain("x")
    chain["filters"].insert(0, exchange)

    inference = infer_parts(lds=[listener("10.0.0.1_80", "10.0.0.1", 80, chain)])

    assert extensions(inference).keys() == {str(key.filter_order("outbound", "-", "tcp"))}


def test_the_default_codec_may_be_written_out() -> None:
    inference = infer_parts(lds=[virtual_inbound(http_chain(codec_type="AUTO"))])

    assert extensions(inference) == {}


@pytest.mark.parametrize("field", [{"disabled": True}, {"is_optional": True}])
def test_a_known_filter_that_is_switched_off_does_not_count(field: dict[str, Any]) -> None:
    inference = infer_parts(lds=[virtual_inbound(http_chain({**rbac({}), **field}, tls=True))])

    assert content(inference, key.authorization("*", "mtls", "http")) == Authorization()
    assert extensions(inference)


def test_telemetry_is_the_set_of_what_chains_do() -> None:
    file = any_(
        "extensions.access_loggers.file.v3.FileAccessLog",
        {"path": "/dev/stdout", "log_format": {"json_format": {"b": "1", "a": "2"}}},
    )
    log = {"name": "envoy.access_loggers.file", "typed_config": file}
    tracing = {
        "client_sampling": {"value": 100},
        "random_sampling": {"value": 0.5},
        "custom_tags": [
            {"tag": "istio.namespace", "literal": {"value": "shop"}},
            {"tag": "istio.mesh_id", "literal": {"value": "other"}},
        ],
    }
    chains = (
        http_chain(tls=True, access_log=[log], tracing=tracing),
        tcp_chain("x", match={"destination_port": 1}),
        tcp_chain("x", match={"destination_port": 2}, access_log=[log]),
    )

    inference = infer_parts(lds=[virtual_inbound(*chains)])

    written = AccessLog("file:/dev/stdout", '{"a":"2","b":"1"}')
    http = content(inference, key.telemetry("inbound", "http"))
    assert http.access_logs == ((written,),)
    assert http.tracing[0].random_percent == 50
    assert http.tracing[0].tags == ("istio.mesh_id=other", "istio.namespace=$self.namespace")
    tcp = content(inference, key.telemetry("inbound", "tcp"))
    assert set(tcp.access_logs) == {(), (written,)}
    assert tcp.metrics == (None,)


def test_a_listener_without_direction_is_reported_and_the_others_are_read() -> None:
    odd = listener("x", "10.0.0.1", 80)
    del odd["traffic_direction"]

    inference = infer_parts(lds=[odd, {"name": "z"}, listener("y", "10.0.0.2", 80)])

    assert key.outbound_listener("10.0.0.2", 80) in inference.policies
    assert key.extension("Listener", "Listener x") in inference.policies


def test_clusters_of_the_workload_that_no_chain_uses_are_kept() -> None:
    inference = infer_parts(cds=[cluster("inbound|99||", type="STATIC")], eds=[assignment("y")])

    assert key.destination("inbound|99||", 0) in inference.policies
    assert key.destination("inbound|99||", 0) in inference.unreferenced


def test_without_listeners_clusters_of_the_workload_are_not_taken_for_destinations() -> None:
    dump = dump_of(BOOTSTRAP, {"cds": [cluster("inbound|99||", type="STATIC")]})
    listeners = next(c for c in dump["configs"] if c["@type"].endswith("ListenersConfigDump"))
    dump["configs"].remove(listeners)

    inference = infer(dump)

    assert [missing.section for missing in inference.incomplete] == ["ListenersConfigDump"]
    assert inference.policies == {}


@pytest.mark.parametrize(
    "damaged",
    [
        {"access_log": [{"name": "envoy.access_loggers.file"}]},
        {"tunneling_config": {}},
        {"tunneling_config": {"use_post": True}},
    ],
)
def test_a_tcp_proxy_that_lacks_what_it_needs_is_reported(damaged: dict[str, Any]) -> None:
    chain = tcp_chain("x", **damaged)

    inference = infer_parts(lds=[listener("10.0.0.1_80", "10.0.0.1", 80, chain)])

    assert extensions(inference)


def test_a_listener_filter_without_configuration_is_reported() -> None:
    inspector = {"name": "envoy.filters.listener.http_inspector"}

    inference = infer_parts(
        lds=[listener("a", "10.0.0.1", 80, tcp_chain("x"), listener_filters=[inspector])]
    )

    assert extensions(inference).keys() == {str(key.outbound_listener("10.0.0.1", 80))}


def test_a_provider_of_traces_without_a_name_is_reported() -> None:
    chain = http_chain(tracing={"provider": {}})

    inference = infer_parts(lds=[virtual_inbound(chain)])

    assert extensions(inference).keys() == {str(key.telemetry("inbound", "http"))}
