"""What the HTTP rules of a virtual host do with a request."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from meshscope.algebra.request import Request
from meshscope.evaluation.headers import Headers, mutated
from meshscope.evaluation.matching import Doubt, Truth, any_of, route_meets, text_meets
from meshscope.evaluation.rewriting import UnknownTargetError, location, sent_on
from meshscope.evaluation.trace import Outcome, Share, Step
from meshscope.policy import key
from meshscope.policy.destination import Destination
from meshscope.policy.endpoints import Endpoints
from meshscope.policy.headers import HeaderMutation
from meshscope.policy.http_route import Cors, Forward, HttpRoute, HttpRule
from meshscope.policy.key import PolicyKey
from meshscope.policy.policy import Policy
from meshscope.policy.target import Target, WeightedTarget

Policies = Mapping[PolicyKey, Policy]

_PREFLIGHT: Final = "access-control-request-method"


@dataclass(frozen=True, slots=True)
class Routed:
    """Decisions of routing and their outcome."""

    steps: tuple[Step, ...]
    outcome: Outcome


def route(
    rules: Sequence[HttpRule],
    request: Request,
    policy: PolicyKey,
    policies: Policies,
    chance: float | None = None,
) -> Routed:
    """Take the first rule that matches and do what it says.

    Args:
        rules: In order.
        request: Normalised.
        policy: Where the rules stand.
        policies: All of the proxy's, for destinations.
        chance: See `route_meets`.
    """
    for number, rule in enumerate(rules):
        truth = route_meets(rule.match, request, chance)
        if isinstance(truth, Doubt):
            step = Step("route", f"rule {number} may match: {truth.reason}", policy, str(number))
            return Routed((step,), Outcome("undecided", detail=truth.reason))
        if truth:
            step = Step("route", f"rule {number}{_named(rule)} matches", policy, str(number))
            routed = _act(rule, number, request, policy, policies)
            return Routed((step, *routed.steps), routed.outcome)
    step = Step("route", f"none of {len(rules)} rules matches", policy)
    return Routed((step,), Outcome("answered", "no_route", 404))


def _named(rule: HttpRule) -> str:
    return f" ({rule.name})" if rule.name else ""


def _act(
    rule: HttpRule, number: int, request: Request, policy: PolicyKey, policies: Policies
) -> Routed:
    steps: list[Step] = []
    position = str(number)
    # Faults are injected by a filter before the router: also where the rule answers itself.
    fault = rule.fault
    if fault is not None:
        if fault.delay_ms is not None and fault.delay_fraction.parts_per_million:
            share = fault.delay_fraction.parts_per_million / 1_000_000
            says = f"{share:.4g} of the requests wait {fault.delay_ms} ms"
            steps.append(Step("fault", says, policy, position))
        status = fault.abort_status or (200 if fault.abort_grpc_status is not None else 0)
        share = fault.abort_fraction.parts_per_million / 1_000_000
        if status and share:
            says = f"{share:.4g} of the requests are answered with {status}"
            steps.append(Step("fault", says, policy, position))
            if share >= 1:
                grpc_status = fault.abort_grpc_status
                return Routed(tuple(steps), Outcome("answered", "fault", status, grpc_status))
    preflight = _preflight(rule.cors, request)
    if isinstance(preflight, Doubt):
        steps.append(Step("cors", preflight.reason, policy, position))
        return Routed(tuple(steps), Outcome("undecided", detail=preflight.reason))
    if preflight:
        steps.append(Step("cors", "a preflight request is answered", policy, position))
        return Routed(tuple(steps), Outcome("answered", "preflight", 200))
    try:
        if rule.redirect is not None:
            url = location(request, rule, rule.redirect, "http")
            steps.append(Step("rewrite", f"redirected to {url}", policy, position))
            return Routed(
                tuple(steps), Outcome("answered", status=rule.redirect.status, location=url)
            )
        if rule.respond is not None:
            return Routed(tuple(steps), Outcome("answered", status=rule.respond.status))
        if rule.forward is not None:
            routed = _forward(rule, rule.forward, request, policy, position, policies)
            return Routed((*steps, *routed.steps), routed.outcome)
    except UnknownTargetError as error:
        steps.append(Step("rewrite", str(error), policy, position))
        return Routed(tuple(steps), Outcome("undecided", detail=str(error)))
    detail = "the action of the rule is not modelled"
    return Routed(tuple(steps), Outcome("undecided", detail=detail))


def _preflight(cors: Cors | None, request: Request) -> Truth:
    """Whether the filter for CORS answers: a preflight request, of an origin that may.

    As Envoy does it, a condition that the text `*` meets allows every origin.
    """
    if cors is None or cors.enabled.parts_per_million == 0:
        return False
    headers = dict(request.headers)
    origin = headers.get("origin", "")
    if request.method != "OPTIONS" or not (origin and headers.get(_PREFLIGHT)):
        return False
    if not cors.forward_unmatched_preflights:
        return True
    return any_of(text_meets(one, text) for one in cors.allow_origins for text in ("*", origin))


def _forward(
    rule: HttpRule,
    forward: Forward,
    request: Request,
    policy: PolicyKey,
    position: str,
    policies: Policies,
) -> Routed:
    authority, target = sent_on(request, forward.rewrite, rule.match)
    steps: list[Step] = []
    if authority != request.authority or target != request.target():
        says = f"sent on as {authority or 'the host of the endpoint'}{target}"
        steps.append(Step("rewrite", says, policy, position))
    if forward.retry is not None and forward.retry.attempts:
        says = f"repeated up to {forward.retry.attempts} times on {', '.join(forward.retry.on)}"
        steps.append(Step("retry", says, policy, position))
    for mirror in forward.mirrors:
        share = mirror.fraction.parts_per_million / 1_000_000
        says = f"{share:.4g} of the requests are copied to {mirror.target}"
        steps.append(Step("mirror", says, policy, position))
    reached = destinations(
        forward.to, policies, authority, request.headers, _mutations(rule, policies.get(policy))
    )
    steps += reached.steps
    outcome = reached.outcome
    if outcome.result == "forwarded":
        outcome = replace(outcome, target=target, timeout_ms=forward.timeout_ms)
    elif outcome.reason == "no_cluster":
        outcome = Outcome("answered", "no_cluster", forward.unknown_destination_status)
    return Routed(tuple(steps), outcome)


def _mutations(rule: HttpRule, host: Policy | None) -> tuple[HeaderMutation, ...]:
    """What is done to the headers for every destination of a rule."""
    content = None if host is None else host.content
    of_host = content.request_headers if isinstance(content, HttpRoute) else HeaderMutation()
    return rule.request_headers, of_host


def destinations(
    targets: Sequence[WeightedTarget],
    policies: Policies,
    authority: str = "",
    headers: Headers = (),
    mutations: Sequence[HeaderMutation] = (),
) -> Routed:
    """Where a split leads; a destination that the proxy does not know is an error.

    Args:
        targets: The split.
        policies: All of the proxy's.
        authority: Host as the rule leaves it, before a destination changes it.
        headers: Of the request.
        mutations: What the rule does to them, after what a destination does.
    """
    total = sum(target.weight for target in targets)
    steps: list[Step] = []
    shares: list[Share] = []
    for found in targets:
        missing = _missing(found.target, policies)
        sent = mutated(headers, (found.request_headers, *mutations))
        shares.append(
            Share(found.target, found.weight / total, found.host_rewrite or authority, sent)
        )
        share = found.weight / total
        says = f"{f'{share:.4g} to' if share < 1 else 'to'} {found.target}"
        steps.append(
            Step(
                "destination",
                says + (", which does not exist" if missing else ""),
                _destination_key(found.target),
            )
        )
        if not missing:
            steps += _endpoint_steps(found.target, policies)
    if not shares:
        return Routed(
            (Step("destination", "there is no destination"),),
            Outcome("answered", "no_cluster", 503),
        )
    if all(_missing(share.target, policies) for share in shares):
        return Routed(tuple(steps), Outcome("answered", "no_cluster", 503))
    return Routed(tuple(steps), Outcome("forwarded", destinations=tuple(shares)))


def _destination_key(target: Target) -> PolicyKey | None:
    match target.direction:
        case "outbound":
            return key.destination(target.host, target.port, target.subset)
        case "inbound":
            return key.inbound(target.port)
    return None


def _missing(target: Target, policies: Policies) -> bool:
    """Whether a destination is none of the proxy's; clusters of other names have no policy."""
    if target.direction != "outbound":
        return False
    return key.destination(target.host, target.port, target.subset) not in policies


def _endpoint_steps(target: Target, policies: Policies) -> list[Step]:
    if target.direction != "outbound":
        return []
    held = policies.get(key.destination(target.host, target.port, target.subset))
    destination = held.content if held is not None else None
    mode = ""
    if isinstance(destination, Destination):
        mode = f", TLS {destination.tls_mode}"
        if destination.discovery == "original_dst":
            says = f"the address that was dialled{mode}"
            return [Step("endpoints", says, _destination_key(target))]
    place = key.endpoints(target.host, target.port, target.subset)
    known = policies.get(place)
    count = 0
    if known is not None and isinstance(known.content, Endpoints):
        count = sum(len(locality.endpoints) for locality in known.content.localities)
    return [Step("endpoints", f"{count} endpoint{'' if count == 1 else 's'}{mode}", place)]
