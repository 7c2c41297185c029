"""Patches of routes and of virtual hosts.

Source: https://istio.io/latest/docs/reference/config/networking/envoy-filter/#EnvoyFilter-RouteConfigurationMatch.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Final

from meshscope.policy import key as keys
from meshscope.policy.egress import Egress
from meshscope.policy.headers import HeaderMutation
from meshscope.policy.http_route import Forward, HttpRoute, HttpRule
from meshscope.policy.inbound import Inbound, InboundRoutes
from meshscope.policy.key import ANY_PORT, PolicyKey
from meshscope.policy.kinds import Kind
from meshscope.policy.policy import Policy
from meshscope.policy.target import Target
from meshscope.projection.patches.effects import Effect, Held, changed
from meshscope.projection.patches.fields import Fields, Unmodelled, read
from meshscope.projection.patches.in_force import INBOUND, OUTBOUND, Json, Patch
from meshscope.projection.patches.route_values import mutation, retry, rewrite, route, targets

_CATCH_ALL: Final = {"ALLOW_ANY": "allow_any", "PROXY": "allow_any", "REGISTRY_ONLY": "block_all"}
_INBOUND_HOST: Final = "inbound|http|"

_Rules = Callable[[tuple[HttpRule, ...]], tuple[HttpRule, ...]]


def merge_routes(patch: Patch, held: Held) -> Iterator[Effect]:
    """Settings that are merged into routes."""
    change = read(patch.value, "route", _merge)
    chosen = _chosen(patch)

    def merge(rules: tuple[HttpRule, ...]) -> tuple[HttpRule, ...]:
        if not any(map(chosen, rules)):
            return rules
        return tuple(change(rule) if chosen(rule) else rule for rule in rules)

    return _each_host(patch, held, merge)


def remove_routes(patch: Patch, held: Held) -> Iterator[Effect]:
    """Routes that are taken away."""
    chosen = _chosen(patch)

    def remove(rules: tuple[HttpRule, ...]) -> tuple[HttpRule, ...]:
        left = tuple(rule for rule in rules if not chosen(rule))
        return rules if len(left) == len(rules) else left

    return _each_host(patch, held, remove)


def insert_routes(patch: Patch, held: Held) -> Iterator[Effect]:
    """Routes that are added: at the end, first, or beside the first that matches."""
    new = read(patch.value, "route", route)
    anywhere = "route" not in _host(patch)
    chosen = _chosen(patch)

    def insert(rules: tuple[HttpRule, ...]) -> tuple[HttpRule, ...]:
        last = patch.operation in ("ADD", "INSERT_AFTER")
        if anywhere or patch.operation == "ADD":
            return (*rules, new) if last else (new, *rules)
        at = next((index for index, rule in enumerate(rules) if chosen(rule)), None)
        if at is None:
            return rules
        if patch.operation == "INSERT_FIRST":
            return (new, *rules)
        at += last
        return (*rules[:at], new, *rules[at:])

    return _each_host(patch, held, insert)


def merge_hosts(patch: Patch, held: Held) -> Iterator[Effect]:
    """Settings that are merged into virtual hosts."""
    change, headers_only = read(patch.value, "virtual host", _merge_host)
    others: list[PolicyKey] = []
    if OUTBOUND in patch.directions:
        yield from changed(held, _hosts(patch, held), HttpRoute, change, patch.source)
        others += _catch_alls(patch, held)
    if INBOUND in patch.directions:
        others += _inbound(patch, held)
    for key in others:
        # The vocabulary has no headers there.
        reason = "a virtual host that is not of a service"
        yield Effect(key, held[key] if headers_only else None, leftovers=True, reason=reason)


def remove_hosts(patch: Patch, held: Held) -> Iterator[Effect]:
    """Virtual hosts that are taken away."""
    if INBOUND in patch.directions:
        raise Unmodelled("virtual hosts of the workload itself")
    for key in (*_hosts(patch, held), *_catch_alls(patch, held)):
        yield Effect(key, ())


def add_hosts(patch: Patch, held: Held) -> Iterator[Effect]:
    """Virtual hosts that are added to route tables."""
    if INBOUND in patch.directions:
        raise Unmodelled("virtual hosts of the workload itself")
    name, new = read(patch.value, "virtual host", _new_host)
    for table, like in _tables(patch, held).items():
        key = keys.http_route(table, name)
        if key in held:
            raise Unmodelled(f"a second virtual host {name}")
        content = replace(
            new,
            ignore_port_in_host=like.ignore_port_in_host,
            max_direct_response_bytes=like.max_direct_response_bytes,
        )
        yield Effect(key, (Policy(key, content, (patch.source,)),))


def _host(patch: Patch) -> Json:
    found: Json = (patch.match.get("routeConfiguration") or {}).get("vhost") or {}
    return found


def _chosen(patch: Patch) -> Callable[[HttpRule], bool]:
    """Which routes of a virtual host are meant."""
    match: Json = _host(patch).get("route") or {}
    name, action = match.get("name") or "", match.get("action") or "ANY"
    if action not in ("ANY", "ROUTE", "REDIRECT", "DIRECT_RESPONSE"):
        raise Unmodelled(f"routes of the action {action}")

    def chosen(rule: HttpRule) -> bool:
        if name and rule.name != name:
            return False
        found = {
            "ROUTE": rule.forward,
            "REDIRECT": rule.redirect,
            "DIRECT_RESPONSE": rule.respond,
        }
        return action == "ANY" or found[action] is not None

    return chosen


def _each_host(patch: Patch, held: Held, change: _Rules) -> Iterator[Effect]:
    """Change the rules of every virtual host that is meant."""
    if OUTBOUND in patch.directions:
        yield from changed(
            held,
            _hosts(patch, held),
            HttpRoute,
            lambda host: _with(host, change(host.rules)),
            patch.source,
        )
        yield from changed(
            held,
            _catch_alls(patch, held),
            Egress,
            lambda host: _beyond(host, change(host.rules)),
            patch.source,
        )
    if INBOUND in patch.directions:
        yield from changed(
            held, _inbound(patch, held), Inbound, lambda port: _own(port, change), patch.source
        )


def _with(host: HttpRoute, rules: tuple[HttpRule, ...]) -> HttpRoute:
    return host if rules is host.rules else replace(host, rules=rules)


def _beyond(host: Egress, rules: tuple[HttpRule, ...]) -> Egress:
    if rules is host.rules:
        return host
    last = rules[-1].forward if rules else None
    if (last.to if last is not None else ()) != host.to:
        raise Unmodelled("another last route for unknown hosts")
    return replace(host, rules=rules)


def _own(port: Inbound, change: _Rules) -> Inbound:
    routes = tuple(replace(one, rules=change(one.rules)) for one in port.routes)
    if routes == port.routes:
        return port
    if not port.forwards_to and _targets(port.routes).isdisjoint(_targets(routes)):
        # Nothing leads to the workload any more.
        return replace(port, routes=routes, upstream=None, services=())
    return replace(port, routes=routes)


def _targets(routes: Iterable[InboundRoutes]) -> set[Target]:
    rules = (rule for one in routes for rule in one.rules)
    return {each.target for rule in rules if rule.forward for each in rule.forward.to}


def _table_is_meant(patch: Patch, table: str) -> bool:
    match: Json = patch.match.get("routeConfiguration") or {}
    port = match.get("portNumber")
    return (not match.get("name") or match["name"] == table) and (not port or str(port) == table)


def _hosts(patch: Patch, held: Held) -> list[PolicyKey]:
    """Virtual hosts of services that are meant; a table without any has one without a name."""
    match = _host(patch)
    name, domain = match.get("name"), match.get("domainName")
    found = []
    for key in held:
        if key.kind is not Kind.HTTP_ROUTE or not key["virtual_host"]:
            continue
        if not _table_is_meant(patch, key["route_table"]):
            continue
        if name and key["virtual_host"] != name:
            continue
        if domain and not all(
            domain in policy.content.domains
            for policy in held[key]
            if policy is not None and isinstance(policy.content, HttpRoute)
        ):
            continue
        found.append(key)
    return found


def _catch_alls(patch: Patch, held: Held) -> list[PolicyKey]:
    match = _host(patch)
    return [
        key
        for key, outcomes in held.items()
        if key.kind is Kind.EGRESS
        and _table_is_meant(patch, key.parts[0])
        and (not match.get("domainName") or match["domainName"] == "*")
        and any(
            policy is not None
            and isinstance(policy.content, Egress)
            and policy.content.rules
            and match.get("name") in (None, "", _CATCH_ALL[policy.content.mode])
            for policy in outcomes
        )
    ]


def _inbound(patch: Patch, held: Held) -> list[PolicyKey]:
    match: Json = patch.match.get("routeConfiguration") or {}
    host = _host(patch)
    if (host.get("name") or "").startswith(_INBOUND_HOST):
        raise Unmodelled("virtual hosts of the workload by their names")
    if host.get("name") or host.get("domainName") not in (None, "", "*"):
        return []
    found = []
    for key in held:
        if key.kind is not Kind.INBOUND:
            continue
        port = key.parts[0]
        name = "InboundPassthroughCluster" if port == ANY_PORT else f"inbound|{port}||"
        if match.get("name") in (None, "", name) and str(match.get("portNumber") or port) == port:
            found.append(key)
    return found


def _tables(patch: Patch, held: Held) -> dict[str, HttpRoute | Egress]:
    """Route tables that are meant, each with a virtual host that has its settings."""
    found: dict[str, HttpRoute | Egress] = {}
    for key, outcomes in held.items():
        table = key.parts[0]
        if key.kind not in (Kind.HTTP_ROUTE, Kind.EGRESS) or not _table_is_meant(patch, table):
            continue
        for policy in outcomes:
            content = None if policy is None else policy.content
            if isinstance(content, HttpRoute) or (isinstance(content, Egress) and content.rules):
                found[table] = content
                if key.kind is Kind.HTTP_ROUTE and not key["virtual_host"]:
                    raise Unmodelled("a virtual host in an empty route table")
    return found


def _merge(fields: Fields) -> Callable[[HttpRule], HttpRule]:
    action = fields.json("route")
    if action is not None:
        # Once without a route, so that what cannot be read is known before any is changed.
        read(action, "route.route", lambda f: _merge_action(f, Forward(())))
    request, response = mutation(fields, "request"), mutation(fields, "response")
    name, stat_prefix = fields.text("name"), fields.text("stat_prefix")
    operation = fields.message("decorator", lambda f: f.text("operation"))

    def merged(rule: HttpRule) -> HttpRule:
        if action is not None:
            # Merged into another action, it takes its place, and leads nowhere.
            known = rule.forward or Forward(())
            rule = replace(
                rule,
                forward=read(action, "route.route", lambda f: _merge_action(f, known)),
                redirect=None,
                respond=None,
            )
        return replace(
            rule,
            name=name or rule.name,
            stat_prefix=stat_prefix or rule.stat_prefix,
            operation=operation or rule.operation,
            request_headers=_both(rule.request_headers, request),
            response_headers=_both(rule.response_headers, response),
        )

    return merged


def _merge_action(fields: Fields, known: Forward) -> Forward:
    timeout, idle = fields.duration("timeout"), fields.duration("idle_timeout")
    grpc = fields.duration("max_grpc_timeout")
    if "weighted_clusters" in fields.names():
        raise Unmodelled("destinations merged into others")
    to = targets(fields)
    retried = fields.message("retry_policy", lambda f: retry(f, known.retry))
    return replace(
        known,
        to=known.to if to is None else to,
        timeout_ms=known.timeout_ms if timeout is None else timeout,
        idle_timeout_ms=known.idle_timeout_ms if idle is None else idle,
        max_grpc_timeout_ms=known.max_grpc_timeout_ms if grpc is None else grpc,
        retry=known.retry if retried is None else retried,
        rewrite=rewrite(fields, known.rewrite),
    )


def _both(given: HeaderMutation, further: HeaderMutation) -> HeaderMutation:
    return HeaderMutation((*given.add, *further.add), (*given.remove, *further.remove))


def _merge_host(fields: Fields) -> tuple[Callable[[HttpRoute], HttpRoute], bool]:
    """What becomes of a virtual host, and whether that is about headers alone."""
    request, response = mutation(fields, "request"), mutation(fields, "response")
    domains, rules = fields.texts("domains"), fields.messages("routes", route)
    counted = fields.flag("include_request_attempt_count")
    answered = fields.flag("include_attempt_count_in_response")

    def merged(host: HttpRoute) -> HttpRoute:
        return replace(
            host,
            domains=(*host.domains, *domains),
            rules=(*host.rules, *rules),
            request_headers=_both(host.request_headers, request),
            response_headers=_both(host.response_headers, response),
            attempt_count_request=bool(counted) or host.attempt_count_request,
            attempt_count_response=bool(answered) or host.attempt_count_response,
        )

    return merged, not (domains or rules or counted or answered)


def _new_host(fields: Fields) -> tuple[str, HttpRoute]:
    name = fields.text("name")
    if not name:
        raise Unmodelled("a virtual host without a name")
    return name, HttpRoute(
        domains=fields.texts("domains"),
        rules=fields.messages("routes", route),
        request_headers=mutation(fields, "request"),
        response_headers=mutation(fields, "response"),
        attempt_count_request=bool(fields.flag("include_request_attempt_count")),
        attempt_count_response=bool(fields.flag("include_attempt_count_in_response")),
    )
