"""Values of the vocabulary in the words of Istio's resources."""

from collections.abc import Callable, Iterable
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, Final

from meshscope.comparison import match_words
from meshscope.comparison.field_names import field_name
from meshscope.comparison.match_words import NOTHING
from meshscope.policy.authorization import (
    Condition,
    CustomRules,
    ExternalAuthorizer,
    Rule,
)
from meshscope.policy.destination import UNLIMITED, ClientTls, Service
from meshscope.policy.endpoints import Endpoint, LocalityEndpoints
from meshscope.policy.headers import HeaderMutation, HeaderValue
from meshscope.policy.http_route import (
    Forward,
    HttpRule,
    Mirror,
    Redirect,
    Respond,
    Retry,
    RouteMatch,
)
from meshscope.policy.key import TRANSPORT_MTLS, TRANSPORT_PLAINTEXT, TRANSPORT_TLS
from meshscope.policy.matches import (
    Fraction,
    HeaderMatch,
    MetadataMatch,
    PathMatch,
    QueryMatch,
    StringMatch,
)
from meshscope.policy.outbound_listener import ChainMatch, OutboundChain
from meshscope.policy.peer_authentication import AcceptedChain
from meshscope.policy.request_authentication import ClaimHeader, JwtHeader, JwtRule
from meshscope.policy.target import HashPolicy, Target, WeightedTarget

LONGEST: Final = 300
"""Characters of one value; longer ones are cut, with their number of characters."""


_RULE_SETS: Final = frozenset({"audit", "deny", "allow", "dry_run_deny", "dry_run_allow"})


def duration(milliseconds: int) -> str:
    """A duration as Istio writes it: `5s`, `250ms`, `1h30m`, or `0s`."""
    if milliseconds % 1000:
        return f"{milliseconds / 1000:g}s" if milliseconds > 1000 else f"{milliseconds}ms"
    seconds = milliseconds // 1000
    if seconds < 60 or seconds % 60:
        return f"{seconds}s"
    minutes = seconds // 60
    if minutes < 60:
        return f"{minutes}m"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes}m" if minutes else f"{hours}h"


def render(value: object, field: str = "") -> str:
    """A value in words; `field` is the name of the field that holds it and gives its unit."""
    if isinstance(value, tuple) and value and all(isinstance(item, Rule) for item in value):
        return "\n".join(_cut(_render(item)) for item in value)
    return _cut(_render(value, field))


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}… ({len(text)} characters)"


def _render(value: Any, field: str = "") -> str:
    if value is None:
        return "no policy" if field in _RULE_SETS else NOTHING
    if value == ():
        if field in ("allow", "dry_run_allow"):
            return "a policy without rules: nothing is allowed"
        return "a policy without rules" if field in _RULE_SETS else NOTHING
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        if field.endswith("_ms"):
            return duration(value)
        if field.endswith("_s"):
            return f"{value}s"
        if field.endswith("_percent"):
            return f"{value}%"
        return "unlimited" if value == UNLIMITED else str(value)
    if isinstance(value, str):
        if value and field.endswith("_percent"):
            return f"{value}%"
        if field in _CLUSTERS:
            return _cluster(value)
        return _VALUES.get((field, value)) or value or NOTHING
    if isinstance(value, tuple):
        return _render_tuple(value, field)
    renderer = _RENDERERS.get(type(value))
    return renderer(value) if renderer else _render_fields(value)


_CLUSTERS: Final = frozenset({"forwards_to", "cluster"})
"""Fields that hold the name of a cluster of Envoy."""


def _cluster(name: str) -> str:
    """The port of the workload, or the service, that a cluster stands for."""
    direction, *rest = name.split("|")
    if direction == "inbound" and rest:
        return f"own port {rest[0]}"
    if direction == "outbound" and len(rest) == 3:
        return str(Target("outbound", rest[2], int(rest[0] or 0), rest[1]))
    return _NAMED.get(name, name) or NOTHING


