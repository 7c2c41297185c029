"""Between the facts on the wire and the values that decisions are made of."""

from collections.abc import Iterable, Mapping
from typing import Any, Literal, cast

import msgspec

from meshscope.events.control_plane import ControlPlane
from meshscope.events.facts import (
    ControlPlaneState,
    DeclaredResource,
    PolicyBody,
    PolicyShard,
    ShardDigest,
    ShardEntry,
    Snapshot,
    Source,
)
from meshscope.events.proxy import ProxyInputs
from meshscope.events.resource import Resource
from meshscope.policy.canonical import IR_VERSION, content_bytes
from meshscope.policy.policy import Policy
from meshscope.policy.shards import Shard
from meshscope.policy.source import ResourceRef

_json = msgspec.json.Encoder(order="sorted").encode


def _object(data: bytes) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", msgspec.json.decode(data, type=dict[str, Any]))


def source(ref: ResourceRef) -> Source:
    """A resource's name for the wire."""
    return Source(ref.kind, ref.namespace, ref.name)


def declared_resource(
    resource: Resource, origin: str, cluster: str, observed_at: int
) -> DeclaredResource:
    """The fact that says a resource; see `Resource.key` for its key."""
    return DeclaredResource(
        origin=origin,
        cluster=cluster,
        group=resource.group,
        version=resource.version,
        kind=resource.kind,
        namespace=resource.namespace,
        name=resource.name,
        body=_json(resource.body),
        observed_at=observed_at,
        labels=resource.labels,
        annotations=resource.annotations,
        created_at=resource.created_at,
        uid=resource.uid,
        resource_version=resource.resource_version,
        file=resource.origin,
        line=resource.line,
    )


def resource(fact: DeclaredResource) -> Resource:
    """The resource that a fact says.

    Raises:
        ValueError: Its body is no JSON object.
    """
    return Resource(
        group=fact.group,
        version=fact.version,
        kind=fact.kind,
        namespace=fact.namespace,
        name=fact.name,
        labels=fact.labels,
        annotations=fact.annotations,
        created_at=fact.created_at,
        body=_object(fact.body),
        uid=fact.uid,
        resource_version=fact.resource_version,
        origin=fact.file or fact.origin,
        line=fact.line,
    )


def control_plane_state(
    control_plane: ControlPlane, origin: str, cluster: str, observed_at: int
) -> ControlPlaneState:
    """The fact that says the control plane's settings."""
    return ControlPlaneState(
        origin=origin,
        cluster=cluster,
        revision=control_plane.revision,
        version=control_plane.version,
        mesh_config=_json(control_plane.mesh_config),
        mesh_networks=_json(control_plane.mesh_networks),
        observed_at=observed_at,
        environment=control_plane.environment,
        assumed=control_plane.assumed,
    )


def control_plane(fact: ControlPlaneState) -> ControlPlane:
    """The settings that a fact says.

    Raises:
        ValueError: A configuration in it is no JSON object.
    """
    return ControlPlane(
        version=fact.version,
        revision=fact.revision,
        mesh_config=_object(fact.mesh_config),
        mesh_networks=_object(fact.mesh_networks),
        environment=fact.environment,
        assumed=fact.assumed,
    )


def proxy_inputs(snapshot: Snapshot) -> ProxyInputs:
    """The inputs of a projection that a snapshot carries.

    Raises:
        ValueError: Its metadata is no JSON object.
    """
    return ProxyInputs(
        proxy=snapshot.proxy,
        cluster=snapshot.cluster,
        namespace=snapshot.namespace,
        labels=snapshot.labels,
        annotations=snapshot.annotations,
        service_account=snapshot.service_account,
        addresses=snapshot.addresses,
        node_name=snapshot.node_name,
        region=snapshot.region,
        zone=snapshot.zone,
        sub_zone=snapshot.sub_zone,
        network=snapshot.network,
        dns_domain=snapshot.dns_domain,
        istio_version=snapshot.istio_version,
        revision=snapshot.revision,
        interception=cast("Literal['REDIRECT', 'TPROXY', 'NONE']", snapshot.interception),
        metadata=_object(snapshot.metadata),
    )


def proxy_fields(proxy: ProxyInputs) -> dict[str, Any]:
    """The fields of a `Snapshot` that say the proxy's inputs."""
    fields = {
        name: getattr(proxy, name)
        for name in ProxyInputs.__dataclass_fields__
        if name != "metadata"
    }
    return fields | {"metadata": _json(proxy.metadata)}


def shard_digests(shards: Iterable[Shard]) -> tuple[ShardDigest, ...]:
    """What a snapshot says of its shards."""
    return tuple(
        ShardDigest(shard.kind, shard.number, shard.digest, len(shard.entries), shard.meaning)
        for shard in shards
    )


def policy_shard(shard: Shard) -> PolicyShard:
    """The fact that says a shard."""
    return PolicyShard(
        digest=shard.digest,
        kind=shard.kind,
        shard=shard.number,
        ir_version=IR_VERSION,
        entries=tuple(
            ShardEntry(entry.key, entry.digest, tuple(source(ref) for ref in entry.sources))
            for entry in shard.entries
        ),
    )


def policy_body(policy: Policy) -> PolicyBody:
    """The fact that says a policy's content."""
    return PolicyBody(
        digest=policy.digest,
        kind=policy.key.kind,
        ir_version=IR_VERSION,
        content=content_bytes(policy.content),
    )
