"""Listeners: which direction each is for."""

from collections.abc import Container
from typing import Final

from meshscope.inference.endpoints import socket_address
from meshscope.inference.evidence import Evidence
from meshscope.inference.inbound import VIRTUAL_INBOUND, InboundReader
from meshscope.inference.outbound import OutboundReader
from meshscope.inference.reader import Message, Unexpected
from meshscope.inference.telemetry import TracingReader
from meshscope.policy.inbound import SELF_ADDRESS

_EVERY_ADDRESS: Final = frozenset(("0.0.0.0", "::"))  # noqa: S104 - compared, not bound


def read_listener(
    listener: Message, own: Container[str], tracing: TracingReader, evidence: Evidence
) -> None:
    """Read a listener; what it decides is added to the evidence.

    Args:
        listener: The `Listener`.
        own: Addresses of the proxy itself.
        tracing: Reader of tracing.
        evidence: What is found is added here.

    Raises:
        Unexpected: It has no address or no direction.
    """
    address, port = socket_address(listener.need("address"))
    if address in own:
        address = SELF_ADDRESS
    if listener.constant("traffic_direction", "INBOUND"):
        redirected = listener.peek("name") == VIRTUAL_INBOUND
        reader = InboundReader(evidence, tracing, "" if redirected else address, port)
        reader.read(listener)
        if redirected and address not in _EVERY_ADDRESS:
            listener.remark("address", address)
    elif listener.constant("traffic_direction", "OUTBOUND"):
        OutboundReader(evidence, tracing, address, port).read(listener)
    else:
        raise Unexpected(f"listener {address}_{port} has no direction")