_VALUES: Final = {
    ("kind", "original_dst"): "the address that was dialled",
    ("kind", "static"): "fixed addresses",
    ("protocol", "downstream"): "as the client speaks",
    ("protocol", "http1"): "HTTP/1.1 or TCP",
    ("protocol", "http2"): "HTTP/2",
    ("discovery", "dynamic_forward_proxy"): "DYNAMIC_DNS",
    ("discovery", "eds"): "endpoints from istiod",
    ("discovery", "logical_dns"): "DNS_ROUND_ROBIN",
    ("discovery", "original_dst"): "NONE",
    ("discovery", "static"): "STATIC",
    ("discovery", "strict_dns"): "DNS",
    ("policy", "cluster_provided"): "PASSTHROUGH",
    ("policy", "least_request"): "LEAST_REQUEST",
    ("policy", "maglev"): "consistentHash (maglev)",
    ("policy", "random"): "RANDOM",
    ("policy", "ring_hash"): "consistentHash (ringHash)",
    ("policy", "round_robin"): "ROUND_ROBIN",
    ("tls_mode", ""): "plaintext",
    ("tls_mode", "always"): "TLS to every endpoint",
    ("tls_mode", "auto"): "mutual TLS to endpoints with a sidecar, plaintext to others",
    ("tls_mode", "istio"): "mutual TLS",
    ("tls_mode", "never"): "DISABLE",
    ("requirement", "none"): "read, and never demanded",
    ("requirement", "optional"): "must be valid where there is one",
    ("requirement", "required"): "demanded",
}
"""Words of the vocabulary that Istio says otherwise, by field and value."""


def _render_tuple(value: tuple[Any, ...], field: str) -> str:
    if all(isinstance(item, WeightedTarget) for item in value):
        return _split(value)
    parts = [_render(item, field) for item in value]
    composite = any(is_dataclass(item) for item in value)
    return ("; " if composite and len(parts) > 1 else ", ").join(parts)


def _render_fields(value: Any) -> str:
    """The fields that do not have their default."""
    parts = []
    for field in fields(value):
        inner = getattr(value, field.name)
        if field.default is MISSING or inner != field.default:
            name = field_name(type(value), field.name) or field.name
            parts.append(f"{name.lstrip('/')} {_render(inner, field.name)}")
    return ", ".join(parts) or "defaults"


def _split(targets: Iterable[WeightedTarget]) -> str:
    """A split by weight: `reviews:9080 subset v1 90, reviews:9080 subset v2 10`."""
    listed = tuple(targets)
    if len(listed) == 1:
        return _weighted(listed[0], alone=True)
    return ", ".join(_weighted(target, alone=False) for target in listed)


def _weighted(target: WeightedTarget, *, alone: bool) -> str:
    text = _target(target.target) if alone else f"{_target(target.target)} weight {target.weight}"
    for name, mutation in (
        ("request headers", target.request_headers),
        ("response headers", target.response_headers),
    ):
        if mutation != HeaderMutation():
            text += f" ({name}: {_mutation(mutation)})"
    return text + (f" (host {target.host_rewrite})" if target.host_rewrite else "")


def _header_value(value: HeaderValue) -> str:
    return f"{value.action} {value.name}: {value.value}" + (" (even empty)" * value.keep_empty)


def _mutation(mutation: HeaderMutation) -> str:
    parts = [_header_value(value) for value in mutation.add]
    parts += [f"remove {name}" for name in mutation.remove]
    return ", ".join(parts) or NOTHING


def http_rule(rule: HttpRule) -> str:
    """A rule of a virtual host, match and action."""
    return f"{match_words.route_match(rule.match)} → {http_action(rule)}"


def http_action(rule: HttpRule) -> str:
    """What a rule of a virtual host does with the requests that it takes."""
    details = [
        f"{name} {_render(value)}"
        for name, value in (("fault", rule.fault), ("CORS", rule.cors))
        if value is not None
    ]
    details += [
        f"{name} {_mutation(value)}"
        for name, value in (
            ("request headers", rule.request_headers),
            ("response headers", rule.response_headers),
        )
        if value != HeaderMutation()
    ]
    suffix = f" [{'; '.join(details)}]" if details else ""
    action = rule.forward or rule.redirect or rule.respond
    text = _render(action) if action is not None else "an action that is not modelled"
    return text + suffix


