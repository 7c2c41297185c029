"""What proxies share: fragments of a projection, layers of them, and what they say in a shard.

A fragment holds the policies that follow from a few inputs: one service seen by clients of a class,
one route table. A layer is what one part of a projection says of a class of proxies; a piece is
what some fragments say in one shard. All are made once and compared by identity, so what follows
from them (the digests of shards, and what a proxy holds instead) is worked out once as well, and a
proxy is little more than the layers that it has.
"""

from collections.abc import ItemsView, Iterable, Iterator, KeysView, Mapping, Sequence
from collections.abc import Set as AbstractSet
from functools import cached_property

from meshscope.policy.canonical import content_bytes, digest_bytes
from meshscope.policy.key import PolicyKey
from meshscope.policy.policy import Policy
from meshscope.policy.shards import Entry, Place, entries, full_digest, meaning
from meshscope.projection.memory import Memory
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


class Piece:
    """What some fragments say in one shard of a proxy. Equality is identity.

    Attributes:
        place: The shard.
        fragments: Those that have policies in it.
    """

    def __init__(self, place: Place, fragments: tuple[Fragment, ...]) -> None:
        self.place = place
        self.fragments = fragments

    @property
    def entries(self) -> Iterator[Entry]:
        """Its policies as entries of the shard, in any order."""
        return (entry for each in self.fragments for entry in each.entries[self.place])

    @cached_property
    def meaning(self) -> str:
        """`Shard.meaning` of a shard that holds this."""
        return meaning(self.place[0], self.entries)

    @cached_property
    def digest(self) -> str:
        """`Shard.digest` of a shard that holds this."""
        return full_digest(self.place[0], self.entries)

    def policy(self, key: PolicyKey) -> Policy:
        """One of its policies; KeyError: it has none of that key."""
        for fragment in self.fragments:
            if (found := fragment.policies.get(key)) is not None:
                return found
        raise KeyError(key)


class Pieces:
    """Pieces by their fragments: layers that agree on a shard have one piece for it."""

    def __init__(self, mesh: object = None) -> None:
        self._known: Memory[Piece] = Memory(20_000)

    def of(self, place: Place, fragments: tuple[Fragment, ...]) -> Piece:
        """What fragments say in a shard, always the same object."""
        return self._known.of((place, fragments), lambda: Piece(place, fragments))


class Layer:
    """Fragments that have no key in common. Equality is identity.

    Args:
        fragments: The fragments.
        known: Where to look for pieces that other layers have as well.
    """

    def __init__(self, fragments: Iterable[Fragment], known: Pieces | None = None) -> None:
        self.fragments = tuple(fragments)
        self._known = known or Pieces()
        self._said: dict[AbstractSet[str], str] = {}

    def with_others(self, fragments: Sequence[Fragment]) -> "Layer":
        """The same with other fragments in the places of some; other shards keep their pieces."""
        layer = Layer(fragments, self._known)
        pairs = zip(self.fragments, layer.fragments, strict=True)
        others = {old: new for old, new in pairs if old is not new}
        pieces = dict(self.pieces)
        for place in {place for pair in others.items() for one in pair for place in one.entries}:
            piece = pieces.pop(place, None)
            added = (new for old, new in others.items() if place not in old.entries)
            if piece is None or any(place in new.entries for new in added):
                some = layer.fragments
            else:
                some = tuple(others.get(each, each) for each in piece.fragments)
            found = tuple(each for each in some if place in each.entries)
            if found:
                pieces[place] = self._known.of(place, found)
        layer.__dict__["pieces"] = pieces
        return layer

    @cached_property
    def alternatives(self) -> Outcomes:
        """All outcomes of the keys that have several."""
        return {k: found for each in self.fragments for k, found in each.alternatives.items()}

    @cached_property
    def count(self) -> int:
        """Number of policies."""
        return sum(len(each.policies) for each in self.fragments)

    @cached_property
    def pieces(self) -> Mapping[Place, Piece]:
        """What stands of it in the shards of a proxy."""
        found: dict[Place, list[Fragment]] = {}
        for fragment in self.fragments:
            for place in fragment.entries:
                found.setdefault(place, []).append(fragment)
        return {place: self._known.of(place, tuple(some)) for place, some in found.items()}

    def meaning(self, kinds: AbstractSet[str]) -> str:
        """Digest over what its policies of some kinds mean; empty: it has none."""
        found = self._said.get(kinds)
        if found is None:
            lines = sorted(
                (*place, piece.meaning) for place, piece in self.pieces.items() if place[0] in kinds
            )
            found = digest_bytes("layer", content_bytes(lines)) if lines else ""
            self._said[kinds] = found
        return found

    @cached_property
    def digest(self) -> str:
        """Digest over its policies with their sources; empty: it has none."""
        lines = sorted((*place, piece.digest) for place, piece in self.pieces.items())
        return digest_bytes("layer", content_bytes(lines)) if lines else ""


class Policies(Mapping[PolicyKey, Policy]):
    """The policies of one proxy: layers that have no key in common.

    Args:
        layers: The layers.
        known: Where to look for pieces that other proxies have as well.
    """

    def __init__(self, layers: Iterable[Layer], known: Pieces | None = None) -> None:
        self.layers = tuple(layers)
        self._known = known or Pieces()

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

    def keys(self) -> KeysView[PolicyKey]:
        """The keys; these views are faster than those of `Mapping`."""
        return self._flat.keys()

    def items(self) -> ItemsView[PolicyKey, Policy]:
        """Keys and policies."""
        return self._flat.items()

    def __len__(self) -> int:
        return sum(layer.count for layer in self.layers)

    @cached_property
    def pieces(self) -> Mapping[Place, Piece]:
        """What stands in every shard."""
        found: dict[Place, Piece] = {}
        shared: dict[Place, list[Fragment]] = {}
        for layer in self.layers:
            for place, piece in layer.pieces.items():
                known = found.setdefault(place, piece)
                if known is not piece:
                    shared.setdefault(place, [*known.fragments]).extend(piece.fragments)
        for place, some in shared.items():
            found[place] = self._known.of(place, tuple(some))
        return found


def as_policies(policies: Mapping[PolicyKey, Policy]) -> Policies:
    """Policies in layers, whatever they come in."""
    if isinstance(policies, Policies):
        return policies
    return Policies((Layer((Fragment({key: (one,) for key, one in policies.items()}),)),))
