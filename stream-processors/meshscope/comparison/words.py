"""Values of the vocabulary in the words of Istio's resources."""

import re
from collections.abc import Callable, Iterable
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, Final

from meshscope.policy.authorization import (
    Alternative,
    Condition,
    CustomRules,
    ExternalAuthorizer,
    Rule,
)
from meshscope.policy.destination import UNLIMITED, Service
from meshscope.policy.endpoints import Endpoint, LocalityEndpoints
from meshscope.policy.headers import HeaderMutation, HeaderValue
from meshscope.policy.http_route import Forward, HttpRule, Mirror, Redirect, Respond, RouteMatch
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
from meshscope.policy.target import Target, WeightedTarget

NOTHING: Final = "none"
LONGEST: Final = 300
"""Characters of one value; longer ones are cut, with their number of characters."""


_RULE_SETS: Final = frozenset({"audit", "deny", "allow", "dry_run_deny", "dry_run_allow"})
_CLAIM: Final = "envoy.filters.http.jwt_authn/payload/"
_NAMESPACE: Final = re.compile(r"\.\*/ns/([^/]+)/\.\*")


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
    text = _render(value, field)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}… ({len(text)} characters)"


def _render(value: Any, field: str = "") -> str:
    if value is None:
        return "no such filter" if field in _RULE_SETS else NOTHING
    if value == ():
        return "no rules" if field in _RULE_SETS else NOTHING
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
        return value or NOTHING
    if isinstance(value, tuple):
        return _render_tuple(value, field)
    renderer = _RENDERERS.get(type(value))
    return renderer(value) if renderer else _render_fields(value)


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
            name = field.name.removesuffix("_ms").removesuffix("_percent")
            parts.append(f"{name}={_render(inner, field.name)}")
    return " ".join(parts) or "defaults"


def _split(targets: Iterable[WeightedTarget]) -> str:
    """A split by weight: `reviews:9080 subset v1 90, reviews:9080 subset v2 10`."""
    listed = tuple(targets)
    if len(listed) == 1:
        return _weighted(listed[0], alone=True)
    return ", ".join(_weighted(target, alone=False) for target in listed)


def _weighted(target: WeightedTarget, *, alone: bool) -> str:
    text = str(target.target) if alone else f"{target.target} weight {target.weight}"
    for name, mutation in (
        ("request headers", target.request_headers),
        ("response headers", target.response_headers),
    ):
        if mutation != HeaderMutation():
            text += f" ({name}: {_mutation(mutation)})"
    return text + (f" (host {target.host_rewrite})" if target.host_rewrite else "")


def _string_match(match: StringMatch) -> str:
    if match.type == "present":
        return "present"
    text = match.value if match.type == "exact" else f"{match.type} {match.value}"
    return f"{text} (any case)" if match.ignore_case else text


def _header_match(match: HeaderMatch) -> str:
    name = "method" if match.name == ":method" else f"header {match.name}"
    negation = "not " if match.invert else ""
    missing = " (missing counts as empty)" if match.missing_as_empty else ""
    return f"{name} {negation}{_string_match(match.match)}{missing}"


def _metadata_match(match: MetadataMatch) -> str:
    negation = "not " if match.invert else ""
    return f"{match.filter}[{'.'.join(match.path)}] {negation}{_any_of(match.values)}"


def _path_match(match: PathMatch) -> str:
    case = "" if match.case_sensitive else " (any case)"
    return "CONNECT" if match.type == "connect" else f"path {match.type} {match.value}{case}"


def route_match(match: RouteMatch) -> str:
    """Which requests a rule takes."""
    parts = [_path_match(match.path)]
    parts += [_header_match(header) for header in match.headers]
    parts += [f"query {query.name} {_string_match(query.match)}" for query in match.query]
    parts += [_metadata_match(metadata) for metadata in match.metadata]
    if match.grpc:
        parts.append("gRPC")
    if match.fraction is not None:
        parts.append(f"{_fraction(match.fraction)} of requests")
    return ", ".join(parts)


def _fraction(fraction: Fraction) -> str:
    runtime = f" (runtime {fraction.runtime_key})" if fraction.runtime_key else ""
    return f"{fraction.parts_per_million / 10_000:g}%{runtime}"


