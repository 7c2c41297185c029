"""What a patch does to the policies that a proxy holds without it."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

from meshscope.policy.key import PolicyKey
from meshscope.policy.policy import Content, Policy
from meshscope.policy.source import ResourceRef
from meshscope.projection.patches.fields import Unmodelled
from meshscope.projection.patches.in_force import Patch

Held = Mapping[PolicyKey, tuple[Policy | None, ...]]
"""Every possible outcome per key; None: there is no such policy."""

C = TypeVar("C", bound=Content)


@dataclass(frozen=True, slots=True)
class Effect:
    """What becomes of one policy.

    Attributes:
        key: Which.
        outcomes: Its outcomes from now on; empty: there is none any more. None: nothing can be
            said of it.
        leftovers: What the vocabulary does not model stands beside it, and cannot be told.
        reason: Why nothing can be said.
    """

    key: PolicyKey
    outcomes: tuple[Policy | None, ...] | None
    leftovers: bool = False
    reason: str = ""


Model = Callable[[Patch, Held], Iterator[Effect]]
"""What a patch does; it raises `Unmodelled` if that cannot be said of all that it may touch."""


def changed(
    held: Held,
    keys: Iterable[PolicyKey],
    kind: type[C],
    change: Callable[[C], C],
    source: ResourceRef,
    *,
    leftovers: bool = False,
) -> Iterator[Effect]:
    """Change the contents of some policies.

    Args:
        held: All policies.
        keys: Keys of those that change.
        kind: What their contents are.
        change: What becomes of a content; it may raise `Unmodelled`, and then nothing can be said
            of that policy.
        source: The resource that changes them.
        leftovers: See `Effect`.
    """
    for key in keys:
        outcomes: list[Policy | None] = []
        try:
            for policy in held[key]:
                if policy is None or not isinstance(policy.content, kind):
                    outcomes.append(policy)
                    continue
                content = change(policy.content)
                if content is policy.content:
                    outcomes.append(policy)
                else:
                    outcomes.append(Policy(key, content, (*policy.sources, source)))
        except Unmodelled as error:
            yield Effect(key, None, reason=str(error))
        else:
            yield Effect(key, tuple(outcomes), leftovers)
