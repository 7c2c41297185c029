"""Listener filters: what is sniffed of a connection before a filter chain is chosen."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from meshscope.inference.reader import Message
from meshscope.policy.key import ANY_PORT
from meshscope.policy.outbound_listener import ChainMatch

Detects = Literal["http", "tls", "original_dst", "original_src", "proxy_protocol"]
Disabled = Callable[[int], bool]

_EXTENSIONS: Final = "envoy.extensions.filters.listener."
_FILTERS: Final[dict[str, Detects]] = {
    f"{_EXTENSIONS}http_inspector.v3.HttpInspector": "http",
    f"{_EXTENSIONS}tls_inspector.v3.TlsInspector": "tls",
    f"{_EXTENSIONS}original_dst.v3.OriginalDst": "original_dst",
    f"{_EXTENSIONS}original_src.v3.OriginalSrc": "original_src",
    f"{_EXTENSIONS}proxy_protocol.v3.ProxyProtocol": "proxy_protocol",
}
_MARK: Final = 1337
"""By this mark of packets Istio's routing tells the proxy's own connections from others."""

_NO_PORT: Final = 0
"""No connection goes to it, so that it does not matter what a predicate says of it."""

_OTHER_PORT: Final = -1
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
    config = item.configured()
    if config is None:
        return None
    entry = _FILTERS.get(config[0])
    if entry is None:
        item.unread()
        return None
    if entry == "original_src":
        config[1].require("mark", _MARK)
    return entry


@dataclass(frozen=True, slots=True)
class Detection:
    """What an inbound listener detects, by port.

    Attributes:
        disabled: Per filter, on which ports it does nothing.
    """

    disabled: tuple[tuple[Detects, Disabled], ...]

    def on(self, port: str) -> tuple[Detects, ...]:
        """What is detected on a port; `*`: on those without chains of their own."""
        number = int(port) if port.isdecimal() else _OTHER_PORT
        return tuple(
            detects
            for detects, disabled in self.disabled
            if detects in ("http", "tls", "original_src") and not disabled(number)
        )


def inbound_detection(
    listener: Message, matches: Iterable[tuple[str, ChainMatch]], own_port: int | None
) -> Detection:
    """The filters of an inbound listener.

    Istio switches a filter off on the ports that do not need it, and on the listener's own port.
    A predicate that does anything else is left.

    Args:
        listener: The listener.
        matches: Its filter chains: port or `*`, and which connections they take.
        own_port: Port of a listener that serves the ports of others; None: it serves its own.
    """
    needed: dict[str, frozenset[str]] = {}
    for port, match in matches:
        needed[port] = needed.get(port, frozenset()) | _needs(match)
    found: list[tuple[Detects, Disabled]] = []
    for item in listener.messages("listener_filters", "ListenerFilter"):
        detects = _detects(item)
        if detects is None:
            continue
        predicate = item.peek("filter_disabled")
        disabled = _predicate(predicate)
        if disabled is not None and (
            predicate is None or _as_istio(detects, disabled, _edges(predicate), needed, own_port)
        ):
            item.json("filter_disabled")
        found.append((detects, disabled or _never))
    return Detection(tuple(found))


def _needs(match: ChainMatch) -> frozenset[str]:
    if match.transport_protocol == "tls":
        return frozenset(("tls",))
    return frozenset(("http",)) if match.application_protocols else frozenset()


def _as_istio(
    detects: Detects,
    disabled: Disabled,
    edges: Iterable[int],
    needed: Mapping[str, frozenset[str]],
    own_port: int | None,
) -> bool:
    """Whether a predicate switches a filter off exactly where it is not needed.

    Istio writes port 0 for the ports without chains of their own. No connection has that port, so
    the filter stays on for them.
    """
    ports = {_NO_PORT if port == ANY_PORT else int(port): needs for port, needs in needed.items()}
    beside = {edge + step for edge in edges for step in (-1, 0, 1)} - ports.keys() - {own_port}
    named = ports.keys() - {_NO_PORT, own_port}
    return (
        (own_port is None or disabled(own_port))
        and all(disabled(port) == (detects not in ports[port]) for port in named)
        and all(disabled(port) == disabled(_OTHER_PORT) for port in beside if port > _NO_PORT)
        and not (disabled(_OTHER_PORT) and detects in ports.get(_NO_PORT, ()))
    )


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
            if name == "destination_port_range":
                yield item.get("start", 0)
                yield item.get("end", 0)
            else:
                yield from _edges(item)
    elif isinstance(value, list):
        for item in value:
            yield from _edges(item)
