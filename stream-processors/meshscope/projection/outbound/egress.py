"""Kind `egress`: traffic for hosts that the mesh does not know.

Source: https://istio.io/latest/docs/reference/config/networking/sidecar/#OutboundTrafficPolicy.
"""

from dataclasses import dataclass
from typing import Any, Literal

from meshscope.policy.egress import Egress
from meshscope.policy.http_route import Forward, HttpRule, Respond, RouteMatch
from meshscope.policy.source import ResourceRef
from meshscope.policy.target import Target, WeightedTarget
from meshscope.projection.mesh_config import MeshConfig
from meshscope.projection.routes.targets import BLACKHOLE, PASSTHROUGH, target
from meshscope.projection.sidecar_scope import SidecarScope

MAX_BODY_BYTES = 1_048_576
"""Longest body of a direct response in outbound route tables."""

_BAD_GATEWAY = 502


@dataclass(frozen=True, slots=True)
class Outside:
    """Where unknown traffic goes, and which Sidecar says so.

    Attributes:
        mode: As in `Egress`.
        to: The destination.
        sources: The Sidecar; empty: the mesh configuration says it.
    """

    mode: Literal["ALLOW_ANY", "REGISTRY_ONLY", "PROXY"]
    to: Target
    sources: tuple[ResourceRef, ...] = ()


def outside(scope: SidecarScope, mesh: MeshConfig) -> Outside:
    """What a Sidecar says of unknown traffic, else the mesh configuration."""
    policy: dict[str, Any] | None = scope.spec.get("outboundTrafficPolicy")
    if policy is None or scope.sidecar is None:
        refused = mesh.outbound_mode == "REGISTRY_ONLY"
        return Outside("REGISTRY_ONLY", BLACKHOLE) if refused else Outside("ALLOW_ANY", PASSTHROUGH)
    sources = (scope.sidecar.ref,)
    # The first value of the enumeration is what an empty policy means.
    if policy.get("mode", "REGISTRY_ONLY") == "REGISTRY_ONLY":
        return Outside("REGISTRY_ONLY", BLACKHOLE, sources)
    if policy.get("egressProxy"):
        return Outside("PROXY", target(policy["egressProxy"], None, 0), sources)
    return Outside("ALLOW_ANY", PASSTHROUGH, sources)


def table_egress(found: Outside, *, attempt_count: bool) -> Egress:
    """The catch-all virtual host of a route table."""
    refused = found.mode == "REGISTRY_ONLY"
    to = () if refused else (WeightedTarget(found.to),)
    rule = HttpRule(
        RouteMatch(),
        name="block_all" if refused else "allow_any",
        forward=None if refused else Forward(to, timeout_ms=0, max_grpc_timeout_ms=0),
        respond=Respond(_BAD_GATEWAY) if refused else None,
    )
    return Egress(
        found.mode,
        to,
        (rule,),
        attempt_count_request=attempt_count,
        ignore_port_in_host=True,
        max_direct_response_bytes=MAX_BODY_BYTES,
    )


def listener_egress(found: Outside) -> Egress:
    """The catch-all listener, which takes connections that no other listener takes."""
    return Egress(found.mode, (WeightedTarget(found.to),), binds_blackhole=True)
