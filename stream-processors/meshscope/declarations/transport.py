"""How a client reaches a service: over mutual TLS or not, as both sides declare it."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from meshscope.declarations.reading import text
from meshscope.declarations.surroundings import Surroundings
from meshscope.policy.source import ResourceRef
from meshscope.projection.destinations.destination_rule import MergedRule, rule_of
from meshscope.projection.destinations.traffic_policy import effective
from meshscope.projection.hosts import covers, is_wildcard
from meshscope.projection.inbound.chains import Mode
from meshscope.projection.security.peer_authentication import MutualTls, mutual_tls, scopes

Spoken = Literal["mtls", "tls", "plaintext"]
"""What a client speaks: the mesh's mutual TLS, TLS of its own, or none."""

_MODES: Final[Mapping[str, Spoken]] = {
    "ISTIO_MUTUAL": "mtls",
    "SIMPLE": "tls",
    "MUTUAL": "tls",
    "DISABLE": "plaintext",
}


@dataclass(frozen=True, slots=True)
class Connection:
    """What a client speaks to a service, and why.

    Attributes:
        spoken: What it speaks.
        rule: The DestinationRule that says so; None: none does.
        accepted: Whether the server takes it.
    """

    spoken: Spoken
    rule: ResourceRef | None
    accepted: bool


def server_modes(
    around: Surroundings, namespace: str, own: Mapping[str, str]
) -> tuple[MutualTls, ...]:
    """The modes of a workload with these labels; several where ages are not known."""
    policies = around.within("PeerAuthentication", namespace, around.root)
    found = scopes(policies, namespace=namespace, labels=own, root=around.root)
    return mutual_tls(found)


def accepts(mode: Mode, spoken: Spoken) -> bool:
    """Whether a server in a mode takes what a client speaks; TLS is left to the application."""
    match mode:
        case "STRICT":
            return spoken == "mtls"
        case "DISABLE":
            return spoken != "mtls"
        case "PERMISSIVE":
            return True


def spoken_to(
    around: Surroundings, client: str, host: str, namespace: str, port: int, mode: Mode
) -> Connection:
    """What clients of a namespace speak to a service.

    Args:
        around: Everything that is declared.
        client: Namespace of the clients.
        host, namespace: Of the service.
        port: Its port.
        mode: Of its workloads.
    """
    rule = applied(around, client, host, namespace)
    blocks = effective(None if rule is None else rule.policy, None, port).blocks
    if blocks.get("tls") is not None:
        said = text(blocks["tls"], "mode") or "DISABLE"
        spoken = _MODES.get(said, "plaintext")
        return Connection(spoken, None if rule is None else rule.ref, accepts(mode, spoken))
    automatic = around.control_plane.mesh_config.get("enableAutoMtls", True) is not False
    spoken = "mtls" if automatic and mode != "DISABLE" else "plaintext"
    return Connection(spoken, None, accepts(mode, spoken))


def applied(around: Surroundings, client: str, host: str, namespace: str) -> MergedRule | None:
    """The DestinationRule that clients without labels of a namespace apply to a service."""
    return around.mesh.known.rules.choose(client, {}, namespace, host)[0]


def client_namespaces(around: Surroundings, namespace: str, host: str) -> Iterator[str]:
    """Namespaces whose clients may see different rules for a host: those with rules for it, and one
    without any."""
    seen = {namespace, *(rule.namespace for rule in rules_for(host, around))}
    yield from sorted(seen)
    yield "any-other-namespace"


def rules_for(host: str, around: Surroundings) -> Iterator[MergedRule]:
    """The DestinationRules for a host, each by itself."""
    exact, patterns = around.kept(_rules)
    yield from exact.get(host, ())
    for rule in patterns:
        if covers(rule.host, host):
            yield rule


def _rules(
    around: Surroundings,
) -> tuple[Mapping[str, Sequence[MergedRule]], Sequence[MergedRule]]:
    """All DestinationRules: by host, and those for patterns of hosts."""
    exact: dict[str, list[MergedRule]] = defaultdict(list)
    patterns: list[MergedRule] = []
    for resource in around.of("DestinationRule"):
        rule = rule_of(resource, around.domain)
        if is_wildcard(rule.host):
            patterns.append(rule)
        else:
            exact[rule.host].append(rule)
    return exact, patterns
