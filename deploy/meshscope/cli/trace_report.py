"""What `meshscope trace` found: values, exit code and JSON."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from meshscope.cli.dialled import Dialled
from meshscope.cli.report import API_VERSION, CLEAN, FINDINGS, INCOMPLETE, UNREADABLE, Finding
from meshscope.evaluation import Call, Outcome, Step
from meshscope.evaluation.journey import Arrival, Journey
from meshscope.evaluation.parting import Parting
from meshscope.evaluation.words import outcome_words
from meshscope.policy.source import ResourceRef

View = Literal["declared", "held"]

CONCLUSIONS: Final[Mapping[int, str]] = {
    CLEAN: "What is declared and what is held agree.",
    FINDINGS: "What is declared and what is held part.",
    UNREADABLE: "Some input could not be read and was left out: this trace is not complete.",
    INCOMPLETE: "Not everything could be said.",
}
"""What each exit code means."""


@dataclass(frozen=True, slots=True)
class Line:
    """A decision and the resources that say it."""

    step: Step
    resources: tuple[ResourceRef, ...] = ()


@dataclass(frozen=True, slots=True)
class Leg:
    """The way through one sidecar, or through several that do the same.

    Attributes:
        side: Which way.
        proxies: `pod.namespace`; empty: it is not known who is there.
        endpoints: For inbound: where they are reached; empty: there are none.
        target, share: For inbound: the destination, and its share of the requests.
        lines: Decisions in order; inbound those about the connection first.
        outcome: In the end.
        says: What is to be known of the place besides.
    """

    side: Literal["outbound", "inbound"]
    proxies: tuple[str, ...]
    lines: tuple[Line, ...]
    outcome: Outcome
    endpoints: tuple[str, ...] = ()
    target: str = ""
    share: float = 1.0
    says: str = ""

    @property
    def name(self) -> tuple[object, ...]:
        """What makes it the counterpart of one in another account."""
        return self.side, self.target, self.endpoints


@dataclass(frozen=True, slots=True)
class Parted:
    """Where the accounts part, and all sidecars of which that is said."""

    parting: Parting
    proxies: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TraceReport:
    """A request, followed in what is declared and in what is held.

    Attributes:
        source: The sidecar that it starts from.
        dialled: What the application dials.
        call: What it sends.
        declared, held: The legs; None: nothing is declared, or there is no dump.
        dumps: Files of the dumps that were used, by proxy.
        without_dump: Sidecars on the way that no dump is of.
        parted: Where the accounts part.
        open: What is not known, and could change what is said.
        notes: What was chosen, where there was a choice.
        findings: Input that was left out.
        places: File and line of every resource.
    """

    source: str
    dialled: Dialled
    call: Call
    declared: tuple[Leg, ...] | None
    held: tuple[Leg, ...] | None
    dumps: Mapping[str, str]
    without_dump: tuple[str, ...] = ()
    parted: tuple[Parted, ...] = ()
    open: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    places: Mapping[ResourceRef, tuple[str, int]] | None = None

    @property
    def exit_code(self) -> int:
        """What the shell gets: as with `meshscope check`."""
        if any(found.loses_input for found in self.findings):
            return UNREADABLE
        if self.parted:
            return FINDINGS
        known = self.declared is not None and self.held is not None
        undecided = any(
            leg.outcome.result == "undecided"
            for leg in (*(self.declared or ()), *(self.held or ()))
        )
        return CLEAN if known and not (self.open or self.without_dump or undecided) else INCOMPLETE

    def place(self, resource: ResourceRef) -> str:
        """`file:line` of a resource; empty: not known."""
        file, line = (self.places or {}).get(resource, ("", 0))
        return f"{file}:{line}" if line else file

    def to_json(self) -> dict[str, Any]:
        """The report as JSON; its shape is stable under `API_VERSION`."""
        request = self.call.request
        return {
            "apiVersion": API_VERSION,
            "kind": "RequestTrace",
            "summary": {
                "exit_code": self.exit_code,
                "parts": bool(self.parted),
                "declared": None if self.declared is None else _ends(self.declared),
                "held": None if self.held is None else _ends(self.held),
            },
            "request": {
                "from": self.source,
                "host": self.dialled.host,
                "address": self.dialled.address or None,
                "port": self.dialled.port,
                "protocol": self.call.protocol,
                "encrypted": self.dialled.encrypted,
                "method": request.method,
                "authority": request.authority,
                "target": request.target(),
                "headers": dict(request.headers),
            },
            "sidecars": [
                *({"proxy": proxy, "dump": file} for proxy, file in self.dumps.items()),
                *({"proxy": proxy, "dump": None} for proxy in self.without_dump),
            ],
            "declared": self._legs(self.declared),
            "held": self._legs(self.held),
            "partings": [self._parting(found) for found in self.parted],
            "open": list(self.open),
            "notes": list(self.notes),
            "findings": [found.to_json() for found in self.findings],
        }

    def _legs(self, legs: tuple[Leg, ...] | None) -> list[dict[str, Any]] | None:
        if legs is None:
            return None
        return [
            {
                "side": leg.side,
                "proxies": list(leg.proxies),
                "destination": leg.target or None,
                "share": round(leg.share, 6),
                "endpoints": list(leg.endpoints),
                "says": leg.says,
                "steps": [self._step(line.step, line.resources) for line in leg.lines],
                "outcome": _outcome(leg.outcome),
            }
            for leg in legs
        ]

    def _step(self, step: Step, resources: tuple[ResourceRef, ...] = ()) -> dict[str, Any]:
        return {
            "stage": step.stage,
            "says": step.says,
            "policy": None if step.policy is None else str(step.policy),
            "rule": step.rule or None,
            "resources": [
                {
                    "kind": resource.kind,
                    "namespace": resource.namespace,
                    "name": resource.name,
                    "place": self.place(resource) or None,
                }
                for resource in resources
            ],
        }

    def _parting(self, found: Parted) -> dict[str, Any]:
        one = found.parting
        return {
            "proxies": list(found.proxies),
            "side": one.side,
            "endpoints": list(one.endpoints),
            "declared": None if one.declared is None else self._step(one.declared),
            "held": None if one.held is None else self._step(one.held),
            "outcome": {"declared": one.outcome[0], "held": one.outcome[1]},
        }


def _ends(legs: tuple[Leg, ...]) -> list[str]:
    return list(dict.fromkeys(outcome_words(leg.outcome) for leg in ends(legs)))


def ends(legs: tuple[Leg, ...]) -> tuple[Leg, ...]:
    """The legs in which the request ends."""
    return legs[1:] or legs


def _outcome(outcome: Outcome) -> dict[str, Any]:
    return {
        "result": outcome.result,
        "reason": outcome.reason or None,
        "status": outcome.status or None,
        "grpc_status": outcome.grpc_status,
        "location": outcome.location or None,
        "destinations": [
            {
                "destination": str(share.target),
                "share": round(share.share, 6),
                "authority": share.authority or None,
            }
            for share in outcome.destinations
        ],
        "target": outcome.target or None,
        "timeout_ms": outcome.timeout_ms or None,
        "says": outcome_words(outcome),
    }


def legs_of(
    journeys: Mapping[View, Journey],
    sources: Callable[[View, str, Step], tuple[ResourceRef, ...]],
) -> Mapping[View, tuple[Leg, ...]]:
    """The legs of each account; endpoints at which the same happens in all of them are one.

    Args:
        journeys: The accounts.
        sources: The resources that say a step of a sidecar.
    """
    at: dict[tuple[str, str], dict[View, Arrival]] = {}
    for view, journey in journeys.items():
        for arrival in journey.arrivals:
            at.setdefault((str(arrival.share.target), arrival.endpoint), {})[view] = arrival
    groups: dict[tuple[object, ...], list[dict[View, Arrival]]] = {}
    for (target, _), accounts in at.items():
        alike = (target, *(_happens(accounts.get(view)) for view in journeys))
        groups.setdefault(alike, []).append(accounts)

    def lines(view: View, proxy: str, steps: tuple[Step, ...]) -> tuple[Line, ...]:
        return tuple(Line(step, sources(view, proxy, step)) for step in steps)

    def leg(view: View, group: list[Arrival]) -> Leg:
        first = group[0]
        return Leg(
            "inbound",
            tuple(dict.fromkeys(one.peer for one in group if one.peer)),
            (
                *lines(view, journeys[view].source, first.way),
                *lines(view, first.peer, first.steps),
            ),
            first.outcome,
            tuple(one.endpoint for one in group if one.endpoint),
            str(first.share.target),
            first.share.share,
            first.says,
        )

    return {
        view: (
            Leg(
                "outbound",
                (journey.source,),
                lines(view, journey.source, journey.outbound.steps),
                journey.outbound.outcome,
            ),
            *(
                leg(view, [one[view] for one in group])
                for group in groups.values()
                if view in group[0]
            ),
        )
        for view, journey in journeys.items()
    }


def _happens(arrival: Arrival | None) -> object:
    """What happens at an endpoint, whichever it is."""
    if arrival is None:
        return None
    return arrival.share, arrival.way, arrival.steps, arrival.outcome, arrival.says
