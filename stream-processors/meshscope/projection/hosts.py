"""Host names and patterns: `*` alone, or a leading `*` that stands for any beginning."""

from collections.abc import Container, Iterator


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


def suffixes(host: str) -> Iterator[str]:
    """Every pattern that covers a host, the longest first."""
    rest = host[1:] if is_wildcard(host) else host
    for start in range(len(rest) + 1):
        yield f"*{rest[start:]}"


def most_specific(host: str, candidates: Container[str]) -> str | None:
    """The host itself if it is among the candidates, else the longest pattern that covers it."""
    if host in candidates:
        return host
    return next((pattern for pattern in suffixes(host) if pattern in candidates), None)
