"""AuthorizationPolicies and the ports of the workloads that they select."""

from collections.abc import Iterator, Mapping

from meshscope.algebra.request import Request
from meshscope.declarations.access import (
    DENIED,
    DeclaredRule,
    Policies,
    access_of,
    action_of,
    arriving,
    declared_rule,
    example_of,
    in_force,
)
from meshscope.declarations.finding import Finding, Said, Witness
from meshscope.declarations.ports import ServedPort, served_ports
from meshscope.declarations.reading import mappings
from meshscope.declarations.surroundings import Surroundings, selector_of, targets
from meshscope.declarations.workloads import Workload
from meshscope.events.resource import Resource
from meshscope.projection.security.authorization import is_dry_run
from meshscope.projection.security.trust_domain import trust_domains
from meshscope.projection.services.protocols import is_http

CLOSES_TCP = "MSC-2105"
WIDENED = "MSC-2106"
CLOSES = "MSC-2112"


def rules_on_ports(policy: Resource, around: Surroundings) -> Iterator[Said]:
    """What a policy does on the ports of its workloads that its author may not have thought of."""
    if targets(policy) or is_dry_run(policy) or action_of(policy) not in ("ALLOW", "DENY"):
        return
    codes = (WIDENED,) if action_of(policy) == "DENY" else (CLOSES_TCP, CLOSES)
    lacking = around.lacks_workloads(policy.namespace, *codes)
    if lacking is not None:
        yield lacking
        return
    said: dict[tuple[str, int], Finding] = {}
    for workload, ports, policies in _places(policy, around):
        for served in ports.values():
            found = (
                _widened(policy, served, policies, around)
                if action_of(policy) == "DENY"
                else _closed(policy, served, policies, workload, around)
            )
            for one in found:
                said.setdefault((one.code + one.field, served.target), one)
    yield from said.values()


def _places(
    policy: Resource, around: Surroundings
) -> Iterator[tuple[Workload, Mapping[int, ServedPort], Policies]]:
    """Workloads that differ in their ports or in the policies in force, one of each sort."""
    seen: set[tuple[Policies, tuple[int, ...]]] = set()
    for workload in around.selected(policy.namespace, selector_of(policy) or {}):
        ports = {served.target: served for served in served_ports(workload, around)}
        policies = in_force(around, workload.namespace, dict(workload.labels))
        if (policies, tuple(ports)) not in seen:
            seen.add((policies, tuple(ports)))
            yield workload, ports, policies


def _widened(
    policy: Resource, served: ServedPort, policies: Policies, around: Surroundings
) -> Iterator[Finding]:
    """DENY rules that lose their conditions about HTTP on a TCP port."""
    if is_http(served.port.protocol):
        return
    for index, spec in mappings(policy.spec, "rules"):
        as_http = declared_rule(policy, index, spec, around)
        as_tcp = declared_rule(policy, index, spec, around, tcp=True)
        if as_http is None or as_tcp is None or as_http.rule == as_tcp.rule:
            continue
        example = example_of(as_tcp.rule, arriving(port=served.target))
        if example is None or access_of(policies, around, tcp=True).outcome(example) != DENIED:
            continue
        yield Finding(
            WIDENED,
            policy,
            f"spec.rules[{index}]",
            f"rule {index} has conditions about HTTP, which do not exist on port "
            f"{served.target} ({_named(served)}, {served.port.protocol}): there it refuses every "
            "connection that meets the rest of it",
            Witness(example, "the connection is refused"),
            (served.service.ref,),
        )


def _closed(
    policy: Resource,
    served: ServedPort,
    policies: Policies,
    workload: Workload,
    around: Surroundings,
) -> Iterator[Finding]:
    """Ports at which ALLOW rules leave nothing, though nobody says that it should be so."""
    allowing = [one for one in policies if action_of(one) == "ALLOW" and not is_dry_run(one)]
    if any(not list(mappings(one.spec, "rules")) for one in allowing) or allowing[0] is not policy:
        # A policy without rules closes everything on purpose; of several ones the first says it.
        return
    tcp = not is_http(served.port.protocol)
    access = access_of(policies, around, tcp=tcp)
    if any(_allows(one, served.target) for one in access.allow):
        return
    principal = f"spiffe://{trust_domains(around.control_plane.mesh_config)[0]}/ns/a/sa/a"
    request = Request(transport="mtls", principal=principal, port=served.target)
    if access.outcome(request) != DENIED:
        return
    unconditional = access_of(policies, around)
    by_http = tcp and any(_allows(one, served.target) for one in unconditional.allow)
    reason = (
        "their conditions about HTTP, which cannot be met there"
        if by_http
        else "none of them is about this port"
    )
    yield Finding(
        CLOSES_TCP if by_http else CLOSES,
        policy,
        "spec.rules",
        f"port {served.target} of {workload.resource.ref} ({_named(served)}, "
        f"{served.port.protocol}) is closed to everybody: there are ALLOW rules, and {reason}",
        Witness(request, "the connection is refused" if tcp else "refused with 403"),
        (workload.resource.ref, served.service.ref),
    )


def _allows(one: DeclaredRule, port: int) -> bool:
    """Whether a rule may allow something on a port; rules that are not about ports are taken to."""
    about_ports = any(
        condition.attribute == "destination_port"
        for alternative in one.rule.operations
        for condition in alternative
    )
    return not about_ports or example_of(one.rule, arriving(port=port)) is not None


def _named(served: ServedPort) -> str:
    return f"port {served.port.name or served.port.number} of {served.service.ref}"
