"""What fields are called in reports: names of fields that exist, as Istio's resources have them."""

from dataclasses import fields

import pytest

from meshscope.comparison.field_names import FIELD_NAMES, field_name, path_text
from meshscope.comparison.subjects import subject
from meshscope.policy import key as keys
from meshscope.policy.destination import ConnectionPool
from meshscope.policy.key import PolicyKey
from meshscope.policy.kinds import KINDS, Kind


@pytest.mark.parametrize("holder", FIELD_NAMES, ids=lambda holder: holder.__name__)
def test_every_name_is_of_a_field_that_exists(holder: type) -> None:
    assert FIELD_NAMES[holder].keys() <= {field.name for field in fields(holder)}


def test_other_fields_are_called_by_their_own_name() -> None:
    assert field_name(ConnectionPool, "max_connections") == "tcp.maxConnections"
    assert field_name(ConnectionPool, "track_remaining") == "track remaining"
    assert field_name(str, "delay_ms") == "delay"


@pytest.mark.parametrize(
    ("steps", "text"),
    [
        (("http", "[path prefix /]", "", "timeout"), "http[path prefix /].timeout"),
        (("", "[a]"), "[a]"),
        (("ALLOW", " shop/cart rules[0]", "to"), "ALLOW shop/cart rules[0].to"),
        (("trafficPolicy.connectionPool", "/trafficPolicy.x", "y"), "trafficPolicy.x.y"),
        ((), ""),
    ],
)
def test_paths(steps: tuple[str, ...], text: str) -> None:
    assert path_text(steps) == text


@pytest.mark.parametrize("kind", Kind)
def test_every_kind_has_a_phrase(kind: Kind) -> None:
    key = PolicyKey(kind, tuple(str(i) for i, _ in enumerate(KINDS[kind].key_parts)))
    assert subject(key)


@pytest.mark.parametrize(
    ("key", "phrase"),
    [
        (keys.outbound_listener("0.0.0.0", 80), "connections to port 80"),  # noqa: S104
        (keys.outbound_listener("10.0.0.1", 5432), "connections to 10.0.0.1:5432"),
        (keys.http_route("80", "cart.shop:80"), "routes of cart.shop:80 on outbound port 80"),
        (keys.http_route("cart.shop:80", "cart.shop:80"), "routes of cart.shop:80"),
        (keys.destination("cart.shop", 80, "v1"), "traffic policy toward cart.shop:80 subset v1"),
        (keys.endpoints("cart.shop", 80), "endpoints of cart.shop:80"),
        (keys.destination("PassthroughCluster", 0), "traffic policy toward PassthroughCluster"),
        (keys.inbound("*"), "every other inbound port"),
        (keys.peer_authentication(8080), "mutual TLS of inbound port 8080"),
        (keys.request_authentication(80, "mtls"), "tokens on inbound port 80 (mutual TLS)"),
        (
            keys.authorization(80, "plaintext", "tcp"),
            "access rules of inbound port 80 (plaintext, TCP)",
        ),
        (keys.http_connection(80, "mtls"), "HTTP settings of inbound port 80 (mutual TLS)"),
        (keys.http_connection("0.0.0.0_80"), "HTTP settings of outbound port 80"),
        (keys.http_connection("10.0.0.1_80"), "HTTP settings of outbound port 80 of 10.0.0.1"),
        (keys.filter_order("outbound", "-", "http"), "filters of every outbound port (HTTP)"),
        (keys.egress("80"), "unknown hosts on outbound port 80"),
        (keys.egress("virtualOutbound"), "unknown hosts on every other outbound port"),
        (keys.telemetry("inbound", "http"), "telemetry of inbound HTTP"),
        (
            keys.extension("authorization/80/mtls/http", "lua"),
            "lua in access rules of inbound port 80 (mutual TLS, HTTP)",
        ),
        (keys.extension("configs", "x"), "x in configs"),
    ],
)
def test_what_a_policy_is_about(key: PolicyKey, phrase: str) -> None:
    assert subject(key) == phrase
