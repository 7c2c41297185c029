"""From records of the input topics to values: the edge at which poison is found."""

from dataclasses import dataclass

from meshscope.events import convert
from meshscope.events.codec import PoisonValue, decode
from meshscope.events.control_plane import ControlPlane
from meshscope.events.facts import (
    ControlPlaneState,
    DeclaredResource,
    PolicyBody,
    PolicyShard,
    Snapshot,
    Sync,
)
from meshscope.events.resource import Resource, key_parts
from meshscope.events.topics import CONTROL_PLANE_STATE, POLICIES, RESOURCES
from meshscope.policy.canonical import IR_VERSION, content_bytes, digest_bytes
from meshscope.policy.key import PolicyKey
from meshscope.policy.kinds import Kind
from meshscope.policy.policy import content_from_bytes


@dataclass(frozen=True, slots=True)
class Scope:
    """One list of resources: who declares it, and for which Kubernetes cluster."""

    origin: str
    cluster: str


@dataclass(frozen=True, slots=True)
class Declared:
    """A resource as it stands, or, without one, that it is gone."""

    scope: Scope
    key: str
    resource: Resource | None


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of a control plane's revision, or, without them, that it is gone."""

    scope: Scope
    revision: str
    control_plane: ControlPlane | None


@dataclass(frozen=True, slots=True)
class Mark:
    """A full list of the scope was published; without a mark: the scope is gone."""

    scope: Scope
    sync: Sync | None


@dataclass(frozen=True, slots=True)
class Forgotten:
    """A record that changes nothing: content-addressed, of another IR version, or deleted."""


BroadcastEvent = Declared | Settings | Mark | PolicyShard | PolicyBody | Forgotten


def broadcast_event(topic: str, key: bytes | None, value: bytes | None) -> BroadcastEvent:
    """What a record of a broadcast topic says.

    Raises:
        PoisonValue: It cannot be read, or key and value disagree.
    """
    name = _text(key)
    if topic == RESOURCES.name:
        return _declared(name, value)
    if topic == CONTROL_PLANE_STATE.name:
        return _state(name, value)
    if topic == POLICIES.name:
        return _policy(name, value)
    raise ValueError(f"{topic} is no broadcast topic")


def snapshot(key: bytes | None, value: bytes) -> Snapshot:
    """The snapshot that a record holds.

    Raises:
        PoisonValue: It cannot be read, or its key is not the id of its proxy.
    """
    fact: Snapshot = decode(value, Snapshot)
    _agree(_text(key), f"{fact.cluster}/{fact.proxy}")
    try:
        convert.proxy_inputs(fact)
    except ValueError as error:
        raise PoisonValue(f"the metadata of {fact.proxy} is no JSON object: {error}") from error
    return fact


def _declared(key: str, value: bytes | None) -> Declared:
    try:
        origin, cluster, *_ = key_parts(key)
    except ValueError as error:
        raise PoisonValue(str(error)) from error
    scope = Scope(origin, cluster)
    if value is None:
        return Declared(scope, key, None)
    fact: DeclaredResource = decode(value, DeclaredResource)
    try:
        resource = convert.resource(fact)
    except ValueError as error:
        raise PoisonValue(f"the body of {key} is no JSON object: {error}") from error
    _agree(key, resource.key(fact.origin, fact.cluster))
    return Declared(scope, key, resource)


def _state(key: str, value: bytes | None) -> Settings | Mark:
    parts = key.split("/")
    if len(parts) < 3:
        raise PoisonValue(f"key {key!r} is neither origin/cluster/revision nor sync/origin/cluster")
    is_mark = parts[0] == "sync"
    scope = (
        Scope(parts[1], "/".join(parts[2:])) if is_mark else Scope(parts[0], "/".join(parts[1:-1]))
    )
    if value is None:
        return Mark(scope, None) if is_mark else Settings(scope, parts[-1], None)
    fact: Sync | ControlPlaneState = decode(value, ControlPlaneState, Sync)
    if isinstance(fact, Sync):
        _agree(key, f"sync/{fact.origin}/{fact.cluster}")
        return Mark(scope, fact)
    _agree(key, f"{fact.origin}/{fact.cluster}/{fact.revision}")
    try:
        return Settings(scope, fact.revision, convert.control_plane(fact))
    except ValueError as error:
        raise PoisonValue(f"a configuration of {key} is no JSON object: {error}") from error


def _policy(key: str, value: bytes | None) -> BroadcastEvent:
    if value is None:
        return Forgotten()
    fact: PolicyShard | PolicyBody = decode(value, PolicyShard, PolicyBody)
    _agree(key, fact.digest)
    if fact.ir_version != IR_VERSION:
        return Forgotten()
    try:
        if isinstance(fact, PolicyShard):
            for entry in fact.entries:
                PolicyKey.parse(entry.key)
        else:
            content = content_from_bytes(Kind(fact.kind), fact.content)
            _agree(fact.digest, digest_bytes(fact.kind, content_bytes(content)))
    except ValueError as error:
        raise PoisonValue(f"{type(fact).__name__} {key}: {error}") from error
    return fact


def _text(key: bytes | None) -> str:
    if key is None:
        raise PoisonValue("a record without a key")
    try:
        return key.decode()
    except UnicodeDecodeError as error:
        raise PoisonValue(f"a key that is no UTF-8: {key!r}") from error


def _agree(key: str, named: str) -> None:
    if key != named:
        raise PoisonValue(f"the key says {key!r}, the value {named!r}")
