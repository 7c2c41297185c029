"""Attributes of AuthorizationPolicies: fields of `source` and `operation`, and keys of `when`.

Source: https://istio.io/latest/docs/reference/config/security/authorization-policy/ and
https://istio.io/latest/docs/reference/config/security/conditions/.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Final, Literal

from meshscope.policy.authorization import Alternative, Attribute, Condition
from meshscope.policy.matches import StringMatch
from meshscope.projection.security.trust_domain import (
    TrustDomains,
    expand_principals,
    expand_trust_domains,
)

_SPIFFE = "spiffe://"
_JWT = "envoy.filters.http.jwt_authn/payload"
_ANYTHING = StringMatch("regex", ".+")


class UnusableValueError(ValueError):
    """A value, or a key, that the kind of chain or Istio cannot use."""


@dataclass(frozen=True, slots=True)
class RuleContext:
    """What the meaning of a rule depends on besides its own text.

    Attributes:
        namespace: Namespace of the policy; service accounts without namespace belong to it.
        trust_domains: See `meshscope.projection.security.trust_domain`.
        tcp: The rule is for TCP chains, which see no HTTP.
        allows: The action is ALLOW: a rule with a part that cannot be used is left out as a whole.
    """

    namespace: str
    trust_domains: TrustDomains
    tcp: bool
    allows: bool


Disjunction = tuple[Alternative, ...]
"""Conjunctions of conditions of which one must hold."""

Generator = Callable[[str, str, RuleContext], Disjunction]
"""From key, value and context to what the value demands; raises `UnusableValueError`."""


@dataclass(frozen=True, slots=True)
class AttributeSpec:
    """How a field or key of the API is translated.

    Attributes:
        side: Which alternatives it belongs to.
        generate: What one value demands.
        http: TCP chains cannot see it.
        whole: An unusable value makes the whole attribute unusable, not only itself.
        prepare: What happens to the values first.
    """

    side: Literal["source", "operation"]
    generate: Generator
    http: bool = False
    whole: bool = False
    prepare: Callable[[Sequence[str], RuleContext], Sequence[str]] = lambda values, _: values


def _one(attribute: Attribute, match: StringMatch, name: str = "") -> Disjunction:
    return ((Condition(attribute, name, (match,)),),)


def _wildcard(value: str, prefix: str = "", *, ignore_case: bool = False) -> StringMatch:
    """A value with a `*` at its beginning or end; elsewhere a `*` is a letter like any other."""
    if value == "*":
        return _ANYTHING
    if value.startswith("*"):
        if prefix:
            return StringMatch("regex", f"{prefix}.*{_quoted(value[1:])}")
        return StringMatch("suffix", value[1:], ignore_case)
    if value.endswith("*"):
        return StringMatch("prefix", prefix + value[:-1], ignore_case)
    return StringMatch("exact", prefix + value, ignore_case)


def _quoted(text: str) -> str:
    """Text as an RE2 pattern that matches nothing else."""
    return "".join(f"\\{letter}" if letter in r"\.+*?()|[]{}^$" else letter for letter in text)


def _principal(_: str, value: str, __: RuleContext) -> Disjunction:
    return _one("principal", _wildcard(value, _SPIFFE))


def _namespace(_: str, value: str, __: RuleContext) -> Disjunction:
    name = ".*".join(map(_quoted, value.split("*")))
    return _one("principal", StringMatch("regex", f".*/ns/{name}/.*"))


def _service_account(_: str, value: str, context: RuleContext) -> Disjunction:
    namespace, slash, account = value.partition("/")
    if not slash:
        namespace, account = context.namespace, value
    pattern = f"{_SPIFFE}.+/ns/{_quoted(namespace)}/(.+/|)sa/{_quoted(account)}(/.+)?"
    return _one("principal", StringMatch("regex", pattern))


def _trust_domain(_: str, value: str, __: RuleContext) -> Disjunction:
    if value == "*":
        return _one("principal", StringMatch("prefix", _SPIFFE))
    head, star, tail = value.partition("*")
    if not star:
        return _one("principal", StringMatch("prefix", f"{_SPIFFE}{value}/"))
    pattern = f"{_SPIFFE}{_quoted(head)}[^/]*{_quoted(tail)}/.*"
    return _one("principal", StringMatch("regex", pattern))


def _network(attribute: Attribute) -> Generator:
    def generate(_: str, value: str, __: RuleContext) -> Disjunction:
        try:
            network = ip_network(value, strict=False)
        except ValueError as error:
            raise UnusableValueError(str(error)) from error
        return _one(attribute, StringMatch("exact", str(network)))

    return generate


def _port(_: str, value: str, __: RuleContext) -> Disjunction:
    if not (value.isascii() and value.isdigit() and int(value) <= 65_535):
        raise UnusableValueError(f"{value} is no port")
    return _one("destination_port", StringMatch("exact", str(int(value))))


def _server_name(_: str, value: str, __: RuleContext) -> Disjunction:
    return _one("requested_server_name", _wildcard(value))


def _header(name: str, value: str, *, ignore_case: bool = False) -> Disjunction:
    match = StringMatch("present") if value == "*" else _wildcard(value, ignore_case=ignore_case)
    return _one("header", match, name.lower())


def _request_header(key: str, value: str, _: RuleContext) -> Disjunction:
    return _header(_in_brackets(key.removeprefix("request.headers")), value)


def _host(_: str, value: str, __: RuleContext) -> Disjunction:
    return _header(":authority", value, ignore_case=True)


def _method(_: str, value: str, __: RuleContext) -> Disjunction:
    return _header(":method", value)


def _path(_: str, value: str, __: RuleContext) -> Disjunction:
    if "{*}" in value or "{**}" in value:
        template = value.replace("{**}", "**").replace("{*}", "*")
        return _one("path_template", StringMatch("exact", template))
    return _one("path", _wildcard(value))


def _request_principal(_: str, value: str, __: RuleContext) -> Disjunction:
    issuer, slash, subject = value.rpartition("/")
    if not slash:
        issuer, subject = value, ""
    if value == "*":
        matches = (_ANYTHING, _ANYTHING)
    elif value.startswith("*"):
        matches = (
            (_lone_star(issuer, "suffix", issuer[1:]), StringMatch("exact", subject))
            if slash
            else (_ANYTHING, StringMatch("suffix", value[1:]))
        )
    elif value.endswith("*"):
        matches = (
            (StringMatch("exact", issuer), _lone_star(subject, "prefix", subject[:-1]))
            if slash
            else (StringMatch("prefix", value[:-1]), _ANYTHING)
        )
    else:
        matches = (StringMatch("exact", issuer), StringMatch("exact", subject))
    return (
        tuple(
            Condition("metadata", f"{_JWT}/{claim}", (match,))
            for claim, match in zip(("iss", "sub"), matches, strict=True)
        ),
    )


def _lone_star(text: str, type: Literal["prefix", "suffix"], rest: str) -> StringMatch:
    return _ANYTHING if text == "*" else StringMatch(type, rest)


def _claim(path: Callable[[str], Sequence[str]]) -> Generator:
    """A claim that is the value, or a list that holds it."""

    def generate(key: str, value: str, _: RuleContext) -> Disjunction:
        name = "/".join((_JWT, *path(key)))
        return ((Condition("metadata", name, (_wildcard(value),), in_list="also"),),)

    return generate


def _claim_path(key: str) -> Sequence[str]:
    names = key.removeprefix("request.auth.claims")
    inner = _in_brackets(names)
    nested = inner.split("][")
    return [inner] if any("[" in name or "]" in name for name in nested) else nested


def _filter_metadata(key: str, value: str, _: RuleContext) -> Disjunction:
    head, bracket, rest = key.removeprefix("experimental.").removesuffix("]").partition("[")
    if not bracket:
        raise UnusableValueError(f"{key} names no key in brackets")
    listed = value.startswith("[") and value.endswith("]")
    match = _wildcard(value.strip("[]") if listed else value)
    in_list: Literal["only", "no"] = "only" if listed else "no"
    return ((Condition("metadata", f"{head}/{rest}", (match,), in_list=in_list),),)


def _in_brackets(text: str) -> str:
    if not (text.startswith("[") and text.endswith("]")):
        raise UnusableValueError(f"expected a name in brackets, found {text!r}")
    return text[1:-1]


_PRINCIPAL = AttributeSpec(
    "source",
    _principal,
    prepare=lambda values, context: expand_principals(values, context.trust_domains),
)
_TRUST_DOMAIN = AttributeSpec(
    "source",
    _trust_domain,
    prepare=lambda values, context: expand_trust_domains(values, context.trust_domains),
)
_REQUEST_PRINCIPAL = AttributeSpec("source", _request_principal, http=True, whole=True)
_NAMESPACE = AttributeSpec("source", _namespace)
_SERVICE_ACCOUNT = AttributeSpec("source", _service_account)
_REMOTE_IP = AttributeSpec("source", _network("remote_ip"))
_DIRECT_REMOTE_IP = AttributeSpec("source", _network("direct_remote_ip"))
_PORT = AttributeSpec("operation", _port)

SOURCE_FIELDS: Final[Mapping[str, AttributeSpec]] = {
    "principals": _PRINCIPAL,
    "requestPrincipals": _REQUEST_PRINCIPAL,
    "serviceAccounts": _SERVICE_ACCOUNT,
    "trustDomains": _TRUST_DOMAIN,
    "namespaces": _NAMESPACE,
    "remoteIpBlocks": _REMOTE_IP,
    "ipBlocks": _DIRECT_REMOTE_IP,
}
"""Fields of `from[].source`, without their negations."""

OPERATION_FIELDS: Final[Mapping[str, AttributeSpec]] = {
    "hosts": AttributeSpec("operation", _host, http=True),
    "methods": AttributeSpec("operation", _method, http=True),
    "paths": AttributeSpec("operation", _path, http=True),
    "ports": _PORT,
}
"""Fields of `to[].operation`, without their negations."""

_CONDITION_KEYS: Final[Mapping[str, AttributeSpec]] = {
    "source.ip": _DIRECT_REMOTE_IP,
    "remote.ip": _REMOTE_IP,
    "source.namespace": _NAMESPACE,
    "source.serviceAccount": _SERVICE_ACCOUNT,
    "source.trustDomain": _TRUST_DOMAIN,
    "source.principal": _PRINCIPAL,
    "request.auth.principal": _REQUEST_PRINCIPAL,
    "request.auth.audiences": AttributeSpec(
        "source", _claim(lambda _: ("aud",)), http=True, whole=True
    ),
    "request.auth.presenter": AttributeSpec(
        "source", _claim(lambda _: ("azp",)), http=True, whole=True
    ),
    "destination.ip": AttributeSpec("operation", _network("destination_ip")),
    "destination.port": _PORT,
    "connection.sni": AttributeSpec("operation", _server_name),
}

_CONDITION_PREFIXES: Final[Mapping[str, AttributeSpec]] = {
    "request.headers": AttributeSpec("source", _request_header, http=True),
    "request.auth.claims": AttributeSpec("source", _claim(_claim_path), http=True, whole=True),
    "experimental.envoy.filters.": AttributeSpec("operation", _filter_metadata, whole=True),
}


def condition_spec(key: str) -> AttributeSpec:
    """How a key of `when` is translated.

    Raises:
        UnusableValueError: Istio knows no such key.
    """
    attribute = _CONDITION_KEYS.get(key) or next(
        (spec for prefix, spec in _CONDITION_PREFIXES.items() if key.startswith(prefix)), None
    )
    if attribute is None:
        raise UnusableValueError(f"{key} is no condition that Istio knows")
    return attribute
