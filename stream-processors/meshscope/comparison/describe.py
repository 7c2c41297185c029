"""In which fields two contents differ, and what a policy says, in words."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, Final, Literal

from meshscope.comparison import match_words, words
from meshscope.comparison.field_names import field_name, path_text
from meshscope.policy.authorization import CustomRules, Rule
from meshscope.policy.canonical import content_bytes
from meshscope.policy.endpoints import Endpoint, LocalityEndpoints
from meshscope.policy.headers import HeaderValue
from meshscope.policy.http_route import HttpRule
from meshscope.policy.inbound import InboundRoutes
from meshscope.policy.outbound_listener import OutboundChain
from meshscope.policy.peer_authentication import AcceptedChain
from meshscope.policy.policy import Content
from meshscope.policy.request_authentication import JwtRule

ABSENT: Final = "not there"
_BEFORE: Final = 40
_AFTER: Final = 200
"""Characters that are shown around a difference between long values."""


@dataclass(frozen=True, slots=True)
class Differing:
    """One place in which two contents differ.

    Attributes:
        path: Fields and elements from the outside in, `("rules", "[0]", "forward", "timeout_ms")`.
            An element of an ordered list is named by its position, one of a set by what tells it
            from the others.
        title: The same as Istio's resources call it: `http[path prefix /cart].timeout`.
        expected, observed: The values themselves.
        absent: The side on which an element of a list does not exist; that side's value is None.
        said: What the element says on the other side, besides its name.
        lack: What is said of the side on which it does not exist.
    """

    path: tuple[str, ...]
    title: str
    expected: Any
    observed: Any
    absent: Literal["", "expected", "observed"] = ""
    said: str = ""
    lack: str = ABSENT

    @property
    def fields(self) -> tuple[str, ...]:
        """The path without the elements of lists."""
        return tuple(step for step in self.path if not step.startswith("["))

    @property
    def texts(self) -> tuple[str, str]:
        """The expected and the observed value in words; never the same."""
        if self.absent:
            sides = (self.lack, self.said)
            return sides if self.absent == "expected" else (sides[1], sides[0])
        unit = self.fields[-1] if self.fields else ""
        expected = words.render(self.expected, unit)
        observed = words.render(self.observed, unit)
        if expected == observed:
            # Words leave out what seldom matters, and are cut where they are long.
            return _excerpts(
                content_bytes(self.expected).decode(), content_bytes(self.observed).decode()
            )
        return expected, observed


def _excerpts(one: str, other: str) -> tuple[str, str]:
    """The parts of two different texts around the first character in which they differ."""
    same = next(
        (i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b),
        min(len(one), len(other)),
    )
    start = max(0, same - _BEFORE)
    prefix = "…" if start else ""
    return prefix + one[start : same + _AFTER], prefix + other[start : same + _AFTER]


@dataclass(frozen=True, slots=True)
class _Element:
    """How elements of one type are told apart and called.

    Attributes:
        identity: What makes two elements of both sides the same one.
        name: What it is called.
        ordered: Order has a meaning, and elements that only one side has, as many as the other
            side has, are taken for the same ones, changed.
        nameless: The element without its names; None: it has none.
        says: What it says besides its name.
        lack: What is said where it does not exist.
        plain: Its name needs no brackets.
    """

    identity: Callable[[Any], object]
    name: Callable[[Any], str]
    ordered: bool = False
    nameless: Callable[[Any], object] | None = None
    says: Callable[[Any], str] = words.render
    lack: str = ABSENT
    plain: bool = False

    def step(self, item: object) -> str:
        """How it stands in a path."""
        return f" {self.name(item)}" if self.plain else f"[{self.name(item)}]"


_ELEMENTS: Final[dict[type, _Element]] = {
    AcceptedChain: _Element(
        lambda chain: (
            chain.transport_protocol,
            chain.application_protocols,
            chain.protocol,
            chain.tls is None,
        ),
        words.accepted_chain,
        says=lambda chain: "accepted",
        lack="refused",
    ),
    CustomRules: _Element(
        lambda custom: custom.provider,
        lambda custom: custom.provider or "external authorizer",
        says=words.custom_details,
    ),
    Endpoint: _Element(
        lambda endpoint: (endpoint.address, endpoint.port),
        words.endpoint_name,
        says=words.endpoint_details,
    ),
    HeaderValue: _Element(lambda value: value.name, lambda value: str(value.name), ordered=True),
    HttpRule: _Element(
        lambda rule: rule.match,
        lambda rule: match_words.route_match(rule.match),
        ordered=True,
        says=words.http_action,
    ),
    InboundRoutes: _Element(
        lambda routes: routes.transport,
        lambda routes: words.TRANSPORTS.get(routes.transport, routes.transport),
        says=lambda routes: words.render(routes.rules),
    ),
    JwtRule: _Element(lambda rule: rule.issuer, lambda rule: f"issuer {rule.issuer}", ordered=True),
    LocalityEndpoints: _Element(
        words.locality_name, words.locality_name, says=words.locality_details
    ),
    OutboundChain: _Element(
        lambda chain: chain.match,
        lambda chain: match_words.chain_match(chain.match),
        says=words.chain_target,
    ),
    Rule: _Element(
        lambda rule: (rule.policy, rule.index) if rule.policy else rule,
        match_words.rule_name,
        nameless=lambda rule: replace(rule, policy="", index=0),
        says=match_words.rule_conditions,
        plain=True,
    ),
}


def differing(expected: Content, observed: Content) -> Iterator[Differing]:
    """All places in which two contents of one kind differ; none if their digests are equal."""
    yield from _compare(expected, observed, (), ())


def _compare(
    expected: Any, observed: Any, path: tuple[str, ...], title: tuple[str, ...]
) -> Iterator[Differing]:
    if _equal(expected, observed):
        return
    if is_dataclass(expected) and type(expected) is type(observed) and not _is_atom(expected):
        # What sums up the rest is said first.
        for field in sorted(fields(expected), key=lambda field: field.name != "mode"):
            name = field.name
            yield from _compare(
                getattr(expected, name),
                getattr(observed, name),
                (*path, name),
                (*title, field_name(type(expected), name)),
            )
        return
    if isinstance(expected, tuple) and isinstance(observed, tuple):
        element = _element_of(expected, observed)
        if element is not None:
            yield from _compare_elements(element, expected, observed, path, title)
            return
    yield Differing(path, path_text(title), expected, observed)


def _is_atom(value: object) -> bool:
    """Whether it reads best as a whole."""
    return type(value) in words.ATOMS


def _compare_elements(
    element: _Element,
    expected: tuple[Any, ...],
    observed: tuple[Any, ...],
    path: tuple[str, ...],
    title: tuple[str, ...],
) -> Iterator[Differing]:
    pairs, missing, extra = _pair(element, expected, observed)

    def label(index: int, item: object) -> tuple[str, ...]:
        return (*path, f"[{index}]" if element.ordered else f"[{element.name(item)}]")

    for index, partner in pairs:
        one = expected[index]
        yield from _compare(one, observed[partner], label(index, one), (*title, element.step(one)))
    for index in missing:
        one = expected[index]
        called = path_text((*title, element.step(one)))
        said, lack = element.says(one), element.lack
        yield Differing(label(index, one), called, one, None, "observed", said, lack)
    for index in extra:
        other = observed[index]
        called = path_text((*title, element.step(other)))
        said, lack = element.says(other), element.lack
        yield Differing(label(index, other), called, None, other, "expected", said, lack)
    partners = [partner for _, partner in pairs]
    if element.ordered and partners != sorted(partners):
        yield Differing(
            (*path, "[order]"),
            path_text((*title, "[order]")),
            tuple(element.name(expected[index]) for index, _ in pairs),
            tuple(element.name(observed[partner]) for partner in sorted(partners)),
        )


def _pair(
    element: _Element, expected: tuple[Any, ...], observed: tuple[Any, ...]
) -> tuple[list[tuple[int, int]], list[int], list[int]]:
    """Positions of elements that are the same one on both sides, and of those that are not.

    Equal elements are paired first, so that of several with one identity the right ones meet.
    """
    left, right = list(range(len(expected))), list(range(len(observed)))
    pairs: list[tuple[int, int]] = []
    keys: list[Callable[[Any], object]] = [content_bytes, element.identity]
    if element.nameless is not None:
        keys.insert(1, element.nameless)
    for key in keys:
        places: dict[object, list[int]] = {}
        for position in right:
            places.setdefault(key(observed[position]), []).append(position)
        for position in left:
            if same := places.get(key(expected[position])):
                pairs.append((position, same.pop(0)))
        left = [i for i in left if i not in {i for i, _ in pairs}]
        right = [j for j in right if j not in {j for _, j in pairs}]
    if element.ordered and len(left) == len(right):
        pairs += zip(left, right, strict=True)
        left, right = [], []
    return sorted(pairs), left, right


def _element_of(expected: tuple[Any, ...], observed: tuple[Any, ...]) -> _Element | None:
    """How the elements of two lists are told apart; None: the lists are compared as a whole."""
    types = {type(item) for item in (*expected, *observed)}
    return _ELEMENTS.get(types.pop()) if len(types) == 1 else None


def _equal(one: object, other: object) -> bool:
    return one is other or (one == other and content_bytes(one) == content_bytes(other))
