"""Forms of a host or path that a server takes for another one and an access rule does not.

Envoy compares what is left after its normalisation. Where a server goes further (it cuts a port off
a host, joins repeated slashes, unescapes `%2F`), a request that a rule means to refuse gets through
in another form. Every form here is one that a stronger `pathNormalization`, or a wider condition,
would have caught.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Final

from meshscope.algebra.request import Request
from meshscope.declarations.access import (
    ALLOWED,
    DENIED,
    Access,
    access_of,
    action_of,
    arriving,
    declared_rule,
    example_of,
    places,
)
from meshscope.declarations.finding import Finding, Said, Witness
from meshscope.declarations.reading import Json, mapping, mappings, texts
from meshscope.declarations.surroundings import Surroundings, targets
from meshscope.evaluation.normalization import normalized
from meshscope.events.resource import Resource
from meshscope.policy.http_connection import HttpConnection
from meshscope.projection.security.authorization import is_dry_run

HOST = "MSC-2110"
PATH = "MSC-2111"

_STRONGEST: Final = HttpConnection(
    normalize_path=True, merge_slashes=True, escaped_slashes="forward"
)
_WORDS: Final = {"MSC-2110": "host", "MSC-2111": "path"}


def bypassing_forms(policy: Resource, around: Surroundings) -> Iterator[Said]:
    """Rules that refuse a host or path, and a form of it that gets through."""
    if targets(policy) or is_dry_run(policy) or action_of(policy) not in ("ALLOW", "DENY"):
        return
    connection = connection_of(around)
    for index, spec in mappings(policy.spec, "rules"):
        for code, field, values in _refusing(policy, spec):
            found = _bypass(policy, index, spec, values, code, connection, around)
            if found is not None:
                meant, request, seen = found
                yield Finding(
                    code,
                    policy,
                    f"spec.rules[{index}].{field}",
                    f"rule {index} refuses the {_WORDS[code]} {meant}, and lets {request} through, "
                    "which many servers take for the same",
                    Witness(seen, f"allowed, while {meant} is refused"),
                )


def connection_of(around: Surroundings) -> HttpConnection:
    """The normalisation in force: `meshConfig.pathNormalization`."""
    given = mapping(around.control_plane.mesh_config, "pathNormalization").get("normalization")
    return HttpConnection(
        normalize_path=given != "NONE",
        merge_slashes=given in ("MERGE_SLASHES", "DECODE_AND_MERGE_SLASHES"),
        escaped_slashes="forward" if given == "DECODE_AND_MERGE_SLASHES" else "keep",
    )


def _refusing(policy: Resource, spec: Json) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """Code, field and values by which a rule refuses hosts or paths."""
    negated = action_of(policy) == "ALLOW"
    for place, operation in mappings(spec, "to"):
        block = mapping(operation, "operation")
        for code, name in ((HOST, "hosts"), (PATH, "paths")):
            field = f"not{name.capitalize()}" if negated else name
            if values := texts(block, field):
                yield code, f"to[{place}].operation.{field}", values


def _bypass(
    policy: Resource,
    index: int,
    spec: Json,
    values: tuple[str, ...],
    code: str,
    connection: HttpConnection,
    around: Surroundings,
) -> tuple[str, str, Request] | None:
    """What is refused, the form that is not, and the request in it; None: there is none."""
    rule = declared_rule(policy, index, spec, around)
    if rule is None:
        return None
    example = example_of(rule.rule, arriving())
    if example is None or example.assumes:
        return None
    accesses = [access_of(policies, around) for policies, _ in places(policy, around)]
    for value in values:
        meant = _literal(value, code)
        if not meant:
            continue
        base = _in_form(example, code, meant)
        for form in _hosts(meant) if code == HOST else _paths(meant):
            sent = _in_form(base, code, form)
            if any(_gets_through(access, base, sent, connection) for access in accesses):
                return meant, form, sent
    return None


def _in_form(request: Request, code: str, form: str) -> Request:
    return replace(request, authority=form) if code == HOST else replace(request, path=form)


def _gets_through(access: Access, base: Request, sent: Request, connection: HttpConnection) -> bool:
    """Whether one form is refused and the other allowed, though they mean the same."""
    meant, seen = normalized(base, connection), normalized(sent, connection)
    if meant is None or seen is None or seen == meant:
        return False
    strongest = normalized(sent, _STRONGEST)
    if strongest is None or strongest.path != base.path:
        return False
    return access.outcome(meant) == DENIED and access.outcome(seen) == ALLOWED


def _literal(value: str, code: str) -> str:
    """A host or path that a value matches; empty: there is no plain one."""
    if "{" in value:
        return ""
    if code == HOST:
        return f"www{value[1:]}" if value.startswith("*.") else value if "*" not in value else ""
    if value.startswith("*"):
        return ""
    return f"{value[:-1]}x" if value.endswith("*") else value


def _hosts(host: str) -> Iterable[str]:
    if host.endswith("."):
        return ()
    if ":" in host:
        return (host.upper(),)
    return (f"{host}:80", f"{host}.", host.upper())


def _paths(path: str) -> Iterator[str]:
    """Forms that the strongest normalisation turns into the path, the likeliest first."""
    if not path.startswith("/") or len(path) < 2:
        return
    yield f"/{path}"
    inner = path.find("/", 1)
    if inner > 0:
        yield f"{path[:inner]}/{path[inner:]}"
        yield f"{path[:inner]}%2F{path[inner + 1 :]}"
    yield f"/.{path}"
    yield f"/x/..{path}"
    yield f"/%{ord(path[1]):02X}{path[2:]}"