def _header_value(value: HeaderValue) -> str:
    return f"{value.action} {value.name}: {value.value}" + (" (even empty)" * value.keep_empty)


def _mutation(mutation: HeaderMutation) -> str:
    parts = [_header_value(value) for value in mutation.add]
    parts += [f"remove {name}" for name in mutation.remove]
    return ", ".join(parts) or NOTHING


def http_rule(rule: HttpRule) -> str:
    """A rule of a virtual host, match and action."""
    return f"{route_match(rule.match)} → {http_action(rule)}"


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
    parts = [_split(forward.to) if forward.to else "no destination"]
    for field in fields(forward):
        inner = getattr(forward, field.name)
        if field.name != "to" and inner != field.default:
            name = field.name.removesuffix("_ms").replace("_", " ")
            parts.append(f"{name} {_render(inner, field.name)}")
    return ", ".join(parts)


def _redirect(redirect: Redirect) -> str:
    return f"redirect {_render_fields(redirect)}"


def _respond(respond: Respond) -> str:
    return f"response {respond.status}" + (f" {respond.body!r}" if respond.body else "")


def _mirror(mirror: Mirror) -> str:
    return f"{mirror.target} ({_fraction(mirror.fraction)})"


_CONDITION_WORDS: Final = {
    "direct_remote_ip": "ipBlocks",
    "remote_ip": "remoteIpBlocks",
    "source_ip": "source IP",
    "path": "paths",
    "path_template": "path templates",
    "destination_ip": "destination IP",
    "destination_port": "ports",
    "requested_server_name": "SNI",
    "filter_state": "filter state",
    "never": "never",
}


def _any_of(values: Iterable[StringMatch]) -> str:
    return " or ".join(_string_match(value) for value in values) or NOTHING


def _condition(condition: Condition) -> str:
    if condition.attribute == "never":
        return "never"
    if condition.attribute == "header":
        name = {":method": "methods", ":authority": "hosts"}.get(
            condition.name, f"header {condition.name}"
        )
    elif condition.attribute == "metadata":
        is_claim = condition.name.startswith(_CLAIM)
        name = f"claim {condition.name.removeprefix(_CLAIM)}" if is_claim else condition.name
    elif condition.attribute == "principal":
        return _principals(condition)
    else:
        name = _CONDITION_WORDS[condition.attribute]
    negation = "not " if condition.negated else ""
    return f"{name} {negation}{_any_of(condition.values)}"


def _principals(condition: Condition) -> str:
    """Principals, or namespaces, which Envoy knows as a pattern of principals only."""
    negation = "not " if condition.negated else ""
    matches = [
        _NAMESPACE.fullmatch(value.value) if value.type == "regex" else None
        for value in condition.values
    ]
    namespaces = [match[1] for match in matches if match]
    if condition.values and len(namespaces) == len(condition.values):
        return f"namespaces {negation}{' or '.join(namespaces)}"
    return f"principals {negation}{_any_of(condition.values)}".replace("spiffe://", "")


def _alternatives(alternatives: tuple[Alternative, ...]) -> str:
    """One of several lists of conditions; empty where everything meets one of them."""
    if not alternatives or () in alternatives:
        return ""
    return " | ".join(
        ", ".join(_condition(condition) for condition in alternative)
        for alternative in alternatives
    )


def authorization_rule(rule: Rule) -> str:
    """What a rule of an AuthorizationPolicy matches, with the name of the policy."""
    return f"{rule_name(rule)}: {rule_conditions(rule)}"


def rule_name(rule: Rule) -> str:
    """`shop/cart-callers rule 0`; empty where the name is not known."""
    return f"{rule.policy} rule {rule.index}" if rule.policy else "a rule"


def rule_conditions(rule: Rule) -> str:
    """What a rule matches: `from …, to …`, or `everything`."""
    parts = [
        f"{word} {text}"
        for word, alternatives in (("from", rule.sources), ("to", rule.operations))
        if (text := _alternatives(alternatives))
    ]
    return " ".join(parts) or "everything"


def _custom_rules(custom: CustomRules) -> str:
    asks = _render(custom.authorizer) if custom.authorizer else "an unknown provider: deny"
    provider = custom.provider or "external authorizer"
    return f"{provider} ({asks}): {_render(custom.rules)}"


