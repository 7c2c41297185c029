"""Which virtual host takes a request: Envoy looks for the most specific domain."""

from collections.abc import Iterable, Mapping
from typing import Final, TypeVar

from meshscope.evaluation.normalization import without_port

Host = TypeVar("Host")

_EXACT: Final = 3
_SUFFIX: Final = 2
_PREFIX: Final = 1
_ANY: Final = 0


def virtual_host(
    authority: str, hosts: Mapping[Host, Iterable[str]], ignore_port: bool
) -> Host | None:
    """The virtual host for a request: an exact domain, else the longest `*suffix`, else the longest
    `prefix*`, else `*`.

    Args:
        authority: Host header.
        hosts: Domains, by virtual host.
        ignore_port: A port in the host header does not count.
    """
    name = without_port(authority).lower() if ignore_port else authority.lower()
    best: tuple[int, int] | None = None
    found: Host | None = None
    for host, domains in hosts.items():
        for domain in domains:
            rank = _rank(domain, name)
            if rank is not None and (best is None or rank > best):
                best, found = rank, host
    return found


def _rank(domain: str, name: str) -> tuple[int, int] | None:
    """How specific a domain is for a name; None: it does not match."""
    if domain == "*":
        return _ANY, 0
    if domain.startswith("*"):
        # The wildcard stands for at least one character.
        fits = len(name) >= len(domain) and name.endswith(domain[1:])
        return (_SUFFIX, len(domain)) if fits else None
    if domain.endswith("*"):
        fits = len(name) >= len(domain) and name.startswith(domain[:-1])
        return (_PREFIX, len(domain)) if fits else None
    return (_EXACT, len(domain)) if domain == name else None
