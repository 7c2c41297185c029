"""Which policy something belongs to, for what is left of it."""

from dataclasses import dataclass

from meshscope.policy import key


@dataclass(frozen=True, slots=True)
class Places:
    """Keys, as text, of the policies that the parts of a filter chain belong to."""

    chain: str
    routes: str
    authorization: str
    request_authentication: str
    http_connection: str
    filter_order: str
    telemetry: str


def inbound_places(port: str, transport: str, protocol: str) -> Places:
    """The places of a chain of an inbound port."""
    return Places(
        chain=str(key.peer_authentication(port)),
        routes=str(key.inbound(port)),
        authorization=str(key.authorization(port, transport, protocol)),
        request_authentication=str(key.request_authentication(port, transport)),
        http_connection=str(key.http_connection(port, transport)),
        filter_order=str(key.filter_order(port, transport, protocol)),
        telemetry=str(key.telemetry("inbound", protocol)),
    )


def outbound_places(address: str, port: int, protocol: str) -> Places:
    """The places of a chain of an outbound listener."""
    listener = str(key.outbound_listener(address, port))
    order = str(key.filter_order("outbound", key.TRANSPORT_NONE, protocol))
    return Places(
        chain=listener,
        routes=listener,
        authorization=order,
        request_authentication=order,
        http_connection=str(key.http_connection(f"{address}_{port}")),
        filter_order=order,
        telemetry=str(key.telemetry("outbound", protocol)),
    )
