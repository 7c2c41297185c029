"""Where two accounts of one request part: the declared and the held one."""

from dataclasses import dataclass, replace
from typing import Literal

from meshscope.evaluation.call import Call
from meshscope.evaluation.headers import SentHeaders
from meshscope.evaluation.journey import Arrival, Journey
from meshscope.evaluation.trace import Outcome, Step
from meshscope.evaluation.words import outcome_words


@dataclass(frozen=True, slots=True)
class Parting:
    """The first decision of a sidecar that differs.

    Attributes:
        proxy: Whose sidecar.
        side: Which way the request goes through it.
        declared, held: The decisions; None: there is none any more. Where they are alike, `outcome`
            tells the difference.
        outcome: What happens then, declared and held, in words.
        endpoints: For inbound: the endpoints where it is so.
    """

    proxy: str
    side: Literal["outbound", "inbound"]
    declared: Step | None
    held: Step | None
    outcome: tuple[str, str]
    endpoints: tuple[str, ...] = ()


def partings(declared: Journey, held: Journey) -> tuple[Parting, ...]:
    """Where the two part: at the source, and at destinations that are asked the same."""
    found: list[Parting] = []
    way = _parting(
        declared.source,
        "outbound",
        (declared.outbound.steps, held.outbound.steps),
        (_without_headers(declared.outbound.outcome), _without_headers(held.outbound.outcome)),
    )
    if way is not None:
        found.append(way)
    others = {_place(arrival): arrival for arrival in held.arrivals}
    for arrival in declared.arrivals:
        other = others.pop(_place(arrival), None)
        if other is not None:
            found += _at_endpoint(declared.source, arrival, other, is_first=way is None)
        elif way is None:
            found.append(_only(declared.source, arrival, "declared"))
    if way is None:
        found += (_only(declared.source, arrival, "held") for arrival in others.values())
    return _joined(found)


def _without_headers(outcome: Outcome) -> Outcome:
    """The outcome without the headers as sent on: arrivals tell what becomes of them."""
    shares = (replace(share, headers=SentHeaders()) for share in outcome.destinations)
    return replace(outcome, destinations=tuple(shares))


def _place(arrival: Arrival) -> tuple[object, ...]:
    return arrival.share.target, arrival.endpoint


def _at_endpoint(source: str, declared: Arrival, held: Arrival, *, is_first: bool) -> list[Parting]:
    outcomes = (declared.outcome, held.outcome)
    if declared.call != held.call or declared.way != held.way:
        # What differs behind this is its consequence, which says nothing about the sidecar there.
        if not is_first:
            return []
        ways = (_with_request(declared, held), _with_request(held, declared))
        found = _parting(source, "outbound", ways, outcomes)
    else:
        found = _parting(
            declared.peer, "inbound", (declared.steps, held.steps), outcomes, declared.endpoint
        )
    return [] if found is None else [found]


def _with_request(arrival: Arrival, other: Arrival) -> tuple[Step, ...]:
    """Decisions about the connection, and what then arrives otherwise than in the other account."""
    if arrival.call is None or other.call is None:
        return arrival.way
    ours, theirs = _arriving(arrival.call), _arriving(other.call)
    says = [f"{name} {value or 'none'}" for name, value in ours.items() if theirs[name] != value]
    return (
        (*arrival.way, Step("connection", f"sent on with {', '.join(says)}"))
        if says
        else (arrival.way)
    )


def _arriving(call: Call) -> dict[str, str]:
    request = call.request
    return {
        "protocol": call.protocol,
        "host": request.authority,
        "target": request.target(),
        "headers": ", ".join(f"{name}: {value}" for name, value in request.headers),
        "transport": request.transport,
        "identity": request.principal,
        "address": request.peer_address,
        "SNI": request.server_name,
        "ALPN": request.application_protocol,
    }


def _only(source: str, arrival: Arrival, where: Literal["declared", "held"]) -> Parting:
    step = Step("endpoints", f"{arrival.endpoint or 'none'} of {arrival.share.target}")
    words = outcome_words(arrival.outcome)
    if where == "declared":
        return Parting(source, "outbound", step, None, (words, "it is no endpoint"))
    return Parting(source, "outbound", None, step, ("it is no endpoint", words))


def _parting(
    proxy: str,
    side: Literal["outbound", "inbound"],
    steps: tuple[tuple[Step, ...], tuple[Step, ...]],
    outcomes: tuple[Outcome, Outcome],
    endpoint: str = "",
) -> Parting | None:
    """The first steps that differ, the last ones where only the outcome does; None: none do."""
    declared, held = steps
    if declared == held and outcomes[0] == outcomes[1]:
        return None
    same = 0
    while declared[same : same + 1] == held[same : same + 1] and same < len(declared):
        same += 1
    at = min(same, max(len(declared), len(held)) - 1)
    return Parting(
        proxy,
        side,
        declared[at] if at < len(declared) else None,
        held[at] if at < len(held) else None,
        (outcome_words(outcomes[0]), outcome_words(outcomes[1])),
        (endpoint,) if endpoint else (),
    )


def _joined(found: list[Parting]) -> tuple[Parting, ...]:
    """Those that say the same of one sidecar once, with all endpoints."""
    joined: dict[tuple[object, ...], list[str]] = {}
    first: dict[tuple[object, ...], Parting] = {}
    for one in found:
        name = (one.proxy, one.side, one.declared, one.held, one.outcome)
        first.setdefault(name, one)
        joined.setdefault(name, []).extend(one.endpoints)
    return tuple(
        Parting(one.proxy, one.side, one.declared, one.held, one.outcome, tuple(joined[name]))
        for name, one in first.items()
    )
