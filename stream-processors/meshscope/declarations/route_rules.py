"""VirtualServices with routes that no request reaches, or matches that change nothing."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import product
from typing import Final

from meshscope.algebra.addresses import network
from meshscope.algebra.conditions import Dnf
from meshscope.algebra.conditions import route_match as cubes_of
from meshscope.algebra.decision_list import Decision, DecisionList, review
from meshscope.algebra.dimensions import YES, Constraint, Dimension, Numbers, Slot, Texts
from meshscope.algebra.intervals import Intervals, intervals
from meshscope.algebra.limits import LIMITS as MOST
from meshscope.algebra.limits import Limits, TooLargeError, Undecided
from meshscope.algebra.request import Request
from meshscope.algebra.strings import NOTHING, exact, suffix
from meshscope.declarations.finding import Finding, Lacking, Said, Witness
from meshscope.declarations.reading import Json, labels, mappings, number, text, texts
from meshscope.declarations.surroundings import Surroundings, words
from meshscope.evaluation.matching import route_meets
from meshscope.events.resource import Resource
from meshscope.policy.http_route import RouteMatch
from meshscope.projection.routes.match import route_match
from meshscope.projection.routes.virtual_service import MESH

UNREACHABLE = "MSC-2301"
INEFFECTIVE = "MSC-2302"

LIMITS: Final = Limits(nodes=20_000, steps=500_000)
"""There are many lists of routes: about a second for each of the worst."""


@dataclass(frozen=True, slots=True)
class _Match:
    """One match of a route, or all requests where the route has none.

    Attributes:
        block: Position of the route.
        place: Position of the match in it; None: the route has none.
        cubes: The requests.
        condition: The same as the evaluation reads it; None: it is not about HTTP.
    """

    block: int
    place: int | None
    cubes: Dnf
    condition: RouteMatch | None = None


def dead_routes(service: Resource, around: Surroundings) -> Iterator[Said]:
    """Routes and matches of which every request is taken by those before."""
    for kind, conditions in (("http", _http), ("tls", _tls), ("tcp", _tcp)):
        try:
            found = list(_matches(service, kind, conditions))
            if len(found) > 1:
                yield from _reviewed(service, kind, found)
        except TooLargeError as error:
            yield Lacking((UNREACHABLE, INEFFECTIVE), f"undecided: {error}")


def request_of(service: Resource, block: int) -> Request | None:
    """The simplest request that an HTTP route decides; None: there is none, or it is not known."""
    try:
        found = list(_matches(service, "http", _http))
        rules = DecisionList(tuple(Decision(one.cubes, (one.block, one.place)) for one in found))
        reviews = review(rules, _given(service), LIMITS)
    except (TooLargeError, ValueError):
        return None
    if isinstance(reviews, Undecided):
        return None
    return next(
        (
            judged.example
            for one, judged in zip(found, reviews, strict=True)
            if one.block == block and judged.standing == "decides"
        ),
        None,
    )


def _reviewed(service: Resource, kind: str, found: list[_Match]) -> Iterator[Said]:
    rules = DecisionList(tuple(Decision(one.cubes, (one.block, one.place)) for one in found))
    reviews = review(rules, _given(service), LIMITS)
    if isinstance(reviews, Undecided):
        yield Lacking((UNREACHABLE, INEFFECTIVE), f"undecided: {reviews.reason}")
        return
    dead = {n for n, judged in enumerate(reviews) if judged.standing in ("shadowed", "impossible")}
    for block in dict.fromkeys(one.block for one in found):
        own = [n for n, one in enumerate(found) if one.block == block]
        gone = [n for n in own if n in dead]
        if not gone:
            continue
        whole = len(gone) == len(own)
        for n in gone[:1] if whole else gone:
            path = f"spec.{kind}[{block}]"
            earlier = [found[place] for place in reviews[n].earlier]
            witness = _witness(reviews[n].example, found[n], earlier, kind)
            if reviews[n].standing == "shadowed" and witness is None:
                continue
            yield Finding(
                UNREACHABLE if whole else INEFFECTIVE,
                service,
                path if whole else f"{path}.match[{found[n].place}]",
                _reason(kind, found[n], earlier, whole=whole),
                witness,
            )


def _witness(
    example: Request | None, one: _Match, earlier: list[_Match], kind: str
) -> Witness | None:
    """A request that the match takes and an earlier one gets; None: the evaluation knows none."""
    if example is None or not earlier:
        return None
    first = earlier[0]
    if one.condition is not None:
        if route_meets(one.condition, example) is not True:
            return None
        taking = [
            other
            for other in earlier
            if other.condition is not None and route_meets(other.condition, example) is True
        ]
        if not taking:
            return None
        first = taking[0]
    return Witness(example, f"taken by {_named(kind, first)}")


def _reason(kind: str, one: _Match, earlier: list[_Match], *, whole: bool) -> str:
    what = f"{kind}[{one.block}]" if whole else _named(kind, one)
    if not earlier:
        return f"no request can meet all conditions of {what}"
    taking = words(_named(kind, other) for other in earlier)
    some = taking if len(earlier) == 1 else f"one of {taking}"
    if whole:
        return f"the route {what} is never reached: each of its requests is taken by {some} before"
    return f"the match {what} changes nothing: each of its requests is taken by {some} before"


def _named(kind: str, one: _Match) -> str:
    return f"{kind}[{one.block}]" + ("" if one.place is None else f".match[{one.place}]")


Conditions = Callable[[Json], tuple[Dnf, RouteMatch | None]]


def _matches(service: Resource, kind: str, conditions: Conditions) -> Iterator[_Match]:
    for block, route in mappings(service.spec, kind):
        given = list(mappings(route, "match"))
        for place, match in given:
            cubes, condition = conditions(match)
            about = _about_proxies(match, _gateways(service))
            yield _Match(block, place, _all((cubes, *about)), condition)
        if not given:
            every = RouteMatch() if kind == "http" else None
            yield _Match(block, None, ((),), every)


def _given(service: Resource) -> Dnf:
    """Requests come through one of the gateways of the VirtualService."""
    names = _gateways(service)
    return tuple((_through(name),) for name in names) if len(names) > 1 else ((),)


def _gateways(service: Resource) -> tuple[str, ...]:
    return texts(service.spec, "gateways") or (MESH,)


def _all(parts: Iterable[Dnf]) -> Dnf:
    found: Dnf = ((),)
    for part in parts:
        if len(found) * len(part) > MOST.products:
            raise TooLargeError(f"a match has more than {MOST.products} alternatives")
        found = tuple(one + other for one, other in product(found, part))
    return found


def _opaque(what: str) -> Constraint:
    return Constraint(Slot(Dimension.OPAQUE, what), YES)


def _through(gateway: str) -> Constraint:
    return _opaque(f"it comes through gateway {gateway}")


def _about_proxies(match: Json, bound: tuple[str, ...]) -> Iterator[Dnf]:
    """What a match demands of the proxy that the request comes through.

    `bound` are the gateways of the VirtualService; a match for none of them takes nothing.
    """
    port = number(match, "port")
    if port:
        yield ((Constraint(Slot(Dimension.PORT), Numbers(((port, port),))),),)
    gateways = texts(match, "gateways")
    if gateways and not set(bound) <= set(gateways):
        yield tuple((_through(name),) for name in bound if name in gateways)
    if text(match, "sourceNamespace"):
        yield ((_opaque(f"the client is in namespace {match['sourceNamespace']}"),),)
    for name, value in labels(match, "sourceLabels").items():
        yield ((_opaque(f"the client has label {name}={value}"),),)


def _http(match: Json) -> tuple[Dnf, RouteMatch | None]:
    condition = route_match(match, gateway_api=False)
    return cubes_of(condition), condition


def _tcp(match: Json) -> tuple[Dnf, RouteMatch | None]:
    return _all(_subnets(match)), None


def _tls(match: Json) -> tuple[Dnf, RouteMatch | None]:
    names = NOTHING
    for name in texts(match, "sniHosts"):
        names = names | (suffix(name[1:], True) if name.startswith("*") else exact(name, True))
    own: Dnf = ((Constraint(Slot(Dimension.SERVER_NAME), Texts(names)),),)
    return _all((own, *_subnets(match))), None


def _subnets(match: Json) -> Iterator[Dnf]:
    given = texts(match, "destinationSubnets")
    if given:
        members: Intervals = intervals(pair for name in given for pair in network(name))
        yield ((Constraint(Slot(Dimension.DESTINATION_ADDRESS), Numbers(members)),),)
