"""What a route does with a request: forward, redirect, answer, fail on purpose, allow origins."""

from typing import Final, Literal

from meshscope.inference.matchers import (
    fraction,
    header_mutation,
    parts_per_million,
    regex,
    string_matches,
)
from meshscope.inference.names import target
from meshscope.inference.reader import Message
from meshscope.policy.http_route import Cors, Fault, Forward, Mirror, Redirect, Retry, Rewrite
from meshscope.policy.matches import Fraction
from meshscope.policy.target import HashPolicy, WeightedTarget

_FAULT_FILTER: Final = "envoy.filters.http.fault"
_FAULT: Final = "envoy.extensions.filters.http.fault.v3.HTTPFault"
_CORS_FILTER: Final = "envoy.filters.http.cors"
_CORS: Final = "envoy.extensions.filters.http.cors.v3.CorsPolicy"

PREVIOUS_HOSTS: Final = {
    "name": "envoy.retry_host_predicates.previous_hosts",
    "typed_config": {
        "@type": "type.googleapis.com/"
        "envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"
    },
}
_PREVIOUS_PRIORITIES: Final = (
    "envoy.extensions.retry.priority.previous_priorities.v3.PreviousPrioritiesConfig"
)
_NOT_FOUND_CODES: Final = {
    "SERVICE_UNAVAILABLE": 503,
    "NOT_FOUND": 404,
    "INTERNAL_SERVER_ERROR": 500,
}
_REDIRECT_CODES: Final = {
    "MOVED_PERMANENTLY": 301,
    "FOUND": 302,
    "SEE_OTHER": 303,
    "TEMPORARY_REDIRECT": 307,
    "PERMANENT_REDIRECT": 308,
}
_PRIORITIES: Final[dict[str, Literal["default", "high"]]] = {"DEFAULT": "default", "HIGH": "high"}
_CHOSEN_OTHERWISE: Final = frozenset(
    ("cluster_header", "cluster_specifier_plugin", "inline_cluster_specifier_plugin")
)
_DEFAULT_TIMEOUT_MS: Final = 15_000


def forward(action: Message, clusters: set[str]) -> Forward | None:
    """A `RouteAction`; None if its destination is chosen in a way that is not modelled.

    A route may name no destination at all; Envoy then has nowhere to send the request.

    Args:
        action: The message.
        clusters: The clusters that it names are added here.
    """
    if action.rest.keys() & _CHOSEN_OTHERWISE:
        action.unread()
        return None
    to = _targets(action)
    mirrors = tuple(_mirror(item, clusters) for item in action.messages("request_mirror_policies"))
    clusters.update(name for name, _ in to)
    timeout = action.milliseconds("timeout")
    duration = action.message("max_stream_duration")
    retry = action.message("retry_policy")
    return Forward(
        to=tuple(weighted for _, weighted in to),
        timeout_ms=_DEFAULT_TIMEOUT_MS if timeout is None else timeout,
        max_grpc_timeout_ms=action.milliseconds("max_grpc_timeout"),
        max_stream_duration_ms=(
            None if duration is None else duration.milliseconds("max_stream_duration")
        ),
        grpc_timeout_header_max_ms=(
            None if duration is None else duration.milliseconds("grpc_timeout_header_max")
        ),
        idle_timeout_ms=action.milliseconds("idle_timeout"),
        retry=None if retry is None else _retry(retry),
        rewrite=_rewrite(action),
        mirrors=mirrors,
        hash=hash_policies(action),
        unknown_destination_status=action.word(
            "cluster_not_found_response_code", _NOT_FOUND_CODES, 503
        ),
        upgrades=tuple(
            f"{item.string('upgrade_type').lower()}={str(item.boolean('enabled', True)).lower()}"
            for item in action.messages("upgrade_configs")
        ),
        priority=action.word("priority", _PRIORITIES, "default"),
    )


def _targets(action: Message) -> list[tuple[str, WeightedTarget]]:
    single = action.string("cluster")
    if single:
        return [(single, WeightedTarget(target(single)))]
    split = action.message("weighted_clusters")
    if split is None:
        return []
    found = []
    for item in split.messages("clusters"):
        name = item.string("name")
        found.append(
            (
                name,
                WeightedTarget(
                    target(name),
                    item.integer("weight"),
                    header_mutation(item, "request"),
                    header_mutation(item, "response"),
                    item.string("host_rewrite_literal"),
                ),
            )
        )
    return found


def _mirror(message: Message, clusters: set[str]) -> Mirror:
    cluster = message.string("cluster")
    clusters.add(cluster)
    share = message.message("runtime_fraction")
    return Mirror(
        target(cluster),
        Fraction(1_000_000) if share is None else fraction(share),
        not message.boolean("disable_shadow_host_suffix_append"),
        message.optional_boolean("trace_sampled"),
    )


def _retry(message: Message) -> Retry:
    backoff = message.message("retry_back_off")
    return Retry(
        on=tuple(word for word in message.string("retry_on").split(",") if word),
        attempts=message.integer("num_retries", 1),
        per_try_timeout_ms=message.milliseconds("per_try_timeout"),
        status_codes=message.integers("retriable_status_codes"),
        avoid_previous_hosts=message.constant("retry_host_predicate", [PREVIOUS_HOSTS]),
        host_attempts=message.integer("host_selection_retry_max_attempts", 1),
        previous_priorities_frequency=_previous_priorities(message),
        backoff_base_ms=None if backoff is None else backoff.milliseconds("base_interval"),
        backoff_max_ms=None if backoff is None else backoff.milliseconds("max_interval"),
        per_try_idle_timeout_ms=message.milliseconds("per_try_idle_timeout"),
    )


