"""Listener filters: what is sniffed of a connection before a filter chain is chosen."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final, Literal

from meshscope.inference.reader import Message

Detects = Literal["http", "tls", "original_dst", "proxy_protocol"]
Disabled = Callable[[int], bool]

_EXTENSIONS: Final = "envoy.extensions.filters.listener."
_FILTERS: Final[dict[str, tuple[str, Detects]]] = {
    f"{_EXTENSIONS}http_inspector.v3.HttpInspector": (
        "envoy.filters.listener.http_inspector",
        "http",
    ),
    f"{_EXTENSIONS}tls_inspector.v3.TlsInspector": (
        "envoy.filters.listener.tls_inspector",
        "tls",
    ),
    f"{_EXTENSIONS}original_dst.v3.OriginalDst": (
        "envoy.filters.listener.original_dst",
        "original_dst",
    ),
    f"{_EXTENSIONS}proxy_protocol.v3.ProxyProtocol": (
        "envoy.filters.listener.proxy_protocol",
        "proxy_protocol",
    ),
}
_NO_PORT: Final = 0
"""Stands for every port that no predicate names."""


def listener_filters(listener: Message) -> tuple[Detects, ...]:
    """What the filters of a listener detect, on every port alike."""
    found: list[Detects] = []
    for item in listener.messages("listener_filters", "ListenerFilter"):
        detects = _detects(item)
        if detects is not None:
            found.append(detects)
    return tuple(found)


def _detects(item: Message) -> Detects | None:
    config = item.any("typed_config")
    entry = None if config is None else _FILTERS.get(config[0])
    if entry is None:
        item.unread()
        return None
    item.constant("name", entry[0])
    return entry[1]


@dataclass(frozen=True, slots=True)
class Detection:
    """What an inbound listener detects, by port.

    Attributes:
        disabled: Per filter, on which ports it does nothing.
    """

    disabled: tuple[tuple[Detects, Disabled], ...]

    def on(self, port: str) -> tuple[Detects, ...]:
        """What is detected on a port; `*`: on those that nothing names."""
        number = int(port) if port.isdecimal() else _NO_PORT
        return tuple(
            detects
            for detects, disabled in self.disabled
            if detects in ("http", "tls") and not disabled(number)
        )


def inbound_detection(listener: Message, ports: Iterable[str], own_port: int) -> Detection:
    """The filters of an inbound listener.

    A predicate is left if it makes a difference between ports that have no chains of their own, or
    does not switch its filter off for the listener's own port, where nothing is detected.

    Args:
        listener: The listener.
        ports: Ports that have filter chains, and `*`.
        own_port: Port of the listener.
    """
    named = {int(port) for port in ports if port.isdecimal()}
    found: list[tuple[Detects, Disabled]] = []
    for item in listener.messages("listener_filters", "ListenerFilter"):
        detects = _detects(item)
        if detects is None:
            continue
        predicate = item.peek("filter_disabled")
        disabled = _predicate(predicate)
        edges = set(_edges(predicate))
        others = {edge + step for edge in edges for step in (-1, 0)} - named - {own_port}
        if disabled is None or any(disabled(port) != disabled(_NO_PORT) for port in others):
            disabled = _never
        else:
            if predicate is not None and not disabled(own_port):
                item.remark("filter_disabled", f"{detects} is detected on port {own_port}")
            item.json("filter_disabled")
        found.append((detects, disabled))
    return Detection(tuple(found))


def _never(_: int) -> bool:
    return False


def _predicate(value: Any) -> Disabled | None:
    """A `ListenerFilterChainMatchPredicate`; None if it is of a kind that is not modelled."""
    if value is None:
        return _never
    if not isinstance(value, dict) or len(value) != 1:
        return None
    name, inner = next(iter(value.items()))
    if name == "any_match" and inner is True:
        return lambda _: True
    if name == "destination_port_range" and isinstance(inner, dict):
        return _range(inner)
    if name == "not_match":
        negated = _predicate(inner)
        return None if negated is None else lambda port: not negated(port)
    if name in ("or_match", "and_match") and isinstance(inner, dict) and inner.keys() == {"rules"}:
        parts = [_predicate(rule) for rule in inner["rules"]]
        known = [part for part in parts if part is not None]
        if len(known) != len(parts):
            return None
        combine = any if name == "or_match" else all
        return lambda port: combine(part(port) for part in known)
    return None


def _range(value: dict[str, Any]) -> Disabled | None:
    start, end = value.get("start", 0), value.get("end", 0)
    if value.keys() - {"start", "end"} or type(start) is not int or type(end) is not int:
        return None
    return lambda port: start <= port < end


def _edges(value: Any) -> Iterable[int]:
    """The ports at which a predicate may change."""
    if isinstance(value, dict):
        for name, item in value.items():
            if name in ("start", "end") and type(item) is int:
                yield item
            else:
                yield from _edges(item)
    elif isinstance(value, list):
        for item in value:
            yield from _edges(item)
