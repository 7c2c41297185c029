"""Networks as intervals of one line of numbers: IPv4 first, IPv6 after it."""

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final

from meshscope.algebra.intervals import Intervals

_IPV6: Final = 1 << 32
"""Where IPv6 begins."""

LAST: Final = _IPV6 + (1 << 128) - 1


def network(text: str) -> Intervals:
    """The addresses of a network, such as `10.0.0.0/8`, `fd00::/8` or `10.0.0.7`.

    Raises:
        ValueError: It is none.
    """
    found = ip_network(text, strict=False)
    offset = _IPV6 if found.version == 6 else 0
    first = int(found.network_address) + offset
    return ((first, first + found.num_addresses - 1),)


def number_of(address: str) -> int:
    """Where an address stands on the line."""
    found = ip_address(address)
    return int(found) + (_IPV6 if found.version == 6 else 0)


def address_at(number: int) -> str:
    """The address at a place of the line."""
    if number < _IPV6:
        return str(IPv4Address(number))
    return str(IPv6Address(number - _IPV6))
