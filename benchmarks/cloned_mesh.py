"""A mesh of any number of proxies, made of the few of a recorded one, and what they publish.

Every proxy is a copy of a recorded one with a Pod and an address of its own, so that it should hold
what the recorded one should hold. What it does hold changes in the course of a run: its own
configuration, or one that the recorded control plane gave to the same Pod in another state.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from recorded_meshes import BASE, inferred, resources
from shared_data import shared

from meshscope.agent.publication import Held, Publication, Publisher, held, publish
from meshscope.events.facts import ProxyState
from meshscope.events.proxy import ProxyInputs
from meshscope.events.resource import Resource
from meshscope.policy.policy import Policy

MESH: Final = "bookshop"
CHANGED: Final = 0.3
"""Share of snapshots with another configuration than the one before; the rest say a new state."""
BACK: Final = 0.5
"""Share of changes that return to the configuration that is declared."""
LATE: Final = 0.02
"""Share of snapshots that arrive after the next one of their proxy."""
TWICE: Final = 0.02
"""Share of snapshots that arrive a second time."""


@dataclass(frozen=True, slots=True)
class Origin:
    """A recorded proxy: what it should hold first, then what it held in other states."""

    inputs: ProxyInputs
    contents: tuple[tuple[Policy, ...], ...]


def origins() -> tuple[Origin, ...]:
    """All proxies of the recorded mesh."""
    states = shared("captures", MESH, "states")
    found = []
    for path in sorted((states / BASE / "dumps").iterdir()):
        proxy = path.name.removesuffix(".json")
        first = inferred(MESH, BASE, proxy)
        others = [
            state.name
            for state in sorted(states.iterdir())
            if state.name != BASE and (state / "dumps" / f"{proxy}.json.gz").exists()
        ]
        contents = [first, *(inferred(MESH, state, proxy) for state in others)]
        found.append(Origin(first.proxy, tuple(tuple(each.policies.values()) for each in contents)))
    return tuple(found)


@dataclass(frozen=True, slots=True)
class Clone:
    """One proxy of the mesh.

    Attributes:
        inputs: Its inputs.
        contents: The policies that it may come to hold; the first are those that it should.
        held: The same, made ready to be published.
    """

    inputs: ProxyInputs
    contents: tuple[tuple[Policy, ...], ...]
    held: tuple[Held, ...]


def clones(made_of: Sequence[Origin], count: int) -> tuple[Clone, ...]:
    """`count` proxies, as many of each recorded one."""
    kept = [
        tuple(held(each.inputs, content, 1, (1, 0, 0), ()) for content in each.contents)
        for each in made_of
    ]
    found = []
    for number in range(count):
        origin, configurations = made_of[number % len(made_of)], kept[number % len(made_of)]
        name = _name(origin.inputs.proxy, number)
        address = f"10.{100 + number // 62_500}.{number // 250 % 250}.{number % 250 + 1}"
        inputs = replace(origin.inputs, proxy=name, addresses=(address,))
        found.append(
            Clone(
                inputs,
                origin.contents,
                tuple(replace(each, proxy=inputs) for each in configurations),
            )
        )
    return tuple(found)


def declared(cloned: Sequence[Clone], made_of: Sequence[Origin]) -> tuple[Resource, ...]:
    """The resources of the recorded mesh, and a Pod for every proxy that nothing selects yet."""
    base = resources(MESH, BASE)
    pods = {f"{each.name}.{each.namespace}": each for each in base if each.kind == "Pod"}
    added = []
    for number, clone in enumerate(cloned):
        pod = pods[made_of[number % len(made_of)].inputs.proxy]
        status = {**pod.body.get("status", {}), "podIP": clone.inputs.addresses[0]}
        status["podIPs"] = [{"ip": clone.inputs.addresses[0]}]
        name = clone.inputs.proxy.partition(".")[0]
        added.append(replace(pod, name=name, uid=name, body={**pod.body, "status": status}))
    return (*base, *added)


def _name(proxy: str, number: int) -> str:
    pod, _, namespace = proxy.partition(".")
    return f"{pod}-{number}.{namespace}"


@dataclass(slots=True)
class Story:
    """What the proxies publish, and what each of them holds in the end.

    Attributes:
        snapshots: Number of different snapshots.
        began: Time of the first snapshot, in milliseconds; one follows every millisecond.
        last: Place in `Clone.contents` of what each proxy holds at last, by its number.
    """

    cloned: Sequence[Clone]
    snapshots: int
    seed: int
    began: int
    last: dict[int, int] = field(default_factory=dict)

    def records(self) -> Iterator[tuple[str, bytes, bytes | None]]:
        """Topic, key and value of each record, in the order in which they reach the broker."""
        chance = random.Random(self.seed)  # noqa: S311
        publishers: dict[int, Publisher] = {}
        published: frozenset[str] = frozenset()
        late: dict[int, tuple[str, bytes, bytes | None]] = {}
        for number in range(self.snapshots):
            # Everybody appears once before anybody does twice.
            whose = number if number < len(self.cloned) else chance.randrange(len(self.cloned))
            clone = self.cloned[whose]
            self.last[whose] = self._next(self.last.get(whose), len(clone.held), chance)
            before = publishers.get(whose) or Publisher(f"{whose:032x}", self.began)
            publication = self._publish(clone, whose, replace(before, published=published), number)
            publishers[whose] = publication.publisher
            published = publication.publisher.published
            *bodies, snapshot = ((each.topic, each.key, each.value) for each in publication.records)
            yield from bodies
            waiting = late.pop(whose, None)
            if waiting is None and chance.random() < LATE:
                late[whose] = snapshot
                continue
            yield snapshot
            if chance.random() < TWICE:
                yield snapshot
            if waiting is not None:
                yield waiting
        yield from late.values()

    def _publish(self, clone: Clone, whose: int, publisher: Publisher, number: int) -> Publication:
        state = ProxyState(versions={"cds": str(number), "lds": str(number)})
        return publish(publisher, clone.held[self.last[whose]], state, self.began + number, "1")

    @staticmethod
    def _next(now: int | None, contents: int, chance: random.Random) -> int:
        if now is None or contents == 1:
            return 0
        if chance.random() >= CHANGED:
            return now
        if now and chance.random() < BACK:
            return 0
        return chance.randrange(1, contents)
