"""One rule of an AuthorizationPolicy, as the conditions that Envoy will check.

Istio's API groups a rule into `from`, `to` and `when`; Envoy knows principals and permissions. Each
`from` becomes an alternative about the peer, each `to` one about the request, and each `when`
condition joins all alternatives of the side that its key belongs to. Within an alternative all
attributes must hold, one value of each, and none of the `not…` values. Where one of several values
is itself a conjunction (issuer and subject of a token), the alternative is written out once per
value, so that the result is a disjunction of conjunctions.

TCP chains cannot see HTTP attributes. A rule that allows is left out there if it uses one; a rule
of any other action merely loses the attribute, and so catches more.

Source: https://istio.io/latest/docs/reference/config/security/authorization-policy/ and
https://istio.io/latest/docs/reference/config/security/conditions/.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_network
from itertools import product
from math import prod
from typing import Any, Literal

from meshscope.policy.authorization import Alternative, Attribute, Condition, Rule
from meshscope.policy.matches import StringMatch
from meshscope.projection.security.trust_domain import (
    TrustDomains,
    expand_principals,
    expand_trust_domains,
)

NEVER: tuple[Alternative, ...] = ((Condition("never"),),)
"""What Istio writes for a policy without rules: it exists, and matches nothing."""

_SPIFFE = "spiffe://"
_JWT = "envoy.filters.http.jwt_authn/payload"
_ANYTHING = StringMatch("regex", ".+")


MAX_ALTERNATIVES = 1024
"""Alternatives that one side of a rule may come to; more are not modelled."""


class TooManyAlternativesError(ValueError):
    """A rule that is too large when multiplied out: one with many `notRequestPrincipals`."""


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
class _AttributeSpec:
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


def rule_of(policy: str, index: int, spec: Mapping[str, Any], context: RuleContext) -> Rule | None:
    """The conditions of one rule; None: Istio leaves it out on such a chain.

    Args:
        policy: `namespace/name` of the policy.
        index: Position of the rule in it.
        spec: The rule as in the manifest: `from`, `to`, `when`.
        context: What else counts.

    Raises:
        TooManyAlternativesError: The rule is too large to be modelled.
    """
    try:
        when = [
            (
                _condition_spec(str(condition.get("key", ""))),
                str(condition.get("key", "")),
                condition,
            )
            for condition in spec.get("when") or ()
        ]
        shared = {
            side: [
                clause
                for attribute, key, condition in when
                if attribute.side == side
                for clause in _clauses(
                    attribute, key, condition.get("values"), condition.get("notValues"), context
                )
            ]
            for side in ("source", "operation")
        }
        sources = _side(spec.get("from"), "source", _SOURCE_FIELDS, shared["source"], context)
        operations = _side(
            spec.get("to"), "operation", _OPERATION_FIELDS, shared["operation"], context
        )
    except UnusableValueError:
        return None
    return Rule(policy, index, sources, operations)


def _side(
    items: Sequence[Mapping[str, Any]] | None,
    wrapper: str,
    fields: Mapping[str, _AttributeSpec],
    shared: Sequence[Disjunction],
    context: RuleContext,
) -> tuple[Alternative, ...]:
    alternatives: list[Alternative] = []
    for item in items or ({},):
        body = item.get(wrapper) or {}
        clauses = [
            clause
            for name, attribute in fields.items()
            for clause in _clauses(
                attribute, name, body.get(name), body.get(_negated(name)), context
            )
        ]
        alternatives += _conjunctions((*clauses, *shared))
    return tuple(alternatives)


def _negated(field: str) -> str:
    return f"not{field[0].upper()}{field[1:]}"


def _conjunctions(clauses: Sequence[Disjunction]) -> Iterable[Alternative]:
    """Multiply out: one conjunction per choice of an alternative from every clause."""
    if prod(map(len, clauses)) > MAX_ALTERNATIVES:
        raise TooManyAlternativesError(f"a rule has more than {MAX_ALTERNATIVES} alternatives")
    for choice in product(*clauses):
        yield _conjunction(condition for alternative in choice for condition in alternative)


def _conjunction(conditions: Iterable[Condition]) -> Alternative:
    """Conditions that must all hold; several negated ones on one attribute become one."""
    kept: list[Condition] = []
    negated: dict[Condition, list[StringMatch]] = {}
    for condition in conditions:
        if condition.negated:
            negated.setdefault(replace(condition, values=()), []).extend(condition.values)
        else:
            kept.append(condition)
    kept += (replace(condition, values=tuple(values)) for condition, values in negated.items())
    return tuple(kept)


def _clauses(
    attribute: _AttributeSpec,
    key: str,
    values: Sequence[Any] | None,
    not_values: Sequence[Any] | None,
    context: RuleContext,
) -> Iterable[Disjunction]:
    """What must all hold for one attribute: one of its values, and none of its `not…` values."""
    wanted = _usable(attribute, key, values, context)
    if wanted:
        yield _merged(wanted)
    for alternative in _merged(_usable(attribute, key, not_values, context)):
        # Not (a and b) is not a, or not b.
        yield tuple((replace(condition, negated=True),) for condition in alternative)


def _usable(
    attribute: _AttributeSpec, key: str, values: Sequence[Any] | None, context: RuleContext
) -> list[Alternative]:
    """What the values demand, one alternative each; unusable ones are left out, or raise."""
    alternatives: list[Alternative] = []
    for value in attribute.prepare([str(value) for value in values or ()], context):
        try:
            if attribute.http and context.tcp:
                raise UnusableValueError(f"{key} is an attribute of HTTP")
            alternatives += attribute.generate(key, value, context)
        except UnusableValueError:
            if context.allows:
                raise
            if attribute.whole:
                return []
    return alternatives


def _merged(alternatives: Sequence[Alternative]) -> Disjunction:
    """Lone conditions on the same attribute become one condition with several values."""
    lone: dict[Condition, list[StringMatch]] = {}
    merged: list[Alternative] = []
    for alternative in alternatives:
        if len(alternative) == 1:
            condition = alternative[0]
            lone.setdefault(replace(condition, values=()), []).extend(condition.values)
        else:
            merged.append(alternative)
    merged += ((replace(attribute, values=tuple(values)),) for attribute, values in lone.items())
    return tuple(merged)


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


_PRINCIPAL = _AttributeSpec(
    "source",
    _principal,
    prepare=lambda values, context: expand_principals(values, context.trust_domains),
)
_TRUST_DOMAIN = _AttributeSpec(
    "source",
    _trust_domain,
    prepare=lambda values, context: expand_trust_domains(values, context.trust_domains),
)
_REQUEST_PRINCIPAL = _AttributeSpec("source", _request_principal, http=True, whole=True)
_NAMESPACE = _AttributeSpec("source", _namespace)
_SERVICE_ACCOUNT = _AttributeSpec("source", _service_account)
_REMOTE_IP = _AttributeSpec("source", _network("remote_ip"))
_DIRECT_REMOTE_IP = _AttributeSpec("source", _network("direct_remote_ip"))
_PORT = _AttributeSpec("operation", _port)

_SOURCE_FIELDS: dict[str, _AttributeSpec] = {
    "principals": _PRINCIPAL,
    "requestPrincipals": _REQUEST_PRINCIPAL,
    "serviceAccounts": _SERVICE_ACCOUNT,
    "trustDomains": _TRUST_DOMAIN,
    "namespaces": _NAMESPACE,
    "remoteIpBlocks": _REMOTE_IP,
    "ipBlocks": _DIRECT_REMOTE_IP,
}

_OPERATION_FIELDS: dict[str, _AttributeSpec] = {
    "hosts": _AttributeSpec("operation", _host, http=True),
    "methods": _AttributeSpec("operation", _method, http=True),
    "paths": _AttributeSpec("operation", _path, http=True),
    "ports": _PORT,
}

_CONDITION_KEYS: dict[str, _AttributeSpec] = {
    "source.ip": _DIRECT_REMOTE_IP,
    "remote.ip": _REMOTE_IP,
    "source.namespace": _NAMESPACE,
    "source.serviceAccount": _SERVICE_ACCOUNT,
    "source.trustDomain": _TRUST_DOMAIN,
    "source.principal": _PRINCIPAL,
    "request.auth.principal": _REQUEST_PRINCIPAL,
    "request.auth.audiences": _AttributeSpec(
        "source", _claim(lambda _: ("aud",)), http=True, whole=True
    ),
    "request.auth.presenter": _AttributeSpec(
        "source", _claim(lambda _: ("azp",)), http=True, whole=True
    ),
    "destination.ip": _AttributeSpec("operation", _network("destination_ip")),
    "destination.port": _PORT,
    "connection.sni": _AttributeSpec("operation", _server_name),
}

_CONDITION_PREFIXES: dict[str, _AttributeSpec] = {
    "request.headers": _AttributeSpec("source", _request_header, http=True),
    "request.auth.claims": _AttributeSpec("source", _claim(_claim_path), http=True, whole=True),
    "experimental.envoy.filters.": _AttributeSpec("operation", _filter_metadata, whole=True),
}


def _condition_spec(key: str) -> _AttributeSpec:
    attribute = _CONDITION_KEYS.get(key) or next(
        (spec for prefix, spec in _CONDITION_PREFIXES.items() if key.startswith(prefix)), None
    )
    if attribute is None:
        raise UnusableValueError(f"{key} is no condition that Istio knows")
    return attribute
