"""Route tables: virtual hosts and their rules."""

import base64
import binascii
from collections.abc import Callable
from typing import Final, TypeVar

from meshscope.inference.matchers import (
    fraction,
    header_match,
    header_mutation,
    metadata_match,
    query_match,
    regex,
)
from meshscope.inference.names import resource
from meshscope.inference.reader import Message
from meshscope.inference.route_actions import cors, fault, forward, redirect
from meshscope.policy.http_route import HttpRule, Respond, RouteMatch
from meshscope.policy.matches import PathMatch
from meshscope.policy.source import ResourceRef

T = TypeVar("T")

_URI_TEMPLATE: Final = "envoy.extensions.path.match.uri_template.v3.UriTemplateMatchConfig"


class Rules:
    """Reads the rules of a virtual host and keeps what they name.

    Attributes:
        clusters: Clusters that the rules send requests to.
        sources: Resources that the rules came from.
    """

    def __init__(self) -> None:
        self.clusters: set[str] = set()
        self.sources: set[ResourceRef] = set()

    def read(self, host: Message) -> tuple[HttpRule, ...]:
        """The rules of a virtual host, in order."""
        return tuple(self._rule(route) for route in host.messages("routes", "Route"))

    def _rule(self, route: Message) -> HttpRule:
        self._source(route)
        per_filter = route.message("typed_per_filter_config")
        action = route.message("route", "RouteAction")
        moved = route.message("redirect")
        answer = route.message("direct_response")
        decorator = route.message("decorator")
        return HttpRule(
            match=route_match(route.need("match")),
            name=route.string("name"),
            forward=None if action is None else forward(action, self.clusters),
            redirect=None if moved is None else redirect(moved),
            respond=None if answer is None else _respond(answer),
            fault=None if per_filter is None else fault(per_filter),
            cors=None if per_filter is None else cors(per_filter),
            request_headers=header_mutation(route, "request"),
            response_headers=header_mutation(route, "response"),
            operation="" if decorator is None else decorator.string("operation"),
            stat_prefix=route.string("stat_prefix"),
        )

    def _source(self, route: Message) -> None:
        found = source(route)
        if found is not None:
            self.sources.add(found)


def source(message: Message) -> ResourceRef | None:
    """The resource that the metadata of a route or filter chain name."""
    metadata = message.message("metadata")
    filters = None if metadata is None else metadata.message("filter_metadata")
    istio = None if filters is None else filters.message("istio")
    return None if istio is None else istio.convert("config", resource, None)


def route_match(message: Message) -> RouteMatch:
    """Which requests a route takes."""
    share = message.message("runtime_fraction")
    return RouteMatch(
        path=_path(message),
        headers=_all(message.messages("headers"), header_match),
        query=_all(message.messages("query_parameters"), query_match),
        metadata=_all(message.messages("dynamic_metadata"), metadata_match),
        grpc=message.constant("grpc", {}),
        fraction=None if share is None else fraction(share),
    )


def _all(messages: list[Message], read: Callable[[Message], T | None]) -> tuple[T, ...]:
    return tuple(found for item in messages if (found := read(item)) is not None)


def _path(message: Message) -> PathMatch:
    rest = message.rest
    sensitive = message.boolean("case_sensitive", True)
    if "prefix" in rest:
        return PathMatch("prefix", message.string("prefix"), sensitive)
    if "path" in rest:
        return PathMatch("exact", message.string("path"), sensitive)
    if "path_separated_prefix" in rest:
        return PathMatch(
            "path_separated_prefix", message.string("path_separated_prefix"), sensitive
        )
    if (expression := message.message("safe_regex")) is not None:
        return PathMatch("regex", regex(expression))
    if message.constant("connect_matcher", {}):
        return PathMatch("connect")
    if (template := uri_template(message, "path_match_policy")) is not None:
        return PathMatch("template", template)
    message.remark("path", "no condition on the path")
    return PathMatch("prefix", "/")


def uri_template(parent: Message, name: str) -> str | None:
    """The template of an extension that matches URI templates; None if it is none."""
    extension = parent.message(name, "TypedExtensionConfig")
    if extension is None:
        return None
    found = extension.configured()
    if found is None or found[0] != _URI_TEMPLATE:
        if found is not None:
            found[1].unread()
        return None
    return found[1].string("path_template")


def _respond(message: Message) -> Respond:
    body = message.message("body")
    text = "" if body is None else body.string("inline_string")
    if body is not None and (encoded := body.string("inline_bytes")):
        text = _bytes(encoded)
    return Respond(message.integer("status"), text)


def _bytes(encoded: str) -> str:
    """Text of a body that is given as bytes, `base64:…` where it is none."""
    try:
        return base64.b64decode(encoded, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return f"base64:{encoded}"
