"""How a rule changes host and path of a request, or where it sends the client."""

import re

from meshscope.algebra.regex import regex as language_of
from meshscope.algebra.request import Request
from meshscope.algebra.syntax import InvalidPatternError, UnmodelledError
from meshscope.evaluation.normalization import without_port
from meshscope.policy.http_route import HttpRule, Redirect, Rewrite, RouteMatch


class UnknownTargetError(Exception):
    """The path after rewriting cannot be said; the message tells why."""


def sent_on(request: Request, rewrite: Rewrite, match: RouteMatch) -> tuple[str, str]:
    """Authority and target (path and query) of the request as the destination gets it.

    `auto_host` takes the name of the chosen endpoint, which is not known here: the authority is
    then empty.

    Raises:
        UnknownTargetError: A regular expression is not modelled.
    """
    path = request.path
    if rewrite.prefix:
        path = _with_prefix(path, rewrite.prefix, match)
    elif rewrite.regex:
        path = _substituted(path, rewrite.regex, rewrite.substitution)
    authority = "" if rewrite.auto_host else rewrite.host or request.authority
    return authority, path + _query(request)


def location(request: Request, rule: HttpRule, redirect: Redirect, scheme: str) -> str:
    """The URL that the client is sent to.

    Raises:
        UnknownTargetError: A regular expression is not modelled.
    """
    new_scheme = "https" if redirect.https else redirect.scheme or scheme
    authority = redirect.host or request.authority
    if redirect.port:
        authority = f"{without_port(authority)}:{redirect.port}"
    elif new_scheme != scheme and not redirect.host:
        # A port that belongs to the old scheme would be wrong for the new one.
        usual = {"http": ":80", "https": ":443"}.get(scheme, "")
        authority = authority.removesuffix(usual)
    path = request.path
    if redirect.path:
        path = redirect.path
    elif redirect.prefix:
        path = _with_prefix(path, redirect.prefix, rule.match)
    elif redirect.regex:
        path = _substituted(path, redirect.regex, redirect.substitution)
    query = "" if redirect.strip_query or "?" in path else _query(request)
    return f"{new_scheme}://{authority}{path}{query}"


def _query(request: Request) -> str:
    return request.target()[len(request.path) :]


def _with_prefix(path: str, prefix: str, match: RouteMatch) -> str:
    """The path with what the rule matched replaced: a prefix, or all of it."""
    if match.path.type in ("prefix", "path_separated_prefix"):
        return prefix + path[len(match.path.value) :]
    return prefix


def _substituted(path: str, pattern: str, substitution: str) -> str:
    """The path with every match of a pattern replaced, as RE2's `GlobalReplace` does."""
    try:
        language_of(pattern)  # Only what both engines read alike goes on.
        return re.sub(pattern, re.sub(r"\\(\d)", r"\\g<\1>", substitution), path, flags=re.ASCII)
    except (InvalidPatternError, UnmodelledError, re.error, FutureWarning) as error:
        raise UnknownTargetError(f"rewriting with {pattern!r}: {error}") from error