def _forward(forward: Forward) -> str:
    """Where requests are sent; no timeout and Istio's own retries go without saying."""
    parts = [_split(forward.to) if forward.to else "no destination"]
    unsaid = {"to"}
    if not forward.timeout_ms:
        unsaid.add("timeout_ms")
    if forward.max_grpc_timeout_ms == forward.timeout_ms:
        unsaid.add("max_grpc_timeout_ms")
    if forward.retry in _USUAL_RETRIES:
        unsaid.add("retry")
    unsaid |= {name for name in _STREAM_LIMITS if getattr(forward, name) == 0}
    for field in fields(forward):
        inner = getattr(forward, field.name)
        is_timeout = field.name == "timeout_ms"
        if field.name not in unsaid and (is_timeout or inner != field.default):
            name = field_name(Forward, field.name)
            parts.append(f"{name} {_render(inner, field.name)}")
    return ", ".join(parts)


_STREAM_LIMITS: Final = ("max_stream_duration_ms", "grpc_timeout_header_max_ms")
_USUAL_RETRIES: Final = (
    Retry(
        on=(
            "cancelled",
            "connect-failure",
            "refused-stream",
            "retriable-status-codes",
            "unavailable",
        ),
        attempts=2,
        avoid_previous_hosts=True,
        host_attempts=5,
    ),
    Retry(on=("reset-before-request",), attempts=2),
)
"""What Istio does where no VirtualService says otherwise, outbound and inbound."""


def _redirect(redirect: Redirect) -> str:
    return f"redirect {_render_fields(redirect)}"


def _respond(respond: Respond) -> str:
    return f"response {respond.status}" + (f" {respond.body!r}" if respond.body else "")


def _mirror(mirror: Mirror) -> str:
    return f"{_target(mirror.target)} ({match_words.fraction(mirror.fraction)})"


def _custom_rules(custom: CustomRules) -> str:
    return f"{custom.provider or 'external authorizer'}: {custom_details(custom)}"


def custom_details(custom: CustomRules) -> str:
    """Who is asked, and about which requests."""
    authorizer = custom.authorizer
    asks = f"asks {_render(authorizer)}" if authorizer else "the provider is unknown: refused"
    return f"{_render(custom.rules)} ({asks})"


def _authorizer(authorizer: ExternalAuthorizer) -> str:
    return f"{_cluster(authorizer.cluster)} over {authorizer.protocol.upper()}"


def endpoint_name(endpoint: Endpoint) -> str:
    """`10.0.0.1:8080`, or the path of a socket."""
    return f"{endpoint.address}:{endpoint.port}" if endpoint.port else endpoint.address


def endpoint_details(endpoint: Endpoint) -> str:
    """How an endpoint is reached."""
    parts = [_render(endpoint.tls_mode, "tls_mode")]
    if endpoint.weight != 1:
        parts.append(f"weight {endpoint.weight}")
    if endpoint.health != "healthy":
        parts.append(endpoint.health)
    return ", ".join(parts)


def _endpoint(endpoint: Endpoint) -> str:
    return f"{endpoint_name(endpoint)} ({endpoint_details(endpoint)})"


def locality_name(locality: LocalityEndpoints) -> str:
    """`region/zone/sub-zone`, with the priority unless it is 0."""
    place = "/".join(part for part in (locality.region, locality.zone, locality.sub_zone) if part)
    priority = f" priority {locality.priority}" if locality.priority else ""
    return (place or "no locality") + priority


def locality_details(locality: LocalityEndpoints) -> str:
    """The endpoints of a locality."""
    weight = f"weight {locality.weight}: " if locality.weight else ""
    return weight + ", ".join(_endpoint(endpoint) for endpoint in locality.endpoints)


def _locality(locality: LocalityEndpoints) -> str:
    return f"{locality_name(locality)}, {locality_details(locality)}"


def chain_target(chain: OutboundChain) -> str:
    """Where an outbound chain sends the connections that it takes."""
    if chain.route_table:
        table = chain.route_table
        return f"the routes of port {table}" if table.isdecimal() else f"the routes of {table}"
    return _split(chain.to) if chain.to else "no destination"


def _outbound_chain(chain: OutboundChain) -> str:
    return f"{match_words.chain_match(chain.match)} → {chain_target(chain)}"


TRANSPORTS: Final = {
    TRANSPORT_MTLS: "mutual TLS",
    TRANSPORT_PLAINTEXT: "plaintext",
    TRANSPORT_TLS: "TLS passed through",
}
"""What the transports of inbound chains are called."""


