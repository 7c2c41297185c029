"""What a proxy should hold, as digests: the cheap side of most comparisons."""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import msgspec

from meshscope.analysis.mesh import DeclaredMesh, declared_mesh
from meshscope.events import convert
from meshscope.events.facts import Snapshot
from meshscope.events.proxy import ProxyInputs
from meshscope.policy.canonical import digest_bytes
from meshscope.policy.kinds import Kind
from meshscope.policy.shards import Place
from meshscope.policy.source import ResourceRef
from meshscope.projection.fragments import Piece, as_policies
from meshscope.projection.memory import Memory
from meshscope.projection.result import Projection
from meshscope.stream.broadcast import Declaration
from meshscope.stream.judgement import Project

CONFIGURATION: Final = "configuration"
ENDPOINTS: Final = "endpoints"
LANES: Final = (CONFIGURATION, ENDPOINTS)
"""Endpoints change all the time, for other reasons than configuration, and converge apart."""

MAX_MESHES: Final = 8
"""Declarations of which more than digests is kept, one per cluster and revision."""

MAX_PROXIES: Final = 20_000
"""Proxies of which it is remembered what they should hold, those looked at last."""

MAX_SHARED: Final = 2_000
"""Expectations of which it is remembered what they were made of."""

_encode = msgspec.json.Encoder(order="deterministic").encode


def lane(kind: str) -> str:
    """The lane in which policies of a kind converge."""
    return ENDPOINTS if kind == Kind.ENDPOINTS else CONFIGURATION


_KINDS: Final = {name: frozenset(kind for kind in Kind if lane(kind) == name) for name in LANES}


@dataclass(frozen=True, slots=True)
class Expectation:
    """What a proxy should hold. Proxies that should hold the same share one.

    Attributes:
        projection: The policies, what is left open, notes.
        pieces: The policies by shard.
        whole: Digest of all that the projection says: policies and their alternatives with their
            sources, what it leaves open, notes.
        closed: Whether equal shards suffice: nothing is unverifiable and there is one outcome only.
        lanes: Digest of what is expected, by lane; a change of it starts a convergence window.
        patches: EnvoyFilters and the like in scope of the proxy.
    """

    projection: Projection
    pieces: Mapping[Place, Piece]
    whole: str
    closed: bool
    lanes: Mapping[str, str]
    patches: tuple[ResourceRef, ...]

    def meaning(self, place: Place) -> str | None:
        """`Shard.meaning` of a shard; None: there is no policy in it."""
        piece = self.pieces.get(place)
        return None if piece is None else piece.meaning


def expect(projection: Projection) -> Expectation:
    """What a projection expects, with the digests of it."""
    policies = as_policies(projection.policies)
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

    def said(name: str) -> bytes:
        return _encode(list(filter(None, (each.meaning(_KINDS[name]) for each in policies.layers))))

    return Expectation(
        projection=projection,
        pieces=policies.pieces,
        whole=digest_bytes(
            "whole",
            _encode(
                (list(filter(None, (each.digest for each in policies.layers))), projection.notes)
            )
            + open_ends
            + sources,
        ),
        closed=not projection.unverifiable and not projection.alternatives,
        lanes={
            name: digest_bytes(name, said(name) + (open_ends if name == CONFIGURATION else b""))
            for name in LANES
        },
        patches=tuple(
            dict.fromkeys(each.source for each in projection.unverifiable if each.source)
        ),
    )


@dataclass(frozen=True, slots=True)
class _Proxy:
    """What follows from a snapshot alone.

    Attributes:
        snapshot: The snapshot.
        inputs: The proxy's inputs that it carries.
        digest: Of them.
    """

    snapshot: Snapshot
    inputs: ProxyInputs
    digest: str


class Expectations:
    """What proxies should hold: the latest of each proxy, and what several of them share.

    Args:
        project: The projection.
    """

    def __init__(self, project: Project) -> None:
        self._project = project
        self._proxies: Memory[_Proxy] = Memory(MAX_PROXIES)
        self._latest: Memory[tuple[str, str, Expectation]] = Memory(MAX_PROXIES)
        self._made: Memory[Expectation] = Memory(MAX_SHARED)
        self._equal: Memory[Expectation] = Memory(MAX_SHARED)
        self._meshes: OrderedDict[str, DeclaredMesh] = OrderedDict()

    def expectation(self, declaration: Declaration, snapshot: Snapshot) -> Expectation:
        """What the proxy of a snapshot should hold.

        Raises:
            ValueError: The metadata of the snapshot is no JSON object.
        """
        proxy = self._proxy(snapshot)
        known = self._latest.get(proxy.inputs.id)
        if known is not None and known[:2] == (declaration.digest, proxy.digest):
            return known[2]
        found = self._expect(
            self._project(declaration.control_plane, declaration.resources, proxy.inputs)
        )
        self._latest.put(proxy.inputs.id, (declaration.digest, proxy.digest, found))
        return found

    def inputs(self, snapshot: Snapshot) -> ProxyInputs:
        """The inputs of a projection that a snapshot carries.

        Raises:
            ValueError: Its metadata is no JSON object.
        """
        return self._proxy(snapshot).inputs

    def mesh(self, declaration: Declaration) -> DeclaredMesh:
        """What a declaration says of trust, revisions and injection."""
        known = self._meshes.get(declaration.digest)
        if known is None:
            known = declared_mesh(declaration.control_plane, declaration.resources)
            self._meshes[declaration.digest] = known
            if len(self._meshes) > MAX_MESHES:
                self._meshes.popitem(last=False)
        return known

    def _proxy(self, snapshot: Snapshot) -> _Proxy:
        name = (snapshot.cluster, snapshot.proxy)
        known = self._proxies.get(name)
        if known is None or known.snapshot is not snapshot:
            inputs = convert.proxy_inputs(snapshot)
            digest = digest_bytes("inputs", _encode(inputs))
            known = self._proxies.put(name, _Proxy(snapshot, inputs, digest))
        return known

    def _expect(self, projection: Projection) -> Expectation:
        """The expectation of a projection; that of an earlier one that says the same."""
        policies = as_policies(projection.policies)
        if projection.alternatives:
            return self._shared(projection)
        name = (policies.layers, projection.unverifiable, projection.notes)
        return self._made.of(name, lambda: self._shared(projection))

    def _shared(self, projection: Projection) -> Expectation:
        found = expect(projection)
        return self._equal.of(found.whole, lambda: found)
