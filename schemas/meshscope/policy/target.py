"""Where traffic is sent."""

from dataclasses import dataclass
from typing import Literal

from meshscope.policy.canonical import as_set, replace_fields
from meshscope.policy.headers import HeaderMutation

Direction = Literal["outbound", "inbound", "named"]


@dataclass(frozen=True, slots=True, order=True)
class Target:
    """A destination as Istio names it.

    Attributes:
        direction: `outbound`: a service's port and subset. `inbound`: the workload's own port;
            host and subset are empty. `named`: a cluster of another name (`PassthroughCluster`,
            `BlackHoleCluster`, `InboundPassthroughCluster` or one that an EnvoyFilter added), and
            `host` is that name.
        host: Host name of the service.
        port: Port of the service, or target port for `inbound`; 0 for `named`.
        subset: Subset of the DestinationRule, or empty.
    """

    direction: Direction
    host: str
    port: int = 0
    subset: str = ""

    def __str__(self) -> str:
        match self.direction:
            case "outbound":
                return f"{self.host}:{self.port}" + (
                    f" subset {self.subset}" if self.subset else ""
                )
            case "inbound":
                return f"own port {self.port}"
            case "named":
                return self.host


@dataclass(frozen=True, slots=True)
class WeightedTarget:
    """One destination of several.

    Attributes:
        target: Where.
        weight: Its share, relative to the weights beside it; 1 when it stands alone.
        request_headers, response_headers: Changes that this destination alone makes.
        host_rewrite: Host header that this destination alone sets; empty: none.
    """

    target: Target
    weight: int = 1
    request_headers: HeaderMutation = HeaderMutation()
    response_headers: HeaderMutation = HeaderMutation()
    host_rewrite: str = ""


def weighted(targets: tuple[WeightedTarget, ...]) -> tuple[WeightedTarget, ...]:
    """Canonical form of a split: a set, without weights of zero; a lone destination has weight 1.

    The weights stay as given: 1/1 and 50/50 differ in form and are alike in meaning, which is for
    the comparison to say.
    """
    used = as_set(t for t in targets if t.weight > 0)
    if len(used) == 1:
        lone = used[0]
        return (
            WeightedTarget(
                lone.target, 1, lone.request_headers, lone.response_headers, lone.host_rewrite
            ),
        )
    return used


@dataclass(frozen=True, slots=True)
class HashPolicy:
    """What consistent hashing hashes (Envoy `RouteAction.HashPolicy`, in order of definition).

    Attributes:
        on: What is hashed.
        name: Name of header, cookie, query parameter or filter-state key; empty for `source_ip`.
        ttl_ms: Lifetime of a cookie that the proxy sets; None: it sets none.
        path: Path of that cookie.
        attributes: Further attributes of that cookie, such as `SameSite=Strict`.
        terminal: Later policies are not looked at if this one gave a hash.
    """

    on: Literal["header", "cookie", "source_ip", "query_parameter", "filter_state"]
    name: str = ""
    ttl_ms: int | None = None
    path: str = ""
    attributes: tuple[str, ...] = ()
    terminal: bool = False

    def __post_init__(self) -> None:
        if self.on == "header":
            replace_fields(self, name=self.name.lower())
