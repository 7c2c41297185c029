"""The sections of a dump, and which of their entries are in force.

An entry holds a resource in a phase: active ones are policies, warming and draining ones are state,
and so is what Envoy says about a refused update (`error_state`).
"""

import base64
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from meshscope.events.facts import Certificate
from meshscope.events.x509 import read_certificates
from meshscope.inference.reader import Message
from meshscope.inference.result import Loaded, Rejected
from meshscope.policy.canonical import canonical_json, digest_bytes

Resources = Iterator[tuple[Message, str]]


@dataclass(slots=True)
class Phases:
    """What was found about resources besides their content."""

    rejected: list[Rejected] = field(default_factory=list)
    resources: list[Loaded] = field(default_factory=list)
    certificates: list[Certificate] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Entries:
    """Where the resources of a section stand.

    Attributes:
        section: Short name.
        active: Fields of the section that list active resources.
        others: Fields that list resources in another phase, with the phase.
        resource: Field of an entry that holds the resource.
        nested: Field of an entry that holds resource, version and time (listeners).
    """

    section: str
    active: tuple[str, ...]
    resource: str
    others: tuple[tuple[str, str], ...] = ()
    nested: bool = False


LISTENERS: Final = Entries("listeners", ("dynamic_listeners",), "listener", nested=True)
CLUSTERS: Final = Entries(
    "clusters",
    ("dynamic_active_clusters",),
    "cluster",
    (("dynamic_warming_clusters", "warming"),),
)
ROUTES: Final = Entries("routes", ("dynamic_route_configs",), "route_config")
ENDPOINTS: Final = Entries("endpoints", ("dynamic_endpoint_configs",), "endpoint_config")
SECRETS: Final = Entries(
    "secrets",
    (),
    "secret",
    (("dynamic_active_secrets", "active"), ("dynamic_warming_secrets", "warming")),
)
EXTENSIONS: Final = Entries("extensions", ("ecds_filters",), "ecds_filter")


def active(
    section: Message, entries: Entries, phases: Phases, name_of: Callable[[Message], str]
) -> Iterator[Message]:
    """The active resources of a section.

    Args:
        section: The section.
        entries: Where they stand.
        phases: What is no policy is added here.
        name_of: The name of an active resource.
    """
    for name, phase in entries.others:
        for entry in section.messages(name):
            if entries is SECRETS and phase == "active":
                phases.certificates += _certificates(entry.peek(entries.resource))
            phases.resources.append(_passive(entry, entries, phase))
            _error(entry, entries.section, phases)
    for name in entries.active:
        for entry in section.messages(name):
            yield from _active(entry, entries, phases, name_of)


def _active(
    entry: Message, entries: Entries, phases: Phases, name_of: Callable[[Message], str]
) -> Iterator[Message]:
    _error(entry, entries.section, phases)
    if not entries.nested:
        resource = entry.message(entries.resource)
        if resource is not None:
            phases.resources.append(_loaded(entry, entries.section, name_of(resource)))
            yield resource
        return
    name = entry.string("name")
    for phase in ("warming", "draining"):
        other = entry.message(f"{phase}_state")
        if other is not None:
            other.name = ""
            phases.resources.append(_passive(other, entries, phase, name))
    state = entry.message("active_state")
    resource = None if state is None else state.message(entries.resource)
    if state is not None and resource is not None:
        if name != name_of(resource):
            entry.remark("name", f"{name} holds {name_of(resource)}")
        phases.resources.append(_loaded(state, entries.section, name_of(resource)))
        yield resource


def _loaded(message: Message, section: str, name: str) -> Loaded:
    message.constant("client_status", "UNKNOWN")
    return Loaded(
        section, name, "active", message.string("version_info"), message.string("last_updated")
    )


def _passive(entry: Message, entries: Entries, phase: str, name: str = "") -> Loaded:
    content = entry.json(entries.resource)
    found = entry.string("name") or name
    if not found and isinstance(content, dict):
        found = str(content.get("name") or "")
    return Loaded(
        entries.section,
        found,
        phase,
        entry.string("version_info"),
        entry.string("last_updated"),
        digest(content),
    )


def _certificates(secret: object) -> tuple[Certificate, ...]:
    """The certificates in a secret, as Envoy prints it: keys are redacted, chains are not."""
    for role, *path in (
        ("workload", "tls_certificate", "certificate_chain"),
        ("root", "validation_context", "trusted_ca"),
    ):
        value = secret
        for name in (*path, "inline_bytes"):
            value = value.get(name) if isinstance(value, dict) else None
        if isinstance(value, str):
            try:
                found = read_certificates(base64.b64decode(value), role)
            except ValueError:
                # Then nothing is said of them; the secret is state in any case.
                return ()
            # What follows the first of a chain are those that signed it.
            return found[:1] if role == "workload" else found
    return ()


def _error(entry: Message, section: str, phases: Phases) -> None:
    error = entry.message("error_state")
    if error is None:
        return
    configuration = error.json("failed_configuration")
    name = entry.peek("name")
    if not isinstance(name, str) and isinstance(configuration, dict):
        name = configuration.get("name")
    phases.rejected.append(
        Rejected(
            section,
            name if isinstance(name, str) else "",
            error.string("details"),
            error.string("last_update_attempt"),
            digest([configuration, error.string("version_info")]),
        )
    )


def digest(value: object) -> str:
    """Hash of parsed JSON."""
    return digest_bytes("resource", canonical_json(value).encode())
