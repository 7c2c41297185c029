"""What an HTTP connection manager does with a path before any rule sees it."""

import re
from dataclasses import replace
from typing import Final

from meshscope.algebra.request import Request
from meshscope.policy.http_connection import HttpConnection

_SLASH: Final = re.compile("%2[fF]|%5[cC]")


def normalized(request: Request, connection: HttpConnection | None) -> Request | None:
    """The request as the filters see it; None: it is rejected with 400, or redirected (307).

    As Envoy does: escaped slashes first, then dot segments (RFC 3986, `%2e` counts as a dot and a
    backslash as a slash), then repeated slashes.
    """
    path = request.path
    if connection is None or not path.startswith("/"):
        return request
    if connection.escaped_slashes in ("reject", "redirect") and _SLASH.search(path):
        return None
    if connection.escaped_slashes == "forward":
        path = _SLASH.sub(lambda found: "/" if found[0].lower() == "%2f" else "\\", path)
    if connection.normalize_path:
        path = without_dots(path)
    if connection.merge_slashes and "//" in path:
        # As Envoy does it: a path of slashes alone becomes `//`.
        parts = [part for part in path.split("/") if part]
        path = "/" + "/".join(parts) + ("/" if path.endswith("/") else "")
    authority = request.authority
    if connection.strip_host_port == "any":
        authority = without_port(authority)
    return replace(request, path=path, authority=authority)


def without_dots(path: str) -> str:
    """The path without dot segments, as browsers do it."""
    segments: list[str] = []
    parts = re.sub("%2[eE]", ".", path).replace("\\", "/").split("/")[1:]
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


def without_port(authority: str) -> str:
    """The host without the port after it."""
    host, colon, port = authority.rpartition(":")
    return host if colon and port.isdigit() and not host.endswith(":") else authority
