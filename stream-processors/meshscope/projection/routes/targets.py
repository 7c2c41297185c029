"""Where a destination of a VirtualService sends to."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from meshscope.policy.target import Target
from meshscope.projection.services.registry import Service

Json = Mapping[str, Any]
FindService = Callable[[str], Service | None]

UNKNOWN: Final = Target("named", "UnknownService")
"""Where routes of the Gateway API go whose backend is not there."""

PASSTHROUGH: Final = Target("named", "PassthroughCluster")
BLACKHOLE: Final = Target("named", "BlackHoleCluster")


def target(destination: Json, service: Service | None, port: int) -> Target:
    """The destination as proxies name it, whether it exists or not.

    Args:
        destination: `Destination` with its full host name.
        service: The service that has that host; None: none is known.
        port: Port that was dialled, for destinations without port, unless the service has one only.
    """
    host = destination.get("host") or ""
    if not host:
        return UNKNOWN
    if service is not None and service.external_name:
        host = service.external_name
    number = (destination.get("port") or {}).get("number")
    if number is None and service is not None and len(service.ports) == 1:
        number = service.ports[0].number
    return Target(
        "outbound", host, port if number is None else number, destination.get("subset") or ""
    )
