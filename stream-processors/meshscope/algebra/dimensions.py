"""The dimensions of a request, and which values it can have along them.

`DIMENSIONS` is the table. A slot is a dimension, or, where there may be many of them (headers,
query parameters, claims), one of them by name. Slots are independent of each other, and the
universe of a slot holds what can really arrive there: a header has no line feed, a path begins with
a slash. That is why `.*` and "is present" are the same condition.
"""

from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Final, TypeAlias

from meshscope.algebra.addresses import LAST
from meshscope.algebra.intervals import Intervals, complement
from meshscope.algebra.regex import regex
from meshscope.algebra.strings import ANYTHING, NOTHING, Language

_VISIBLE: Final = r"[^\x00-\x20\x7f]"


class Dimension(StrEnum):
    """What a condition can look at."""

    PATH = "path"
    AUTHORITY = "authority"
    METHOD = "method"
    PORT = "port"
    TRANSPORT = "transport"
    PRINCIPAL = "principal"
    PEER_ADDRESS = "peer_address"
    CLIENT_ADDRESS = "client_address"
    DESTINATION_ADDRESS = "destination_address"
    SERVER_NAME = "server_name"
    APPLICATION_PROTOCOL = "application_protocol"
    HEADER = "header"
    QUERY = "query"
    CLAIM_SHAPE = "claim_shape"
    CLAIM = "claim"
    CLAIM_ELEMENT = "claim_element"
    OPAQUE = "opaque"


@dataclass(frozen=True)
class TextDomain:
    """Strings.

    Attributes:
        universe: RE2 pattern of the values that can occur.
        optional: There may be no value at all.
        samples: Values for examples, in order of preference; the first is what a request has
            where nothing is said. Without `samples` that is no value, or the shortest one.
        usual: Patterns of the values that examples are taken from where there are such, the most
            usual ones first; else any will do.
    """

    universe: str
    optional: bool
    samples: tuple[str, ...] = ()
    usual: tuple[str, ...] = ()

    @cached_property
    def language(self) -> Language:
        """The values that can occur."""
        return regex(self.universe)


@dataclass(frozen=True)
class NumberDomain:
    """Whole numbers from 0 to `top`; `samples` as in `TextDomain`."""

    top: int
    samples: tuple[int, ...] = ()


ABSENT: Final = 0
SCALAR: Final = 1
LIST: Final = 2
"""Shapes of a claim: none (or neither string nor list), a string, a list of strings."""

DIMENSIONS: Final[dict[Dimension, TextDomain | NumberDomain]] = {
    # Without its query; normalised as the connection says, before any policy sees it. OPTIONS may
    # have `*`, CONNECT has none.
    Dimension.PATH: TextDomain(r"/[^\x00-\x20\x7f?#]*|\*", True, ("/",)),
    Dimension.AUTHORITY: TextDomain(rf"{_VISIBLE}+", False),
    Dimension.METHOD: TextDomain(
        r"[!#$%&'*+.^_`|~0-9A-Za-z-]+",
        False,
        ("GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"),
    ),
    Dimension.PORT: NumberDomain(65_535, (80, 8080, 443, 9090)),
    Dimension.TRANSPORT: TextDomain("mtls|tls|plaintext", False, ("mtls", "plaintext", "tls")),
    # Istio issues identities of one form; other authorities that are trusted may issue others.
    # There is none without mutual TLS.
    Dimension.PRINCIPAL: TextDomain(
        r"[^\x00-\x1f\x7f]+",
        True,
        usual=tuple(
            rf"spiffe://{domain}/ns/[a-z0-9][a-z0-9-]*/sa/[a-z0-9][a-z0-9.-]*"
            for domain in (r"cluster\.local", "[a-z0-9][a-z0-9._-]*")
        ),
    ),
    Dimension.PEER_ADDRESS: NumberDomain(LAST, ((10 << 24) + 9,)),
    Dimension.CLIENT_ADDRESS: NumberDomain(LAST, ((10 << 24) + 9,)),
    Dimension.DESTINATION_ADDRESS: NumberDomain(LAST, ((10 << 24) + 1,)),
    Dimension.SERVER_NAME: TextDomain(r"[a-z0-9._-]+", True),
    Dimension.APPLICATION_PROTOCOL: TextDomain(r"[\x21-\x7e]+", True, ("http/1.1", "h2", "istio")),
    # Several headers of one name count as one, joined by commas.
    Dimension.HEADER: TextDomain(
        rf"(?:{_VISIBLE}(?:[^\x00-\x08\x0a-\x1f\x7f]*{_VISIBLE})?)?", True
    ),
    Dimension.QUERY: TextDomain(r"[^\x00-\x20\x7f#&]*", True),
    Dimension.CLAIM_SHAPE: NumberDomain(2),
    Dimension.CLAIM: TextDomain(r"(?s).*", False, ("x",)),
    Dimension.CLAIM_ELEMENT: TextDomain(r"(?s).*", False),
    # What is not modelled: it holds or not, and nobody knows when.
    Dimension.OPAQUE: NumberDomain(1),
}


@dataclass(frozen=True, slots=True, order=True)
class Slot:
    """A dimension, and for headers, parameters and claims the name; for opaque ones the reason."""

    dimension: Dimension
    name: str = ""

    def __str__(self) -> str:
        return f"{self.dimension} {self.name}".rstrip()


@dataclass(frozen=True, slots=True)
class Texts:
    """Strings, and whether "there is none" is one of the values."""

    language: Language
    absent: bool = False

    def inverted(self) -> "Texts":
        """All other values."""
        return Texts(~self.language, not self.absent)


@dataclass(frozen=True, slots=True)
class Numbers:
    """Whole numbers."""

    members: Intervals

    def inverted(self) -> "Numbers":
        """All other numbers (`NumberDomain.top` cuts off what does not occur)."""
        return Numbers(complement(self.members, 1 << 129))


Values: TypeAlias = Texts | Numbers

PRESENT: Final = Texts(ANYTHING)
MISSING: Final = Texts(NOTHING, absent=True)
YES: Final = Numbers(((1, 1),))


@dataclass(frozen=True, slots=True)
class Constraint:
    """A condition: what stands in the slot is one of the values."""

    slot: Slot
    values: Values

    def inverted(self) -> "Constraint":
        """The opposite condition."""
        return Constraint(self.slot, self.values.inverted())


@dataclass(frozen=True, slots=True)
class Elements:
    """A condition on a claim that is a list: one of its elements is in a language, or (`none`) none
    is. Lists are sets of atoms of `Dimension.CLAIM_ELEMENT`: each has an element in it or not,
    whatever the others do.
    """

    claim: str
    language: Language
    none: bool = False


Cube: TypeAlias = tuple[Constraint | Elements, ...]
"""Conditions that must all hold; a product of sets."""
