"""Sets of requests in words: `GET /admin/* from ns/shop/*`."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from meshscope.algebra.dimensions import Dimension
from meshscope.algebra.regions import HOLDS, NONE, SHAPES, Part, Parts, Region, Term
from meshscope.comparison.verdict import Affected, Effect

MOST_PRODUCTS: Final = 6
"""Products of one set that are listed; the others are counted."""
MOST_VALUES: Final = 8
"""Values of one part of a product that are listed; the others are counted."""


def affected(effect: Effect, expected: str, observed: str, region: Region) -> Affected:
    """What happens to a set of requests, for a report."""
    listed = region.products[:MOST_PRODUCTS]
    return Affected(
        effect,
        expected,
        observed,
        tuple(map(product_words, listed)),
        len(region.products) - len(listed),
        region.complete,
        region.inverted,
    )


def product_words(parts: Parts) -> str:
    """A product of sets: what is not named may be anything."""
    said = {part.slot.dimension: part for part in parts}
    head = []
    if Dimension.METHOD in said:
        head.append(_listed(said[Dimension.METHOD].terms, "any method"))
    if Dimension.PATH in said:
        path = _path(said[Dimension.PATH])
        head.append(f"on {path}" if head and path.startswith("any path") else path)
    rest = [
        _WORDS[part.slot.dimension](part)
        for part in parts
        if part.slot.dimension in _WORDS and not _is_implied(part, parts)
    ]
    return " ".join((*(head or ["every request"]), *rest))


def _is_implied(part: Part, parts: Parts) -> bool:
    """Whether another part of the product says as much: only strings and lists have values."""
    return part.slot.dimension is Dimension.CLAIM_SHAPE and any(
        other.slot.name == part.slot.name and other.element is not False
        for other in parts
        if other.slot.dimension in (Dimension.CLAIM, Dimension.CLAIM_ELEMENT)
    )


def _one(term: Term, anything: str) -> str:
    within = " and ".join(term.within) or anything
    return f"{within} but {' or '.join(term.outside)}" if term.outside else within


def _listed(terms: Sequence[Term], anything: str) -> str:
    shown = [_one(term, anything) for term in terms[:MOST_VALUES]]
    more = len(terms) - len(shown)
    return " or ".join((*shown, f"{more} more") if more else shown)


def _always(anything: str, before: str) -> Callable[[Part], str]:
    """Words for a part that has a value in every request; `anything` stands for each of them."""
    return lambda part: f"{before} {_listed(part.terms, anything)}"


def _optional(before: str, anything: str, unless: str, without: str) -> Callable[[Part], str]:
    """Words for a part that may have no value.

    Args:
        before: What stands before values.
        anything: What stands for each value.
        unless: What stands before values that it has not, as it also has none.
        without: What is said where there is none.
    """

    def words(part: Part) -> str:
        name = f" {part.slot.name}" if part.slot.name else ""
        said = []
        for term in part.terms[:MOST_VALUES]:
            others = tuple(outside for outside in term.outside if outside != NONE)
            if NONE in term.within:
                said.append(f"{without}{name}")
            elif term.within or len(others) < len(term.outside):
                said.append(f"{before}{name} {_one(Term(term.within, others), anything)}".strip())
            else:
                verb = " is" if name else ""
                said.append(f"{unless}{name}{verb} {' or '.join(others)}")
        if more := len(part.terms) - len(said):
            said.append(f"{more} more")
        # The same words are not said twice: `with header x a or b`.
        head = f"{before}{name} "
        return " or ".join(
            text.removeprefix(head) if number and said[number - 1].startswith(head) else text
            for number, text in enumerate(said)
        )

    return words


_path: Final = _optional("", "any path", "any path but", "CONNECT")


def _claim(part: Part) -> str:
    return part.slot.name.rpartition("/")[2]


def _shape(part: Part) -> str:
    claim = f"claim {_claim(part)}"
    said = []
    for term in part.terms:
        if term.within:
            said.append(f"with {claim} as {' and '.join(term.within)}")
        elif len(term.outside) == len(SHAPES):
            said.append(f"without {claim}")
        else:
            said.append(f"without {claim} as {' or '.join(term.outside)}")
    return " or ".join(said)


def _scalar(part: Part) -> str:
    return f"with claim {_claim(part)} {_listed(part.terms, 'anything')}"


def _element(part: Part) -> str:
    word = "with" if part.element else "without"
    return f"{word} {_listed(part.terms, 'anything')} in claim {_claim(part)}"


def _opaque(part: Part) -> str:
    holds = any(HOLDS in term.within for term in part.terms)
    return f"{'if' if holds else 'unless'} {part.slot.name}"


_WORDS: Final[Mapping[Dimension, Callable[[Part], str]]] = {
    Dimension.AUTHORITY: _always("any host", "to host"),
    Dimension.PORT: _always("any port", "on port"),
    Dimension.TRANSPORT: _always("any transport", "over"),
    Dimension.PRINCIPAL: _optional(
        "from", "any identity", "from anyone but", "from peers without identity"
    ),
    Dimension.PEER_ADDRESS: _always("any address", "from peers at"),
    Dimension.CLIENT_ADDRESS: _always("any address", "on behalf of"),
    Dimension.DESTINATION_ADDRESS: _always("any address", "to address"),
    Dimension.SERVER_NAME: _optional("with SNI", "anything", "unless SNI is", "without SNI"),
    Dimension.APPLICATION_PROTOCOL: _optional(
        "with ALPN", "anything", "unless ALPN is", "without ALPN"
    ),
    Dimension.HEADER: _optional("with header", "anything", "unless header", "without header"),
    Dimension.QUERY: _optional("with query", "anything", "unless query", "without query"),
    Dimension.CLAIM_SHAPE: _shape,
    Dimension.CLAIM: _scalar,
    Dimension.CLAIM_ELEMENT: _element,
    Dimension.OPAQUE: _opaque,
}
"""Words for every dimension but method and path, which stand first without any."""
