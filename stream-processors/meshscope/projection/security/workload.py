"""Everything about inbound connections, outbound HTTP settings and telemetry of one workload.

This is where the decisions of the neighbouring modules are put together: which resources are in
force, which ports there are, and what every class of filter chains does. Where something that
decides is unknown, every possible outcome is worked out (`worlds`); where something cannot be
modelled, it is said which policies nothing can be said of.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from meshscope.events.resource import Resource
from meshscope.policy import key
from meshscope.policy.authorization import Authorization
from meshscope.policy.key import PolicyKey
from meshscope.policy.kinds import Kind
from meshscope.policy.outbound_listener import OutboundListener
from meshscope.policy.policy import Policy
from meshscope.projection.declared.selection import selecting
from meshscope.projection.destinations.connection_settings import MeshDefaults
from meshscope.projection.durations import milliseconds
from meshscope.projection.inbound.http_connection import HttpSettings, http_settings
from meshscope.projection.inbound.inbound import passthrough, passthrough_upstream, upstream
from meshscope.projection.inbound.policies import Served, Workload, inbound_policies
from meshscope.projection.inbound.ports import Interception, PortPlan
from meshscope.projection.outbound.chain_settings import outbound_policies
from meshscope.projection.result import Unverifiable
from meshscope.projection.security.authorization import authorization
from meshscope.projection.security.authorization_rules import TooManyAlternativesError
from meshscope.projection.security.ext_authz import Authorizers, ServiceLookup, authorizers
from meshscope.projection.security.peer_authentication import MeshTls, MutualTls, mutual_tls, scopes
from meshscope.projection.security.request_authentication import FetchMode, request_authentication
from meshscope.projection.security.trust_domain import TrustDomains, trust_domains
from meshscope.projection.services.protocols import COUNTED
from meshscope.projection.telemetry.policies import Reporting, reporting, telemetry_policies
from meshscope.projection.telemetry.providers import Direction, applicable
from meshscope.projection.worlds import Outcomes, merge

PolicyLookup = Callable[[PortPlan], Sequence[Mapping[str, Any] | None]]
"""From an inbound port to the traffic policy that a DestinationRule sets for it; None: none sets
any. Several where the ages of rules are unknown."""


@dataclass(frozen=True, slots=True)
class Switches:
    """Switches of istiod that count here, with Istio's defaults.

    Attributes:
        http10: `PILOT_HTTP10`.
        exchange: `PILOT_ENABLE_METADATA_EXCHANGE`.
        exchange_alpn: Not `PILOT_DISABLE_MX_ALPN`.
        alpn_filter: `PILOT_ENABLE_ALPN_FILTER`.
        check_trust_domain: Not `PILOT_SKIP_VALIDATE_TRUST_DOMAIN`.
        use_remote_address: `PILOT_SIDECAR_USE_REMOTE_ADDRESS`.
        proxy_100_continue: `ENABLE_100_CONTINUE_HEADERS`.
        several_providers: `PILOT_ENABLE_MULTIPLE_CUSTOM_AUTHZ_PROVIDERS`.
        provider_in_ids: Istio 1.30 and later.
        fetch_keys: `PILOT_JWT_ENABLE_REMOTE_JWKS`.
        sampling_percent: `PILOT_TRACE_SAMPLING`.
        ingress_tls: `ENABLE_TLS_ON_SIDECAR_INGRESS`.
        counted: Protocols whose operations are counted.
    """

    http10: bool = False
    exchange: bool = True
    exchange_alpn: bool = True
    alpn_filter: bool = True
    check_trust_domain: bool = True
    use_remote_address: bool = False
    proxy_100_continue: bool = True
    several_providers: bool = False
    provider_in_ids: bool = True
    fetch_keys: FetchMode = "false"
    sampling_percent: float = 1.0
    ingress_tls: bool = False
    counted: frozenset[str] = COUNTED


@dataclass(frozen=True, slots=True)
class Situation:
    """A workload and what surrounds it.

    Attributes:
        mesh_config: MeshConfig.
        proxy_config: ProxyConfig of the proxy.
        node_metadata: Metadata of its node.
        interception: How its connections are captured.
        mesh: Defaults of connections.
        switches: Switches of istiod.
        hosts: Hosts of the registry.
        find_service: From `host` or `namespace/host` to a host of the registry.
        find_policy: Traffic policy of an inbound port.
    """

    mesh_config: Mapping[str, Any]
    proxy_config: Mapping[str, Any]
    node_metadata: Mapping[str, Any]
    interception: Interception
    mesh: MeshDefaults
    switches: Switches
    hosts: frozenset[str]
    find_service: ServiceLookup
    find_policy: PolicyLookup


@dataclass(frozen=True, slots=True)
class Declarations:
    """The resources that may decide about a workload."""

    peer_authentications: Sequence[Resource] = ()
    request_authentications: Sequence[Resource] = ()
    authorization_policies: Sequence[Resource] = ()
    telemetries: Sequence[Resource] = ()


@dataclass(frozen=True, slots=True)
class Security:
    """What was worked out.

    Attributes:
        outcomes: Every possible outcome per key.
        unverifiable: Parts of which nothing can be said.
    """

    outcomes: Outcomes
    unverifiable: tuple[Unverifiable, ...] = ()


@dataclass(frozen=True, slots=True)
class InForce:
    """The resources that decide about a workload.

    Attributes:
        access: AuthorizationPolicies.
        tokens: RequestAuthentications.
        modes: What PeerAuthentications come to; several where ages are unknown.
        telemetries: Telemetry resources, widest first; several where ages are unknown.
    """

    access: tuple[Resource, ...]
    tokens: tuple[Resource, ...]
    modes: tuple[MutualTls, ...]
    telemetries: tuple[tuple[Resource, ...], ...]


def in_force(
    declared: Declarations, *, namespace: str, labels: Mapping[str, str], root: str
) -> InForce:
    """What of the declared resources decides about a workload."""
    who: dict[str, Any] = {"namespace": namespace, "labels": labels, "root": root}
    return InForce(
        selecting(declared.authorization_policies, **who),
        selecting(declared.request_authentications, **who),
        mutual_tls(scopes(declared.peer_authentications, **who)),
        applicable(declared.telemetries, **who),
    )


def inbound_security(
    found: InForce, situation: Situation, plans: Sequence[Sequence[PortPlan]]
) -> Security:
    """Every policy about inbound connections, and their telemetry.

    Args:
        found: The resources that decide.
        situation: The workload and what surrounds it.
        plans: Its inbound ports; several where it is not known which services are older.
    """
    base, refused = _workload(found, situation)
    if situation.switches.ingress_tls:
        refused += (refusal for ports in plans for plan in ports for refusal in _own_tls(plan))
    worlds: list[dict[PolicyKey, Policy]] = []
    for ports, modes, telemetries in product(
        [served for alternative in plans for served in _served(alternative, situation)],
        found.modes,
        found.telemetries,
    ):
        reports = _reporting(telemetries, "inbound", situation)
        workload = replace(base, mutual_tls=modes, stats=bool(reports.metrics))
        policies = _inbound(ports, workload, reports, situation)
        worlds.append({policy.key: policy for policy in policies})
        refused += _unmodelled(reports)
    return Security(merge(worlds), tuple(dict.fromkeys(refused)))


def outbound_security(
    telemetries: Sequence[Sequence[Resource]],
    situation: Situation,
    listeners: Mapping[str, OutboundListener],
) -> Security:
    """HTTP settings, filter order and telemetry of outbound connections.

    Args:
        telemetries: Telemetry resources in force, widest first; several where ages are unknown.
        situation: The workload and what surrounds it.
        listeners: Its outbound listeners by `address_port`, without the catch-all one.
    """
    worlds: list[dict[PolicyKey, Policy]] = []
    refused: list[Unverifiable] = []
    for chosen in telemetries:
        reports = _reporting(chosen, "outbound", situation)
        policies = outbound_policies(
            listeners,
            _http(situation),
            reports,
            catch_all=situation.interception != "NONE",
            alpn=situation.switches.alpn_filter,
        )
        worlds.append({policy.key: policy for policy in policies})
        refused += _unmodelled(reports)
    return Security(merge(worlds), tuple(dict.fromkeys(refused)))


def _unmodelled(reports: Reporting) -> Iterator[Unverifiable]:
    if reports.unmodelled:
        yield Unverifiable(reports.unmodelled, Kind.TELEMETRY, key_prefix=(reports.direction,))
        for protocol in (key.PROTOCOL_HTTP, key.PROTOCOL_TCP):
            place = str(key.telemetry(reports.direction, protocol))
            yield Unverifiable(reports.unmodelled, Kind.EXTENSION, key_prefix=(place,))


_PORT_KINDS = (
    Kind.INBOUND,
    Kind.PEER_AUTHENTICATION,
    Kind.REQUEST_AUTHENTICATION,
    Kind.AUTHORIZATION,
    Kind.HTTP_CONNECTION,
    Kind.FILTER_ORDER,
)
"""Kinds whose keys begin with an inbound port."""


def _http(situation: Situation) -> HttpSettings:
    switches = situation.switches
    return http_settings(
        situation.mesh_config,
        situation.proxy_config,
        situation.node_metadata,
        http10=switches.http10,
        use_remote_address=switches.use_remote_address,
        proxy_100_continue=switches.proxy_100_continue,
        exchange=switches.exchange,
    )


def _workload(found: InForce, situation: Situation) -> tuple[Workload, list[Unverifiable]]:
    """What is decided for all ports, and what cannot be told; modes and metrics come later."""
    mesh_config, switches = situation.mesh_config, situation.switches
    domains, http = trust_domains(mesh_config), _http(situation)
    access, tokens = found.access, found.tokens
    refused: list[Unverifiable] = []
    rules: list[Authorization] = []
    for tcp in (False, True):
        try:
            rules.append(_access(access, domains, situation, tcp=tcp))
        except TooManyAlternativesError as error:
            rules.append(Authorization())
            refused += (
                Unverifiable(str(error), kind) for kind in (Kind.AUTHORIZATION, Kind.FILTER_ORDER)
            )
    detection = mesh_config.get("protocolDetectionTimeout")
    workload = Workload(
        tls=_mesh_tls(domains, situation),
        mutual_tls=MutualTls(),
        http_access=rules[0],
        tcp_access=rules[1],
        access_sources=tuple(policy.ref for policy in access),
        tokens=request_authentication(
            tokens, fetch_mode=switches.fetch_keys, in_mesh=situation.hosts
        ),
        token_sources=tuple(policy.ref for policy in tokens),
        http=http,
        exchange=switches.exchange,
        idle_timeout_ms=http.idle_timeout_ms,
        detection_timeout_ms=0 if detection is None else milliseconds(detection),
        counted=switches.counted,
        transparent=situation.interception == "TPROXY",
    )
    return workload, refused


def _access(
    policies: Sequence[Resource], domains: TrustDomains, situation: Situation, *, tcp: bool
) -> Authorization:
    def find_provider(name: str) -> Authorizers:
        providers = situation.mesh_config.get("extensionProviders") or ()
        return authorizers(name, providers, situation.find_service)

    return authorization(
        policies,
        tcp=tcp,
        trust_domains=domains,
        find_provider=find_provider,
        several_providers=situation.switches.several_providers,
        provider_in_ids=situation.switches.provider_in_ids,
    )


def _mesh_tls(domains: TrustDomains, situation: Situation) -> MeshTls:
    mesh_config, switches = situation.mesh_config, situation.switches
    others = (
        domain
        for authority in mesh_config.get("caCertificates") or ()
        for domain in authority.get("trustDomains") or ()
    )
    settings = mesh_config.get("meshMTLS") or {}
    tls = MeshTls(
        tuple(dict.fromkeys((*domains, *others))) if switches.check_trust_domain else (),
        minimum="TLSv1_3" if settings.get("minProtocolVersion") == "TLSV1_3" else "TLSv1_2",
        peer_exchange=switches.exchange and switches.exchange_alpn,
    )
    suites = settings.get("cipherSuites")
    return replace(tls, ciphers=tuple(suites)) if suites else tls


def _reporting(
    telemetries: Sequence[Resource], direction: Direction, situation: Situation
) -> Reporting:
    return reporting(
        telemetries,
        situation.mesh_config,
        situation.proxy_config,
        direction,
        sampling_percent=situation.switches.sampling_percent,
    )


def _served(plans: Sequence[PortPlan], situation: Situation) -> Iterator[tuple[Served, ...]]:
    """The ports with the clusters behind them, in every version that the rules' ages allow.

    Ports do not depend on each other, so it is enough that every version of each appears once.
    """
    versions = [
        [
            upstream(
                plan.port.protocol, _with_pool(policy, plan), situation.mesh, address=plan.address
            )
            for policy in situation.find_policy(plan)
        ]
        for plan in plans
    ]
    for number in range(max(map(len, versions), default=1)):
        yield tuple(
            Served(plan.port, found[min(number, len(found) - 1)])
            for plan, found in zip(plans, versions, strict=True)
        )


def _own_tls(plan: PortPlan) -> Iterator[Unverifiable]:
    if plan.own_tls:
        reason = f"the Sidecar gives port {plan.port.key} TLS of its own, which is not modelled"
        for kind in _PORT_KINDS:
            yield Unverifiable(
                reason, kind, key_prefix=(str(plan.port.key),), source=plan.port.sources[0]
            )


def _with_pool(policy: Mapping[str, Any] | None, plan: PortPlan) -> Mapping[str, Any] | None:
    return policy if plan.pool is None else {**(policy or {}), "connectionPool": plan.pool}


def _inbound(
    ports: Sequence[Served], workload: Workload, found: Reporting, situation: Situation
) -> Iterator[Policy]:
    served = list(ports)
    if situation.interception != "NONE":
        behind = passthrough_upstream(situation.mesh)
        own = {item.port.port for item in ports}
        levels = [port for port, _ in workload.mutual_tls.ports if port not in own]
        served += (Served(passthrough(port), behind) for port in (None, *levels))
    carried: dict[str, frozenset[bool]] = {}
    for policy in inbound_policies(served, workload):
        if policy.key.kind is Kind.FILTER_ORDER:
            # Every inbound listener logs what no chain took.
            carried[policy.key["protocol"]] = frozenset((True,))
        yield policy
    yield from telemetry_policies(found, listeners=carried)
