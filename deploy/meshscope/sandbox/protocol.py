"""What is said over the control socket: one JSON object a line, one answer per request.

    → {"command": "reject", "proxy": "cart-1.shop", "kind": "lds"}
    ← {"ok": {"pushes": [{"proxy": "cart-1.shop", "rejected": {"lds": "Error adding/…"}, …}]}}
    ← {"error": "there is no proxy 'cart' in the sandbox mesh; it has …"}

Shared by server and client; needs nothing but msgspec.
"""

from __future__ import annotations

from typing import Literal

import msgspec

XdsName = Literal["cds", "eds", "lds", "rds"]
ChainName = Literal["all", "plaintext", "mtls"]
OverlayName = Literal["dns-cluster", "outlier"]


class Message(msgspec.Struct, frozen=True, omit_defaults=True):
    """A value of the protocol."""


class MoveState(Message, frozen=True, tag_field="command", tag="state"):
    """Declare a recorded state and push it to every proxy."""

    id: str


class Declare(Message, frozen=True, tag_field="command", tag="declare"):
    """Declare a recorded state and push nothing: the whole data plane is out of date."""

    id: str


class SetStale(Message, frozen=True, tag_field="command", tag="stale"):
    """Send this proxy no pushes any more (or again)."""

    proxy: str
    on: bool = True


class Reject(Message, frozen=True, tag_field="command", tag="reject"):
    """Send this proxy an update that Envoy refuses."""

    proxy: str
    kind: XdsName


class Warm(Message, frozen=True, tag_field="command", tag="warm"):
    """Give this proxy a cluster that warms for ever."""

    proxy: str


class Disconnect(Message, frozen=True, tag_field="command", tag="disconnect"):
    """Take this proxy's control plane away (or give it back)."""

    proxy: str
    on: bool = True


class RemoveRbac(Message, frozen=True, tag_field="command", tag="remove-rbac"):
    """Serve this proxy inbound listeners without RBAC filters."""

    proxy: str
    chain: ChainName = "all"


class SetOverlay(Message, frozen=True, tag_field="command", tag="overlay"):
    """Declare an overlay and push it (or withdraw it)."""

    name: OverlayName
    on: bool = True


class Heal(Message, frozen=True, tag_field="command", tag="heal"):
    """Undo every fault, of one proxy or of all, and push what is declared."""

    proxy: str | None = None


class GetStatus(Message, frozen=True, tag_field="command", tag="status"):
    """Say how the mesh is."""


Mutation = (
    MoveState | Declare | SetStale | Reject | Warm | Disconnect | RemoveRbac | SetOverlay | Heal
)
Command = Mutation | GetStatus


class Push(Message, frozen=True):
    """How one proxy answered what it was sent."""

    proxy: str
    version: str
    accepted: list[XdsName] = []
    rejected: dict[XdsName, str] = {}
    """Envoy's own words, per type."""
    unanswered: list[XdsName] = []
    """Types that Envoy did not answer: expected for CDS while a cluster warms, else too late."""
    note: str = ""
    """Why nothing was sent, or what else there is to say."""


class MutationResult(Message, frozen=True):
    """What a mutation did to the proxies that it concerned."""

    declared: str
    pushes: list[Push] = []
    note: str = ""


class TypeStatus(Message, frozen=True):
    """One resource type at one proxy, as its control plane sees it."""

    sent: str
    accepted: str
    answered: bool
    error: str | None = None


class ProxyStatus(Message, frozen=True):
    """One proxy."""

    proxy: str
    admin: str
    state: str
    """Envoy's own word (`LIVE`, `PRE_INITIALIZING` …), or `DOWN` if its admin does not answer."""
    pid: int | None
    restarts: int
    connected: bool
    delivered: str
    """The recorded state that it is served."""
    faults: list[str] = []
    types: dict[XdsName, TypeStatus] = {}


class Status(Message, frozen=True):
    """The whole sandbox."""

    pid: int
    declared: str
    pushed: str
    overlays: list[OverlayName]
    resources: str
    """Directory of the declared resources."""
    proxies: list[ProxyStatus]
    traffic: dict[str, int]
    """Requests since the start by outcome."""


class Failure(Message, frozen=True):
    """The command was not carried out."""

    error: str


class MutationDone(Message, frozen=True):
    """The answer to a mutation."""

    ok: MutationResult


class StatusTold(Message, frozen=True):
    """The answer to `status`."""

    ok: Status