def accepted_chain(chain: AcceptedChain) -> str:
    """One shape of connection that a port accepts: `mutual TLS, HTTP`."""
    if chain.tls is None:
        transport = {
            "tls": "TLS passed through",
            "raw_buffer": "plaintext",
        }.get(chain.transport_protocol, "plaintext or TLS passed through")
    else:
        transport = "mutual TLS" if chain.tls.client_certificate else "TLS without client identity"
    alpn = chain.application_protocols
    if "istio" in alpn:
        detected = " from sidecars"
    elif alpn == match_words.HTTP_ALPN:
        detected = " where it is detected"
    else:
        detected = f" with ALPN {', '.join(alpn)}" if alpn else ""
    return f"{transport}, {chain.protocol.upper()}{detected}"


def _client_tls(tls: ClientTls) -> str:
    """The mode that Istio has for such TLS, and what was not left to it."""
    if tls.certificate == "default" and tls.trusted == "ROOTCA":
        return f"ISTIO_MUTUAL, {_server_names(tls)}"
    parts = ["MUTUAL" if tls.certificate else "SIMPLE"]
    parts += [f"sni {tls.sni}"] if tls.sni else []
    parts += [f"clientCertificate {tls.certificate}"] if tls.certificate else []
    parts.append(f"caCertificates {tls.trusted or 'none: the server is not verified'}")
    return ", ".join((*parts, _server_names(tls)))


def _server_names(tls: ClientTls) -> str:
    names = ", ".join(map(match_words.string_match, tls.server_names))
    return f"subjectAltNames {names or 'any'}"


def _hash_policy(policy: HashPolicy) -> str:
    text = f"{policy.on.replace('_', ' ')} {policy.name}".strip()
    return text if policy.ttl_ms is None else f"{text} (ttl {duration(policy.ttl_ms)})"


def _target(target: Target) -> str:
    if target.direction == "named":
        return _NAMED.get(target.host, target.host)
    return str(target)


_NAMED: Final = {
    "BlackHoleCluster": "nowhere: refused",
    "InboundPassthroughCluster": "the port that was dialled",
    "PassthroughCluster": "the address that was dialled",
}
"""What Istio's own clusters do."""


def _jwt_rule(rule: JwtRule) -> str:
    audiences = f" audiences {_render(rule.audiences)}" if rule.audiences else ""
    return f"issuer {rule.issuer}{audiences}"


def _jwt_header(header: JwtHeader) -> str:
    return f"{header.name} {header.prefix!r}" if header.prefix else header.name


def _claim_header(claim: ClaimHeader) -> str:
    return f"{claim.claim} as {claim.header}"


def _service(service: Service) -> str:
    return f"{service.namespace}/{service.name} ({service.host})"


_RENDERERS: Final[dict[type, Callable[[Any], str]]] = {
    AcceptedChain: accepted_chain,
    ChainMatch: match_words.chain_match,
    ClientTls: _client_tls,
    ClaimHeader: _claim_header,
    Condition: match_words.condition,
    CustomRules: _custom_rules,
    Endpoint: _endpoint,
    ExternalAuthorizer: _authorizer,
    Forward: _forward,
    Fraction: match_words.fraction,
    HashPolicy: _hash_policy,
    HeaderMatch: match_words.header_match,
    HeaderMutation: _mutation,
    HeaderValue: _header_value,
    HttpRule: http_rule,
    JwtHeader: _jwt_header,
    JwtRule: _jwt_rule,
    LocalityEndpoints: _locality,
    MetadataMatch: match_words.metadata_match,
    Mirror: _mirror,
    OutboundChain: _outbound_chain,
    PathMatch: match_words.path_match,
    QueryMatch: match_words.query_match,
    Redirect: _redirect,
    Respond: _respond,
    RouteMatch: match_words.route_match,
    Rule: match_words.authorization_rule,
    Service: _service,
    StringMatch: match_words.string_match,
    Target: _target,
    WeightedTarget: lambda target: _weighted(target, alone=False),
}
"""How values of each type are said; types without one are said by their fields."""

ATOMS: Final = frozenset(
    {
        ChainMatch,
        Condition,
        Fraction,
        HeaderMatch,
        MetadataMatch,
        Mirror,
        PathMatch,
        QueryMatch,
        RouteMatch,
        StringMatch,
        Target,
        WeightedTarget,
    }
)
"""Types that read best as a whole: a difference in them is not broken down into their fields."""
