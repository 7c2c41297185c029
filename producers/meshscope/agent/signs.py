"""Cheap signs that a proxy's configuration changed.

A full dump costs Envoy about 30 ms, so it is read only after a sign, and now and then without one.
Signs: the versions of the last accepted CDS and LDS response; the masked dump of route tables,
since a stock Istio sidecar keeps no statistics of RDS; the addresses in `/clusters` for endpoints.
What none of them shows (a resource that changes under a version string that is used again, the
label of an endpoint) is found by the periodic dump.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, Final

import msgspec

STATS: Final = (
    "/stats?filter=^(cluster_manager\\.cds\\.|listener_manager\\.lds\\.|control_plane\\."
    "|cluster\\.xds-grpc\\.upstream_rq_active$|cluster_manager\\.warming_clusters$|listener_manager\\.total_(listeners|filter_chains)_"
    "|server\\.state$|(http\\..*\\.rds|cluster)\\..*\\.update_(rejected|success)$)"
)
ROUTES: Final = (
    "/config_dump?resource=dynamic_route_configs&mask=version_info,last_updated,error_state"
)
CLUSTERS: Final = "/clusters?format=json"

SERVER_STATES: Final = {
    0: "LIVE",
    1: "DRAINING",
    2: "PRE_INITIALIZING",
    3: "INITIALIZING",
}
"""Values of the statistic `server.state` (Envoy, `admin.v3.ServerInfo.State`)."""

_UPDATES: Final = re.compile(
    r"^(?P<name>cluster_manager\.cds|http\..*?\.rds\.(?P<routes>.*)|cluster\.(?P<endpoints>.*))"
    r"\.update_rejected$"
)
_LINE = re.compile(r"^([^:\s]+): (.*)$")


@dataclass(frozen=True, slots=True)
class Updates:
    """How many responses of one subscription were refused and accepted since Envoy started."""

    rejected: int
    accepted: int


@dataclass(frozen=True, slots=True)
class Signs:
    """What was seen at one look.

    Attributes:
        versions: Last accepted version per type.
        rejected: Rejected updates per type since Envoy started.
        updates: Per subscription that a dump does not show as refused, by the section of the dump,
            and for routes and endpoints the name. Istio's sidecars keep the first kind alone.
        connected: Whether the stream to the control plane is up; None: not told.
        live: State of the server.
        warming: Clusters and listeners that wait.
        draining: Listeners and filter chains that are drained.
        routes: Digest over versions and times of the route tables.
        endpoints: Digest over clusters and addresses, weights, localities; not over health.
    """

    versions: Mapping[str, str] = field(default_factory=dict, hash=False)
    rejected: Mapping[str, int] = field(default_factory=dict, hash=False)
    updates: Mapping[str, Updates] = field(default_factory=dict, hash=False)
    connected: bool | None = None
    live: str = "LIVE"
    warming: int = 0
    draining: int = 0
    routes: str = ""
    endpoints: str = ""


def read_signs(stats: bytes, routes: bytes, clusters: bytes) -> Signs:
    """Read the answers to `STATS`, `ROUTES` and `CLUSTERS`.

    Raises:
        ValueError: An answer is not what Envoy gives.
    """
    values: dict[str, str] = {
        match[1]: match[2] for line in stats.decode().splitlines() if (match := _LINE.match(line))
    }

    def number(name: str) -> int:
        return int(values.get(name, "0"))

    # A stock Istio sidecar keeps no `control_plane.*`; there the discovery stream shows as the one
    # active request of its cluster.
    connected = values.get("control_plane.connected_state") or values.get(
        "cluster.xds-grpc.upstream_rq_active"
    )
    names = {"cds": "cluster_manager.cds", "lds": "listener_manager.lds"}
    return Signs(
        versions={
            short: values[f"{name}.version_text"].strip('"')
            for short, name in names.items()
            if f"{name}.version_text" in values
        },
        rejected={short: number(f"{name}.update_rejected") for short, name in names.items()},
        updates={
            _subscription(match): Updates(number(name), number(f"{match['name']}.update_success"))
            for name in values
            if (match := _UPDATES.match(name))
        },
        connected=None if connected is None else connected != "0",
        live=SERVER_STATES.get(number("server.state"), "UNKNOWN"),
        warming=number("cluster_manager.warming_clusters")
        + number("listener_manager.total_listeners_warming"),
        draining=number("listener_manager.total_listeners_draining")
        + number("listener_manager.total_filter_chains_draining"),
        routes=_digest(routes),
        endpoints=_digest(repr(_addresses(clusters)).encode()),
    )


def _subscription(match: re.Match[str]) -> str:
    if match["routes"]:
        return f"routes/{match['routes']}"
    if match["endpoints"]:
        # Istio ends names of clusters in statistics with a semicolon.
        return f"endpoints/{match['endpoints'].rstrip(';')}"
    return "clusters"


def refused(before: Signs | None, now: Signs, known: frozenset[str]) -> frozenset[str]:
    """The subscriptions whose last response was refused, as far as statistics tell.

    Args:
        before, now: Two looks in a row. Where a response was refused and another accepted between
            them, the order is not told, and nothing is said.
        known: What was said of `before`.
    """
    if before is None:
        return known & now.updates.keys()
    found = set(known)
    for name, updates in now.updates.items():
        earlier = before.updates.get(name, Updates(0, 0))
        if updates.accepted != earlier.accepted:
            found.discard(name)
        elif updates.rejected > earlier.rejected:
            found.add(name)
    return frozenset(found & now.updates.keys())


def _addresses(clusters: bytes) -> list[Any]:
    document = msgspec.json.decode(clusters)
    if not isinstance(document, dict):
        raise ValueError("/clusters answered no JSON object")
    return sorted(
        (
            str(cluster.get("name")),
            sorted(
                repr(
                    (
                        host.get("address"),
                        host.get("weight"),
                        host.get("locality"),
                        host.get("priority"),
                    )
                )
                for host in cluster.get("host_statuses", [])
            ),
        )
        for cluster in document.get("cluster_statuses", [])
    )


def _digest(data: bytes) -> str:
    return blake2b(data, digest_size=16).hexdigest()


def wants_dump(before: Signs | None, now: Signs) -> bool:
    """Whether the configuration may have changed since the signs `before`.

    A rejected update changes the dump too (`error_state`), and so does the end of warming.
    """
    return before is None or (
        before.versions,
        before.rejected,
        before.warming,
        before.routes,
        before.endpoints,
    ) != (now.versions, now.rejected, now.warming, now.routes, now.endpoints)
