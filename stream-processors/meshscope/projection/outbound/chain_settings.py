"""HTTP settings, filter order and telemetry of outbound chains."""

from collections.abc import Iterator, Mapping

from meshscope.policy import key as keys
from meshscope.policy.outbound_listener import OutboundListener
from meshscope.policy.policy import Policy
from meshscope.projection.inbound import filter_order
from meshscope.projection.inbound.http_connection import HttpSettings
from meshscope.projection.telemetry.policies import Reporting, telemetry_policies

OUTBOUND = "outbound"


def outbound_policies(
    listeners: Mapping[str, OutboundListener],
    http: HttpSettings,
    found: Reporting,
    *,
    catch_all: bool,
    alpn: bool,
) -> Iterator[Policy]:
    """The policies that all outbound chains of a class share, and the settings of HTTP listeners.

    Args:
        listeners: Outbound listeners by `address_port`, without the catch-all one.
        http: Settings of HTTP chains.
        found: What is reported.
        catch_all: There is a catch-all listener, which carries TCP and has access logs of its own.
        alpn: Istio's ALPN filter is in use.
    """
    with_http = [name for name, listener in listeners.items() if _carries_http(listener)]
    for name in with_http:
        yield Policy(keys.http_connection(name), http.outbound())
    stats = bool(found.metrics)
    logs: dict[str, frozenset[bool]] = {}
    if with_http:
        logs[keys.PROTOCOL_HTTP] = frozenset((False,))
        yield Policy(
            keys.filter_order(OUTBOUND, keys.TRANSPORT_NONE, keys.PROTOCOL_HTTP),
            filter_order.outbound_http(exchange=http.exchange, alpn=alpn, stats=stats),
        )
    tcp = {False} if any(_carries_tcp(listener) for listener in listeners.values()) else set()
    if catch_all:
        tcp.add(True)
    if tcp:
        logs[keys.PROTOCOL_TCP] = frozenset(tcp)
        yield Policy(
            keys.filter_order(OUTBOUND, keys.TRANSPORT_NONE, keys.PROTOCOL_TCP),
            filter_order.outbound_tcp(stats=stats),
        )
    yield from telemetry_policies(found, listeners=logs)


def _carries_http(listener: OutboundListener) -> bool:
    return any(chain.route_table for chain in listener.chains) or (
        listener.default is not None and bool(listener.default.route_table)
    )


def _carries_tcp(listener: OutboundListener) -> bool:
    return any(chain.to for chain in listener.chains) or (
        listener.default is not None and bool(listener.default.to)
    )