def _authorizer(authorizer: ExternalAuthorizer) -> str:
    return f"{authorizer.protocol} {authorizer.cluster}"


def _endpoint(endpoint: Endpoint) -> str:
    text = f"{endpoint.address}:{endpoint.port}" if endpoint.port else endpoint.address
    if endpoint.weight != 1:
        text += f" weight {endpoint.weight}"
    if endpoint.tls_mode:
        text += f" tlsMode {endpoint.tls_mode}"
    return text if endpoint.health == "healthy" else f"{text} {endpoint.health}"


def locality_name(locality: LocalityEndpoints) -> str:
    """`region/zone/sub-zone`, with the priority unless it is 0."""
    place = "/".join(part for part in (locality.region, locality.zone, locality.sub_zone) if part)
    priority = f" priority {locality.priority}" if locality.priority else ""
    return (place or "no locality") + priority


def _locality(locality: LocalityEndpoints) -> str:
    weight = f" weight {locality.weight}" if locality.weight else ""
    endpoints = ", ".join(_endpoint(endpoint) for endpoint in locality.endpoints)
    return f"{locality_name(locality)}{weight}: {endpoints}"


def chain_match(match: ChainMatch) -> str:
    """Which connections an outbound chain takes."""
    parts = [
        f"{word} {_render(value)}"
        for word, value in (
            ("port", match.destination_port),
            ("to", match.prefix_ranges),
            ("SNI", match.server_names),
            ("transport", match.transport_protocol),
            ("ALPN", match.application_protocols),
            ("source", match.source_ranges),
            ("source ports", match.source_ports),
            ("source type", match.source_type),
        )
        if value
    ]
    return ", ".join(parts) or "every connection"


def _outbound_chain(chain: OutboundChain) -> str:
    if chain.route_table:
        to = f"routes {chain.route_table}"
    else:
        to = _split(chain.to) if chain.to else "no destination"
    return f"{chain_match(chain.match)} → {to}"


def accepted_chain(chain: AcceptedChain) -> str:
    """One shape of connection that a port accepts: `mutual TLS http`."""
    if chain.tls is None:
        transport = {
            "tls": "TLS passed through",
            "raw_buffer": "plaintext",
        }.get(chain.transport_protocol, "plaintext or TLS passed through")
    else:
        transport = "mutual TLS" if chain.tls.client_certificate else "TLS without client identity"
    alpn = ", ".join(chain.application_protocols)
    return f"{transport} {chain.protocol}" + (f" (ALPN {alpn})" if alpn else "")


def _jwt_rule(rule: JwtRule) -> str:
    audiences = f" audiences {_render(rule.audiences)}" if rule.audiences else ""
    return f"issuer {rule.issuer}{audiences}"


def _jwt_header(header: JwtHeader) -> str:
    return f"{header.name} {header.prefix!r}" if header.prefix else header.name


def _claim_header(claim: ClaimHeader) -> str:
    return f"{claim.claim} as {claim.header}"


def _query_match(query: QueryMatch) -> str:
    return f"query {query.name} {_string_match(query.match)}"


def _service(service: Service) -> str:
    return f"{service.namespace}/{service.name} ({service.host})"


_RENDERERS: Final[dict[type, Callable[[Any], str]]] = {
    AcceptedChain: accepted_chain,
    ChainMatch: chain_match,
    ClaimHeader: _claim_header,
    Condition: _condition,
    CustomRules: _custom_rules,
    Endpoint: _endpoint,
    ExternalAuthorizer: _authorizer,
    Forward: _forward,
    Fraction: _fraction,
    HeaderMatch: _header_match,
    HeaderMutation: _mutation,
    HeaderValue: _header_value,
    HttpRule: http_rule,
    JwtHeader: _jwt_header,
    JwtRule: _jwt_rule,
    LocalityEndpoints: _locality,
    MetadataMatch: _metadata_match,
    Mirror: _mirror,
    OutboundChain: _outbound_chain,
    PathMatch: _path_match,
    QueryMatch: _query_match,
    Redirect: _redirect,
    Respond: _respond,
    RouteMatch: route_match,
    Rule: authorization_rule,
    Service: _service,
    StringMatch: _string_match,
    Target: str,
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
