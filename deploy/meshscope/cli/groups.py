"""What is alike in many proxies or policies, said once."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from meshscope.cli.report import ProxyReport
from meshscope.comparison.subjects import subject
from meshscope.comparison.verdict import EFFECTS, Affected, Difference, Effect, UnverifiablePart
from meshscope.policy.key import PolicyKey
from meshscope.policy.kinds import Kind


@dataclass(frozen=True, slots=True)
class DifferenceGroup:
    """Differences that say the same.

    Attributes:
        difference: One of them, with the request that shows the first.
        keys: The policies that differ so.
        proxies: The proxies that have them.
        everywhere: Whether each of the proxies has them all.
    """

    difference: Difference
    keys: tuple[PolicyKey, ...]
    proxies: tuple[ProxyReport, ...]
    everywhere: bool

    @property
    def subjects(self) -> tuple[str, ...]:
        """What the policies are about; the chains of one port stand together."""
        chains: dict[str, list[str]] = {}
        for key in self.keys:
            about, _, chain = subject(key).partition(" (")
            chains.setdefault(about, []).append(chain.removesuffix(")"))
        return tuple(
            f"{about} ({'; '.join(several)})" if any(several) else about
            for about, several in chains.items()
        )


@dataclass(frozen=True, slots=True)
class UnverifiableGroup:
    """Parts that cannot be verified for the same reason.

    Attributes:
        part: One of them, with the policies of all of them as its keys.
        proxies: The proxies that have them.
    """

    part: UnverifiablePart
    proxies: tuple[ProxyReport, ...]


def difference_groups(proxies: Iterable[ProxyReport]) -> tuple[DifferenceGroup, ...]:
    """The differences of all proxies, worst effect first."""
    groups: dict[Difference, dict[str, tuple[ProxyReport, set[PolicyKey]]]] = {}
    witnesses: dict[Difference, str | None] = {}
    for proxy in proxies:
        for found in proxy.verdict.differences:
            alike = replace(found, key=_ANY_KEY, witness=None)
            whose = groups.setdefault(alike, {})
            whose.setdefault(proxy.file, (proxy, set()))[1].add(found.key)
            witnesses.setdefault(alike, found.witness)
    grouped = [
        _group(replace(found, witness=witnesses[found]), tuple(whose.values()))
        for found, whose in groups.items()
    ]
    return tuple(
        sorted(grouped, key=lambda group: (EFFECTS.index(group.difference.effect), group.keys))
    )


def _group(
    found: Difference, whose: Sequence[tuple[ProxyReport, set[PolicyKey]]]
) -> DifferenceGroup:
    keys = set().union(*(some for _, some in whose))
    ordered = tuple(sorted(keys))
    return DifferenceGroup(
        replace(found, key=ordered[0]),
        ordered,
        tuple(proxy for proxy, _ in whose),
        all(some == keys for _, some in whose),
    )


_ANY_KEY = PolicyKey.parse("egress/-")


def unverifiable_groups(proxies: Iterable[ProxyReport]) -> tuple[UnverifiableGroup, ...]:
    """What cannot be verified in any proxy, in the order in which it was met."""
    groups: dict[UnverifiablePart, list[ProxyReport]] = {}
    keys: dict[UnverifiablePart, dict[PolicyKey, None]] = {}
    for proxy in proxies:
        for part in proxy.verdict.unverifiable:
            alike = replace(part, keys=(), kind=None)
            who = groups.setdefault(alike, [])
            if who[-1:] != [proxy]:
                who.append(proxy)
            keys.setdefault(alike, {}).update(dict.fromkeys(part.keys))
    return tuple(
        UnverifiableGroup(replace(part, keys=tuple(sorted(keys[part]))), tuple(who))
        for part, who in groups.items()
    )


_ACCESS: Final[Mapping[Effect, str]] = {"exposes": "gains access", "blocks": "loses access"}
_ROUTES: Final[Mapping[Effect, str]] = {"blocks": "not served", "reroutes": "goes elsewhere"}
_OBVIOUS: Final = frozenset({"allowed", "denied"})


def affected_fact(kind: Kind, some: Affected) -> tuple[str, str]:
    """What happens to some requests, and which: `gains access`, `GET /cart from ns/shop/*`."""
    named = _ACCESS if kind is Kind.AUTHORIZATION else _ROUTES
    outcomes = f": {some.expected} → {some.observed}"
    is_said = {some.expected, some.observed} == _OBVIOUS or some.expected == some.observed
    return named.get(some.effect, "changes"), some.text + ("" if is_said else outcomes)


def witness_text(witness: str) -> str:
    """The request of a witness, as a reader writes it."""
    text: str = json.loads(witness)["text"]
    return text


def listed(names: Iterable[str], most: int = 3) -> str:
    """Names in one line; of many the first ones, and how many there are besides."""
    known = tuple(names)
    if len(known) <= most + 1:
        return ", ".join(known)
    return f"{', '.join(known[:most])} and {len(known) - most} more"


def number(count: int, one: str, many: str) -> str:
    """`1 proxy`, `3 proxies`."""
    return f"{count} {one if count == 1 else many}"
