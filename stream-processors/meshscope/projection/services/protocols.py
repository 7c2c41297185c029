"""Protocols of ports: how they are declared, and what they make of a port.

A protocol is Istio's name for it in lower case, or `auto`: the first bytes tell.

Source: https://istio.io/latest/docs/ops/configuration/traffic-management/protocol-selection/.
"""

from collections.abc import Callable, Mapping
from typing import Final

AUTO: Final = "auto"
UDP: Final = "udp"
HTTP_PROXY: Final = "http_proxy"
GRPC_WEB: Final = "grpc-web"

HTTP: Final = frozenset(("http", "http2", HTTP_PROXY, "grpc", GRPC_WEB))
TLS: Final = frozenset(("https", "tls"))
TCP: Final = frozenset(("tcp", "mongo", "redis", "mysql")) | TLS
_KNOWN: Final = HTTP | TCP | {UDP}

_APP_PROTOCOLS: Final = {
    "kubernetes.io/h2c": "http2",
    "kubernetes.io/ws": "http",
    "kubernetes.io/wss": "https",
}
_SERVER_FIRST: Final = frozenset((25, 53, 3306, 27017))
"""Ports whose servers speak first, so that waiting for the client's bytes would block."""


STATISTICS: Final[Mapping[str, tuple[str, bool]]] = {
    "mongo": ("PILOT_ENABLE_MONGO_FILTER", True),
    "mysql": ("PILOT_ENABLE_MYSQL_FILTER", False),
}
"""Protocols whose operations are counted on the way: the switch of each, and its default."""


def counted(switch: Callable[[str, bool], bool]) -> frozenset[str]:
    """The protocols whose operations are counted, given the values of istiod's switches."""
    return frozenset(name for name, of in STATISTICS.items() if switch(*of))


COUNTED: Final = counted(lambda _, default: default)
"""Those that are counted by default."""


def parse(word: str) -> str:
    """A protocol as Istio's own resources write it; `auto` for what Istio does not know."""
    name = word.lower()
    return name if name in _KNOWN else AUTO


def of_kubernetes_port(
    number: int, name: str, transport: str = "TCP", app_protocol: str | None = None
) -> str:
    """The protocol of a port of a Kubernetes service.

    Args:
        number: Port of the service.
        name: Its name; what stands before the first hyphen counts.
        transport: `TCP`, `UDP` or `SCTP`.
        app_protocol: `appProtocol`, which overrides the name; None: not given.
    """
    if transport == "UDP":
        return UDP
    word = name if app_protocol is None else app_protocol
    if app_protocol in _APP_PROTOCOLS:
        return _APP_PROTOCOLS[app_protocol]
    if word.lower().startswith(GRPC_WEB):
        return GRPC_WEB
    found = parse(word.partition("-")[0])
    return "tcp" if found == AUTO and number in _SERVER_FIRST else found


def is_http(protocol: str) -> bool:
    """Whether requests on the port are routed, or may turn out to be HTTP."""
    return protocol in HTTP or protocol == AUTO
