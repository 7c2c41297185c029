"""Envoy's routes and virtual hosts as patches write them.

Source: https://www.envoyproxy.io/docs/envoy/latest/api-v3/config/route/v3/route_components.proto.
"""

from typing import Final, Literal, TypeVar

from meshscope.policy.headers import HeaderAction, HeaderMutation, HeaderValue
from meshscope.policy.http_route import (
    Forward,
    HttpRule,
    Redirect,
    Respond,
    Retry,
    Rewrite,
    RouteMatch,
)
from meshscope.policy.matches import HeaderMatch, PathMatch, QueryMatch, StringMatch
from meshscope.policy.target import Target, WeightedTarget
from meshscope.projection.patches.fields import Fields, Unmodelled

T = TypeVar("T")

_ACTIONS: Final[dict[str, HeaderAction]] = {
    "APPEND_IF_EXISTS_OR_ADD": "append",
    "ADD_IF_ABSENT": "add_if_absent",
    "OVERWRITE_IF_EXISTS_OR_ADD": "set",
    "OVERWRITE_IF_EXISTS": "overwrite_if_exists",
}
_REDIRECT_CODES: Final = {
    "MOVED_PERMANENTLY": 301,
    "FOUND": 302,
    "SEE_OTHER": 303,
    "TEMPORARY_REDIRECT": 307,
    "PERMANENT_REDIRECT": 308,
}
_TEXTS: Final[tuple[Literal["exact", "prefix", "suffix", "contains"], ...]] = (
    "exact",
    "prefix",
    "suffix",
    "contains",
)
_TIMEOUT_MS: Final = 15_000
"""Envoy's timeout where a route sets none."""


def route(fields: Fields) -> HttpRule:
    """A whole route."""
    match = fields.message("match", _match)
    forward = fields.message("route", _forward)
    redirect = fields.message("redirect", _redirect)
    respond = fields.message("direct_response", _respond)
    if match is None or [forward, redirect, respond].count(None) != 2:
        raise Unmodelled("a route without a match or an action that is known")
    return HttpRule(
        match=match,
        name=fields.text("name") or "",
        forward=forward,
        redirect=redirect,
        respond=respond,
        request_headers=mutation(fields, "request"),
        response_headers=mutation(fields, "response"),
        operation=fields.message("decorator", lambda f: f.text("operation") or "") or "",
        stat_prefix=fields.text("stat_prefix") or "",
    )


def mutation(fields: Fields, direction: Literal["request", "response"]) -> HeaderMutation:
    """What a route or virtual host does to headers."""
    return HeaderMutation(
        fields.messages(f"{direction}_headers_to_add", _header),
        fields.texts(f"{direction}_headers_to_remove"),
    )


def retry(fields: Fields, given: Retry | None) -> Retry:
    """A retry policy that is merged into the given one."""
    known = given or Retry(())
    words = fields.text("retry_on")
    backoff = fields.message(
        "retry_back_off", lambda f: (f.duration("base_interval"), f.duration("max_interval"))
    )
    base, longest = backoff or (None, None)
    return Retry(
        on=known.on if words is None else tuple(word for word in words.split(",") if word),
        attempts=_attempts(fields.number("num_retries"), given),
        per_try_timeout_ms=_or(fields.duration("per_try_timeout"), known.per_try_timeout_ms),
        status_codes=(*known.status_codes, *fields.numbers("retriable_status_codes")),
        avoid_previous_hosts=known.avoid_previous_hosts,
        host_attempts=fields.number("host_selection_retry_max_attempts") or known.host_attempts,
        previous_priorities_frequency=known.previous_priorities_frequency,
        backoff_base_ms=_or(base, known.backoff_base_ms),
        backoff_max_ms=_or(longest, known.backoff_max_ms),
        per_try_idle_timeout_ms=_or(
            fields.duration("per_try_idle_timeout"), known.per_try_idle_timeout_ms
        ),
    )


def rewrite(fields: Fields, given: Rewrite) -> Rewrite:
    """Rewrites that are merged into the given ones."""
    prefix = fields.text("prefix_rewrite")
    host = fields.text("host_rewrite_literal")
    auto = fields.flag("auto_host_rewrite")
    if prefix and given.regex:
        raise Unmodelled("a prefix that is rewritten beside an expression")
    if auto is not None:
        host = ""
    return Rewrite(
        prefix or given.prefix,
        given.regex,
        given.substitution,
        _or(host, given.host),
        auto if auto is not None else given.auto_host and not host,
    )


def targets(fields: Fields) -> tuple[WeightedTarget, ...] | None:
    """Where a route sends requests; None: it does not say."""
    cluster = fields.text("cluster")
    split = fields.message("weighted_clusters", lambda f: f.messages("clusters", _weighted))
    if split is not None:
        return split
    return None if cluster is None else (WeightedTarget(target(cluster)),)


