"""What a policy is about, in one phrase for an operator."""

from collections.abc import Callable
from typing import Final

from meshscope.comparison.words import TRANSPORTS
from meshscope.policy.key import ANY_PORT, PolicyKey
from meshscope.policy.kinds import Kind

_ANY_ADDRESS: Final = ("0.0.0.0", "::")  # noqa: S104
_CATCH_ALL: Final = ("virtualOutbound", "virtualInbound")


def subject(key: PolicyKey) -> str:
    """What a policy is about: `access rules of inbound port 8080 (mutual TLS, HTTP)`."""
    return _SUBJECTS[key.kind](key)


def _inbound_port(key: PolicyKey, name: str = "port") -> str:
    port = key[name]
    return "every other inbound port" if port == ANY_PORT else f"inbound port {port}"


def _chains(key: PolicyKey, *names: str) -> str:
    """The chains of a port that a policy stands in: ` (mutual TLS, HTTP)`."""
    parts = [TRANSPORTS.get(key[name], key[name].upper()) for name in names if key[name] != "-"]
    return f" ({', '.join(parts)})" if parts else ""


def _outbound_port(scope: str) -> str:
    """A route table or listener: `80`, `0.0.0.0_80`, `10.0.0.1_80`, `cart.shop:80`."""
    if scope in _CATCH_ALL:
        return "every other outbound port"
    address, _, port = scope.rpartition("_")
    if not port.isdecimal():
        return scope
    if not address:
        return f"outbound port {port}"
    return f"outbound port {port}" + ("" if address in _ANY_ADDRESS else f" of {address}")


def _outbound_listener(key: PolicyKey) -> str:
    address, port = key["address"], key["port"]
    return f"connections to {f'port {port}' if address in _ANY_ADDRESS else f'{address}:{port}'}"


def _http_route(key: PolicyKey) -> str:
    host, table = key["virtual_host"], key["route_table"]
    return f"routes of {host}" + (f" on {_outbound_port(table)}" if table != host else "")


def _service(what: str) -> Callable[[PolicyKey], str]:
    def phrase(key: PolicyKey) -> str:
        # A cluster that stands for no service has no port.
        port = f":{key['port']}" if key["port"] != "0" else ""
        subset = f" subset {key['subset']}" if key["subset"] else ""
        return f"{what} {key['host']}{port}{subset}"

    return phrase


def _inbound(key: PolicyKey) -> str:
    return _inbound_port(key)


def _peer_authentication(key: PolicyKey) -> str:
    return f"mutual TLS of {_inbound_port(key)}"


def _request_authentication(key: PolicyKey) -> str:
    return f"tokens on {_inbound_port(key)}{_chains(key, 'transport')}"


def _authorization(key: PolicyKey) -> str:
    return f"access rules of {_inbound_port(key)}{_chains(key, 'transport', 'protocol')}"


def _scope(key: PolicyKey) -> str:
    """An inbound port, or an outbound listener: those keys have no transport."""
    if key["transport"] != "-":
        return _inbound_port(key, "scope")
    return "every outbound port" if key["scope"] == "outbound" else _outbound_port(key["scope"])


def _http_connection(key: PolicyKey) -> str:
    return f"HTTP settings of {_scope(key)}{_chains(key, 'transport')}"


def _filter_order(key: PolicyKey) -> str:
    return f"filters of {_scope(key)}{_chains(key, 'transport', 'protocol')}"


def _egress(key: PolicyKey) -> str:
    return f"unknown hosts on {_outbound_port(key['scope'])}"


def _telemetry(key: PolicyKey) -> str:
    return f"telemetry of {key['direction']} {key['protocol'].upper()}"


def _extension(key: PolicyKey) -> str:
    location = key["location"]
    try:
        where = subject(PolicyKey.parse(location))
    except ValueError:
        # A part of the configuration that belongs to no policy.
        where = location
    return f"{key['name']} in {where}"


_SUBJECTS: Final[dict[Kind, Callable[[PolicyKey], str]]] = {
    Kind.OUTBOUND_LISTENER: _outbound_listener,
    Kind.HTTP_ROUTE: _http_route,
    Kind.DESTINATION: _service("traffic policy toward"),
    Kind.ENDPOINTS: _service("endpoints of"),
    Kind.INBOUND: _inbound,
    Kind.PEER_AUTHENTICATION: _peer_authentication,
    Kind.REQUEST_AUTHENTICATION: _request_authentication,
    Kind.AUTHORIZATION: _authorization,
    Kind.HTTP_CONNECTION: _http_connection,
    Kind.FILTER_ORDER: _filter_order,
    Kind.EGRESS: _egress,
    Kind.TELEMETRY: _telemetry,
    Kind.EXTENSION: _extension,
}
"""One phrase per kind."""
