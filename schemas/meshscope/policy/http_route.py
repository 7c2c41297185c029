"""Kind `http_route`: what happens to a request for a host."""

from dataclasses import dataclass, replace
from typing import Literal

from meshscope.policy.canonical import as_set, replace_fields
from meshscope.policy.headers import HeaderMutation
from meshscope.policy.matches import (
    Fraction,
    HeaderMatch,
    MetadataMatch,
    PathMatch,
    QueryMatch,
    StringMatch,
)
from meshscope.policy.target import HashPolicy, Target, WeightedTarget, weighted


@dataclass(frozen=True, slots=True)
class RouteMatch:
    """Which requests a rule takes: all conditions must hold.

    Attributes:
        path: Condition on the path.
        headers: Conditions on headers, `:method`, `:authority` and `:scheme` among them.
        query: Conditions on query parameters.
        metadata: Conditions on dynamic metadata (JWT claims).
        grpc: Only gRPC requests (content type).
        fraction: Only this share of the requests; None: all.
    """

    path: PathMatch = PathMatch("prefix", "/")
    headers: tuple[HeaderMatch, ...] = ()
    query: tuple[QueryMatch, ...] = ()
    metadata: tuple[MetadataMatch, ...] = ()
    grpc: bool = False
    fraction: Fraction | None = None

    def __post_init__(self) -> None:
        replace_fields(
            self,
            headers=as_set(self.headers),
            query=as_set(self.query),
            metadata=as_set(self.metadata),
        )


@dataclass(frozen=True, slots=True)
class Retry:
    """When and how a failed attempt is repeated (Envoy `RetryPolicy`).

    Attributes:
        on: Conditions, such as `connect-failure`.
        attempts: Number of repetitions.
        per_try_timeout_ms: None: only the timeout of the route counts.
        status_codes: Answers that `retriable-status-codes` covers.
        avoid_previous_hosts: A repetition goes to another host.
        host_attempts: How often another host is looked for.
        previous_priorities_frequency: After how many attempts other localities are tried; 0: never.
        backoff_base_ms, backoff_max_ms: None: Envoy's defaults (25 ms, ten times the base).
        per_try_idle_timeout_ms: None: none.
    """

    on: tuple[str, ...]
    attempts: int = 1
    per_try_timeout_ms: int | None = None
    status_codes: tuple[int, ...] = ()
    avoid_previous_hosts: bool = False
    host_attempts: int = 1
    previous_priorities_frequency: int = 0
    backoff_base_ms: int | None = None
    backoff_max_ms: int | None = None
    per_try_idle_timeout_ms: int | None = None

    def __post_init__(self) -> None:
        replace_fields(self, on=as_set(self.on), status_codes=tuple(sorted(set(self.status_codes))))


@dataclass(frozen=True, slots=True)
class Mirror:
    """A copy of the requests that is sent elsewhere and whose answer is thrown away.

    Attributes:
        target: Where.
        fraction: Share of the requests.
        append_shadow_suffix: The host header of the copy ends in `-shadow`.
        trace_sampled: Whether the copy is traced; None: as the request.
    """

    target: Target
    fraction: Fraction = Fraction(1_000_000)
    append_shadow_suffix: bool = True
    trace_sampled: bool | None = None


@dataclass(frozen=True, slots=True)
class Rewrite:
    """What is changed in a request before it is sent on; empty strings and None change nothing.

    Attributes:
        prefix: Replaces the matched prefix (or the whole exact path).
        regex, substitution: Every match of `regex` in the path becomes `substitution`.
        host: New host header; `auto_host`: that of the chosen endpoint.
    """

    prefix: str = ""
    regex: str = ""
    substitution: str = ""
    host: str = ""
    auto_host: bool = False


@dataclass(frozen=True, slots=True)
class Forward:
    """The request is sent to one of the destinations.

    Attributes:
        to: Destinations, a set; those of weight 0 are left out.
        timeout_ms: For the whole answer, retries included; 0: no limit.
        max_grpc_timeout_ms: Limit that a `grpc-timeout` header may not exceed; None: it is not
            looked at; 0: any.
        max_stream_duration_ms, grpc_timeout_header_max_ms: Envoy's `max_stream_duration`; None: not
            set.
        idle_timeout_ms: None: that of the connection manager.
        retry: None: never.
        rewrite, mirrors, hash: As named; `hash` in order of definition.
        unknown_destination_status: Answer where a destination does not exist (Envoy: 503).
        upgrades: Upgrade types that this route switches on or off, such as `websocket=true`.
        priority: `default` or `high` (circuit breakers).
    """

    to: tuple[WeightedTarget, ...]
    timeout_ms: int = 15_000
    max_grpc_timeout_ms: int | None = None
    max_stream_duration_ms: int | None = None
    grpc_timeout_header_max_ms: int | None = None
    idle_timeout_ms: int | None = None
    retry: Retry | None = None
    rewrite: Rewrite = Rewrite()
    mirrors: tuple[Mirror, ...] = ()
    hash: tuple[HashPolicy, ...] = ()
    unknown_destination_status: int = 503
    upgrades: tuple[str, ...] = ()
    priority: Literal["default", "high"] = "default"

    def __post_init__(self) -> None:
        replace_fields(
            self,
            to=weighted(self.to),
            mirrors=as_set(self.mirrors),
            upgrades=as_set(self.upgrades),
        )


