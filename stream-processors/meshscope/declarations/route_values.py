"""Values of routes that do not say what they seem to: weights, timeouts, patterns, delegates."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

from meshscope.algebra.limits import TooLargeError
from meshscope.algebra.regex import regex
from meshscope.algebra.syntax import InvalidPatternError, UnmodelledError
from meshscope.declarations.finding import Finding, Lacking, Said, absent
from meshscope.declarations.hosts import full
from meshscope.declarations.reading import Json, mapping, mappings, number, text, texts
from meshscope.declarations.surroundings import Surroundings
from meshscope.events.resource import Resource
from meshscope.projection.declared.visibility import sees
from meshscope.projection.durations import milliseconds
from meshscope.projection.routes.delegation import merged_routes

WEIGHTS = "MSC-2307"
DELEGATES = "MSC-2311"
ATTEMPTS = "MSC-2312"
PATTERN = "MSC-2313"

_SUM = 100


def weights(service: Resource, around: Surroundings) -> Iterator[Said]:
    """Weights that are no percentages, or that nobody or everybody gets."""
    for kind in ("http", "tls", "tcp"):
        for block, route in mappings(service.spec, kind):
            items = [item for _, item in mappings(route, "route")]
            path = f"spec.{kind}[{block}].route"
            for where, reason in _odd(items, service, around):
                yield Finding(WEIGHTS, service, f"{path}{where}", reason)


def _odd(items: list[Json], service: Resource, around: Surroundings) -> Iterator[tuple[str, str]]:
    given = [number(item, "weight") for item in items]
    if len(items) == 1:
        if items[0].get("weight") not in (None, 0, _SUM):
            yield (
                "[0].weight",
                f"the weight {given[0]} of the only destination counts for nothing: all requests "
                "go there",
            )
        return
    total = sum(given)
    if items and not total:
        yield "", "no destination has a weight: none of them gets anything"
        return
    for place, item in enumerate(items):
        if not given[place] and item.get("weight") is None:
            yield f"[{place}]", "it has no weight and others have one: it gets no request"
    if total != _SUM and items:
        shares = ", ".join(f"{100 * one / total:.3g} %" for one in given)
        yield "", f"the weights add up to {total}: the shares are {shares}"
    seen = Counter(
        (
            full(text(mapping(item, "destination"), "host"), service.namespace, around),
            text(mapping(item, "destination"), "subset"),
            number(mapping(item, "destination", "port"), "number"),
        )
        for item in items
    )
    for (host, subset, _), count in seen.items():
        if count > 1:
            name = f"{host} subset {subset}" if subset else host
            yield "", f"{name} is a destination {count} times: its weights count together"


def attempts(service: Resource, around: Surroundings) -> Iterator[Said]:
    """Retries for which the timeout of the whole request leaves no time."""
    for block, route in mappings(service.spec, "http"):
        retries = mapping(route, "retries")
        whole, one = text(route, "timeout"), text(retries, "perTryTimeout")
        count = number(retries, "attempts")
        if not (whole and one and count):
            continue
        limit, each = milliseconds(whole), milliseconds(one)
        # The last attempt that begins may be cut off before its own time is over.
        fitting = max(-(-limit // each), 1) if each else count + 1
        if limit and fitting <= count:
            yield Finding(
                ATTEMPTS,
                service,
                f"spec.http[{block}].retries",
                f"the request ends after {whole}, which is the time of {fitting} of {count + 1} "
                f"attempts of {one}: where attempts time out, {count + 1 - fitting} of them are "
                "never made",
            )


def patterns(service: Resource, around: Surroundings) -> Iterator[Said]:
    """Regular expressions that RE2 refuses."""
    for field, found in _regexes(service.spec, "spec"):
        try:
            regex(found)
        except InvalidPatternError as error:
            yield Finding(PATTERN, service, field, f"RE2 refuses the pattern {found!r}: {error}")
        except (UnmodelledError, TooLargeError):
            # RE2 takes it.
            continue


def _regexes(value: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for name, inner in value.items():
            if name == "regex" and isinstance(inner, str) and inner != "*":
                yield f"{path}.{name}", inner
            else:
                yield from _regexes(inner, f"{path}.{name}")
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            yield from _regexes(inner, f"{path}[{place}]")


def delegates(service: Resource, around: Surroundings) -> Iterator[Said]:
    """Delegates that are not there, are none, or whose routes contradict the route before them."""
    for block, route in mappings(service.spec, "http"):
        named = mapping(route, "delegate")
        if not named:
            continue
        namespace = text(named, "namespace") or service.namespace
        name, path = text(named, "name"), f"spec.http[{block}].delegate"
        found = around.named("VirtualService", namespace, name)
        if found is None:
            in_inputs = any(v.namespace == namespace for v in around.of("VirtualService"))
            if not (around.complete or in_inputs):
                yield Lacking((DELEGATES,), absent(f"VirtualServices of namespace {namespace}"))
            else:
                yield Finding(
                    DELEGATES,
                    service,
                    path,
                    f"there is no VirtualService {namespace}/{name}: the route is left out",
                )
            continue
        for reason in _unusable(service, route, found, around):
            yield Finding(DELEGATES, service, path, reason, related=(found.ref,))


def _unusable(
    service: Resource, route: Json, found: Resource, around: Surroundings
) -> Iterator[str]:
    if texts(found.spec, "hosts"):
        yield f"{found.ref} has hosts, and so is no delegate: the route is left out"
        return
    exported = _Exported(found.namespace, frozenset(texts(found.spec, "exportTo")))
    if not sees(service.namespace, exported, around.mesh.config.virtual_service_exports):
        yield f"{found.ref} is not exported to namespace {service.namespace}: the route is left out"
        return
    for place, inner in mappings(found.spec, "http"):
        if mapping(inner, "delegate"):
            yield f"http[{place}] of {found.ref} delegates again, which has no effect"
        elif not list(merged_routes(route, [inner])):
            yield (
                f"the conditions of http[{place}] of {found.ref} do not lie within those of this "
                "route: it is left out"
            )


class _Exported:
    """Who may see a VirtualService."""

    def __init__(self, namespace: str, export_to: frozenset[str]) -> None:
        self.namespace = namespace
        self.export_to = export_to
