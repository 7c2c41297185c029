"""Services that filters ask are in use: authorizers, key servers, collectors of logs and traces."""

from typing import Any

import pytest
from fragments import (
    any_,
    cluster,
    content,
    extensions,
    http_chain,
    http_filter,
    infer_parts,
    listener,
    rbac,
    tcp_chain,
    virtual_inbound,
)

from meshscope.inference.result import Inference
from meshscope.policy import key
from meshscope.policy.authorization import ExternalAuthorizer
from meshscope.policy.matches import StringMatch
from meshscope.policy.telemetry import Tracing

ASKED = "outbound|9000||asked.x"
KEY = key.destination("asked.x", 9000)
RULES = {
    "action": "DENY",
    "policies": {
        "istio-ext-authz-opa-ns[a]-policy[p]-rule[0]": {
            "permissions": [{"any": True}],
            "principals": [{"any": True}],
        }
    },
}


def inferred(*filters: dict[str, Any], **hcm: Any) -> Inference:
    return infer_parts(
        lds=[virtual_inbound(http_chain(*filters, tls=True, **hcm))], cds=[cluster(ASKED)]
    )


def authorizer(**fields: Any) -> Any:
    metadata = {
        "filter": "envoy.filters.http.rbac",
        "path": [{"key": "istio_ext_authz_shadow_effective_policy_id"}],
        "value": {"string_match": {"prefix": "istio-ext-authz-opa"}},
    }
    config = {"transport_api_version": "V3", "filter_enabled_metadata": metadata, **fields}
    inference = inferred(
        rbac(shadow_rules=RULES, shadow_rules_stat_prefix="istio_ext_authz_"),
        http_filter("ext_authz.v3.ExtAuthz", "envoy.filters.http.ext_authz", config),
    )
    assert extensions(inference) == {}
    assert KEY not in inference.unreferenced
    (custom,) = content(inference, key.authorization("*", "mtls", "http")).custom
    return custom.authorizer


def test_an_authorizer_over_http() -> None:
    server = {"uri": "http://asked.x", "cluster": ASKED, "timeout": "5s"}
    names = {"patterns": [{"exact": "X-A", "ignore_case": True}]}

    found = authorizer(
        http_service={
            "server_uri": server,
            "path_prefix": "/check",
            "authorization_request": {"headers_to_add": [{"key": "x-b", "value": "1"}]},
            "authorization_response": {
                "allowed_upstream_headers": names,
                "allowed_client_headers_on_success": names,
                "allowed_client_headers": names,
            },
        },
        allowed_headers=names,
        failure_mode_allow=True,
        status_on_error={"code": "ServiceUnavailable"},
        with_request_body={"max_request_bytes": 9, "allow_partial_message": True},
        clear_route_cache=True,
    )

    name = (StringMatch("exact", "x-a", ignore_case=True),)
    assert found == ExternalAuthorizer(
        "http",
        ASKED,
        "asked.x",
        5000,
        "/check",
        True,
        503,
        name,
        ("x-b=1",),
        name,
        name,
        name,
        9,
        True,
        False,
        True,
    )


def test_an_authorizer_over_grpc() -> None:
    service = {"envoy_grpc": {"cluster_name": ASKED, "authority": "asked.x"}, "timeout": "600s"}

    assert authorizer(grpc_service=service) == ExternalAuthorizer("grpc", ASKED, "asked.x")


@pytest.mark.parametrize(
    "change",
    [{"filter_enabled_metadata": None}, {"grpc_service": None}],
    ids=["asks about every request", "asks nobody"],
)
def test_an_authorizer_of_another_kind_is_reported(change: dict[str, Any]) -> None:
    service = {"envoy_grpc": {"cluster_name": ASKED}}
    metadata = {
        "filter": "envoy.filters.http.rbac",
        "path": [{"key": "istio_ext_authz_shadow_effective_policy_id"}],
        "value": {"string_match": {"prefix": "istio-ext-authz"}},
    }
    config = {"grpc_service": service, "filter_enabled_metadata": metadata, **change}
    config = {name: value for name, value in config.items() if value is not None}

    inference = inferred(
        http_filter("ext_authz.v3.ExtAuthz", "envoy.filters.http.ext_authz", config)
    )

    order = content(inference, key.filter_order("*", "mtls", "http"))
    assert order.filters == ("extension:ext_authz", "router")
    assert extensions(inference).keys() == {str(key.authorization("*", "mtls", "http"))}


def test_keys_that_are_fetched() -> None:
    uri = {"uri": "https://asked.x/keys", "cluster": ASKED, "timeout": "5s"}
    config = {
        "providers": {
            "origins-0": {
                "issuer": "a",
                "remote_jwks": {"http_uri": uri, "cache_duration": "300s"},
            }
        },
        "rules": [{"match": {"prefix": "/"}, "requires": {"provider_name": "origins-0"}}],
    }

    inference = inferred(
        http_filter("jwt_authn.v3.JwtAuthentication", "envoy.filters.http.jwt_authn", config)
    )

    found = content(inference, key.request_authentication("*", "mtls"))
    assert found.requirement == "required"
    (rule,) = found.rules
    assert (rule.keys, rule.timeout_ms, rule.cache_ms) == ("https://asked.x/keys", 5000, 300_000)
    assert KEY not in inference.unreferenced
    assert inference.state.jwks == ()


def test_traces_go_to_a_collector() -> None:
    config = any_(
        "config.trace.v3.ZipkinConfig",
        {"collector_cluster": ASKED, "collector_endpoint": "/api/v2/spans"},
    )
    tracing = {
        "provider": {"name": "envoy.tracers.zipkin", "typed_config": config},
        "overall_sampling": {},
        "verbose": True,
        "custom_tags": [
            {"tag": "e", "environment": {"name": "E", "default_value": "d"}},
            {"tag": "h", "request_header": {"name": "x-h"}},
            {"tag": "o", "other": {}},
        ],
    }

    inference = inferred(tracing=tracing)

    place = key.telemetry("inbound", "http")
    assert content(inference, place).tracing == (
        Tracing(
            f"envoy.tracers.zipkin:{ASKED}",
            overall_percent=0,
            tags=("e=environment:E:d", "h=header:x-h:"),
            verbose=True,
        ),
    )
    assert KEY not in inference.unreferenced
    # How the provider is configured is not modelled, nor is the last tag.
    assert {path.rpartition(".")[2] for path in extensions(inference)[str(place)]} == {
        "collector_endpoint",
        "other",
        "tag",
    }


def test_a_log_of_another_kind_is_reported_and_its_service_in_use() -> None:
    config = any_(
        "extensions.access_loggers.grpc.v3.TcpGrpcAccessLogConfig",
        {"common_config": {"grpc_service": {"envoy_grpc": {"cluster_name": ASKED}}}},
    )
    log = {"name": "envoy.access_loggers.tcp_grpc", "typed_config": config}

    inference = infer_parts(
        lds=[listener("x", "10.0.0.1", 80, tcp_chain("y", access_log=[log]))],
        cds=[cluster(ASKED)],
    )

    assert str(key.telemetry("outbound", "tcp")) in extensions(inference)
    assert KEY not in inference.unreferenced
