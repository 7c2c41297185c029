"""Kind `egress`: what happens to traffic for hosts that the mesh does not know."""

from dataclasses import dataclass
from typing import Literal

from meshscope.policy.canonical import replace_fields
from meshscope.policy.http_route import HttpRule
from meshscope.policy.target import WeightedTarget, weighted


@dataclass(frozen=True, slots=True)
class Egress:
    """The treatment of unknown hosts in one route table or at the catch-all listener.

    Attributes:
        mode: `ALLOW_ANY`: passed through; `REGISTRY_ONLY`: refused; `PROXY`: sent to a service
            (Sidecar `egressProxy`).
        to: Where connections go.
        rules: Rules of the catch-all virtual host; empty for the catch-all listener.
        attempt_count_request: Whether `x-envoy-attempt-count` is sent on.
        ignore_port_in_host, max_direct_response_bytes: As in `HttpRoute`.
        binds_blackhole: Connections to the catch-all listener's own port are refused, so that they
            do not go round in circles.
    """

    mode: Literal["ALLOW_ANY", "REGISTRY_ONLY", "PROXY"]
    to: tuple[WeightedTarget, ...] = ()
    rules: tuple[HttpRule, ...] = ()
    attempt_count_request: bool = False
    ignore_port_in_host: bool = False
    max_direct_response_bytes: int = 4096
    binds_blackhole: bool = False

    def __post_init__(self) -> None:
        replace_fields(self, to=weighted(self.to))

    def without_names(self) -> "Egress":
        """The policy without what only logs, traces and statistics show."""
        return Egress(
            self.mode,
            self.to,
            tuple(rule.without_names() for rule in self.rules),
            self.attempt_count_request,
            self.ignore_port_in_host,
            self.max_direct_response_bytes,
            self.binds_blackhole,
        )
