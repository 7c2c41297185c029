"""Routes of the Gateway API that are attached to services, as the VirtualServices they stand for.

Source: https://gateway-api.sigs.k8s.io/mesh/ and
https://istio.io/latest/docs/tasks/traffic-management/ingress/gateway-api/#mesh-traffic.
"""

from collections.abc import Iterable

from meshscope.events.resource import Resource
from meshscope.projection.registry import Registry
from meshscope.projection.virtual_service import VirtualService


def gateway_routes(
    routes: Iterable[Resource], registry: Registry, domain: str
) -> tuple[VirtualService, ...]:
    """The VirtualServices that routes stand for."""
    return ()
