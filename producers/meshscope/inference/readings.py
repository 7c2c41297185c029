"""One resource of a dump read by itself, and what was read of equal ones before.

Most of a dump was there when the last one was taken, and most of it is in the dumps of other
proxies. What a resource says depends on its content and on little else (`Asked.given`), so it need
not be read twice.
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, Final, TypeVar

import msgspec

from meshscope.inference.evidence import Evidence
from meshscope.inference.inbound_ports import Disagreement, inbound_policies
from meshscope.inference.leftovers import Leftovers
from meshscope.inference.reader import ANY_PREFIX, Fields, Message, Reading, Unexpected, leaves
from meshscope.policy.policy import Policy

KEPT_BYTES: Final = 64 << 20
"""JSON text of the resources that are remembered; what was read of them takes about as much again
three times."""

_TYPES: Final = {
    "Cluster": "envoy.config.cluster.v3.Cluster",
    "ClusterLoadAssignment": "envoy.config.endpoint.v3.ClusterLoadAssignment",
    "Listener": "envoy.config.listener.v3.Listener",
    "RouteConfiguration": "envoy.config.route.v3.RouteConfiguration",
}

# Order of fields has no meaning in JSON; order of lists has, and is kept.
_canonical: Final = msgspec.json.Encoder(order="deterministic").encode

KEPT_WHOLES: Final = 64
"""Dumps of which it is remembered what their parts come to."""

K = TypeVar("K")
V = TypeVar("V")
Read = Callable[[Message, Evidence], object]
Inbound = tuple[list[Policy], list[Disagreement]]


@dataclass(frozen=True, slots=True)
class Asked:
    """A resource that is to be read.

    Attributes:
        kind: Name of Envoy's message.
        name: How it is called if it cannot be read.
        path: Where it stands in the dump, without indices of lists.
        content: The parsed JSON object.
        given: All that the reading depends on besides.
        read: The reading; what it finds goes into the evidence, and what else is to be known of
            the resource is returned.
    """

    kind: str
    name: str
    path: str
    content: Fields
    given: Hashable
    read: Read


@dataclass(frozen=True, slots=True)
class Part:
    """What a resource says. It is shared, so nothing in it may be changed.

    Attributes:
        evidence: What was found.
        leftovers: What was not explained.
        leaves: Number of its leaves.
        said: What the reading returned; None: it could not be read.
    """

    evidence: Evidence
    leftovers: Leftovers
    leaves: int
    said: object = None


def read_part(asked: Asked) -> Part:
    """Read a resource; if it makes no sense it is left as a whole."""
    reading = Reading()
    message = reading.open(asked.content, asked.kind, asked.path, place=asked.kind)
    message.require("@type", ANY_PREFIX + _TYPES[asked.kind])
    evidence, leftovers = Evidence(), Leftovers()
    said: object = None
    try:
        said = asked.read(message, evidence)
    except Unexpected as error:
        evidence = Evidence()
        message.unread()
        message.label = f"{asked.kind} {asked.name}"
        message.remark("unreadable", str(error))
    leftovers.add(reading)
    return Part(evidence, leftovers, leaves(asked.content), said)


@dataclass(slots=True)
class Readings:
    """Parts that were read before, those used last, up to a number of bytes.

    Attributes:
        limit: Most bytes of JSON text that are remembered.
        bytes: How many are.
    """

    limit: int = KEPT_BYTES
    bytes: int = 0
    _known: OrderedDict[tuple[Any, ...], tuple[Part, int]] = field(default_factory=OrderedDict)
    _inbound: OrderedDict[tuple[Any, ...], tuple[object, Inbound]] = field(
        default_factory=OrderedDict
    )
    _leaves: OrderedDict[Hashable, int] = field(default_factory=OrderedDict)

    def part(self, asked: Asked) -> Part:
        """What a resource says."""
        text = _canonical(asked.content)
        digest = blake2b(text, digest_size=16).digest()
        name = (digest, asked.kind, asked.path, asked.name, asked.given)
        known = self._known.get(name)
        if known is not None:
            self._known.move_to_end(name)
            return known[0]
        part = read_part(asked)
        self._known[name] = (part, len(text))
        self.bytes += len(text)
        while self.bytes > self.limit:
            _, (_, size) = self._known.popitem(last=False)
            self.bytes -= size
        return part

    def inbound(self, evidence: Evidence) -> Inbound:
        """What `inbound_policies` says; the same while the chains and clusters are."""
        chains, clusters = tuple(evidence.chains), tuple(evidence.inbound_clusters.items())
        name = (
            tuple(map(id, chains)),
            frozenset((cluster, id(found)) for cluster, found in clusters),
            evidence.own_port_open,
        )
        known = self._inbound.get(name)
        if known is None:
            # What is named by its identity is kept as well, so that its identity stays its own.
            known = (chains, clusters), inbound_policies(evidence)
            _remember(self._inbound, name, known)
        return known[1]

    def leaves(self, section: Fields) -> int:
        """Number of leaves of a section of which no part is remembered."""
        name = blake2b(_canonical(section), digest_size=16).digest()
        known = self._leaves.get(name)
        return _remember(self._leaves, name, leaves(section)) if known is None else known


def _remember(known: OrderedDict[K, V], name: K, value: V) -> V:
    known[name] = value
    if len(known) > KEPT_WHOLES:
        known.popitem(last=False)
    return value