def target(cluster: str) -> Target:
    """What a cluster stands for."""
    parts = cluster.split("|")
    if len(parts) == 4 and parts[1].isdecimal():
        direction, port, subset, host = parts
        if direction == "outbound" and host:
            return Target("outbound", host, int(port), subset)
        if direction == "inbound" and not host and not subset:
            return Target("inbound", "", int(port))
    return Target("named", cluster)


def _attempts(number: int | None, given: Retry | None) -> int:
    """Zero means none in a new policy; merged into another one it changes nothing."""
    if given is None:
        return 1 if number is None else number
    return number or given.attempts


def _or(value: T | None, default: T) -> T:
    return default if value is None else value


def _weighted(fields: Fields) -> WeightedTarget:
    return WeightedTarget(target(fields.text("name") or ""), fields.number("weight") or 0)


def _header(fields: Fields) -> HeaderValue:
    name, value = fields.message("header", lambda f: (f.text("key"), f.text("value"))) or ("", "")
    append = fields.flag("append")
    action = fields.word("append_action", _ACTIONS)
    if append is not None:
        raise Unmodelled("the deprecated way to say whether a header is appended")
    if not name:
        raise Unmodelled("a header without a name")
    return HeaderValue(name, value or "", action or "append", bool(fields.flag("keep_empty_value")))


def _match(fields: Fields) -> RouteMatch:
    sensitive = fields.flag("case_sensitive")
    prefix, exact = fields.text("prefix"), fields.text("path")
    separated = fields.text("path_separated_prefix")
    pattern = fields.message("safe_regex", _pattern)
    cased = True if sensitive is None else sensitive
    if pattern is not None:
        path = PathMatch("regex", pattern)
    elif separated is not None:
        path = PathMatch("path_separated_prefix", separated, cased)
    elif exact is not None:
        path = PathMatch("exact", exact, cased)
    elif prefix is not None:
        path = PathMatch("prefix", prefix, cased)
    else:
        raise Unmodelled("a route without a condition on the path")
    return RouteMatch(
        path=path,
        headers=fields.messages("headers", _header_match),
        query=fields.messages("query_parameters", _query_match),
    )


def _pattern(fields: Fields) -> str:
    fields.empty("google_re2")
    return fields.text("regex") or ""


def _string(fields: Fields) -> StringMatch:
    ignores = bool(fields.flag("ignore_case"))
    for kind in _TEXTS:
        value = fields.text(kind)
        if value is not None:
            return StringMatch(kind, value, ignores)
    pattern = fields.message("safe_regex", _pattern)
    if pattern is None:
        raise Unmodelled("a condition on a text")
    return StringMatch("regex", pattern)


def _header_match(fields: Fields) -> HeaderMatch:
    name = fields.text("name") or ""
    present = fields.flag("present_match")
    text = fields.message("string_match", _string)
    return HeaderMatch(
        name,
        StringMatch("present") if text is None else text,
        bool(fields.flag("invert_match")) != (present is False),
        bool(fields.flag("treat_missing_header_as_empty")),
    )


def _query_match(fields: Fields) -> QueryMatch:
    name = fields.text("name") or ""
    present = fields.flag("present_match")
    text = fields.message("string_match", _string)
    if present is False:
        raise Unmodelled("a query parameter that must be missing")
    return QueryMatch(name, StringMatch("present") if text is None else text)


def _forward(fields: Fields) -> Forward:
    timeout = fields.duration("timeout")
    return Forward(
        to=targets(fields) or (),
        timeout_ms=_TIMEOUT_MS if timeout is None else timeout,
        max_grpc_timeout_ms=fields.duration("max_grpc_timeout"),
        idle_timeout_ms=fields.duration("idle_timeout"),
        retry=fields.message("retry_policy", lambda f: retry(f, None)),
        rewrite=rewrite(fields, Rewrite()),
    )


def _redirect(fields: Fields) -> Redirect:
    return Redirect(
        status=fields.word("response_code", _REDIRECT_CODES) or 301,
        scheme=fields.text("scheme_redirect") or "",
        https=bool(fields.flag("https_redirect")),
        host=fields.text("host_redirect") or "",
        port=fields.number("port_redirect") or 0,
        path=fields.text("path_redirect") or "",
        prefix=fields.text("prefix_rewrite") or "",
        strip_query=bool(fields.flag("strip_query")),
    )


def _respond(fields: Fields) -> Respond:
    body = fields.message("body", lambda f: f.text("inline_string"))
    return Respond(fields.number("status") or 0, body or "")
