"""What proxies share: fragments of a projection, and layers of them.

A fragment holds the policies that follow from a few inputs: one service seen by clients of a class,
one route table. A layer is what one part of a projection says of a class of proxies. Both are made
once and compared by identity, so what follows from them (the digests of shards) is worked out once
as well, and a proxy is little more than the layers that it has.
"""

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from functools import cached_property
from itertools import chain

from meshscope.policy.key import PolicyKey
from meshscope.policy.policy import Policy
from meshscope.policy.shards import Entry, Place, entries, full_digest, meaning, place_of
from meshscope.projection.worlds import Outcomes

Entries = tuple[Entry, ...]


class Fragment:
    """Policies with every possible outcome. Equality is identity.

    Attributes:
        policies: The first outcome of every key that has a policy in it.
        alternatives: All outcomes of the keys that have several; None: no such policy.
    """

    __slots__ = ("_entries", "alternatives", "policies")

    def __init__(self, outcomes: Outcomes) -> None:
        self.policies = {k: found[0] for k, found in outcomes.items() if found[0] is not None}
        self.alternatives = {k: found for k, found in outcomes.items() if len(found) > 1}
        self._entries: Mapping[Place, Entries] | None = None

    @property
    def outcomes(self) -> Outcomes:
        """Every outcome of every key."""
        return {k: (policy,) for k, policy in self.policies.items()} | self.alternatives

    def without(self, keys: AbstractSet[PolicyKey]) -> "Fragment":
        """The fragment without some keys; itself if it has none of them."""
        mine = self.policies.keys() | self.alternatives.keys()
        if mine.isdisjoint(keys):
            return self
        return Fragment({k: found for k, found in self.outcomes.items() if k not in keys})

    @property
    def entries(self) -> Mapping[Place, Entries]:
        """What stands of it in the shards of a proxy."""
        if self._entries is None:
            found = entries(self.policies.values())
            self._entries = {place: tuple(some) for place, some in found.items()}
        return self._entries


class Layer:
    """Fragments that have no key in common. Equality is identity."""

    def __init__(self, fragments: Iterable[Fragment]) -> None:
        self.fragments = tuple(fragments)
        self._digests: dict[Place, str] = {}

    def with_others(self, fragments: Sequence[Fragment]) -> "Layer":
        """The same with other fragments in the places of some; digests of other shards stay."""
        layer = Layer(fragments)
        pairs = zip(self.fragments, fragments, strict=True)
        changed = [(old, new) for old, new in pairs if old is not new]
        entries = dict(self.entries)
        touched = {place for pair in changed for one in pair for place in one.entries}
        for place in touched:
            gone = {id(old.entries.get(place)) for old, _ in changed}
            kept = [some for some in entries.get(place, ()) if id(some) not in gone]
            added = [new.entries[place] for _, new in changed if place in new.entries]
            entries[place] = (*kept, *added)
            if not entries[place]:
                del entries[place]
        layer.__dict__["entries"] = entries
        layer.__dict__["meanings"] = {
            place: _meaning(place, some) if place in touched else self.meanings[place]
            for place, some in entries.items()
        }
        layer._digests = {p: found for p, found in self._digests.items() if p not in touched}
        return layer

    @cached_property
    def alternatives(self) -> Outcomes:
        """All outcomes of the keys that have several."""
        return {k: found for each in self.fragments for k, found in each.alternatives.items()}

    @cached_property
    def entries(self) -> Mapping[Place, tuple[Entries, ...]]:
        """What stands of it in the shards of a proxy, by shard and fragment."""
        found: dict[Place, list[Entries]] = {}
        for fragment in self.fragments:
            for place, some in fragment.entries.items():
                found.setdefault(place, []).append(some)
        return {place: tuple(some) for place, some in found.items()}

    @cached_property
    def meanings(self) -> Mapping[Place, str]:
        """What the shards mean that have all of their entries from this layer."""
        return {place: _meaning(place, some) for place, some in self.entries.items()}

    def digest(self, place: Place) -> str:
        """`Shard.digest` of a shard that has all of its entries from this layer."""
        found = self._digests.get(place)
        if found is None:
            found = full_digest(place[0], chain.from_iterable(self.entries[place]))
            self._digests[place] = found
        return found


class Policies(Mapping[PolicyKey, Policy]):
    """The policies of one proxy: layers that have no key in common."""

    def __init__(self, layers: Iterable[Layer]) -> None:
        self.layers = tuple(layers)

    @cached_property
    def _flat(self) -> Mapping[PolicyKey, Policy]:
        flat: dict[PolicyKey, Policy] = {}
        for layer in self.layers:
            for fragment in layer.fragments:
                flat |= fragment.policies
        return flat

    def __getitem__(self, key: PolicyKey) -> Policy:
        return self._flat[key]

    def __iter__(self) -> Iterator[PolicyKey]:
        return iter(self._flat)

    def __len__(self) -> int:
        return sum(len(each.policies) for layer in self.layers for each in layer.fragments)

    @cached_property
    def _by_place(self) -> Mapping[Place, tuple[Layer, ...]]:
        found: dict[Place, tuple[Layer, ...]] = {}
        for layer in self.layers:
            for place in layer.entries:
                found[place] = (*found.get(place, ()), layer)
        return found

    def within(self, places: AbstractSet[Place]) -> dict[PolicyKey, Policy]:
        """The policies in some shards."""
        return {
            key: policy
            for layer in self.layers
            for fragment in layer.fragments
            if not places.isdisjoint(fragment.entries)
            for key, policy in fragment.policies.items()
            if place_of(key) in places
        }

    def meanings(self) -> Mapping[Place, str]:
        """`Shard.meaning` of every shard."""
        return {
            place: layers[0].meanings[place]
            if len(layers) == 1
            else meaning(place[0], _entries(place, layers))
            for place, layers in self._by_place.items()
        }

    def digests(self, kinds: Container[str]) -> Mapping[Place, str]:
        """`Shard.digest` of every shard of some kinds."""
        return {
            place: layers[0].digest(place)
            if len(layers) == 1
            else full_digest(place[0], _entries(place, layers))
            for place, layers in self._by_place.items()
            if place[0] in kinds
        }


def as_policies(policies: Mapping[PolicyKey, Policy]) -> Policies:
    """Policies in layers, whatever they come in."""
    if isinstance(policies, Policies):
        return policies
    return Policies((Layer((Fragment({key: (one,) for key, one in policies.items()}),)),))


def _meaning(place: Place, some: Iterable[Entries]) -> str:
    return meaning(place[0], chain.from_iterable(some))


def _entries(place: Place, layers: Iterable[Layer]) -> Iterator[Entry]:
    return (entry for layer in layers for some in layer.entries[place] for entry in some)
