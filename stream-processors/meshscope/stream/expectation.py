"""What a proxy should hold, as digests: the cheap side of most comparisons."""

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final
from weakref import WeakValueDictionary

import msgspec

from meshscope.analysis.mesh import DeclaredMesh, declared_mesh
from meshscope.comparison.names import SURVIVING
from meshscope.events.facts import ShardDigest
from meshscope.events.proxy import ProxyInputs
from meshscope.policy.canonical import digest_bytes
from meshscope.policy.kinds import Kind
from meshscope.policy.shards import Place, root_digest
from meshscope.policy.source import ResourceRef
from meshscope.projection.fragments import as_policies
from meshscope.projection.result import Projection
from meshscope.stream.broadcast import Declaration
from meshscope.stream.judgement import Project

CONFIGURATION: Final = "configuration"
ENDPOINTS: Final = "endpoints"
LANES: Final = (CONFIGURATION, ENDPOINTS)
"""Endpoints change all the time, for other reasons than configuration, and converge apart."""

MAX_MESHES: Final = 8
"""Declarations of which more than digests is kept, one per cluster and revision."""

_encode = msgspec.json.Encoder(order="deterministic").encode


def lane(kind: str) -> str:
    """The lane in which policies of a kind converge."""
    return ENDPOINTS if kind == Kind.ENDPOINTS else CONFIGURATION


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Expectation:
    """Digests of the policies that a proxy should hold.

    Attributes:
        shards: `Shard.meaning` by place.
        named: `Shard.digest` by place, sources included, for kinds whose sources survive in a
            proxy.
        root: Digest over `shards`, see `meaning_root`.
        whole: Digest of all that the projection says: policies and their alternatives with their
            sources, what it leaves open, notes.
        policies: Number of policies.
        closed: Whether equal roots suffice: nothing is unverifiable and there is one outcome only.
        lanes: Digest of what is expected, by lane; a change of it starts a convergence window.
        notes: Limits of the projection.
        patches: EnvoyFilters and the like in scope of the proxy.
    """

    shards: Mapping[Place, str]
    named: Mapping[Place, str]
    root: str
    whole: str
    policies: int
    closed: bool
    lanes: Mapping[str, str]
    notes: tuple[str, ...]
    patches: tuple[ResourceRef, ...]


def expect(projection: Projection) -> Expectation:
    """The digests of a projection."""
    policies = as_policies(projection.policies)
    meanings = policies.meanings()
    digests = policies.digests(frozenset(Kind))
    open_ends = _encode(
        (
            projection.unverifiable,
            [
                (str(key), [policy.digest if policy else None for policy in outcomes])
                for key, outcomes in sorted(projection.alternatives.items())
            ],
        )
    )
    sources = _encode(
        [
            (str(key), [policy.sources if policy else None for policy in outcomes])
            for key, outcomes in sorted(projection.alternatives.items())
        ]
    )
    return Expectation(
        shards=meanings,
        named={place: digest for place, digest in digests.items() if place[0] in SURVIVING},
        root=root_digest(meanings),
        whole=digest_bytes(
            "whole", _encode((sorted(digests.items()), projection.notes)) + open_ends + sources
        ),
        policies=len(projection.policies),
        closed=not projection.unverifiable and not projection.alternatives,
        lanes={
            name: digest_bytes(
                name,
                _encode(
                    sorted((*place, m) for place, m in meanings.items() if lane(place[0]) == name)
                )
                + (open_ends if name == CONFIGURATION else b""),
            )
            for name in LANES
        },
        notes=projection.notes,
        patches=tuple(
            dict.fromkeys(each.source for each in projection.unverifiable if each.source)
        ),
    )


def meaning_root(digests: Iterable[ShardDigest]) -> str:
    """The digest of an observed configuration that `Expectation.root` is compared with."""
    return root_digest({(each.kind, each.shard): each.meaning for each in digests})


class Expectations:
    """Projections by declaration and proxy inputs; digests of all, policies of the latest.

    Most proxies are in sync, and then digests suffice, so only a few projections are kept whole.

    Args:
        project: The projection.
        whole: How many projections are kept whole.
        digests: How many are kept as digests.
    """

    def __init__(self, project: Project, whole: int = 64, digests: int = 20_000) -> None:
        self._project = project
        self._whole: OrderedDict[tuple[str, str], Projection] = OrderedDict()
        self._digests: OrderedDict[tuple[str, str], Expectation] = OrderedDict()
        # Replicas share one, and so do declarations that differ in what a proxy does not see.
        self._equal: WeakValueDictionary[str, Expectation] = WeakValueDictionary()
        self._meshes: OrderedDict[str, DeclaredMesh] = OrderedDict()
        self._limits = (whole, digests)

    def expectation(self, declaration: Declaration, proxy: ProxyInputs) -> Expectation:
        """The digests of what a proxy should hold."""
        name = _name(declaration, proxy)
        known = self._digests.get(name)
        if known is None:
            known = expect(self.projection(declaration, proxy))
            known = self._digests[name] = self._equal.setdefault(known.whole, known)
        self._digests.move_to_end(name)
        if len(self._digests) > self._limits[1]:
            self._digests.popitem(last=False)
        return known

    def mesh(self, declaration: Declaration) -> DeclaredMesh:
        """What a declaration says of trust, revisions and injection."""
        known = self._meshes.get(declaration.digest)
        if known is None:
            known = declared_mesh(declaration.control_plane, declaration.resources)
            self._meshes[declaration.digest] = known
            if len(self._meshes) > MAX_MESHES:
                self._meshes.popitem(last=False)
        return known

    def projection(self, declaration: Declaration, proxy: ProxyInputs) -> Projection:
        """The policies that a proxy should hold."""
        name = _name(declaration, proxy)
        known = self._whole.get(name)
        if known is None:
            known = self._project(declaration.control_plane, declaration.resources, proxy)
            self._whole[name] = known
        self._whole.move_to_end(name)
        if len(self._whole) > self._limits[0]:
            self._whole.popitem(last=False)
        return known


def _name(declaration: Declaration, proxy: ProxyInputs) -> tuple[str, str]:
    return declaration.digest, digest_bytes("inputs", _encode(proxy))
