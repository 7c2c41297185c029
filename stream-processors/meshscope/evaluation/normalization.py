"""What an HTTP connection manager does with a path before any rule sees it."""

import re
from dataclasses import replace
from string import ascii_letters, digits
from typing import Final

from meshscope.algebra.addresses import number_of
from meshscope.algebra.request import Request
from meshscope.policy.http_connection import HttpConnection

_SLASH: Final = re.compile("%2[fF]|%5[cC]")
_ESCAPED: Final = re.compile("%([0-9a-fA-F]{2})")
_UNRESERVED: Final = frozenset(f"{ascii_letters}{digits}-._~")
_DOTS_WITH_PARAMETERS: Final = re.compile(r"(?<=/)(\.\.?);[^/]*")
_TO_ESCAPE: Final = re.compile('["<>^`{|}]')


def normalized(request: Request, connection: HttpConnection | None) -> Request | None:
    """The request as the filters see it; None: it is rejected with 400, or redirected (307).

    As Envoy does: escaped slashes first, then dot segments and escapes as browsers see them, then
    repeated slashes.
    """
    path = request.path
    if connection is None or not path.startswith("/"):
        return request
    if connection.escaped_slashes in ("reject", "redirect") and _SLASH.search(path):
        return None
    if connection.escaped_slashes == "forward":
        path = _SLASH.sub(lambda found: "/" if found[0].lower() == "%2f" else "\\", path)
    if connection.normalize_path:
        if "%00" in path:
            return None
        path = canonical(path)
    if connection.merge_slashes and "//" in path:
        # As Envoy does it: a path of slashes alone becomes `//`.
        parts = [part for part in path.split("/") if part]
        path = "/" + "/".join(parts) + ("/" if path.endswith("/") else "")
    authority = request.authority
    if connection.strip_host_port == "any":
        authority = without_port(authority)
    return replace(request, path=path, authority=authority)


def client_address(request: Request, connection: HttpConnection | None) -> str:
    """The address that counts as the client's: as forwarded, else the peer's.

    As `Utility::getLastAddressFromXFF` of Envoy: the last address of the header after as many
    proxies as are trusted; what is no address counts as none.
    """
    hops = 0 if connection is None else connection.trusted_hops
    if connection is not None and connection.use_remote_address:
        # The peer itself is the first of the trusted proxies.
        hops -= 1
    forwarded = dict(request.headers).get("x-forwarded-for", "")
    entries = [entry.strip() for entry in forwarded.split(",")]
    if not forwarded or not 0 <= hops < len(entries):
        return request.peer_address
    found = entries[len(entries) - 1 - hops]
    try:
        number_of(found)
    except ValueError:
        return request.peer_address
    return found


def canonical(path: str) -> str:
    """The path as browsers write it, and what Envoy adds.

    Escapes stand only where they are needed, backslashes are slashes, dot segments are resolved
    (RFC 3986). `..;x` is one of them, for the sake of servers that take what follows a semicolon
    for parameters.
    """
    segments: list[str] = []
    # A backslash is no slash yet where parameters are cut off.
    path = _DOTS_WITH_PARAMETERS.sub(r"\1", path).replace("\\", "/")
    path = _unescaped(path)
    parts = _TO_ESCAPE.sub(lambda found: f"%{ord(found[0]):X}", path).split("/")[1:]
    for place, part in enumerate(parts):
        last = place == len(parts) - 1
        if part == "..":
            if segments:
                segments.pop()
            if last:
                segments.append("")
        elif part == ".":
            if last:
                segments.append("")
        else:
            segments.append(part)
    return "/" + "/".join(segments)


def _unescaped(path: str) -> str:
    """The path without escapes for letters, digits and `-._~`.

    A stray `%` is escaped itself where what was unescaped after it would make it an escape.
    """
    written = ""
    stray = -1  # where the last one was written; -1: there is none
    at = 0
    while at < len(path):
        found = _ESCAPED.match(path, at)
        if found is None:
            stray = len(written) if path[at] == "%" else stray
            written += path[at]
            at += 1
            continue
        at += 3
        character = chr(int(found[1], 16))
        if character not in _UNRESERVED:
            written += found[0]
            continue
        written += character
        after = written[stray + 1 :]
        is_near = stray >= 0 and len(after) <= 2
        if is_near and _ESCAPED.fullmatch("%" + (after + path[at : at + 1])[:2]):
            written = f"{written[: stray + 1]}25{after}"
    return written


def without_port(authority: str) -> str:
    """The host without the port after it."""
    host, colon, port = authority.rpartition(":")
    return host if colon and port.isdigit() and not host.endswith(":") else authority
