"""What rules do to the headers of a request before it is sent on."""

from collections.abc import Iterable
from dataclasses import dataclass

from meshscope.policy.headers import HeaderMutation, HeaderValue

Headers = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class SentHeaders:
    """Headers of a request as it is sent on.

    Attributes:
        known: Names and values.
        unknown: Names of those whose value only the proxy knows (`%DOWNSTREAM_REMOTE_ADDRESS%`).
    """

    known: Headers = ()
    unknown: tuple[str, ...] = ()


def mutated(headers: Headers, mutations: Iterable[HeaderMutation]) -> SentHeaders:
    """The headers after every mutation, in the order in which Envoy applies them.

    Within a mutation Envoy removes before it adds (`HeaderParser::evaluateHeaders`).

    Args:
        headers: Of the request.
        mutations: Those of the destination first, then of the rule, then of the virtual host.
    """
    known = dict(headers)
    unknown: set[str] = set()
    for mutation in mutations:
        for name in mutation.remove:
            known.pop(name, None)
            unknown.discard(name)
        for added in mutation.add:
            _add(added, known, unknown)
    return SentHeaders(tuple(known.items()), tuple(sorted(unknown)))


def _add(added: HeaderValue, known: dict[str, str], unknown: set[str]) -> None:
    name = added.name
    there = name in known or name in unknown
    if there and added.action == "add_if_absent":
        return
    if not there and added.action == "overwrite_if_exists":
        return
    if not added.value and not added.keep_empty:
        return
    if "%" in added.value.replace("%%", "") or (
        there and added.action == "append" and name in unknown
    ):
        known.pop(name, None)
        unknown.add(name)
        return
    unknown.discard(name)
    plain = added.value.replace("%%", "%")
    # Conditions see several values of one name as one, joined by commas.
    appended = there and added.action == "append"
    known[name] = f"{known[name]},{plain}" if appended else plain