def _previous_priorities(message: Message) -> int:
    priority = message.message("retry_priority", "RetryPriority")
    if priority is None:
        return 0
    found = priority.configured()
    if found is None or found[0] != _PREVIOUS_PRIORITIES:
        if found is not None:
            found[1].unread()
        return 0
    return found[1].integer("update_frequency")


def _rewrite(action: Message) -> Rewrite:
    expression, substitution = _regex_rewrite(action)
    prefix = action.string("prefix_rewrite")
    host = action.string("host_rewrite_literal")
    auto_host = action.boolean("auto_host_rewrite")
    if not (expression or substitution or prefix or host or auto_host):
        return _NO_REWRITE
    return Rewrite(prefix, expression, substitution, host, auto_host)


_NO_REWRITE: Final = Rewrite()


def _regex_rewrite(message: Message) -> tuple[str, str]:
    rewrite = message.message("regex_rewrite")
    if rewrite is None:
        return "", ""
    pattern = rewrite.message("pattern")
    return "" if pattern is None else regex(pattern), rewrite.string("substitution")


def hash_policies(message: Message) -> tuple[HashPolicy, ...]:
    """What consistent hashing hashes, in order; also that of a TCP proxy."""
    return tuple(
        found
        for item in message.messages("hash_policy")
        if (found := _hash_policy(item)) is not None
    )


def _hash_policy(message: Message) -> HashPolicy | None:
    terminal = message.boolean("terminal")
    if (header := message.message("header")) is not None:
        return HashPolicy("header", header.string("header_name"), terminal=terminal)
    if (cookie := message.message("cookie")) is not None:
        return HashPolicy(
            "cookie",
            cookie.string("name"),
            cookie.milliseconds("ttl"),
            cookie.string("path"),
            tuple(
                f"{item.string('name')}={item.string('value')}"
                for item in cookie.messages("attributes")
            ),
            terminal,
        )
    if message.constant("source_ip", {}) or message.constant(
        "connection_properties", {"source_ip": True}
    ):
        return HashPolicy("source_ip", terminal=terminal)
    if (parameter := message.message("query_parameter")) is not None:
        return HashPolicy("query_parameter", parameter.string("name"), terminal=terminal)
    if (state := message.message("filter_state")) is not None:
        return HashPolicy("filter_state", state.string("key"), terminal=terminal)
    message.unread()
    return None


def redirect(message: Message) -> Redirect:
    """A `RedirectAction`."""
    expression, substitution = _regex_rewrite(message)
    return Redirect(
        status=message.word("response_code", _REDIRECT_CODES, 301),
        scheme=message.string("scheme_redirect"),
        https=message.boolean("https_redirect"),
        host=message.string("host_redirect"),
        port=message.integer("port_redirect"),
        path=message.string("path_redirect"),
        prefix=message.string("prefix_rewrite"),
        regex=expression,
        substitution=substitution,
        strip_query=message.boolean("strip_query"),
    )


def fault(per_filter: Message) -> Fault | None:
    """The failures that a route injects; None: none."""
    message = _per_filter(per_filter, _FAULT_FILTER, _FAULT)
    if message is None:
        return None
    delay = message.message("delay")
    abort = message.message("abort")
    return Fault(
        delay_ms=None if delay is None else delay.milliseconds("fixed_delay"),
        delay_fraction=_share(delay),
        abort_status=None if abort is None else abort.optional_integer("http_status"),
        abort_grpc_status=None if abort is None else abort.optional_integer("grpc_status"),
        abort_fraction=_share(abort),
    )


def _share(message: Message | None) -> Fraction:
    share = None if message is None else message.message("percentage")
    return Fraction(0 if share is None else parts_per_million(share))


def cors(per_filter: Message) -> Cors | None:
    """The cross-origin rules of a route; None: none."""
    message = _per_filter(per_filter, _CORS_FILTER, _CORS)
    if message is None:
        return None
    enabled = message.message("filter_enabled")
    shadow = message.message("shadow_enabled")
    return Cors(
        allow_origins=string_matches(message, "allow_origin_string_match"),
        allow_methods=_words(message, "allow_methods"),
        allow_headers=_words(message, "allow_headers"),
        expose_headers=_words(message, "expose_headers"),
        max_age=message.string("max_age"),
        allow_credentials=message.optional_boolean("allow_credentials"),
        enabled=Fraction(1_000_000) if enabled is None else fraction(enabled),
        shadow_enabled=None if shadow is None else fraction(shadow),
        forward_unmatched_preflights=message.boolean("forward_not_matching_preflights", True),
    )


def _words(message: Message, name: str) -> tuple[str, ...]:
    return tuple(word for part in message.string(name).split(",") if (word := part.strip()))


def _per_filter(per_filter: Message, name: str, kind: str) -> Message | None:
    found = per_filter.any(name)
    if found is None:
        return None
    if found[0] != kind:
        found[1].unread()
        return None
    return found[1]
