"""Kind `endpoints`: which addresses serve a destination."""

from dataclasses import dataclass, replace

from meshscope.policy.canonical import as_set, replace_fields


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One address.

    Attributes:
        address: IP address, DNS name or path of a socket; as configured, never as resolved.
        port: 0 for a socket.
        weight: Share within its locality.
        tls_mode: Label that `Destination.tls_mode == "auto"` looks at: `istio` or empty.
        workload: Name, namespace, canonical name, revision and cluster, joined by `;`; only for
            telemetry.
        health: Health as the control plane declares it (`healthy`, `draining`, `unhealthy` …).
    """

    address: str
    port: int
    weight: int = 1
    tls_mode: str = ""
    workload: str = ""
    health: str = "healthy"


@dataclass(frozen=True, slots=True)
class LocalityEndpoints:
    """The endpoints of one locality and priority, a set.

    Attributes:
        region, zone, sub_zone: Locality; empty: not known.
        priority: 0 is used first.
        weight: Share of the locality; 0: not given.
    """

    endpoints: tuple[Endpoint, ...]
    region: str = ""
    zone: str = ""
    sub_zone: str = ""
    priority: int = 0
    weight: int = 0

    def __post_init__(self) -> None:
        replace_fields(self, endpoints=as_set(self.endpoints))


@dataclass(frozen=True, slots=True)
class Endpoints:
    """All endpoints of a destination; localities without endpoints are left out.

    Attributes:
        localities: A set.
        overprovisioning_percent: How far healthy endpoints carry unhealthy ones before the next
            priority is used.
    """

    localities: tuple[LocalityEndpoints, ...] = ()
    overprovisioning_percent: int = 140

    def __post_init__(self) -> None:
        replace_fields(self, localities=as_set(loc for loc in self.localities if loc.endpoints))

    def without_names(self) -> "Endpoints":
        """The endpoints without the names of their workloads."""
        return replace(
            self,
            localities=tuple(
                replace(
                    locality,
                    endpoints=tuple(replace(e, workload="") for e in locality.endpoints),
                )
                for locality in self.localities
            ),
        )
