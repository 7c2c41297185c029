"""Changes to headers."""

from dataclasses import dataclass
from typing import Literal

from meshscope.policy.canonical import as_set, replace_fields

HeaderAction = Literal["append", "add_if_absent", "set", "overwrite_if_exists"]


@dataclass(frozen=True, slots=True)
class HeaderValue:
    """One header that is written.

    Attributes:
        name: Lower-case header name.
        value: The value, with Envoy's `%…%` substitutions as given.
        action: What happens to a header of that name that is there already.
        keep_empty: Written even where the substitutions give nothing.
    """

    name: str
    value: str
    action: HeaderAction = "append"
    keep_empty: bool = False

    def __post_init__(self) -> None:
        replace_fields(self, name=self.name.lower())


@dataclass(frozen=True, slots=True)
class HeaderMutation:
    """What happens to the headers of a message: first `remove` (a set), then `add` in order."""

    add: tuple[HeaderValue, ...] = ()
    remove: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        replace_fields(self, remove=as_set(name.lower() for name in self.remove))
