"""Which requests and connections something takes, in the words of Istio's resources."""

import re
from collections.abc import Iterable
from typing import Final

from meshscope.policy.authorization import Alternative, Condition, Rule
from meshscope.policy.http_route import RouteMatch
from meshscope.policy.matches import (
    Fraction,
    HeaderMatch,
    MetadataMatch,
    PathMatch,
    QueryMatch,
    StringMatch,
)
from meshscope.policy.outbound_listener import ChainMatch

NOTHING: Final = "none"
_JWT: Final = "envoy.filters.http.jwt_authn"
_CLAIM: Final = f"{_JWT}/payload/"
PRINCIPAL_PATTERNS: Final = {
    "namespaces": re.compile(r"\.\*/ns/([^/]+)/\.\*"),
    "serviceAccounts": re.compile(
        r"(?:spiffe://)?\.\+/ns/([^/]+)/\(\.\+/\|\)sa/([^/]+)\(/\.\+\)\?"
    ),
}
"""What Istio makes of sources that name a part of the identity only."""


def string_match(match: StringMatch) -> str:
    """A condition on a string: the text itself where it must be exactly that."""
    if match.type == "present":
        return "present"
    text = match.value if match.type == "exact" else f"{match.type} {match.value}"
    return f"{text} (any case)" if match.ignore_case else text


def header_match(match: HeaderMatch) -> str:
    """A condition on a header, or on the method."""
    name = "method" if match.name == ":method" else f"header {match.name}"
    negation = "not " if match.invert else ""
    missing = " (missing counts as empty)" if match.missing_as_empty else ""
    return f"{name} {negation}{string_match(match.match)}{missing}"


def metadata_match(match: MetadataMatch) -> str:
    """A condition on what an earlier filter found out, such as a claim of a token."""
    negation = "not " if match.invert else ""
    subject = f"{match.filter}[{'.'.join(match.path)}]"
    if match.filter == _JWT and match.path[:1] == ("payload",):
        subject = f"claim {'.'.join(match.path[1:])}"
    return f"{subject} {negation}{_any_of(match.values)}"


def path_match(match: PathMatch) -> str:
    """A condition on the path."""
    case = "" if match.case_sensitive else " (any case)"
    return "CONNECT" if match.type == "connect" else f"path {match.type} {match.value}{case}"


def route_match(match: RouteMatch) -> str:
    """Which requests a rule takes."""
    parts = [path_match(match.path)]
    parts += [header_match(header) for header in match.headers]
    parts += [query_match(query) for query in match.query]
    parts += [metadata_match(metadata) for metadata in match.metadata]
    if match.grpc:
        parts.append("gRPC")
    if match.fraction is not None:
        parts.append(f"{fraction(match.fraction)} of requests")
    return ", ".join(parts)


def fraction(share: Fraction) -> str:
    """A share of requests."""
    runtime = f" (runtime {share.runtime_key})" if share.runtime_key else ""
    return f"{share.parts_per_million / 10_000:g}%{runtime}"


def query_match(query: QueryMatch) -> str:
    """A condition on a parameter of the query."""
    return f"query {query.name} {string_match(query.match)}"


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
    """Values as security policies write them: `/public/*`, `*.example.com`, `*`."""
    return " or ".join(map(pattern, values)) or NOTHING


def pattern(match: StringMatch) -> str:
    """A condition on a string as security policies write it: `/public/*`."""
    if match.ignore_case:
        return string_match(match)
    match match.type:
        case "prefix":
            return f"{match.value}*"
        case "suffix":
            return f"*{match.value}"
        case "present":
            return "*"
        case _:
            return string_match(match)


def condition(condition: Condition) -> str:
    """One condition of an access rule."""
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
    """Principals, or what Envoy knows as a pattern of principals only."""
    negation = "not " if condition.negated else ""
    for name, form in PRINCIPAL_PATTERNS.items():
        matches = [
            form.fullmatch(value.value) if value.type == "regex" else None
            for value in condition.values
        ]
        found = ["/".join(match.groups()) for match in matches if match]
        if condition.values and len(found) == len(condition.values):
            return f"{name} {negation}{' or '.join(found)}"
    return f"principals {negation}{_any_of(condition.values)}".replace("spiffe://", "")


def _alternatives(alternatives: tuple[Alternative, ...]) -> str:
    """One of several lists of conditions; empty where everything meets one of them."""
    if not alternatives or () in alternatives:
        return ""
    return " | ".join(", ".join(map(condition, alternative)) for alternative in alternatives)


def authorization_rule(rule: Rule) -> str:
    """What a rule of an AuthorizationPolicy matches, with the name of the policy."""
    return f"{rule_name(rule)}: {rule_conditions(rule)}"


def rule_name(rule: Rule) -> str:
    """`shop/cart-callers rules[0]`, or `rule` where the name is not known."""
    return f"{rule.policy} rules[{rule.index}]" if rule.policy else "rule"


def rule_conditions(rule: Rule) -> str:
    """What a rule matches: `from …, to …`, or `everything`."""
    parts = [
        f"{word} {text}"
        for word, alternatives in (("from", rule.sources), ("to", rule.operations))
        if (text := _alternatives(alternatives))
    ]
    return " ".join(parts) or "everything"


def chain_match(match: ChainMatch) -> str:
    """Which connections an outbound chain takes."""
    sniffed = match.application_protocols == HTTP_ALPN
    transport = _TRANSPORTS.get(match.transport_protocol, match.transport_protocol)
    parts = [f"{transport} HTTP".strip()] if sniffed else [transport] if transport else []
    parts += [
        f"{word} {value if isinstance(value, str | int) else ', '.join(map(str, value))}"
        for word, value in (
            ("to port", match.destination_port),
            ("to", match.prefix_ranges),
            ("SNI", match.server_names),
            ("ALPN", () if sniffed else match.application_protocols),
            ("from", match.source_ranges),
            ("from ports", match.source_ports),
            ("from", match.source_type),
        )
        if value
    ]
    return ", ".join(parts) or "every connection"


HTTP_ALPN: Final = ("h2c", "http/1.1")
"""What Envoy's detection says of plaintext HTTP."""

_TRANSPORTS: Final = {"raw_buffer": "plaintext", "tls": "TLS"}