@dataclass(frozen=True, slots=True)
class Redirect:
    """The client is sent elsewhere; empty strings and 0 keep what the request had.

    Attributes:
        status: 301, 302, 303, 307 or 308.
        scheme, host, port: As named.
        path: Whole new path; `prefix` replaces the matched prefix; `regex`/`substitution` as in
            `Rewrite`.
        strip_query: The query is dropped.
    """

    status: int = 301
    scheme: str = ""
    https: bool = False
    host: str = ""
    port: int = 0
    path: str = ""
    prefix: str = ""
    regex: str = ""
    substitution: str = ""
    strip_query: bool = False


@dataclass(frozen=True, slots=True)
class Respond:
    """The proxy answers itself. `body` is text; bodies of bytes stand as `base64:…`."""

    status: int
    body: str = ""


@dataclass(frozen=True, slots=True)
class Fault:
    """Failures that are injected (Envoy `HTTPFault`).

    Attributes:
        delay_ms, delay_fraction: A delay for this share of the requests; None: no delay.
        abort_status, abort_grpc_status: One of them, or both None: no abort.
        abort_fraction: Share of the requests that are aborted.
    """

    delay_ms: int | None = None
    delay_fraction: Fraction = Fraction(0)
    abort_status: int | None = None
    abort_grpc_status: int | None = None
    abort_fraction: Fraction = Fraction(0)


@dataclass(frozen=True, slots=True)
class Cors:
    """Cross-origin rules (Envoy `CorsPolicy`); header and method lists are sets.

    Attributes:
        allow_origins: Origins that may read the answer.
        max_age: Seconds, as text; empty: not sent.
        allow_credentials: None: not said.
        enabled, shadow_enabled: Share of the requests for which the rules act.
        forward_unmatched_preflights: Preflight requests of other origins go to the destination.
    """

    allow_origins: tuple[StringMatch, ...] = ()
    allow_methods: tuple[str, ...] = ()
    allow_headers: tuple[str, ...] = ()
    expose_headers: tuple[str, ...] = ()
    max_age: str = ""
    allow_credentials: bool | None = None
    enabled: Fraction = Fraction(1_000_000)
    shadow_enabled: Fraction | None = None
    forward_unmatched_preflights: bool = True

    def __post_init__(self) -> None:
        replace_fields(
            self,
            allow_origins=as_set(self.allow_origins),
            allow_methods=as_set(self.allow_methods),
            allow_headers=as_set(name.lower() for name in self.allow_headers),
            expose_headers=as_set(name.lower() for name in self.expose_headers),
        )


@dataclass(frozen=True, slots=True)
class HttpRule:
    """One rule of a virtual host: a match and exactly one action.

    Attributes:
        name: Route name as it shows in access logs; it changes nothing for traffic.
        match: Which requests.
        forward, redirect, respond: The action; the other two are None. All None: the route is
            invalid or its action is not modelled (then an `extension` policy says what stands
            there).
        fault, cors: None: none.
        request_headers, response_headers: Changes for every destination of this rule.
        operation: Name of the span in traces; it changes nothing for traffic.
        stat_prefix: Prefix of the route's own statistics; it changes nothing for traffic.
    """

    match: RouteMatch
    name: str = ""
    forward: Forward | None = None
    redirect: Redirect | None = None
    respond: Respond | None = None
    fault: Fault | None = None
    cors: Cors | None = None
    request_headers: HeaderMutation = HeaderMutation()
    response_headers: HeaderMutation = HeaderMutation()
    operation: str = ""
    stat_prefix: str = ""

    def without_names(self) -> "HttpRule":
        """The rule without what only logs, traces and statistics show."""
        return replace(self, name="", operation="", stat_prefix="")


@dataclass(frozen=True, slots=True)
class HttpRoute:
    """A virtual host of an outbound route table.

    Attributes:
        domains: Host names that it takes, lower case, with Envoy's leading or trailing `*`.
        rules: In order; the first that matches acts.
        require_tls: `all` or `external` redirect plaintext requests.
        attempt_count_request, attempt_count_response: Whether `x-envoy-attempt-count` is sent on
            or back.
        ignore_port_in_host: Ports in the host header do not count (set by the route table).
        max_direct_response_bytes: Longest body of a `respond` rule (set by the route table).
    """

    domains: tuple[str, ...]
    rules: tuple[HttpRule, ...] = ()
    require_tls: Literal["none", "external", "all"] = "none"
    attempt_count_request: bool = False
    attempt_count_response: bool = False
    ignore_port_in_host: bool = False
    max_direct_response_bytes: int = 4096
    request_headers: HeaderMutation = HeaderMutation()
    response_headers: HeaderMutation = HeaderMutation()

    def __post_init__(self) -> None:
        replace_fields(self, domains=as_set(domain.lower() for domain in self.domains))

    def without_names(self) -> "HttpRoute":
        """The virtual host without what only logs, traces and statistics show."""
        return replace(self, rules=tuple(rule.without_names() for rule in self.rules))
