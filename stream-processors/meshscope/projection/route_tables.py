"""Kinds `http_route` and `egress` of route tables: what happens to requests for a host.

A table is named by its port, by `host:port` where one service's traffic is sniffed, by
`http_proxy`, or by the path of a socket.

Source: https://istio.io/latest/docs/ops/configuration/traffic-management/traffic-routing/.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from meshscope.policy import key
from meshscope.policy.http_route import HttpRoute, HttpRule
from meshscope.policy.policy import Policy
from meshscope.policy.target import HashPolicy, Target
from meshscope.projection.destination_rule import MergedRule
from meshscope.projection.egress import MAX_BODY_BYTES, Outside, table_egress
from meshscope.projection.listener_chains import FindRule
from meshscope.projection.protocols import HTTP_PROXY
from meshscope.projection.registry import Service
from meshscope.projection.route_rules import Json, RouteInputs, default_rule, http_rules
from meshscope.projection.sidecar_scope import SidecarScope
from meshscope.projection.traffic_policy import hash_policy
from meshscope.projection.virtual_hosts import (
    FindAddresses,
    TableInputs,
    VirtualHost,
    sniffed,
    virtual_hosts,
)
from meshscope.projection.virtual_service import VirtualService


@dataclass(frozen=True, slots=True)
class TableSettings:
    """What all tables of a proxy depend on besides what it sees.

    Attributes:
        namespace, labels, dns_domain: Of the client.
        retries: The mesh's `defaultHttpRetryPolicy`; None: Istio's own.
        addresses: Addresses of a service that the client can use.
        find_rule: From a host to the DestinationRule that the client applies.
        outside: Where unknown traffic goes.
        attempt_count: Requests say which attempt they are.
    """

    namespace: str
    labels: Mapping[str, str]
    dns_domain: str
    retries: Json | None
    addresses: FindAddresses
    find_rule: FindRule
    outside: Outside
    attempt_count: bool = True


def route_table(table: str, scope: SidecarScope, settings: TableSettings) -> Iterator[Policy]:
    """The policies of a table."""
    port, one_service = _port(table)
    listener = scope.listener_for(port, table)
    if listener is None:
        yield _empty(table)
        return
    if listener.port is not None and listener.port.protocol == HTTP_PROXY:
        port = 0
    hosts: Sequence[VirtualHost] = virtual_hosts(listener, _inputs(port, settings))
    if one_service:
        hosts = sniffed(hosts, table)
        if not hosts:
            yield _empty(table)
    else:
        yield Policy(
            key.egress(table),
            table_egress(settings.outside, attempt_count=settings.attempt_count),
            settings.outside.sources,
        )
    for host in hosts:
        content = HttpRoute(
            host.domains,
            host.rules,
            attempt_count_request=settings.attempt_count,
            ignore_port_in_host=True,
            max_direct_response_bytes=MAX_BODY_BYTES,
        )
        yield Policy(key.http_route(table, host.name), content, host.sources)


def _port(table: str) -> tuple[int, bool]:
    """The port that a table is for, and whether it is for one service only; 0: for none."""
    _, colon, number = table.rpartition(":")
    if table.startswith("unix://") or not number.isdecimal():
        return 0, False
    return int(number), bool(colon)


def _empty(table: str) -> Policy:
    """A table without virtual hosts, in which every request is answered 404."""
    content = HttpRoute((), ignore_port_in_host=True, max_direct_response_bytes=MAX_BODY_BYTES)
    return Policy(key.http_route(table, ""), content)


def _inputs(port: int, settings: TableSettings) -> TableInputs:
    def rules_of(vs: VirtualService, services: Mapping[str, Service]) -> tuple[HttpRule, ...]:
        return http_rules(
            vs,
            RouteInputs(
                port,
                settings.namespace,
                settings.labels,
                settings.retries,
                services.get,
                lambda destination: _destination_hash(destination, settings.find_rule),
            ),
        )

    def default(service: Service, number: int) -> HttpRule:
        hashed = _service_hash(settings.find_rule(service.host), number)
        return default_rule(Target("outbound", service.host, number), settings.retries, hashed)

    return TableInputs(port, settings.dns_domain, settings.addresses, rules_of, default)


def _destination_hash(destination: Json, find_rule: FindRule) -> tuple[HashPolicy, ...]:
    number = (destination.get("port") or {}).get("number")
    rule = find_rule(destination.get("host") or "")
    return hash_policy(rule, number, destination.get("subset") or "")


def _service_hash(rule: MergedRule | None, port: int) -> tuple[HashPolicy, ...]:
    return hash_policy(rule, port)
