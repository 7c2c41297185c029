"""The sections that a dump must have, and what cannot be verified without them."""

from collections.abc import Container
from typing import Final

from meshscope.inference.result import Incomplete
from meshscope.policy.kinds import Kind

_MISSING: Final = {
    "BootstrapConfigDump": Incomplete(
        "BootstrapConfigDump",
        "the dump does not say which proxy it is of; dump without a resource filter",
        tuple(Kind),
    ),
    "ListenersConfigDump": Incomplete(
        "ListenersConfigDump",
        "the dump has no listeners; dump without a resource filter",
        (
            Kind.OUTBOUND_LISTENER,
            Kind.INBOUND,
            Kind.PEER_AUTHENTICATION,
            Kind.REQUEST_AUTHENTICATION,
            Kind.AUTHORIZATION,
            Kind.HTTP_CONNECTION,
            Kind.FILTER_ORDER,
            Kind.EGRESS,
            Kind.TELEMETRY,
        ),
    ),
    "ClustersConfigDump": Incomplete(
        "ClustersConfigDump",
        "the dump has no clusters; dump without a resource filter",
        (Kind.DESTINATION, Kind.ENDPOINTS, Kind.INBOUND),
    ),
    "RoutesConfigDump": Incomplete(
        "RoutesConfigDump",
        "the dump has no route tables; dump without a resource filter",
        (Kind.HTTP_ROUTE, Kind.EGRESS),
    ),
    "EndpointsConfigDump": Incomplete(
        "EndpointsConfigDump",
        "the dump has no endpoints; ask for /config_dump?include_eds",
        (Kind.ENDPOINTS,),
    ),
}


def incomplete(sections: Container[str]) -> tuple[Incomplete, ...]:
    """What is missing of a dump with these sections."""
    return tuple(missing for name, missing in _MISSING.items() if name not in sections)
