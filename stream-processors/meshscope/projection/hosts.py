"""Host names and patterns: `*` alone, or a leading `*` that stands for any beginning."""

from collections.abc import Collection


def is_wildcard(host: str) -> bool:
    """Whether it is a pattern."""
    return host.startswith("*")


def overlaps(one: str, other: str) -> bool:
    """Whether one covers the other, or they are equal."""
    return covers(one, other) or covers(other, one)


def covers(pattern: str, host: str) -> bool:
    """Whether every name that `host` stands for is one of `pattern`."""
    if not is_wildcard(pattern):
        return pattern == host
    if is_wildcard(host):
        return len(host) >= len(pattern) and host[1:].endswith(pattern[1:])
    return host.endswith(pattern[1:])


def qualified(host: str, namespace: str, domain: str) -> str:
    """A host as a resource in `namespace` means it: a name without a dot is a service there."""
    if not host or "." in host or is_wildcard(host):
        return host
    return f"{host}.{namespace}.svc.{domain}"


class Patterns:
    """Hosts and patterns among which the most specific one is looked for."""

    def __init__(self, candidates: Collection[str]) -> None:
        self._candidates = candidates
        self._lengths = sorted({len(host) for host in candidates if is_wildcard(host)})[::-1]

    def most_specific(self, host: str) -> str | None:
        """The host itself if it is among the candidates, else the longest pattern covering it."""
        if host in self._candidates:
            return host
        rest = host[1:] if is_wildcard(host) else host
        for length in self._lengths:
            beginning = len(rest) - length + 1
            if beginning >= 0 and (pattern := f"*{rest[beginning:]}") in self._candidates:
                return pattern
        return None
