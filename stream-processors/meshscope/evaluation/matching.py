"""Whether a request meets a condition: yes, no, or a doubt where a pattern is not modelled."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

from meshscope.algebra.addresses import network, number_of
from meshscope.algebra.conditions import language, path_language
from meshscope.algebra.intervals import contains
from meshscope.algebra.limits import TooLargeError
from meshscope.algebra.request import Claim, Request
from meshscope.algebra.syntax import InvalidPatternError, UnmodelledError
from meshscope.algebra.template import template
from meshscope.policy.authorization import Condition, Rule
from meshscope.policy.http_route import RouteMatch
from meshscope.policy.matches import (
    HeaderMatch,
    MetadataMatch,
    PathMatch,
    QueryMatch,
    StringMatch,
)


@dataclass(frozen=True, slots=True)
class Doubt:
    """It cannot be said whether a condition holds."""

    reason: str


Truth: TypeAlias = bool | Doubt


def all_of(truths: Iterable[Truth]) -> Truth:
    """Yes if all are, no if one is not, else the first doubt."""
    doubt: Doubt | None = None
    for truth in truths:
        if truth is False:
            return False
        if isinstance(truth, Doubt):
            doubt = doubt or truth
    return True if doubt is None else doubt


def any_of(truths: Iterable[Truth]) -> Truth:
    """Yes if one is, no if none is, else the first doubt."""
    return negation(all_of(negation(truth) for truth in truths))


def negation(truth: Truth, really: bool = True) -> Truth:
    """The opposite, if `really`; a doubt stays one."""
    return truth if isinstance(truth, Doubt) or not really else not truth


def text_meets(match: StringMatch, text: str) -> Truth:
    """Whether a string meets a condition."""
    try:
        return text in language(match)
    except (InvalidPatternError, UnmodelledError, TooLargeError) as reason:
        return Doubt(f"{match.type} {match.value!r}: {reason}")


def header_of(request: Request, name: str) -> str | None:
    """The value of a header; None: it is not there. Of several ones Envoy compares `a,b`."""
    match name:
        case ":method":
            return request.method
        case ":authority" | "host":
            return request.authority
        case ":path":
            return request.target()
        case ":scheme":
            return "http"
    return dict(request.headers).get(name)


def header_meets(match: HeaderMatch, request: Request) -> Truth:
    """Whether a header meets a condition of a route.

    Where it is missing, no condition on its value holds, inverted or not (Envoy
    `HeaderUtility::matchHeaders`), unless missing counts as empty.
    """
    value = header_of(request, match.name)
    if value is None and not match.missing_as_empty:
        return match.match.type == "present" and match.invert
    return negation(text_meets(match.match, value or ""), match.invert)


def path_meets(match: PathMatch, request: Request) -> Truth:
    """Whether the path meets a condition of a route."""
    if match.type == "connect":
        return request.method == "CONNECT"
    try:
        return bool(request.path) and request.path in path_language(match)
    except (InvalidPatternError, UnmodelledError, TooLargeError) as reason:
        return Doubt(f"path {match.type} {match.value!r}: {reason}")


def _query_meets(match: QueryMatch, request: Request) -> Truth:
    value = next((value for name, value in request.query if name == match.name), None)
    return False if value is None else text_meets(match.match, value)


def _claim_meets(values: tuple[StringMatch, ...], in_list: str, claim: Claim | None) -> Truth:
    if isinstance(claim, str):
        return in_list != "only" and any_of(text_meets(value, claim) for value in values)
    if claim is None or in_list == "no":
        return False
    return any_of(text_meets(value, element) for value in values for element in claim)


def _metadata_meets(match: MetadataMatch, request: Request) -> Truth:
    claim = dict(request.claims).get("/".join((match.filter, *match.path)))
    return negation(_claim_meets(match.values, match.in_list, claim), match.invert)


def route_meets(match: RouteMatch, request: Request, chance: float | None = None) -> Truth:
    """Whether a rule of a virtual host takes a request.

    Args:
        match: The rule's conditions.
        request: The request, normalised.
        chance: Where it falls among the shares of rules, from 0 to below 1; None: not known.
    """
    truths = [path_meets(match.path, request)]
    truths += [header_meets(found, request) for found in match.headers]
    truths += [_query_meets(found, request) for found in match.query]
    truths += [_metadata_meets(found, request) for found in match.metadata]
    if match.grpc:
        content_type = dict(request.headers).get("content-type", "")
        truths.append(
            content_type == "application/grpc" or content_type.startswith("application/grpc+")
        )
    if match.fraction is not None:
        share = match.fraction.parts_per_million / 1_000_000
        if chance is not None:
            truths.append(chance < share)
        elif share < 1:
            truths.append(share > 0 and Doubt(f"a share of {share:.2%} of the requests"))
    return all_of(truths)


def rule_meets(rule: Rule, request: Request) -> Truth:
    """Whether a rule of an AuthorizationPolicy matches a request."""
    return all_of(
        any_of(all_of(_condition(found, request) for found in option) for option in options)
        for options in (rule.sources, rule.operations)
    )


def _condition(condition: Condition, request: Request) -> Truth:
    try:
        return negation(_plain(condition, request), condition.negated)
    except (InvalidPatternError, ValueError) as reason:
        return Doubt(f"{condition.attribute}: {reason}")


def _plain(condition: Condition, request: Request) -> Truth:
    """The condition before it is negated."""
    values = condition.values
    match condition.attribute:
        case "never":
            return False
        case "filter_state":
            return Doubt(f"filter state {condition.name}")
        case "metadata":
            claim = dict(request.claims).get(condition.name)
            return _claim_meets(values, condition.in_list, claim)
        case "header":
            value = header_of(request, condition.name)
            return _any_text(values, "" if value is None and condition.missing_as_empty else value)
        case "path":
            return _any_text(values, request.path)
        case "path_template":
            return any(request.path in template(value.value) for value in values)
        case "principal":
            return _any_text(values, request.principal or None)
        case "requested_server_name":
            return _any_text(values, request.server_name or None)
        case "destination_port":
            return any(int(value.value) == request.port for value in values)
        case "direct_remote_ip" | "source_ip":
            return _in_network(values, request.peer_address, "address of the peer")
        case "remote_ip":
            client = request.client_address or request.peer_address
            return _in_network(values, client, "address of the client")
        case "destination_ip":
            return _in_network(values, request.destination_address, "address that was dialled")


def _any_text(values: tuple[StringMatch, ...], text: str | None) -> Truth:
    return text is not None and any_of(text_meets(value, text) for value in values)


def _in_network(values: tuple[StringMatch, ...], address: str, what: str) -> Truth:
    if not address:
        return Doubt(f"the {what} is not given")
    number = number_of(address)
    return any(contains(network(value.value), number) for value in values)
